//! INC-1 on real processes: clients write and list from the first moment on, while the daemon starts, is killed, and starts again.

use super::machine::{Machine, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u64 = 8;
const LISTERS: usize = 32;
/// Rows that are there from the beginning, by a writer of their own.
const FIRST_ROWS: u64 = 1000;
const FIRST_WRITER: u64 = 99;
/// How many rows a page has: none of the numbers of rows is a multiple of it.
const PAGE_ROWS: usize = 97;

/// How long the clients go on once they were served: a few seconds, or what BOWLINE_LOAD_SECONDS says.
fn served() -> Duration {
    let seconds = std::env::var("BOWLINE_LOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// One life of the daemon, as the clients see it.
struct Life<'a> {
    machine: &'a Machine,
    /// When the first request about data was answered.
    ready: OnceLock<Instant>,
    /// From here on the daemon may be gone.
    over: AtomicBool,
    /// How many rows of each writer were acknowledged, in all lives.
    acknowledged: &'a [AtomicU64],
    lists: AtomicU64,
    not_ready: AtomicU64,
}

impl Life<'_> {
    /// The answer; none while the node is not ready, or not there. Held to: nothing but 503 with Retry-After before it is ready, and no error
    /// of the server from then on.
    fn ask(&self, request: &str, body: &Value) -> Option<(u16, Value)> {
        self.request(&format!("POST /v1/databases/shop/{request}"), &body.to_string())
    }

    fn request(&self, request: &str, body: &str) -> Option<(u16, Value)> {
        let began = Instant::now();
        let answered = self.machine.try_http(request, "", body);
        let is_over = self.over.load(Ordering::SeqCst);
        let Ok(answer) = answered else {
            let was_ready = self.ready.get().is_some_and(|ready| *ready < began);
            assert!(is_over || !was_ready, "no answer after it was ready: {answered:?}");
            return None;
        };
        if answer.status >= 500 {
            let was_ready = self.ready.get().is_some_and(|ready| *ready < began);
            assert!(is_over || !was_ready, "an error of the server after it was ready: {answer:?}");
            let says_when = answer.head.to_ascii_lowercase().contains("\r\nretry-after: ");
            assert!(is_over || (answer.status == 503 && says_when), "{answer:?}");
            self.not_ready.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if answer.status == 200 {
            self.ready.get_or_init(Instant::now);
        }
        Some((answer.status, serde_json::from_str(&answer.body).unwrap()))
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// Appends to its series, the next row when the one before is acknowledged. The number makes a repeated request safe.
    fn write(&self, writer: u64) {
        let acknowledged = &self.acknowledged[usize::try_from(writer).unwrap()];
        while self.goes_on() {
            let n = acknowledged.load(Ordering::SeqCst);
            let insert = json!({"sql": "INSERT INTO items VALUES (?, ?, hex(randomblob(50)))", "params": [writer, n]});
            let request = json!({"statements": [insert], "id": {"client": writer + 1, "sequence": n + 1}});
            match self.ask("execute", &request) {
                Some((status, _)) => {
                    assert_eq!(status, 200);
                    acknowledged.store(n + 1, Ordering::SeqCst);
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Lists all rows page by page, again and again. Each writer's rows are there from the first on without a gap, and none that was
    /// acknowledged before is missing.
    fn list(&self) {
        while self.goes_on() {
            let before: Vec<u64> = self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            let Some(seen) = self.pages() else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            assert_eq!(seen.get(&FIRST_WRITER), Some(&FIRST_ROWS));
            for (writer, acknowledged) in (0..).zip(before) {
                let rows = seen.get(&writer).copied().unwrap_or(0);
                assert!(rows >= acknowledged, "writer {writer}: {rows} of {acknowledged} rows");
            }
            self.lists.fetch_add(1, Ordering::Relaxed);
            // The list of databases is never short.
            if let Some((status, databases)) = self.request("GET /v1/databases", "") {
                let names: Vec<&Value> =
                    databases.as_array().unwrap().iter().map(|database| &database["name"]).collect();
                assert!(status == 200 && names == ["sys", "shop"], "{databases}");
            }
            // What fails is this query, and no other.
            if let Some((status, problem)) = self.ask("query", &json!({"sql": "SELECT * FROM knotz"})) {
                assert!(status == 400 && problem["message"] == "no such table: knotz", "{problem}");
            }
        }
    }

    /// How many rows each writer has.
    fn pages(&self) -> Option<BTreeMap<u64, u64>> {
        let sql =
            format!("SELECT writer, n FROM items WHERE (writer, n) > (?, ?) ORDER BY writer, n LIMIT {PAGE_ROWS}");
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let mut last = json!([-1, -1]);
        loop {
            let (status, page) = self.ask("query", &json!({"sql": sql, "params": last}))?;
            assert_eq!(status, 200, "{page}");
            let rows = page["rows"].as_array().unwrap();
            for row in rows {
                let next = seen.entry(row[0].as_u64().unwrap()).or_default();
                assert_eq!(row[1], *next, "a row was left out, or came twice");
                *next += 1;
            }
            match rows.last() {
                Some(row) if rows.len() == PAGE_ROWS => last = row.clone(),
                _ => return Some(seen),
            }
        }
    }
}

#[test]
fn lists_and_writes_from_the_first_moment_on_meet_a_node_that_is_ready_or_says_when_to_come_again() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    let table = "CREATE TABLE items(writer INTEGER, n INTEGER, body TEXT, PRIMARY KEY (writer, n)) WITHOUT ROWID";
    let count = format!("WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT {FIRST_ROWS})");
    let first = format!("{count} INSERT INTO items SELECT {FIRST_WRITER}, n, '' FROM c");
    machine.say(&["sql", "shop", &format!("{table}; {first}")]).done();
    machine.say(&["stop"]).done();

    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let mut not_ready = 0;
    // The first life ends by a kill in the middle, the second in order.
    for is_killed in [true, false] {
        let life = Life {
            machine: &machine,
            ready: OnceLock::new(),
            over: AtomicBool::new(false),
            acknowledged: &acknowledged,
            lists: AtomicU64::new(0),
            not_ready: AtomicU64::new(0),
        };
        std::thread::scope(|scope| {
            let life = &life;
            for writer in 0..WRITERS {
                scope.spawn(move || life.write(writer));
            }
            for _ in 0..LISTERS {
                scope.spawn(|| life.list());
            }
            let daemon = machine.start();
            until("the first answer", || life.ready.get());
            std::thread::sleep(served());
            life.over.store(true, Ordering::SeqCst);
            if is_killed {
                machine.kill();
            } else {
                daemon.terminate();
                assert_eq!(daemon.ended_within(Duration::from_secs(20)).code(), Some(0));
            }
        });
        assert!(life.lists.into_inner() > 0, "nobody has seen a whole list");
        not_ready += life.not_ready.into_inner();
    }
    let rows: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
    assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");
    assert!(not_ready > 0, "nobody has met a node that was not ready");
}
