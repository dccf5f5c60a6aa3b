//! Many watchers on many changing rows, on real processes: each is told every change once and in order, through the loss of the leader and
//! through watches that break off.
//!
//! `BOWLINE_WATCH_ROWS=10000` makes it as many rows as the cluster is meant for.

use super::machine::{Machine, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WATCHERS: usize = 100;
/// Rows in one transaction.
const BATCH: u64 = 500;
const PATIENCE: Duration = Duration::from_mins(3);

fn rows() -> u64 {
    std::env::var("BOWLINE_WATCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1000)
}

/// Follows the changes of tokens at one member after the other until the change of this number, once it is known. Gives how many it was told.
fn watch(sockets: &[PathBuf], first: usize, last: &AtomicU64) -> u64 {
    let (mut after, mut told, mut at) = (0, 0, first);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let socket = &sockets[at % sockets.len()];
        at += 1;
        let Ok(mut stream) = UnixStream::connect(socket) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let request = format!("GET /v1/watch?after={after} HTTP/1.0\r\n\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            continue;
        }
        let mut lines = BufReader::new(stream.take(u64::MAX)).lines().map_while(Result::ok);
        if !lines.next().is_some_and(|status| status.contains(" 200 ")) {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let mut here = 0;
        for line in lines.by_ref().skip_while(|line| !line.is_empty()).skip(1) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let Some(revision) = line["revision"].as_u64() else { continue };
            assert_eq!(revision, after + 1, "after change {after}: {line}");
            after = revision;
            told += u64::from(line["kind"] == "tokens");
            here += 1;
            let end = last.load(Ordering::Acquire);
            if end > 0 && after >= end {
                return told;
            }
            // Some hang up in the middle.
            if first.is_multiple_of(3) && here == 700 {
                break;
            }
        }
    }
    panic!("watcher {first} was told up to change {after} within {PATIENCE:?}");
}

fn execute(machines: &[&Machine], sql: &str) {
    let body = serde_json::json!({"statements": [{"sql": sql}]}).to_string();
    until("a write is done", || {
        let asked = machines.iter().find_map(|machine| {
            let json = "content-type: application/json\r\n";
            machine.try_http("POST /v1/databases/sys/execute", json, &body).ok()
        });
        // Each statement can be repeated.
        asked.filter(|answer| answer.status == 200).map(drop)
    });
}

#[test]
fn a_hundred_watchers_miss_nothing() {
    let machines = Machine::three();
    let [one, two, three] = &machines;
    let sockets: Arc<Vec<PathBuf>> = Arc::new(machines.iter().map(Machine::socket).collect());
    let last = Arc::new(AtomicU64::new(0));
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|first| {
            let (sockets, last) = (Arc::clone(&sockets), Arc::clone(&last));
            std::thread::spawn(move || watch(&sockets, first, &last))
        })
        .collect();
    let rows = rows();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let sql = format!(
            "INSERT OR IGNORE INTO tokens (id, secret_hash, created, expires) \
             WITH RECURSIVE n(i) AS (VALUES ({from}) UNION ALL SELECT i + 1 FROM n WHERE i < {from} + {BATCH} - 1) \
             SELECT printf('row%08d', i), 'none', 1, 4000000000 FROM n"
        );
        execute(&[one, two, three], &sql);
    }
    one.kill();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let to = from + BATCH;
        let sql = format!(
            "UPDATE tokens SET expires = 4000000001 WHERE id >= printf('row%08d', {from}) AND id < printf('row%08d', {to})"
        );
        execute(&[two, three], &sql);
    }
    let _daemon = one.start();
    one.ready();
    let end = two.json(&["resource", "get", "tokens", &format!("row{:08}", rows - 1)]);
    let newest = two.json(&["sql", "sys", "SELECT max(revision) AS newest FROM changes"]);
    last.store(newest[0]["newest"].as_u64().unwrap(), Ordering::Release);
    // One more, so that those who have been told everything look once more.
    execute(&[two, three], "UPDATE tokens SET expires = 4000000002 WHERE id = 'row00000000'");
    assert_eq!(end["spec"]["expires"], "2096-10-02T07:06:41Z");
    for watcher in watchers {
        let told = watcher.join().unwrap();
        // Two tokens were issued and used as well.
        assert!((2 * rows + 4..=2 * rows + 5).contains(&told), "{told} changes of tokens, for {rows} rows");
    }
}
