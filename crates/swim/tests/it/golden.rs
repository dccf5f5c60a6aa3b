//! Packets of a real Tarantool: each is read as it was meant, and written again to the same bytes.

use std::fmt::Write;
use swim::{Codec, DATAGRAM_LEN_MAX, Kind, Mode, Packet, Record, Section};

const FIXTURES: &str = include_str!("../fixtures/tarantool-2.6.txt");

/// One packet of the file.
#[derive(Default)]
struct Fixture {
    name: String,
    cipher: Option<Codec>,
    is_foreign: bool,
    bytes: Vec<u8>,
    meaning: String,
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn fixtures() -> Vec<Fixture> {
    let mut all: Vec<Fixture> = Vec::new();
    for line in FIXTURES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(name) = line.strip_prefix("name ") {
            all.push(Fixture { name: name.to_owned(), ..Fixture::default() });
            continue;
        }
        let fixture = all.last_mut().unwrap();
        if let Some(hex) = line.strip_prefix("hex ") {
            fixture.bytes = unhex(hex);
        } else if let Some(cipher) = line.strip_prefix("cipher ") {
            let [_, mode, key] = cipher.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            fixture.cipher = Some(Codec::new(&unhex(key), mode_of(mode)).unwrap());
        } else if line == "foreign" {
            fixture.is_foreign = true;
        } else {
            writeln!(fixture.meaning, "{line}").unwrap();
        }
    }
    all
}

fn mode_of(name: &str) -> Mode {
    match name {
        "cbc" => Mode::Cbc,
        "ecb" => Mode::Ecb,
        "cfb" => Mode::Cfb,
        "ofb" => Mode::Ofb,
        _ => panic!("{name}"),
    }
}

/// What a packet says, in the words of the file.
fn meaning(packet: &Packet<'_>) -> String {
    let mut text = String::new();
    write!(text, "meta {} {}", packet.meta.version, packet.meta.source).unwrap();
    if let Some(route) = packet.meta.route {
        write!(text, " route {} {}", route.source, route.destination).unwrap();
    }
    writeln!(text, "\nfrom {}", packet.body.source).unwrap();
    for section in packet.body.sections() {
        match section {
            Section::FailureDetection(detection) => {
                let kind = if detection.kind == Kind::Ping { "ping" } else { "ack" };
                writeln!(text, "{kind} {}", detection.incarnation).unwrap();
            }
            Section::Dissemination(records) => {
                text.push_str("news\n");
                records.for_each(|record| text.push_str(&line(&record)));
            }
            Section::AntiEntropy(records) => {
                text.push_str("known\n");
                records.for_each(|record| text.push_str(&line(&record)));
            }
            Section::Quit(incarnation) => writeln!(text, "quit {incarnation}").unwrap(),
        }
    }
    if !packet.trailer.is_empty() {
        writeln!(text, "trailing {}", packet.trailer.len()).unwrap();
    }
    text
}

fn line(record: &Record<'_>) -> String {
    let mut text = format!("  {} {} {} {}", record.status, record.addr, record.id, record.incarnation);
    if let Some(payload) = record.payload {
        text.push_str(" payload ");
        for byte in payload {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push_str(if payload.is_empty() { "empty" } else { "" });
    }
    text + "\n"
}

#[test]
fn recorded_packets_are_read_as_they_were_meant_and_written_to_the_same_bytes() {
    let all = fixtures();
    assert_eq!(all.len(), 45);
    for fixture in &all {
        let mut datagram = fixture.bytes.clone();
        let plain = match &fixture.cipher {
            None => datagram.as_slice(),
            Some(cipher) => cipher.decrypt(&mut datagram).unwrap(),
        };
        let packet = Packet::decode(plain).unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        assert_eq!(meaning(&packet), fixture.meaning, "{}", fixture.name);

        let mut again = [0; DATAGRAM_LEN_MAX];
        let len = packet.encode(&mut again).unwrap();
        if fixture.is_foreign {
            // In other bytes it means the same.
            assert_eq!(meaning(&Packet::decode(&again[..len]).unwrap()), fixture.meaning, "{}", fixture.name);
            continue;
        }
        assert_eq!(&again[..len], plain, "{}", fixture.name);
        if let Some(cipher) = &fixture.cipher {
            let iv = fixture.bytes[..16].try_into().unwrap();
            let len = cipher.encrypt(iv, &mut again, len).unwrap();
            assert_eq!(&again[..len], &fixture.bytes[..], "{}", fixture.name);
        }
    }
}

#[test]
fn a_recorded_packet_that_is_cut_anywhere_is_no_packet() {
    for fixture in fixtures().iter().filter(|fixture| fixture.cipher.is_none()) {
        let body_end = fixture.bytes.len() - Packet::decode(&fixture.bytes).unwrap().trailer.len();
        for end in 0..body_end {
            assert!(Packet::decode(&fixture.bytes[..end]).is_err(), "{} cut at {end}", fixture.name);
        }
    }
}

#[test]
fn every_width_that_messagepack_has_is_read() {
    // All heads of maps in 16 and 32 bits, all numbers in 64 bits, all bins in 16 and 32.
    let text = "df00000003 00cf0000000000020600 01cf000000007f000001 cc02cf00000000000033f5 \
                de0002 00c50010 33221100554477668899aabbccddee01 \
                03dd00000001 de0006 00cf0000000000000001 01ce7f000002 02cd33f6 03c600000010 \
                33221100554477668899aabbccddee02 0401 06c600000002 6869";
    let bytes = unhex(&text.replace(' ', ""));
    assert_eq!(
        meaning(&Packet::decode(&bytes).unwrap()),
        "meta 132608 127.0.0.1:13301\nfrom 00112233-4455-6677-8899-aabbccddee01\nnews\n  suspected \
         127.0.0.2:13302 00112233-4455-6677-8899-aabbccddee02 1.0 payload 6869\n"
    );
}

#[test]
fn keys_are_of_the_lengths_of_aes() {
    for len in 0..40 {
        assert_eq!(Codec::new(&vec![0; len], Mode::Cbc).is_ok(), matches!(len, 16 | 24 | 32), "{len}");
    }
}

#[test]
fn the_longest_packet_fits_into_the_longest_datagram_in_every_mode() {
    for mode in [Mode::Cbc, Mode::Ecb, Mode::Cfb, Mode::Ofb] {
        let cipher = Codec::new(&[7; 32], mode).unwrap();
        let mut buf = [0x55; DATAGRAM_LEN_MAX];
        let len = cipher.encrypt([9; 16], &mut buf, swim::PACKET_LEN_MAX).unwrap();
        assert!(len <= DATAGRAM_LEN_MAX, "{mode:?}");
        assert_eq!(cipher.decrypt(&mut buf[..len]).unwrap(), [0x55; swim::PACKET_LEN_MAX], "{mode:?}");
        for cut in [0, 1, 15, 16, 17, len - 1] {
            drop(cipher.decrypt(&mut [0x55; DATAGRAM_LEN_MAX][..cut]));
        }
    }
}
