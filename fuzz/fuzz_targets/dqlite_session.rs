//! Any bytes, cut anywhere, answered at any time: the machines of both ends stay inside their tables, every request gets
//! one answer, and every INTERRUPT one EMPTY.
#![no_main]

use bytes::BytesMut;
use dqlite::{
    BodyLimit, ClientEvent, ClientSession, ClientState, Event, Request, Response, ServerSession, State, Version,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, script)) = data.split_first() else { return };
    if mode & 1 == 0 { server_takes_anything(script) } else { ends_talk(script) }
});

/// The client's bytes are the fuzzer's; the first byte of each piece says how long it is and whether to answer after it.
fn server_takes_anything(mut script: &[u8]) {
    let mut server = ServerSession::new(BodyLimit(1 << 20));
    let mut input = BytesMut::new();
    let mut out = BytesMut::new();
    while let Some((step, rest)) = script.split_first() {
        let (piece, rest) = rest.split_at(usize::from(step & 0x3f).min(rest.len()));
        script = rest;
        input.extend_from_slice(piece);
        while let Some(event) = server.poll(&mut input) {
            match event {
                Event::Handshake(_) => assert_eq!(server.state(), State::Idle),
                Event::Request(frame) => {
                    assert_eq!(server.state(), State::Executing);
                    drop(format!("{:?}", Request::decode(&frame)));
                }
                Event::Interrupt => assert_eq!(server.state(), State::Stopping),
                Event::Violation(_) => assert_eq!(server.state(), State::Closed),
            }
            if step & 0x80 != 0 {
                let owed = matches!(server.state(), State::Executing | State::Streaming | State::Stopping);
                let before = out.len();
                assert_eq!(server.answer(&mut out, &Response::Empty), owed);
                assert_eq!(out.len() - before, if owed { 16 } else { 0 });
            } else if step & 0x40 != 0 {
                let runs = matches!(server.state(), State::Executing | State::Streaming);
                assert_eq!(server.part(), runs);
            }
        }
        assert!(server.wants(&input) <= (1 << 20) + 8);
    }
}

/// Both machines talk to each other; the script decides who does what next.
fn ends_talk(script: &[u8]) {
    let mut to_server = BytesMut::new();
    let mut to_client = BytesMut::new();
    let mut client = ClientSession::new(Version::One, BodyLimit::DEFAULT, &mut to_server);
    let mut server = ServerSession::new(BodyLimit::DEFAULT);
    let mut rows = dqlite::RowsEncoder::new([("n", None)]);
    for step in script {
        match step % 6 {
            0 => {
                drop(client.send(&Request::QuerySql { db: 0, sql: "q", params: dqlite::Params::NONE }, &mut to_server))
            }
            1 => drop(client.interrupt(&mut to_server)),
            2 => match server.poll(&mut to_server) {
                Some(Event::Violation(violation)) => panic!("our client broke the protocol: {violation}"),
                Some(_) | None => {}
            },
            3 => {
                if server.part() {
                    rows.row(&mut to_client, [dqlite::ValueRef::Integer(1)]).expect("a small row");
                    rows.pause(&mut to_client);
                }
            }
            4 => drop(server.settle(&mut to_client, |out, _| rows.done(out))),
            _ => match client.poll(&mut to_client) {
                Ok(Some(ClientEvent::Interrupted | ClientEvent::Answer(_))) => {
                    assert_eq!(client.state(), ClientState::Idle);
                }
                Ok(_) => {}
                Err(violation) => panic!("our server broke the protocol: {violation}"),
            },
        }
    }
    // Whatever happened, both come to rest when everything is delivered.
    while server.poll(&mut to_server).is_some() || server.state() != State::Idle {
        server.settle(&mut to_client, |out, _| rows.done(out));
    }
    while let Some(event) = client.poll(&mut to_client).expect("our server keeps the protocol") {
        drop(event);
    }
    assert_eq!(client.state(), ClientState::Idle);
    assert!(to_client.is_empty());
}
