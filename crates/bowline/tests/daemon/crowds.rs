//! Crowds of clients that hold what there is only some of: places, memory for requests, queries. Whoever else comes is served all the same.

use super::hostile::{IN_TIME, MIB, Target, greeted, request, tcp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn clients_that_say_nothing_take_no_place_from_who_asks() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let target = Target::new();
    let before = target.resident();
    let mut silent: Vec<Box<dyn Read>> = Vec::new();
    for number in 0..1_100 {
        let mut socket = UnixStream::connect(target.machine.socket()).unwrap();
        let mut stream = tcp(&target.https);
        if number % 2 == 0 {
            // Half a request, and half a handshake.
            socket.write_all(b"GET /livez HTTP/1.1\r\nhost").unwrap();
            stream.write_all(&[0x16, 3, 1]).unwrap();
        }
        silent.push(Box::new(socket));
        silent.push(Box::new(stream));
    }
    target.serves();
    target.serves();
    target.grew_at_most(before, 128 * MIB);
    target.stops_in_order();
}

#[test]
fn large_requests_that_never_end_share_a_bounded_memory() {
    let target = Target::new();
    let before = target.resident();
    let piece = vec![b'x'; MIB];
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let (mut stream, piece) = (greeted(&target.dqlite), piece.clone());
            std::thread::spawn(move || {
                stream.set_write_timeout(Some(Duration::from_secs(8))).unwrap();
                // EXEC_SQL of 32 MiB, of which half comes.
                let head = request(4 << 20, 8, b"");
                let sent = stream.write_all(&head).and_then(|()| (0..16).try_for_each(|_| stream.write_all(&piece)));
                (stream, sent.is_err())
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    target.serves();
    let callers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let refused = callers.iter().filter(|(_, is_refused)| *is_refused).count();
    assert!((8..24).contains(&refused), "{refused} of 24 requests of 16 MiB found no room");
    // Twice what is counted, at most: a buffer that grows doubles.
    target.grew_at_most(before, 320 * MIB);
    target.serves();
    target.stops_in_order();
}

#[test]
fn readers_that_do_not_read_do_not_keep_others_from_asking() {
    let target = Target::new();
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 50000000) SELECT x, 'some text' FROM c";
    let body = format!(r#"{{"sql":"{sql}"}}"#);
    let ask = format!(
        "POST /v1/databases/shop/query HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut readers: Vec<UnixStream> = (0..64)
        .map(|_| {
            let mut reader = UnixStream::connect(target.machine.socket()).unwrap();
            reader.set_read_timeout(Some(IN_TIME)).unwrap();
            reader.write_all(ask.as_bytes()).unwrap();
            reader
        })
        .collect();
    for reader in &mut readers {
        let mut first = [0; 15];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
    }
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        let (status, body) = target.machine.http("POST /v1/databases/shop/query", "", r#"{"sql":"SELECT 41 + 1"}"#);
        assert!(status == 200 && body.contains("42"), "{status}: {body}");
    }
    // Who was cut off learns it, once it reads.
    let last = readers.iter_mut().find_map(|reader| {
        let mut rest = String::new();
        reader.take(1 << 20).read_to_string(&mut rest).ok()?;
        rest.contains("BL-API-009").then_some(rest)
    });
    assert!(last.is_some(), "nobody was told that others waited");
    target.stops_in_order();
}
