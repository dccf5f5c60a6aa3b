//! `bowline init`, `join`, `token`, `node` and `status` on several machines.

use super::machine::{Machine, until};

/// The one word that `token add` prints for a pipe.
#[track_caller]
fn token(machine: &Machine) -> String {
    let printed = machine.say(&["token", "add"]).done();
    let token = printed.trim().to_owned();
    assert!(token.starts_with("bl1.") && !token.contains(char::is_whitespace), "{printed}");
    token
}

/// A list, each item's `name` field.
#[track_caller]
fn all(machine: &Machine, words: &[&str], field: &str) -> Vec<String> {
    let list = machine.json(words);
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn three_machines_join_know_each_other_and_lose_nothing_to_a_kill() {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let [one, two, three] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    let used = token(one);
    let joined = two.form(&["join", &used, "--name", "box2"]).done();
    assert!(joined.starts_with("box2 joined"), "{joined}");
    three.form(&["join", &used, "--name", "box3"]).refused(1, "BL-CLU-004", "was used already");
    let joined = three.form(&["join", &token(two), "--name", "box3"]).done();
    assert!(joined.contains("survives the loss of any one machine"), "{joined}");

    // Each knows of each, whether it leads or follows.
    for machine in &machines {
        until("three healthy voters", || {
            let (health, roles) = (all(machine, &["node", "list"], "health"), all(machine, &["node", "list"], "role"));
            (health == ["up", "up", "up"] && roles == ["voter", "voter", "voter"]).then_some(())
        });
        assert_eq!(all(machine, &["node", "list"], "name"), ["box1", "box2", "box3"]);
        let status = machine.say(&["status", "-o", "table"]).done();
        assert!(status.starts_with("Safe to reboot this machine: yes, "), "{status}");
    }

    two.say(&["sql", "shop", "CREATE TABLE t(n); INSERT INTO t VALUES (1), (2)"]).done();
    three.kill();
    for machine in [one, two] {
        let status = machine.say(&["status", "-o", "table"]).done();
        let first = status.lines().next().unwrap();
        assert_eq!(first, "Safe to reboot this machine: no, box3 is already down: another loss stops writes.");
    }
    one.say(&["sql", "shop", "INSERT INTO t VALUES (3)"]).done();
    let _daemon = three.start();
    three.ready();
    assert_eq!(three.say(&["sql", "shop", "SELECT sum(n) FROM t"]).done(), "6\n");
    for machine in &machines {
        until("three healthy", || (all(machine, &["node", "list"], "health") == ["up", "up", "up"]).then_some(()));
    }
}

#[test]
fn a_member_that_is_alone_says_that_writes_have_stopped() {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let [one, two, three] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    two.form(&["join", &token(one), "--name", "box2"]).done();
    three.form(&["join", &token(one), "--name", "box3"]).done();
    one.kill();
    two.kill();
    until("it has noticed", || {
        let status = three.say(&["status", "-o", "table"]).done();
        status.contains("box1 and box2 are down: without a majority writes have stopped already").then_some(())
    });
}

#[test]
fn what_is_no_token_and_what_is_no_token_any_more_is_refused() {
    let (one, two) = (Machine::new(), Machine::new());
    one.form(&["init", "--name", "box1"]).done();
    two.form(&["join", "swordfish"]).refused(2, "BL-CLI-001", "not a join token");
    assert_eq!(two.daemons(), [], "nothing was started for it");

    let good = token(&one);
    let (cut, _) = good.split_at(good.len() - 7);
    two.form(&["join", cut]).refused(1, "BL-CLU-001", "not copied whole");
    let ids = all(&one, &["token", "list"], "id");
    assert_eq!((ids.len(), all(&one, &["token", "list"], "state")), (1, vec!["open".to_owned()]));
    let revoked = one.say(&["token", "revoke", &ids[0]]).done();
    assert!(revoked.contains("is useless now"), "{revoked}");
    two.form(&["join", &good, "--name", "box2"]).refused(1, "BL-CLU-003", &ids[0]);
    one.say(&["token", "revoke", "00000000"]).refused(1, "BL-CLU-003", "00000000");

    let named = one.say(&["token", "add", "--name", "box7"]).done();
    two.form(&["join", named.trim(), "--name", "box2"]).refused(1, "BL-CLU-006", "box7");
    two.form(&["join", named.trim(), "--name", "box7"]).done();
    assert_eq!(all(&two, &["node", "list"], "name"), ["box1", "box7"]);
}
