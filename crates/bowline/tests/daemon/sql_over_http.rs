//! SQL as JSON over the control socket.

use super::machine::Machine;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// POSTs JSON, and reads the JSON that comes back.
#[track_caller]
fn post(machine: &Machine, path: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = machine.http(&format!("POST /v1/databases/{path}"), "", &body.to_string());
    (status, serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}")))
}

fn machine() -> Machine {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["sql", "shop", "CREATE TABLE knots(id INTEGER PRIMARY KEY, name TEXT UNIQUE, picture BLOB)"]).done();
    machine
}

#[test]
fn any_member_writes_at_the_leader_and_reads_what_was_written() {
    let first = machine();
    let token = first.json(&["token", "add"])["token"].as_str().unwrap().to_owned();
    let second = Machine::new();
    second.form(&["join", &token, "--name", "box2"]).done();
    for (machine, name) in [(&first, "bowline"), (&second, "hitch")] {
        let insert = json!({"statements": [
            {"sql": "INSERT INTO knots(name, picture) VALUES (?, ?)", "params": [name, {"base64": "AAH/"}]},
            {"sql": "UPDATE knots SET picture = NULL WHERE name = ?", "params": ["none"]},
        ]});
        let (status, done) = post(machine, "shop/execute", &insert);
        let id = if name == "bowline" { 1 } else { 2 };
        let results = json!([
            {"rows_affected": 1, "last_insert_rowid": id},
            {"rows_affected": 0, "last_insert_rowid": id},
        ]);
        assert_eq!((status, &done["results"]), (200, &results), "{done}");
        // Linearizable is the default: nothing has to be waited for, whoever is asked.
        for asked in [&first, &second] {
            let select = json!({"sql": "SELECT id, picture, 1.5, NULL FROM knots WHERE name = ?", "params": [name]});
            let (status, rows) = post(asked, "shop/query", &select);
            let expected = json!({
                "columns": ["id", "picture", "1.5", "NULL"],
                "rows": [[id, {"base64": "AAH/"}, 1.5, null]],
            });
            assert_eq!((status, rows), (200, expected));
        }
        let own =
            post(machine, "shop/query?read=bounded:5s&deadline=2s", &json!({"sql": "SELECT count(*) FROM knots"}));
        assert_eq!(own.0, 200, "{}", own.1);
    }
    // What the leader refuses is told the same, whoever was asked.
    let again = json!({"statements": [{"sql": "INSERT INTO knots(name) VALUES ('hitch')"}]});
    let (status, problem) = post(&first, "shop/execute", &again);
    assert_eq!((status, problem["code"].as_str()), (400, Some("BL-SQL-001")), "{problem}");
    assert_eq!(post(&second, "shop/execute", &again), (status, problem));
    // To explain a write takes no leader.
    let plan = json!({"sql": "EXPLAIN QUERY PLAN DELETE FROM knots WHERE picture = 1"});
    for asked in [&first, &second] {
        let (status, plan) = post(asked, "shop/query", &plan);
        assert!(status == 200 && plan["rows"][0][3] == "SCAN knots", "{plan}");
    }
    let metrics = second.http("GET /metrics", "", "");
    for line in [
        "bowline_ready 1.0",
        r#"bowline_unit_ready{unit="store"} 1.0"#,
        r#"bowline_peer_connected{peer="box1"} 1.0"#,
        r#"bowline_database_leader{database="shop"} 0.0"#,
        r#"bowline_http_requests_total{method="POST",route="/v1/databases/{name}/execute",status="400"} 1.0"#,
    ] {
        assert!(metrics.0 == 200 && metrics.1.contains(line), "{line}: {}", metrics.1);
    }
    for name in ["bowline_raft_log_syncs_total", "process_resident_memory_bytes", "process_open_fds"] {
        let value = metrics.1.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {}", metrics.1);
    }
}

#[test]
fn a_transaction_is_whole_and_a_numbered_write_is_done_once() {
    let machine = machine();
    let half = json!({"statements": [
        {"sql": "INSERT INTO knots(name) VALUES ('bowline')"},
        {"sql": "INSERT INTO knots(name) VALUES ('bowline')"},
    ]});
    let (status, problem) = post(&machine, "shop/execute", &half);
    assert!(status == 400 && problem["message"].as_str().unwrap().contains("UNIQUE constraint failed"), "{problem}");
    let mixed = json!({"statements": [
        {"sql": "INSERT INTO knots(name) VALUES ('splice'), ('bend')"},
        {"sql": "CREATE INDEX names ON knots(name)"},
        {"sql": "DELETE FROM knots"},
    ]});
    let (_, done) = post(&machine, "shop/execute", &mixed);
    let rows: Vec<_> = done["results"].as_array().unwrap().iter().map(|done| done["rows_affected"].as_u64()).collect();
    assert_eq!(rows, [Some(2), Some(0), Some(2)]);
    // Who ends our transaction would have a half of it done.
    for sql in ["COMMIT", "ROLLBACK", "SAVEPOINT x", "SELECT 1", "DELETE FROM knots; COMMIT", "-- nothing"] {
        let ended = json!({"statements": [{"sql": "INSERT INTO knots(name) VALUES ('lost')"}, {"sql": sql}]});
        let (status, problem) = post(&machine, "shop/execute", &ended);
        assert_eq!((status, problem["code"].as_str()), (400, Some("BL-STORE-022")), "{sql}: {problem}");
    }
    let once = |sequence| {
        json!({
            "statements": [{"sql": "INSERT INTO knots(name) VALUES (?)", "params": [format!("knot {sequence}")]}],
            "id": {"client": 77, "sequence": sequence},
        })
    };
    let first = post(&machine, "shop/execute", &once(1));
    assert_eq!((first.0, post(&machine, "shop/execute", &once(1))), (200, first));
    post(&machine, "shop/execute", &once(2));
    let (status, overtaken) = post(&machine, "shop/execute", &once(1));
    assert_eq!((status, overtaken["code"].as_str()), (400, Some("BL-STORE-012")));
    let (_, rows) = post(&machine, "shop/query", &json!({"sql": "SELECT name FROM knots ORDER BY id"}));
    assert_eq!(rows["rows"], json!([["knot 1"], ["knot 2"]]));
}

#[test]
fn a_large_result_comes_as_lines_and_says_when_it_is_whole() {
    let machine = machine();
    let count = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT n, hex(n) AS h FROM c";
    let select = json!({"sql": count}).to_string();
    let request = "POST /v1/databases/shop/query";
    let (status, lines) = machine.http(request, "accept: application/x-ndjson\r\n", &select);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, lines.len()), (200, 100_002));
    assert_eq!(lines[0], json!({"columns": ["n", "h"]}));
    assert!((1..=100_000).all(|n| lines[n][0] == n));
    assert_eq!(lines[100_001], json!({"rows": 100_000}));

    // An error after the first rows is the last line.
    let fails = json!({"sql": format!("{count} UNION ALL SELECT 0, abs(-9223372036854775807 - 1)")}).to_string();
    let (status, lines) = machine.http(request, "accept: application/x-ndjson\r\n", &fails);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(status == 200 && last["problem"]["message"].as_str().unwrap().contains("integer overflow"), "{last}");
    let too_large = json!({"sql": format!("SELECT hex(zeroblob(1000)) FROM ({count})")});
    let (status, refused) = post(&machine, "shop/query", &too_large);
    assert!(status == 400 && refused["next"].as_str().unwrap().contains("application/x-ndjson"), "{refused}");
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let machine = machine();
    let endless = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    let select = |sql: &str| json!({"sql": sql});
    for (path, body, status, code, words) in [
        ("shop/query", select("DELETE FROM knots"), 400, "BL-STORE-021", "reads rows"),
        ("shop/query", select("BEGIN IMMEDIATE"), 400, "BL-STORE-021", "reads rows"),
        ("shop/query", select("BEGIN"), 400, "BL-STORE-021", "reads rows"),
        ("shop/query", select("PRAGMA foreign_keys = 1"), 400, "BL-STORE-021", "reads rows"),
        ("shop/query", json!({"sql": "SELECT ?, ?", "params": [1]}), 400, "BL-SQL-015", "2 parameters, 1 values"),
        ("shop/query", select("SELECT zeroblob(17000000)"), 400, "BL-STORE-023", "16777216 bytes"),
        ("shop/query", select("SELECT 1; SELECT 2"), 400, "BL-SQL-", "nonempty statement tail"),
        ("shop/query", select("SELECT * FROM knotz"), 400, "BL-SQL-", "no such table"),
        ("shop/query?deadline=100ms", select(endless), 400, "BL-SQL-", "interrupted"),
        ("shop/query?read=now", select("SELECT 1"), 400, "BL-API-003", "question mark"),
        ("shop/query?sort=up", select("SELECT 1"), 400, "BL-API-003", "question mark"),
        ("none/query", select("SELECT 1"), 404, "BL-STORE-007", "none"),
        ("shop/query", json!({"sql": "SELECT ?", "params": [[1]]}), 400, "BL-API-003", "parameter 1"),
        ("shop/query", json!({"query": "SELECT 1"}), 400, "BL-API-003", "body"),
        ("shop/execute", json!({"statements": []}), 400, "BL-API-003", "no statement"),
        (
            "shop/execute?deadline=1s",
            json!({"statements": [select("DELETE FROM knots")]}),
            400,
            "BL-API-003",
            "question mark",
        ),
        ("none/execute", json!({"statements": [select("SELECT 1")]}), 404, "BL-STORE-007", "none"),
    ] {
        let (got, problem) = post(&machine, path, &body);
        let said = (problem["code"].as_str().unwrap(), problem["message"].as_str().unwrap());
        assert!(got == status && said.0.starts_with(code) && said.1.contains(words), "{path} {body}: {got} {problem}");
    }
    // One byte more than a request may have.
    let body = select(&"x".repeat((8 << 20) - r#"{"sql":""}"#.len() + 1));
    let (status, problem) = post(&machine, "shop/query", &body);
    assert_eq!((status, problem["kind"].as_str()), (413, Some("too-large")));
}

#[test]
fn a_query_that_nobody_waits_for_any_more_holds_no_stop_up() {
    let machine = Machine::new();
    let daemon = machine.start();
    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["db", "create", "shop"]).done();
    let endless = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    let body = json!({"sql": endless}).to_string();
    for _ in 0..4 {
        let mut client = UnixStream::connect(machine.socket()).unwrap();
        let head = "POST /v1/databases/shop/query HTTP/1.1\r\nhost: x\r\ncontent-length";
        write!(client, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // It goes without an answer.
    }
    daemon.terminate();
    assert_eq!(daemon.ended_within(Duration::from_secs(20)).code(), Some(0));
}
