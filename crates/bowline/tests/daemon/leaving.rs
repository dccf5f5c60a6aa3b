//! Machines that leave: what they had is kept by the others and put aside on them, and they may come again.

use super::machine::{Machine, until};

/// Joins a machine under a name.
#[track_caller]
fn join(one: &Machine, machine: &Machine, name: &str) -> String {
    let token = one.say(&["token", "add"]).done();
    machine.form(&["join", token.trim(), "--name", name]).done()
}

fn names(machine: &Machine) -> Vec<String> {
    let nodes = machine.json(&["node", "list"]);
    nodes.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_machine_leaves_and_joins_again_and_the_last_one_stays() {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let [one, two, three] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    join(one, two, "box2");
    join(one, three, "box3");
    one.say(&["sql", "shop", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"]).done();

    // The leader is the hardest one to let go.
    one.say(&["leave"]).refused(4, "BL-CLI-004", "leaving with box1 was not confirmed");
    let left = one.say(&["leave", "--yes"]).done();
    assert!(left.starts_with("box1 left. Two machines are left") && left.contains("/left-"), "{left}");
    assert!(one.belongs_to_nothing(), "{:?}", one.say(&["status"]));
    assert_eq!(names(two), ["box2", "box3"]);
    assert_eq!(three.say(&["sql", "shop", "SELECT x FROM t"]).done(), "1\n");

    // As a new node, under its old name.
    let again = join(two, one, "box1");
    assert!(again.contains("survives the loss of any one machine"), "{again}");
    assert_eq!(one.say(&["sql", "shop", "SELECT x FROM t"]).done(), "1\n");

    two.say(&["node", "remove", "box9", "--yes"]).refused(1, "BL-CLU-025", "there is no node box9");
    two.say(&["node", "remove", "box3", "--yes"]).done();
    until("box3 belongs to no cluster", || three.belongs_to_nothing().then_some(()));
    let last = two.say(&["node", "remove", "box1", "--yes"]).done();
    assert!(last.starts_with("box1 left. One machine is left"), "{last}");
    two.say(&["leave", "--yes", "--force"]).refused(1, "BL-CLU-026", "box2 is the only member");
    assert_eq!(two.say(&["sql", "shop", "INSERT INTO t VALUES (2); SELECT count(*) FROM t"]).done(), "2\n");
}

#[test]
fn a_machine_that_is_down_is_removed_by_force_and_learns_of_it_when_it_comes_back() {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let [one, two, three] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    join(one, two, "box2");
    join(one, three, "box3");
    three.kill();
    one.say(&["node", "remove", "box3", "--yes"]).refused(4, "BL-CLU-027", "it does not answer");
    one.say(&["node", "remove", "box2", "--yes"]).refused(4, "BL-CLU-027", "box3 is down");
    one.say(&["node", "remove", "box3", "--yes", "--force"]).done();
    assert_eq!(names(one), ["box1", "box2"]);
    let _daemon = three.start();
    until("box3 belongs to no cluster", || three.belongs_to_nothing().then_some(()));
    let aside = std::fs::read_dir(three.state_dir()).unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.starts_with("left-").then_some(path)
    });
    assert!(aside.unwrap().join("databases").is_dir());
}
