//! Whatever is encoded decodes to itself, and whatever bytes come, decoding ends with a value or an error.

#![cfg(test)]

use bytes::{Bytes, BytesMut};
use dqlite::{
    BodyLimit, ClusterFormat, Dialect, FailureCode, File, Frame, Header, Params, Request, Response, RowsEncoder,
    RowsStep, ServerInfo, ServerSession, Tail, Value, ValueRef, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}

fn text_value() -> impl Strategy<Value = Box<[u8]>> {
    vec(1u8.., 0..20).prop_map(Vec::into_boxed_slice)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-1e300..1e300).prop_map(Value::Float),
        text_value().prop_map(Value::Text),
        vec(any::<u8>(), 0..20).prop_map(|b| Value::Blob(b.into())),
        any::<i64>().prop_map(Value::UnixTime),
        text_value().prop_map(Value::Iso8601),
        any::<bool>().prop_map(Value::Boolean),
    ]
}

fn frame_of(out: &BytesMut) -> Frame {
    let mut input = out.clone();
    let frame = Frame::take(&mut input, BodyLimit::MAX).unwrap().expect("a whole message");
    assert!(input.is_empty());
    frame
}

fn check_request(request: &Request<'_>) -> Result<(), TestCaseError> {
    let mut out = BytesMut::new();
    request.encode(&mut out);
    let frame = frame_of(&out);
    prop_assert_eq!(&Request::decode(&frame).unwrap(), request);
    Ok(())
}

proptest! {
    #[test]
    fn requests_come_back(a: u64, b: u64, db: u32, stmt: u32, s in text(), t in text(), values in vec(value(), 0..300)) {
        let values: Vec<ValueRef<'_>> = values.iter().map(Value::borrow).collect();
        let params = Params::new(&values);
        for request in [
            Request::Leader,
            Request::Client { id: a },
            Request::Heartbeat { timestamp: a },
            Request::Open { name: &s, flags: a, vfs: &t },
            Request::Prepare { db: a, sql: &s, tail: Tail::Refused },
            Request::Prepare { db: a, sql: &s, tail: Tail::Reported },
            Request::Exec { db, stmt, params },
            Request::Query { db, stmt, params },
            Request::Finalize { db, stmt },
            Request::ExecSql { db: a, sql: &s, params },
            Request::QuerySql { db: a, sql: &s, params },
            Request::Interrupt { db: a },
            Request::Connect { id: a, address: &s },
            Request::Add { id: a, address: &s },
            Request::Promote { id: a },
            Request::Assign { id: a, role: b },
            Request::Remove { id: a },
            Request::Dump { name: &s },
            Request::Cluster { format: ClusterFormat::Addresses },
            Request::Cluster { format: ClusterFormat::Roles },
            Request::Transfer { id: a },
            Request::Describe { format: b },
            Request::Weight { weight: a },
        ] {
            check_request(&request)?;
        }
    }

    #[test]
    fn responses_come_back(a: u64, b: u64, c: u32, d: u32, s in text(), files in vec((text(), vec(any::<u64>(), 0..4)), 0..4)) {
        let contents: Vec<Vec<u8>> =
            files.iter().map(|(_, words)| words.iter().flat_map(|w| w.to_le_bytes()).collect()).collect();
        let files = files.iter().zip(&contents).map(|((name, _), content)| File { name, content }).collect();
        let servers = vec![ServerInfo { id: a, address: &s, role: b }, ServerInfo { id: b, address: "", role: a }];
        for version in [Version::One, Version::Legacy] {
            for cluster in [ClusterFormat::Addresses, ClusterFormat::Roles] {
                let dialect = Dialect { version, cluster };
                for response in [
                    Response::Failure { code: FailureCode(a), message: &s },
                    Response::Server { id: a, address: &s },
                    Response::Welcome { heartbeat_timeout_ms: a },
                    Response::Servers(servers.clone()),
                    Response::Db { id: c },
                    Response::Statement { db: c, id: d, params: a, tail: None },
                    Response::Statement { db: c, id: d, params: a, tail: Some(b) },
                    Response::Result { last_insert_id: a, rows_affected: b },
                    Response::Empty,
                    Response::Files(Vec::clone(&files)),
                    Response::Metadata { failure_domain: a, weight: b },
                ] {
                    let mut out = BytesMut::new();
                    response.encode(&mut out, dialect);
                    let frame = frame_of(&out);
                    let read = Response::decode(&frame, dialect).unwrap();
                    let forgets_id = matches!(response, Response::Server { .. }) && version == Version::Legacy;
                    let forgets_role = matches!(response, Response::Servers(_)) && cluster == ClusterFormat::Addresses;
                    if !forgets_id && !forgets_role {
                        prop_assert_eq!(format!("{read:?}"), format!("{response:?}"));
                    }
                    let mut again = BytesMut::new();
                    read.encode(&mut again, dialect);
                    prop_assert_eq!(out, again);
                }
            }
        }
    }

    #[test]
    fn rows_come_back_whatever_the_parts(
        columns in vec("[^\0]{0,8}", 1..40),
        rows in vec(vec(value(), 40), 0..60),
        pauses: u64,
    ) {
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut out = BytesMut::new();
        let mut encoder = RowsEncoder::new(names.iter().map(|n| (*n, None)));
        for (i, row) in rows.iter().enumerate() {
            encoder.row(&mut out, row.iter().map(Value::borrow)).unwrap();
            if pauses >> (i % 64) & 1 == 1 {
                encoder.pause(&mut out);
            }
        }
        encoder.done(&mut out);
        let mut read = Vec::new();
        let mut last = RowsStep::More;
        while last == RowsStep::More {
            let frame = Frame::take(&mut out, BodyLimit::MAX).unwrap().unwrap();
            let Response::Rows(mut part) = Response::decode(&frame, Dialect::default()).unwrap() else { panic!() };
            prop_assert_eq!(part.columns(), &names[..]);
            let mut row = Vec::new();
            last = loop {
                match part.next(&mut row).unwrap() {
                    RowsStep::Row => read.push(row.iter().map(|v| v.to_value()).collect::<Vec<_>>()),
                    end => break end,
                }
            };
        }
        prop_assert!(out.is_empty());
        let expected: Vec<Vec<Value>> = rows.iter().map(|r| r[..names.len()].to_vec()).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_body_decodes_or_is_refused(kind: u8, schema in 0u8..3, mut body in vec(prop_oneof![Just(0u8), 0u8..12, any::<u8>()], 0..200)) {
        body.resize(body.len().next_multiple_of(8), 0);
        let words = u32::try_from(body.len() / 8).unwrap();
        for kind in [kind, kind % 24] {
            let frame = Frame { header: Header { words, kind, schema, extra: 0 }, body: Bytes::from(body.clone()) };
            if let Ok(request) = Request::decode(&frame) {
                let mut out = BytesMut::new();
                request.encode(&mut out);
                let read = frame_of(&out);
                prop_assert_eq!(format!("{:?}", Request::decode(&read).unwrap()), format!("{request:?}"));
            }
            if let Ok(response) = Response::decode(&frame, Dialect::default()) {
                let mut out = BytesMut::new();
                response.encode(&mut out, Dialect::default());
                let read = frame_of(&out);
                prop_assert!(Response::decode(&read, Dialect::default()).is_ok());
            }
        }
    }

    #[test]
    fn any_stream_is_events_or_a_violation(pieces in vec(vec(prop_oneof![Just(0u8), 0u8..12, any::<u8>()], 0..40), 0..20)) {
        let mut session = ServerSession::new(BodyLimit(1 << 16));
        let mut input = BytesMut::from(&Version::One.number().to_le_bytes()[..]);
        let mut out = BytesMut::new();
        for piece in pieces {
            input.extend_from_slice(&piece);
            while let Some(event) = session.poll(&mut input) {
                match event {
                    dqlite::Event::Request(_) | dqlite::Event::Interrupt => {
                        prop_assert!(session.answer(&mut out, &Response::Empty));
                    }
                    dqlite::Event::Handshake(_) | dqlite::Event::Violation(_) => {}
                }
            }
        }
    }
}
