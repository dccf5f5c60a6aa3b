//! The worked bytes of the protocol's description (docs/formats/dqlite.md), in both directions.

#![cfg(test)]

use bytes::BytesMut;
use dqlite::{
    BodyLimit, Dialect, Frame, Params, Request, Response, RowsEncoder, RowsStep, TypeCode, Value, ValueRef, Version,
};

/// Bytes from a text such as `"01 00*7 'x' ff*8"`.
fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .flat_map(|word| {
            if let Some(quoted) = word.strip_prefix('\'') {
                return quoted.trim_end_matches('\'').replace('_', " ").into_bytes();
            }
            let (byte, times) = word.split_once('*').unwrap_or((word, "1"));
            vec![u8::from_str_radix(byte, 16).unwrap(); times.parse().unwrap()]
        })
        .collect()
}

fn frame(wire: &[u8]) -> Frame {
    let mut input = BytesMut::from(wire);
    let frame = Frame::take(&mut input, BodyLimit::DEFAULT).unwrap().expect("a whole message");
    assert!(input.is_empty(), "nothing follows the message");
    frame
}

#[track_caller]
fn request(request: &Request<'_>, wire: &str) {
    let wire = bytes(wire);
    let mut out = BytesMut::new();
    request.encode(&mut out);
    assert_eq!(out, wire, "{request:?}");
    assert_eq!(&Request::decode(&frame(&wire)).unwrap(), request);
}

#[track_caller]
fn response(response: &Response<'_>, dialect: Dialect, wire: &str) {
    let wire = bytes(wire);
    let mut out = BytesMut::new();
    response.encode(&mut out, dialect);
    assert_eq!(out, wire, "{response:?}");
    let read = frame(&wire);
    let mut again = BytesMut::new();
    Response::decode(&read, dialect).unwrap().encode(&mut again, dialect);
    assert_eq!(again, wire);
}

#[test]
fn handshakes_are_one_word() {
    assert_eq!(Version::One.number().to_le_bytes(), *bytes("01 00*7"));
    assert_eq!(Version::Legacy.number().to_le_bytes(), *bytes("e5 3f 43 60 d7 4d 10 86"));
}

#[test]
fn requests_are_as_described() {
    request(&Request::Leader, "01 00*3 00 00 00*2  00*8");
    request(
        &Request::Open { name: "t.db", flags: 0, vfs: "volatile" },
        "04 00*3 03 00 00*2  't.db' 00*4  00*8  'volatile' 00*8",
    );
    let params = [ValueRef::Integer(7), ValueRef::Text(b"x")];
    request(
        &Request::ExecSql { db: 0, sql: "INSERT", params: Params::new(&params) },
        "05 00*3 08 00 00*2  00*8  'INSERT' 00*2  02 01 03 00*5  07 00*7  'x' 00*7",
    );
    request(&Request::Prepare { db: 1, sql: "", tail: dqlite::Tail::Refused }, "02 00*3 04 00 00*2  01 00*7  00*8");
    request(&Request::Prepare { db: 0, sql: "S", tail: dqlite::Tail::Reported }, "02 00*3 04 01 00*2  00*8 'S' 00*7");
    request(&Request::Finalize { db: 0, stmt: 3 }, "01 00*3 07 00 00*2  00*4 03 00*3");
    request(&Request::Query { db: 0, stmt: 1, params: Params::NONE }, "01 00*3 06 00 00*2  00*4 01 00*3");
    request(&Request::Promote { id: 2 }, "01 00*3 0d 00 00*2  02 00*7");
    request(&Request::Assign { id: 2, role: 1 }, "02 00*3 0d 00 00*2  02 00*7 01 00*7");
    request(&Request::Add { id: 2, address: "a:1" }, "02 00*3 0c 00 00*2  02 00*7 'a:1' 00*5");
}

#[test]
fn every_parameter_type_has_its_form() {
    let params = [
        ValueRef::Integer(-1),
        ValueRef::Float(1.5),
        ValueRef::Text(b"12345678"),
        ValueRef::Blob(b"123"),
        ValueRef::Null,
        ValueRef::UnixTime(9),
        ValueRef::Iso8601(b""),
        ValueRef::Boolean(true),
    ];
    request(
        &Request::Exec { db: 0, stmt: 0, params: Params::new(&params) },
        "0d 00*3 05 00 00*2  00*8  08 01 02 03 04 05 09 0a  0b 00*7 \
         ff*8  00*6 f8 3f  '12345678' 00*8  03 00*7 '123' 00*5  00*8  09 00*7  00*8  01 00*7",
    );
}

#[test]
fn more_than_255_parameters_take_the_wide_tuple() {
    let params = vec![ValueRef::Null; 256];
    let mut out = BytesMut::new();
    Request::QuerySql { db: 0, sql: "", params: Params::new(&params) }.encode(&mut out);
    assert_eq!(out[..8], bytes("23 01 00*2 09 01 00*2"), "2 words, 33 of types, 256 of values");
    assert_eq!(out[24..28], bytes("00 01 00*2"));
    let message = frame(&out);
    let Request::QuerySql { params: read, .. } = Request::decode(&message).unwrap() else { panic!() };
    assert_eq!(read, Params::new(&params));
}

#[test]
fn responses_are_as_described() {
    let plain = Dialect::default();
    let legacy = Dialect { version: Version::Legacy, ..plain };
    response(&Response::Server { id: 1, address: "a:1" }, plain, "02 00*3 01 00 00*2  01 00*7  'a:1' 00*5");
    response(&Response::Server { id: 0, address: "a:1" }, legacy, "01 00*3 01 00 00*2  'a:1' 00*5");
    response(&Response::Server { id: 0, address: "" }, plain, "02 00*3 01 00 00*2  00*8 00*8");
    response(&Response::Welcome { heartbeat_timeout_ms: 15000 }, plain, "01 00*3 02 00 00*2  98 3a 00*6");
    response(&Response::Db { id: 0 }, plain, "01 00*3 04 00 00*2  00*8");
    response(
        &Response::Statement { db: 0, id: 1, params: 2, tail: None },
        plain,
        "02 00*3 05 00 00*2  00*4 01 00*3  02 00*7",
    );
    response(
        &Response::Statement { db: 0, id: 1, params: 2, tail: Some(9) },
        plain,
        "03 00*3 05 01 00*2  00*4 01 00*3  02 00*7  09 00*7",
    );
    response(&Response::Result { last_insert_id: 5, rows_affected: 1 }, plain, "02 00*3 06 00 00*2  05 00*7 01 00*7");
    response(&Response::Empty, plain, "01 00*3 08 00 00*2  00*8");
    response(
        &Response::failure(dqlite::FailureCode::NOT_LEADER, "not leader"),
        plain,
        "03 00*3 00 00 00*2  0a 28 00*6  'not_leader' 00*6",
    );
    response(&Response::Metadata { failure_domain: 1, weight: 2 }, plain, "02 00*3 0a 00 00*2  01 00*7 02 00*7");
    response(
        &Response::Files(vec![
            dqlite::File { name: "d", content: b"12345678" },
            dqlite::File { name: "d-wal", content: b"" },
        ]),
        plain,
        "06 00*3 09 00 00*2  02 00*7  'd' 00*7 08 00*7 '12345678'  'd-wal' 00*3 00*8",
    );
}

#[test]
fn rows_are_as_described() {
    let mut out = BytesMut::new();
    let mut rows = RowsEncoder::new([("n", None)]);
    rows.row(&mut out, [ValueRef::Integer(5)]).unwrap();
    rows.done(&mut out);
    assert_eq!(out, bytes("05 00*3 07 00 00*2  01 00*7  'n' 00*7  01 00*7  05 00*7  ff*8"));

    let mut out = BytesMut::new();
    let mut rows = RowsEncoder::new([("a", None), ("b", None), ("c", None)]);
    rows.row(&mut out, [ValueRef::Integer(1), ValueRef::Text(b"x"), ValueRef::Null]).unwrap();
    rows.done(&mut out);
    let row = bytes("31 05 00*6  01 00*7  'x' 00*7  00*8  ff*8");
    assert_eq!(out[out.len() - row.len()..], row);

    let mut out = BytesMut::new();
    RowsEncoder::new([]).done(&mut out);
    assert_eq!(out, bytes("02 00*3 07 00 00*2  00*8  ff*8"), "no columns: a count of zero and the marker");
}

#[test]
fn seventeen_columns_need_a_second_word_of_types() {
    let names: Vec<String> = (0..17).map(|i| i.to_string()).collect();
    let mut out = BytesMut::new();
    let mut rows = RowsEncoder::new(names.iter().map(|n| (n.as_str(), None)));
    rows.row(&mut out, (0..17).map(ValueRef::Integer)).unwrap();
    rows.done(&mut out);
    let tail = &out[8 + 8 + 17 * 8..];
    assert_eq!(tail[..16], bytes("11*8 01 00*7"));
    assert_eq!(tail.len(), 16 + 17 * 8 + 8);
}

/// Reads back all rows of all parts; returns them with the number of parts.
fn read_rows(out: &BytesMut, names: &[&str]) -> (Vec<Vec<Value>>, usize) {
    let mut input = out.clone();
    let (mut all, mut parts) = (Vec::new(), 0);
    loop {
        let frame = Frame::take(&mut input, BodyLimit::DEFAULT).unwrap().expect("the last part says DONE");
        let Response::Rows(mut part) = Response::decode(&frame, Dialect::default()).unwrap() else { panic!() };
        assert_eq!(part.columns(), names, "every part repeats the names");
        parts += 1;
        let mut row = Vec::new();
        let end = loop {
            match part.next(&mut row).unwrap() {
                RowsStep::Row => all.push(row.iter().map(|v| v.to_value()).collect()),
                end => break end,
            }
        };
        if end == RowsStep::Done {
            assert!(input.is_empty());
            return (all, parts);
        }
    }
}

#[test]
fn a_part_ends_with_the_row_that_reaches_4096_bytes() {
    // 8 for the count, 8 for the name, 16 a row: the 255th row fills the part.
    for (count, parts) in [(0, 1), (1, 1), (255, 1), (256, 2), (510, 2), (511, 3)] {
        let mut out = BytesMut::new();
        let mut rows = RowsEncoder::new([("n", None)]);
        for n in 0..count {
            rows.row(&mut out, [ValueRef::Integer(n)]).unwrap();
        }
        rows.done(&mut out);
        let (read, n) = read_rows(&out, &["n"]);
        assert_eq!(n, parts, "{count} rows");
        assert_eq!(read, (0..count).map(|n| vec![Value::Integer(n)]).collect::<Vec<_>>());
    }
}

#[test]
fn an_abandoned_part_leaves_only_whole_messages() {
    let mut out = BytesMut::new();
    let mut rows = RowsEncoder::new([("n", None)]);
    for n in 0..300 {
        rows.row(&mut out, [ValueRef::Integer(n)]).unwrap();
    }
    rows.abandon(&mut out);
    assert!(!rows.is_part_open());
    let first = Frame::take(&mut out, BodyLimit::DEFAULT).unwrap().unwrap();
    assert_eq!(first.body[first.body.len() - 8..], [0xee; 8]);
    assert!(out.is_empty());
}

/// The values that end the C server (`query.c: Assertion type == ...`) are ordinary here.
#[test]
fn declared_types_give_codes_and_odd_values_keep_their_storage_class() {
    use TypeCode as T;
    let values =
        [ValueRef::Integer(1), ValueRef::Float(1.5), ValueRef::Text(b"t"), ValueRef::Blob(b"b"), ValueRef::Null];
    let plain = [T::Integer, T::Float, T::Text, T::Blob, T::Null];
    let time = [T::UnixTime, T::Float, T::Iso8601, T::Blob, T::Iso8601];
    let boolean = [T::Boolean, T::Float, T::Text, T::Blob, T::Null];
    for (declared, expected) in [
        (None, plain),
        (Some("INTEGER"), plain),
        (Some("DATETIME "), plain),
        (Some("BOOL"), plain),
        (Some("DATETIME"), time),
        (Some("date"), time),
        (Some("TimeStamp"), time),
        (Some("boolean"), boolean),
    ] {
        let mut out = BytesMut::new();
        let mut rows = RowsEncoder::new([("c", declared)]);
        for value in values {
            rows.row(&mut out, [value]).unwrap();
        }
        rows.done(&mut out);
        let (read, _) = read_rows(&out, &["c"]);
        let codes: Vec<_> = read.iter().map(|row| row[0].borrow().type_code()).collect();
        assert_eq!(codes, expected, "{declared:?}");
    }
}

#[test]
fn missing_values_are_null_and_surplus_ones_are_dropped() {
    let mut out = BytesMut::new();
    let mut rows = RowsEncoder::new([("a", None), ("b", None)]);
    rows.row(&mut out, [ValueRef::Integer(1)]).unwrap();
    rows.row(&mut out, [ValueRef::Integer(1), ValueRef::Integer(2), ValueRef::Integer(3)]).unwrap();
    rows.done(&mut out);
    let (read, _) = read_rows(&out, &["a", "b"]);
    assert_eq!(read, [[Value::Integer(1), Value::Null], [Value::Integer(1), Value::Integer(2)]]);
}

#[test]
fn a_dump_in_pieces_is_the_same_message_as_in_one() {
    let content = vec![7u8; 8192];
    let head = dqlite::DumpHead { name: "shop.db", main_len: 8192 };
    let mut pieces = BytesMut::new();
    assert!(head.encode(&mut pieces));
    pieces.extend_from_slice(&content);
    head.encode_tail(&mut pieces);
    let mut whole = BytesMut::new();
    Response::Files(vec![
        dqlite::File { name: "shop.db", content: &content },
        dqlite::File { name: "shop.db-wal", content: b"" },
    ])
    .encode(&mut whole, Dialect::default());
    assert_eq!(pieces, whole);

    for main_len in [4096 * 1024 * 1024, u64::MAX - 4095, 12] {
        let mut out = BytesMut::new();
        assert!(!dqlite::DumpHead { name: "x", main_len }.encode(&mut out), "{main_len}");
        assert!(out.is_empty());
    }
}
