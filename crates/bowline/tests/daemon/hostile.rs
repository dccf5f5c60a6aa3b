//! Hostile clients on every port: noise, half-open connections, requests without end, readers that do not read, and thousands that say nothing.
//! Others are served in time meanwhile, the daemon's memory stays bounded, and it stops in order.

use super::https::{cluster, https};
use super::machine::Machine;
use rustls::pki_types::ServerName;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No honest client waits longer for an answer, on a machine that has much else to do.
pub(super) const IN_TIME: Duration = Duration::from_secs(4);
pub(super) const MIB: usize = 1 << 20;
const LIVEZ: &str = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A machine with a cluster of its own and a table, and how to get at it.
pub(super) struct Target {
    pub(super) machine: Machine,
    nodes: String,
    pub(super) https: String,
    pub(super) dqlite: String,
}

impl Target {
    pub(super) fn new() -> Self {
        let (machine, https) = cluster();
        machine.say(&["sql", "shop", "CREATE TABLE t(x)"]).done();
        let listed = machine.json(&["node", "list"]);
        let address = |field: &str| listed[0][field].as_str().unwrap().to_owned();
        Self { nodes: address("address"), dqlite: address("dqlite_address"), https, machine }
    }

    fn ports(&self) -> [&str; 3] {
        [&self.nodes, &self.https, &self.dqlite]
    }

    /// What an honest client does, by every way in. None of it takes long.
    #[track_caller]
    pub(super) fn serves(&self) {
        let ask = |what: &str, ask: &dyn Fn()| {
            let began = Instant::now();
            ask();
            assert!(began.elapsed() < IN_TIME, "{what} took {:?}", began.elapsed());
        };
        ask("a write", &|| {
            let insert = r#"{"statements":[{"sql":"INSERT INTO t VALUES (1)"}]}"#;
            let (status, body) = self.machine.http("POST /v1/databases/shop/execute", "", insert);
            assert_eq!(status, 200, "{body}");
        });
        ask("HTTPS", &|| assert!(https(&self.machine, &self.https, false, LIVEZ).0.starts_with("HTTP/1.1 200 ")));
        ask("dqlite", &|| {
            let mut client = greeted(&self.dqlite);
            let mut head = [0; 8];
            client.read_exact(&mut head).unwrap();
            // SERVER.
            assert_eq!(head[4], 1, "{head:?}");
        });
    }

    pub(super) fn resident(&self) -> usize {
        let [daemon] = self.machine.daemons()[..] else { panic!("one daemon runs: {:?}", self.machine.daemons()) };
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", daemon.as_raw_nonzero())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
    }

    /// It has not grown by more than so much since it had `before`.
    #[track_caller]
    pub(super) fn grew_at_most(&self, before: usize, most: usize) {
        let now = self.resident();
        assert!(now < before + most, "it had {} MiB and has {} MiB", before / MIB, now / MIB);
    }

    #[track_caller]
    pub(super) fn stops_in_order(&self) {
        let stopped = self.machine.say(&["stop"]);
        assert!(stopped.code == Some(0) && stopped.err.contains("stopped in order"), "{stopped:?}");
    }
}

/// Numbers that look like noise, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// The first flight of a TLS client.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from("box1").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Says so much and no more. What the daemon closes meanwhile is as good.
fn knock<S: Write>(mut stream: S, words: &[u8]) -> S {
    drop(stream.write_all(words));
    stream
}

pub(super) fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(IN_TIME)).unwrap();
    stream.set_write_timeout(Some(IN_TIME)).unwrap();
    stream
}

/// A dqlite client that has said its version and asked who leads.
pub(super) fn greeted(address: &str) -> TcpStream {
    let mut stream = tcp(address);
    let version_and_leader = [1_u64.to_le_bytes(), 1_u64.to_le_bytes(), [0; 8]].concat();
    stream.write_all(&version_and_leader).unwrap();
    stream
}

/// A request of dqlite's protocol: kind and body, whose length in words is what `words` says.
pub(super) fn request(words: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    [&words.to_le_bytes()[..], &[kind, 0, 0, 0], body].concat()
}

#[test]
fn noise_and_half_open_connections_on_every_port_cost_nobody_else_anything() {
    let target = Target::new();
    target.serves();
    let before = target.resident();
    let hello = client_hello();
    let garbage = [&hello[..], &[0x17, 3, 3, 0x40, 0], &noise(16 << 10)].concat();
    let half = &hello[..hello.len() / 2];
    let noise = noise(100_000);
    let dqlite = |rest: Vec<u8>| [&1_u64.to_le_bytes()[..], &rest].concat();
    let wrong = [
        dqlite(request(u32::MAX, 9, b"much to come")),
        dqlite(request(1 << 17, 8, &noise)),
        dqlite(request(4, 255, &noise[..32])),
        dqlite(request(2, 3, &[b'A'; 16])),
    ];
    let words: Vec<&[u8]> =
        [&noise[..], &garbage, &hello, half, b"", b"\x01"].into_iter().chain(wrong.iter().map(Vec::as_slice)).collect();
    let mut open: Vec<Box<dyn Write>> = Vec::new();
    for round in 0..8 {
        for words in &words {
            for port in target.ports() {
                open.push(Box::new(knock(tcp(port), words)));
            }
            let socket = UnixStream::connect(target.machine.socket()).unwrap();
            socket.set_write_timeout(Some(IN_TIME)).unwrap();
            open.push(Box::new(knock(socket, words)));
        }
        if round % 4 == 0 {
            target.serves();
        }
    }
    target.serves();
    target.grew_at_most(before, 96 * MIB);
    // They are still there when it stops.
    target.stops_in_order();
    drop(open);
}

#[test]
fn a_request_without_an_end_is_refused_before_it_fills_the_memory() {
    let target = Target::new();
    let before = target.resident();
    let head = "POST /v1/databases/shop/query HTTP/1.1\r\nhost: x\r\n";
    let piece = "x".repeat(64 << 10);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    // How it begins, what comes again and again, and which answers are right.
    let endless = [
        ("a head", head.to_owned(), format!("x-a: {piece}\r\n"), &["431"][..]),
        ("a path", "GET /".to_owned(), piece.clone(), &["414", "431"]),
        ("a body", format!("{head}content-length: 99999999999\r\n\r\n"), piece.clone(), &["413"]),
        ("chunks", chunked.clone(), format!("10000\r\n{piece}\r\n"), &["413"]),
        ("a chunk's extension", format!("{chunked}5;"), piece.clone(), &["400"]),
        ("trailers", format!("{chunked}0\r\n"), format!("x-a: {piece}\r\n"), &["400"]),
    ];
    for (what, first, again, right) in endless {
        let mut stream = UnixStream::connect(target.machine.socket()).unwrap();
        stream.set_read_timeout(Some(IN_TIME)).unwrap();
        stream.set_write_timeout(Some(IN_TIME)).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        // 64 MiB: the largest request that is read has 8.
        let refused = (0..1024).find_map(|_| stream.write_all(again.as_bytes()).err());
        assert!(refused.is_some_and(|error| error.kind() != ErrorKind::WouldBlock), "{what} was taken, or not refused");
        // What had arrived of the answer when the daemon closed; its rest may be lost to what it did not read.
        let mut answer = [0; 12];
        if stream.read_exact(&mut answer).is_ok() {
            let answer = String::from_utf8_lossy(&answer);
            assert!(right.iter().any(|status| answer.ends_with(status)), "{what}: {answer}");
        }
        target.serves();
    }
    target.grew_at_most(before, 96 * MIB);
    target.stops_in_order();
}

#[test]
fn every_refusal_is_a_problem_in_json() {
    let target = Target::new();
    let paths = [
        "GET /v1/resources/nodes?limit=",
        "GET /v1/audit?before=x",
        "GET /v1/watch?after=x",
        "DELETE /v1/nodes/x?force=maybe",
        "DELETE /v1/nodes/%ff",
        "DELETE /v1/tokens/%ff",
        "PUT /v1/status",
        "GET /v1/init",
    ];
    for path in paths {
        let answer = target.machine.try_http(path, "", "").unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        let problem: serde_json::Value =
            serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {answer:?}"));
        assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("BL-")), "{path}: {answer:?}");
    }
    target.stops_in_order();
}
