//! `bowline node roles|set`: how many vote, and who.

use super::machine::{Machine, until};

/// The names of the voters.
#[track_caller]
fn voters(machine: &Machine) -> Vec<String> {
    let nodes = machine.json(&["node", "list"]);
    let voting = nodes.as_array().unwrap().iter().filter(|node| node["role"] == "voter");
    voting.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn five_vote_on_request_and_three_again_are_spread_over_failure_domains() {
    let machines: Vec<Machine> = (0..5).map(|_| Machine::new()).collect();
    let one = &machines[0];
    one.form(&["init", "--name", "box1"]).done();
    for (machine, name) in machines.iter().zip(["box1", "box2", "box3", "box4", "box5"]).skip(1) {
        let token = one.say(&["token", "add"]).done();
        machine.form(&["join", token.trim(), "--name", name]).done();
    }
    one.say(&["sql", "shop", "CREATE TABLE t(n); INSERT INTO t VALUES (1)"]).done();
    assert_eq!(voters(one).len(), 3);
    one.say(&["node", "roles", "--voters", "4"]).refused(1, "BL-CLU-035", "odd");
    let told = machines[4].say(&["node", "roles", "--voters", "5", "--stand-bys", "1", "-o", "table"]).done();
    assert_eq!(
        told,
        "5 vote from three members on, 1 stand by; the others are spare. A member that is away for 10 s loses its roles.\n"
    );
    until("five vote", || (voters(one).len() == 5).then_some(()));

    // Two may be lost now.
    machines[3].kill();
    machines[4].kill();
    one.say(&["sql", "shop", "INSERT INTO t VALUES (2)"]).done();
    let _daemons = [machines[3].start(), machines[4].start()];
    until("all answer", || {
        let nodes = one.json(&["node", "list"]);
        nodes.as_array().unwrap().iter().all(|node| node["health"] == "up").then_some(())
    });

    // box1, which leads or not, shares a room with box2 and box3: at most one of the three keeps its vote, but for the leader.
    for name in ["box1", "box2", "box3"] {
        one.say(&["node", "set", name, "--failure-domain", "1"]).done();
    }
    one.say(&["node", "set", "box9", "--weight", "2"]).refused(1, "BL-CLU-025", "box9");
    let set = one.json(&["node", "set", "box4", "--weight", "7"]);
    assert_eq!(set["weight"], 7);
    assert_eq!(set["failure_domain"], set["id"], "it is on its own");
    one.say(&["node", "roles", "--voters", "3"]).done();
    until("three vote, of three rooms", || {
        let voters = voters(one);
        let in_one_room = voters.iter().filter(|name| ["box1", "box2", "box3"].contains(&name.as_str())).count();
        (voters.len() == 3 && in_one_room == 1).then_some(())
    });
    until("all rows are there", || (one.say(&["sql", "shop", "SELECT sum(n) FROM t"]).out == "3\n").then_some(()));
}
