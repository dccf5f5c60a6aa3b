//! Disks that return other bytes than were written: what is damaged is refused, and made whole by the other machines.

use super::machine::{Daemon, Machine, until};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Three voters with a database.
#[track_caller]
fn three() -> [Machine; 3] {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let [one, others @ ..] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    for (machine, name) in others.iter().zip(["box2", "box3"]) {
        let token = one.say(&["token", "add"]).done();
        machine.form(&["join", token.trim(), "--name", name]).done();
    }
    one.say(&["sql", "shop", "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(40000))"]).done();
    until("all have it", || machines.iter().all(|machine| copy(machine) == copy(one)).then_some(()));
    machines
}

/// The version and the hash of the machine's copy, if it is well.
fn copy(machine: &Machine) -> Option<(u64, String)> {
    let checked = machine.say(&["db", "check", "shop", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&checked.out).ok()?;
    let shop = list.as_array()?.first()?;
    (checked.code == Some(0)).then(|| Some((shop["version"].as_u64()?, shop["hash"].as_str()?.to_owned())))?
}

fn data_file(machine: &Machine) -> PathBuf {
    let mut databases = std::fs::read_dir(machine.state_dir().join("databases")).unwrap();
    let shop =
        databases.find_map(|entry| Some(entry.ok()?.path()).filter(|path| path.to_string_lossy().contains("/shop.")));
    shop.unwrap().join("data.db")
}

/// Changes a byte.
fn rot(file: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// Changes a byte in the middle of the Raft log.
fn rot_log(machine: &Machine) {
    let log = std::fs::read_dir(machine.state_dir().join("log")).unwrap();
    let used = |path: &Path| std::fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
    let segments = log.map(|entry| entry.unwrap().path()).map(|path| (used(&path), path));
    let (end, segment) = segments.max().unwrap();
    rot(&segment, end / 2);
}

#[test]
fn damaged_pages_come_back_from_another_machine() {
    let machines = three();
    let [one, _, three] = &machines;
    three.say(&["stop"]).done();
    let file = data_file(three);
    let before = std::fs::read(&file).unwrap();
    for at in [3 * 4096 + 7, 5 * 4096 + 1000] {
        rot(&file, at);
    }
    let _daemon = three.start();
    three.ready();
    let found = three.say(&["db", "check", "shop"]);
    assert!(found.code == Some(1) && found.err.contains("error BL-CLI-011"), "{found:?}");
    until("it is mended", || (copy(three).is_some() && copy(three) == copy(one)).then_some(()));
    let after = std::fs::read(&file).unwrap();
    assert!(before[4096..] == after[4096..], "the file is as it was, but for what page 1 says of the checkpoint");
}

#[test]
fn a_damaged_log_is_refused_and_then_made_whole_by_the_others() {
    let machines = three();
    let [one, _, three] = &machines;
    for _ in 0..5 {
        one.say(&["sql", "shop", "INSERT INTO t VALUES (randomblob(5000))"]).done();
    }
    until("all have it", || (copy(three) == copy(one)).then_some(()));
    three.kill();
    rot_log(three);

    let mut refused = three.start_command();
    let refused = refused.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("BL-RAFT-003") && said.contains("--repair-log"), "{said}");

    let mut repaired = three.start_command();
    let _daemon = Daemon(repaired.arg("--repair-log").stdin(Stdio::null()).spawn().unwrap());
    three.ready();
    one.say(&["sql", "shop", "INSERT INTO t VALUES (1)"]).done();
    until("it has caught up", || (copy(three).is_some() && copy(three) == copy(one)).then_some(()));
    until("it votes again", || {
        let nodes = one.json(&["node", "list"]);
        nodes.as_array().unwrap().iter().all(|node| node["role"] == "voter" && node["health"] == "up").then_some(())
    });
    // In every database: until then status tells of it.
    until("nothing is wrong with any database", || {
        let is_well = |machine: &Machine| machine.json(&["status"])["troubles"] == serde_json::json!([]);
        (is_well(one) && is_well(three)).then_some(())
    });
    // With its vote: the others alone are no majority after the next loss.
    machines[1].kill();
    until("the two go on", || (one.say(&["sql", "shop", "INSERT INTO t VALUES (2)"]).code == Some(0)).then_some(()));
    until("the two agree", || (copy(three).is_some() && copy(three) == copy(one)).then_some(()));
}

#[test]
fn the_only_voter_with_a_damaged_log_waits_for_others_until_it_is_told_that_there_are_none() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    for _ in 0..5 {
        // So much that the middle of the log is after the founding of the cluster.
        machine
            .say(&["sql", "shop", "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (randomblob(5000))"])
            .done();
    }
    machine.kill();
    rot_log(&machine);
    {
        let mut waiting = machine.start_command();
        let _daemon = Daemon(waiting.arg("--repair-log").stdin(Stdio::null()).spawn().unwrap());
        until("it answers", || machine.say(&["db", "list"]).code.filter(|code| *code != 3));
        machine.say(&["sql", "shop", "SELECT 1", "--timeout", "2"]).refused(3, "BL-SHELL-011", "no member leads");
    }
    let mut alone = machine.start_command();
    let _daemon = Daemon(alone.arg("--repair-log=alone").stdin(Stdio::null()).spawn().unwrap());
    machine.ready();
    machine.say(&["sql", "other", "CREATE TABLE t(x)"]).done();
    machine.kill();
    let _daemon = machine.start();
    machine.ready();
    machine.say(&["sql", "other", "INSERT INTO t VALUES (1)"]).done();
}
