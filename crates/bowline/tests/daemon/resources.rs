//! Resources and events on real daemons: listed, changed by those who have seen the newest, and watched through the loss of a leader.

use super::machine::{Machine, until};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// `bowline ... watch` that writes down what it hears.
struct Watching {
    process: Child,
    heard: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Watching {
    fn start(machine: &Machine, words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        command.args(["--state-dir", machine.state_dir().to_str().unwrap(), "-o", "json"]).args(words);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (lines, into) = (BufReader::new(process.stdout.take().unwrap()), Arc::clone(&heard));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                into.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, heard }
    }

    fn heard(&self) -> Vec<serde_json::Value> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn names(list: &serde_json::Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn what_is_wanted_is_changed_only_by_those_who_have_seen_the_newest() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    assert_eq!(names(&machine.json(&["resource", "list", "nodes"])), ["box1"]);
    let seen = machine.json(&["resource", "get", "nodes", "box1"]);
    assert_eq!((&seen["status"]["state"], &seen["generation"]), (&"member".into(), &1.into()));
    let revision = seen["revision"].to_string();
    let changed = machine.json(&["resource", "set", "nodes", "box1", "weight=5", "--revision", &revision]);
    assert_eq!((&changed["spec"]["weight"], &changed["generation"]), (&5.into(), &2.into()));
    assert!(changed["revision"].as_u64() > seen["revision"].as_u64());
    // Somebody who has not seen that.
    let late = machine.say(&["resource", "set", "nodes", "box1", "weight=6", "--revision", &revision]);
    late.refused(1, "BL-API-015", "box1 has revision");
    assert_eq!(machine.json(&["resource", "get", "nodes", "box1"])["spec"]["weight"], 5);
    // What is set to what it is changes nothing.
    let same = machine.json(&["resource", "set", "nodes", "box1", "weight=5"]);
    assert_eq!(same["revision"], changed["revision"]);

    machine.say(&["resource", "set", "nodes", "box1", "weight=-1"]).refused(1, "BL-API-016", "weight");
    machine.say(&["resource", "set", "nodes", "box1", "weight=heavy"]).refused(1, "BL-API-016", "weight");
    machine.say(&["resource", "set", "nodes", "box1", "state=gone"]).refused(1, "BL-API-016", "state");
    machine.say(&["resource", "set", "nodes", "box2", "weight=1"]).refused(1, "BL-API-014", "box2");
    machine.say(&["resource", "list", "planets"]).refused(1, "BL-API-013", "planets");
    let cluster = machine.json(&["resource", "list", "cluster"]);
    let id = cluster[0]["name"].as_str().unwrap();
    machine.say(&["resource", "set", "cluster", id, "voters=4"]).refused(1, "BL-API-016", "voters");
    assert_eq!(machine.json(&["resource", "set", "cluster", id, "voters=5"])["spec"]["voters"], 5);
    // The same to SQL.
    let rows = machine.say(&["sql", "sys", "SELECT key, generation, weight, state FROM resource_nodes", "-o", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows.done()).unwrap();
    assert_eq!(rows[0], serde_json::json!({"key": "box1", "generation": 2, "weight": 5, "state": "member"}));
}

#[test]
fn every_change_is_told_once_and_in_order_through_the_loss_of_the_leader() {
    let machines = Machine::three();
    let [one, two, three] = &machines;
    let watching = [two, three].map(|machine| Watching::start(machine, &["resource", "watch", "--after", "0"]));
    for name in ["one", "two", "three"] {
        two.say(&["db", "create", name]).done();
    }
    one.kill();
    until("the others go on", || (two.say(&["db", "create", "four"]).code == Some(0)).then_some(()));
    three.say(&["db", "drop", "two", "--yes"]).done();
    let is_gone = |change: &serde_json::Value| change["kind"] == "databases" && change["verb"] == "deleted";
    let heard = watching.each_ref().map(|watching| {
        until("the end is told", || watching.heard().iter().any(is_gone).then_some(()));
        watching.heard()
    });
    let last = heard[0].len().min(heard[1].len());
    assert_eq!(heard[0][..last], heard[1][..last], "both are told the same");
    let revisions: Vec<u64> = heard[0].iter().map(|change| change["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>(), "none is left out");

    // What was told comes to what there is.
    let mut databases = BTreeMap::new();
    for change in heard[0].iter().filter(|change| change["kind"] == "databases") {
        let name = change["name"].as_str().unwrap();
        if change["verb"] == "deleted" {
            databases.remove(name)
        } else {
            databases.insert(name, &change["status"])
        };
    }
    let there = three.json(&["resource", "list", "databases"]);
    assert_eq!(names(&there), databases.keys().copied().collect::<Vec<_>>());
    assert!(there.as_array().unwrap().iter().zip(databases.values()).all(|(now, told)| now["status"] == **told));

    let events = two.json(&["event", "list"]);
    let told: Vec<String> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let field = |name: &str| event["status"][name].as_str().unwrap().to_owned();
            format!("{}/{} {}", field("about_kind"), field("about"), field("reason"))
        })
        .collect();
    for expected in [
        "nodes/box1 Founded",
        "nodes/box2 Joining",
        "nodes/box2 Joined",
        "nodes/box3 RoleChanged",
        "databases/two Ready",
        "databases/two Dropped",
    ] {
        assert!(told.iter().any(|event| event == expected), "{expected} is not in {told:#?}");
    }
    assert!(
        two.say(&["resource", "watch", "--after", "1000000"]).code == Some(1),
        "a revision that never was is refused at once"
    );
}

#[test]
fn a_watch_that_is_idle_keeps_no_daemon_from_stopping() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    let watching = Watching::start(&machine, &["resource", "watch", "nodes", "--after", "0"]);
    until("it watches", || (!watching.heard().is_empty()).then_some(()));
    let began = std::time::Instant::now();
    machine.say(&["stop"]).done();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
