//! A few whole messages for each fuzz target, so that a fuzzer need not find the formats by itself. They are kept in `fuzz/seeds`,
//! and this test holds them to what the encoders write. After a format has changed: `BOWLINE_WRITE_SEEDS=1 cargo nextest run
//! --workspace -E 'binary(fuzz_seeds)'`.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the seeds are files of the source tree")]

use base::{Disposition, GroupId, LogIndex, NodeId, PageNo, Term, Version};
use bytes::{BufMut, Bytes, BytesMut};
use raft::log::{Head, Record, Segment, Vote, encode_segment};
use raft::{LogPos, Payload};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_seeds_of_the_fuzz_targets_are_what_the_encoders_write() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let write = std::env::var_os("BOWLINE_WRITE_SEEDS").is_some();
    let all = [
        ("cluster_message", cluster_messages()),
        ("dqlite_request", vec![requests()]),
        ("dqlite_response", responses()),
        ("dqlite_session", sessions()),
        ("page_files", page_files()),
        ("page_record", page_records()),
        ("raft_message", raft_messages()),
        ("raft_segment", vec![[&[0], &*segment()].concat(), [&[0xff], &*segment()].concat()]),
        ("rpc_frame", vec![frames()]),
        ("store_message", store_messages()),
        ("swim_cipher", vec![[&[0], &*swim_packets()[0]].concat()]),
        ("swim_group", vec![swim_packets().iter().flat_map(|packet| swim_piece(packet)).collect()]),
        ("swim_meta", swim_packets()),
        ("swim_packet", swim_packets()),
        ("swim_record", vec![swim_record()]),
        ("token", vec![TOKEN.into()]),
    ];
    for (target, seeds) in &all {
        assert!(root.join(format!("fuzz_targets/{target}.rs")).is_file(), "there is no target {target}");
        let dir = root.join("seeds").join(target);
        for (number, seed) in seeds.iter().enumerate() {
            let path = dir.join(number.to_string());
            if write {
                fs::create_dir_all(&dir).unwrap();
                fs::write(&path, seed).unwrap();
            }
            let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(kept == *seed, "{} is not what the encoders write now", path.display());
        }
    }
    // What the targets expect of any input holds for these.
    for message in raft_messages() {
        let body = Bytes::copy_from_slice(&message[1..]);
        assert_eq!(raft::recode_message(message[0], &body), Some(body));
    }
    for message in cluster_messages() {
        let kind = cluster::MessageKind::ALL[usize::from(message[0])];
        assert_eq!(kind.recode(&message[1..]).as_deref(), Some(&message[1..]), "{kind:?}");
    }
    for message in store_messages() {
        let form = store::Form::ALL[usize::from(message[0])];
        assert_eq!(form.recode(&message[1..]).as_deref(), Some(&message[1..]), "{form:?}");
    }
    let decoded = raft::log::decode_segment(7, &segment());
    assert_eq!((decoded.records.len(), decoded.end), (11, segment().len()));
}

const TOKEN: &str = r#"{"addrs":["10.0.0.1:9601","host.example:9601"],"ca":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","id":"0123abcd","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#;

fn requests() -> Vec<u8> {
    use dqlite::{ClusterFormat, Params, Request, Tail, ValueRef};
    let values =
        [ValueRef::Integer(-1), ValueRef::Float(0.5), ValueRef::Null, ValueRef::Text(b"text"), ValueRef::Blob(b"blob")];
    let params = Params::new(&values);
    let mut out = BytesMut::new();
    for request in [
        Request::Leader,
        Request::Client { id: 1 },
        Request::Open { name: "data", flags: 6, vfs: "volatile" },
        Request::Prepare { db: 0, sql: "SELECT 1; SELECT 2", tail: Tail::Reported },
        Request::Exec { db: 0, stmt: 1, params },
        Request::Query { db: 0, stmt: 1, params },
        Request::QuerySql { db: 0, sql: "SELECT ?", params },
        Request::Finalize { db: 0, stmt: 1 },
        Request::Interrupt { db: 0 },
        Request::Add { id: 2, address: "@bowline/2" },
        Request::Assign { id: 2, role: 1 },
        Request::Cluster { format: ClusterFormat::Addresses },
        Request::Dump { name: "data" },
    ] {
        request.encode(&mut out);
    }
    out.to_vec()
}

fn responses() -> Vec<Vec<u8>> {
    use dqlite::{Dialect, FailureCode, File, Response, RowsEncoder, ServerInfo, ValueRef};
    let mut out = BytesMut::new();
    for response in [
        Response::Failure { code: FailureCode(5), message: "busy" },
        Response::Server { id: 1, address: "@bowline/1" },
        Response::Servers(vec![ServerInfo { id: 1, address: "@bowline/1", role: 2 }]),
        Response::Statement { db: 0, id: 1, params: 2, tail: Some(9) },
        Response::Result { last_insert_id: 3, rows_affected: 1 },
        Response::Files(vec![File { name: "data", content: &[1; 16] }]),
        Response::Metadata { failure_domain: 0, weight: 1 },
    ] {
        response.encode(&mut out, Dialect::default());
    }
    let mut rows = RowsEncoder::new([("n", Some("INTEGER")), ("t", None)]);
    for value in [ValueRef::Text(b"one"), ValueRef::Null] {
        rows.row(&mut out, [ValueRef::Integer(1), value]).expect("a small row");
    }
    rows.done(&mut out);
    vec![[&[0], &*out].concat()]
}

fn sessions() -> Vec<Vec<u8>> {
    // Mode 0: pieces of 63 bytes, each answered. Mode 1: a script of steps.
    let handshake = 1_u64.to_le_bytes();
    let bytes = [&handshake[..], &requests()].concat();
    let pieces = bytes.chunks(63).flat_map(|piece| std::iter::once(0xbf).chain(piece.iter().copied()));
    vec![std::iter::once(0).chain(pieces).collect(), vec![1, 0, 2, 3, 3, 4, 5, 0, 1, 2, 2, 5, 4, 5]]
}

/// Written by hand, in postcard: the kind for the target, then the message, which begins with its form.
fn cluster_messages() -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| {
        let mut out = Vec::new();
        for text in texts {
            put_text(&mut out, text);
        }
        out
    };
    let (token, secret, key) = (texts(&["0123abcd"]), [7; 32], [5; 32]);
    // Name, address, dqlite address, HTTPS address, version, whether as a witness, certificate request.
    let who = texts(&["tern", "10.0.0.2:9601", "@bowline/2", "10.0.0.2:9602", "0.1.0"]);
    let who = [who, vec![1], texts(&["request"])].concat();
    let pems = texts(&["cluster", "ca", "key", "certificate"]);
    let member = texts(&["alder", "10.0.0.1:9601"]);
    let announce = texts(&["10.0.0.2:9601", "@bowline/2", "10.0.0.2:9602", "0.1.0"]);
    vec![
        [&[0, 1][..], &token, &secret, &who].concat(),
        [&[1, 1][..], &key, &[1], &token, &secret, &who].concat(),
        // Node, texts, members, leader, clock.
        [&[2, 1, 2][..], &pems, &[1, 1], &member, &[1, 0x80, 0x01]].concat(),
        [&[3, 1, 2][..], &announce].concat(),
        // A role by its number, voters.
        vec![4, 1, 0, 2, 1, 2],
        // Node, groups.
        vec![5, 1, 2, 2, 1, 9],
        // Groups with a position each: term, node, index.
        vec![6, 1, 1, 9, 3, 1, 40],
        // A certificate request; CAs, their keys, a certificate; a clock; the key of a CA.
        [&[10, 1][..], &texts(&["request"])].concat(),
        [&[11, 1][..], &texts(&["ca", "key", "certificate"])].concat(),
        vec![12, 1, 0x80, 0x01],
        [&[13, 1][..], &key].concat(),
        [&[14, 1, 1][..], &texts(&["key"])].concat(),
    ]
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("short"));
    out.extend_from_slice(text.as_bytes());
}

fn page_records() -> Vec<Vec<u8>> {
    let page = |number, image| sqlite::PageImage { number: PageNo(number), image: Arc::new(image) };
    let mut half = [0; sqlite::PAGE_SIZE];
    half[..100].fill(1);
    half[4000..].fill(2);
    let record = |pages| sqlite::Record {
        term: Term(3),
        base: Version(8),
        version: Version(9),
        reign: 77,
        db_pages: 5,
        pages,
        extra: Bytes::from_static(b"answers"),
    };
    let short = record(vec![page(1, half), page(4, [0; sqlite::PAGE_SIZE])]);
    let long = record(vec![page(2, [9; sqlite::PAGE_SIZE])]);
    vec![short.encode().to_vec(), long.encode().to_vec()]
}

/// Written by hand, in postcard: a query and its rows, the answer that a record carries, the head of a snapshot.
fn store_messages() -> Vec<Vec<u8>> {
    let mut query = vec![0, 2];
    put_text(&mut query, "shop");
    put_text(&mut query, "SELECT ?");
    query.extend([1, 1, 2]);
    let rows = vec![1, 1, 1, 1, b'n', 1, 1, 1, 2];
    let answer = vec![2, 1, 7, 1, 2, 1];
    let manifest = [&[4, 9, 2, 5][..], b"extra"].concat();
    vec![query, rows, answer, manifest]
}

fn page_files() -> Vec<Vec<u8>> {
    let mut meta = vec![0];
    meta.put_u64_le(9);
    meta.put_u32_le(2);
    meta.put_slice(&[1; 16]);
    meta.put_u32_le(5);
    meta.put_u32_le(1);
    meta.put_slice(b"extra");
    meta.put_u32_le(0);
    meta.put_u16_le(32);
    meta.put_slice(&[2; 32]);
    let mut plan = vec![1];
    plan.put_u64_le(9);
    plan.put_u32_le(2);
    plan.put_u32_le(1);
    plan.put_slice(&[3; 32]);
    plan.put_u32_le(2);
    plan.put_slice(b"extra");
    let request = vec![2, 3, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0];
    let answer = vec![3, 3, 1, 0, 0, 0, 6, 0, 0, 0, 1, 2, 0, 1, 0, 5, 6, 7];
    let hashes = [&[3, 2, 1, 0, 0, 0, 2, 0, 0, 0][..], &[4; 32]].concat();
    vec![meta, plan, request, answer, hashes]
}

/// Written by hand after docs/formats/raft-rpc.md.
fn raft_messages() -> Vec<Vec<u8>> {
    let vote = |out: &mut Vec<u8>| {
        out.put_u64_le(3);
        out.put_u64_le(1);
        out.put_u8(1);
    };
    let place = |out: &mut Vec<u8>, index| {
        out.put_u64_le(3);
        out.put_u64_le(1);
        out.put_u64_le(index);
    };
    let position = |out: &mut Vec<u8>, index| {
        out.put_u8(1);
        place(out, index);
    };
    let start = |method| {
        let mut out = vec![method];
        out.put_u64_le(12);
        out
    };
    let mut append = start(1);
    append.put_u8(0);
    vote(&mut append);
    position(&mut append, 8);
    position(&mut append, 7);
    append.put_u32_le(3);
    for (index, kind, payload) in [(9, 0, Vec::new()), (10, 1, b"record".to_vec()), (11, 2, members())] {
        place(&mut append, index);
        append.put_u8(kind);
        append.put_u32_le(u32::try_from(payload.len()).expect("short"));
        append.put_slice(&payload);
    }
    let mut ask = start(2);
    vote(&mut ask);
    position(&mut ask, 9);
    ask.put_u8(0);
    let mut offer = start(4);
    offer.put_u8(1);
    vote(&mut offer);
    offer.put_u64_le(99);
    position(&mut offer, 9);
    offer.put_u8(0);
    offer.put_u32_le(u32::try_from(members().len()).expect("short"));
    offer.put_slice(&members());
    let mut transfer = start(6);
    vote(&mut transfer);
    transfer.put_u64_le(2);
    position(&mut transfer, 9);
    let mut partial = vec![128 + 1, 1];
    position(&mut partial, 9);
    let mut granted = vec![128 + 2];
    vote(&mut granted);
    granted.put_u8(1);
    position(&mut granted, 9);
    vec![append, ask, offer, transfer, partial, granted, vec![128 + 7, 9, 0, 0, 0, 0, 0, 0, 0]]
}

/// By hand after docs/formats/raft-log.md: version, the position of the entry that made them, sets of voters, nodes with their addresses.
fn members() -> Vec<u8> {
    let mut out = vec![1, 1];
    for part in [3, 1, 11] {
        out.put_u64_le(part);
    }
    out.put_u8(1);
    out.put_u16_le(2);
    out.put_u64_le(1);
    out.put_u64_le(2);
    out.put_u16_le(3);
    for node in 1..=3 {
        out.put_u64_le(node);
        out.put_u16_le(8);
        out.put_slice(b"host:960");
    }
    out
}

fn segment() -> Vec<u8> {
    let pos = |index| LogPos { term: Term(3), node: NodeId(1), index: LogIndex(index) };
    let vote = Vote { term: Term(3), node: NodeId(1), committed: true };
    let head = Head {
        vote: Some(vote),
        purged: Some(pos(4)),
        last: Some(pos(8)),
        committed: Some(pos(7)),
        quarantined: false,
    };
    let heads = vec![(GroupId(1), head), (GroupId(2), Head::default())];
    let first = Segment { number: 7, previous: 6, previous_end: 4096, node: NodeId(1), heads };
    let append = |index, payload| Record::Append { pos: pos(index), payload };
    encode_segment(
        7,
        &[
            (GroupId(0), Record::Segment(first)),
            (GroupId(1), append(9, Payload::Blank)),
            (GroupId(1), append(10, Payload::App(Bytes::from_static(b"record")))),
            (GroupId(1), append(11, Payload::Membership(members().into()))),
            (GroupId(1), Record::Truncate { after: Some(pos(9)) }),
            (GroupId(2), Record::Truncate { after: None }),
            (GroupId(1), Record::Purge { upto: pos(5) }),
            (GroupId(2), Record::Vote(vote)),
            (GroupId(1), Record::Committed { upto: pos(9) }),
            (GroupId(2), Record::Quarantine { on: true }),
            (GroupId(2), Record::Drop),
        ],
    )
}

fn frames() -> Vec<u8> {
    use rpc::frame::{Frame, Hello};
    use rpc::{Class, Fingerprint, Refusal};
    let retry = Disposition::Retry { after: Duration::from_millis(50) };
    let mut out = BytesMut::new();
    for (id, frame) in [
        Frame::Hello(Hello {
            version: 1,
            class: Class::Control,
            node: Some(NodeId(1)),
            wanted: None,
            fingerprint: Fingerprint([5; 32]),
        }),
        Frame::Welcome { version: 1, node: NodeId(2) },
        Frame::Call { service: 1, method: 2, deadline_ms: 500, body: Bytes::from_static(b"body") },
        Frame::Answer(Bytes::from_static(b"answer")),
        Frame::Refused(Refusal { code: "BL-RPC-001".into(), disposition: retry, message: "not now".to_owned() }),
        Frame::Cancel,
        Frame::Goodbye("stopping".to_owned()),
        Frame::Ping,
        Frame::Pong,
    ]
    .into_iter()
    .zip(1..)
    .map(|(frame, id)| (id, frame))
    {
        frame.encode(id, &mut out);
    }
    out.to_vec()
}

/// What a node that joins sends and is answered, and what it sends when it goes.
fn swim_packets() -> Vec<Vec<u8>> {
    use swim::{Config, DATAGRAM_LEN_MAX, MemberId, Moment, Swim};
    let node = |n: u8| {
        let config = Config { payload: vec![n; 3], ..Config::new(MemberId([n; 16]), ([10, 0, 0, n], 3301).into(), 1) };
        Swim::new(config, &[n; 32], Moment::default()).unwrap()
    };
    let send = |node: &mut Swim| {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        let transmit = node.poll_transmit(&mut buf).unwrap();
        buf[..transmit.len].to_vec()
    };
    let (mut first, mut second) = (node(1), node(2));
    second.probe(Moment::default(), ([10, 0, 0, 1], 3301).into()).unwrap();
    let ping = send(&mut second);
    first.handle_datagram(Moment::default(), &mut ping.clone()).unwrap();
    let ack = send(&mut first);
    second.handle_datagram(Moment::default(), &mut ack.clone()).unwrap();
    second.quit();
    vec![ping, ack, send(&mut second)]
}

fn swim_piece(packet: &[u8]) -> Vec<u8> {
    [&[0x84], &u16::try_from(packet.len()).unwrap().to_be_bytes()[..], packet].concat()
}

fn swim_record() -> Vec<u8> {
    use swim::{Incarnation, MemberId, Record, Status, encode_record};
    let record = Record {
        id: MemberId([1; 16]),
        status: Status::Suspected,
        addr: ([10, 0, 0, 1], 3301).into(),
        incarnation: Incarnation { generation: 1, version: 2 },
        payload: Some(b"payload"),
    };
    let mut buf = [0; 200];
    let len = encode_record(&record, &mut buf).unwrap();
    buf[..len].to_vec()
}
