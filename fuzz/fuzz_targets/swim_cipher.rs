//! An encrypted datagram from anybody, in each cipher: no panic; and what was encrypted is what comes out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swim::{Codec, DATAGRAM_LEN_MAX, Mode, PACKET_LEN_MAX, Packet};

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let mode = [Mode::Cbc, Mode::Ecb, Mode::Cfb, Mode::Ofb][usize::from(choice & 3)];
    let len = [16, 24, 32][usize::from(choice >> 2) % 3];
    let codec = Codec::new(&[7; 32][..len], mode).expect("a length of AES");

    if let Ok(plain) = codec.decrypt(&mut bytes.to_vec()) {
        drop(Packet::decode(plain));
    }
    let plain = &bytes[..bytes.len().min(PACKET_LEN_MAX)];
    let mut buf = [0; DATAGRAM_LEN_MAX];
    buf[..plain.len()].copy_from_slice(plain);
    let len = codec.encrypt([9; 16], &mut buf, plain.len()).expect("there is room for any packet");
    let decrypted = codec.decrypt(&mut buf[..len]).expect("our own datagram");
    assert_eq!(decrypted, plain);
    drop(Packet::decode(decrypted));
});
