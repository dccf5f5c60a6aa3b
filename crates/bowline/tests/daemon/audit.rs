//! `bowline audit`: who asked for what, on any member.

use super::machine::{Machine, until};

/// The newest first: who, with which role, on which member, what for, and the answer.
#[track_caller]
fn notes(machine: &Machine) -> Vec<String> {
    let entries = machine.json(&["audit"]);
    let word = |entry: &serde_json::Value, field: &str| match &entry[field] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |entry| ["who", "role", "node", "request", "status", "code"].map(|field| word(entry, field)).join(" ");
    entries.as_array().unwrap().iter().map(line).collect()
}

#[test]
fn what_is_asked_of_one_member_is_known_on_all_and_survives_its_loss() {
    let machines = Machine::three();
    let [one, two, three] = &machines;
    let printed = two.say(&["access", "add", "ann", "--role", "operator"]).done();
    let address = three.json(&["node", "list"])[2]["https_address"].as_str().unwrap().to_owned();
    let as_ann = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowline"));
        command.args(["--host", &address]).args(words).env("BOWLINE_TOKEN", printed.trim());
        super::machine::say(command.env("XDG_CONFIG_HOME", one.path("none")))
    };
    as_ann(&["db", "create", "shop"]).done();
    as_ann(&["db", "drop", "nothing", "--yes"]).refused(1, "BL-STORE-007", "nothing");
    // Who may not do it is refused before anything is noted; looking and SQL are not noted.
    as_ann(&["token", "add"]).refused(1, "BL-API-011", "ann may not do this");
    as_ann(&["db", "list"]).done();
    let expected = [
        "ann operator box3 DELETE /v1/databases/nothing 404 BL-STORE-007",
        "ann operator box3 POST /v1/databases 200 null",
        "local admin box2 POST /v1/access 200 null",
        "local admin box3 POST /v1/join 200 null",
        "local admin box1 POST /v1/tokens 200 null",
        "local admin box2 POST /v1/join 200 null",
        "local admin box1 POST /v1/tokens 200 null",
        "local admin box1 POST /v1/init 200 null",
    ];
    for machine in &machines {
        assert_eq!(notes(machine), expected);
    }
    let newest = three.json(&["audit", "--limit", "2"]);
    let before = newest[1]["id"].to_string();
    assert_eq!(three.json(&["audit", "--before", &before])[0]["request"], "POST /v1/access");

    // Asked of a member that falls right afterwards.
    one.say(&["db", "create", "ledger"]).done();
    one.kill();
    until("the others go on", || (two.say(&["audit"]).code == Some(0)).then_some(()));
    assert_eq!(notes(two)[0], "local admin box1 POST /v1/databases 200 null");
}
