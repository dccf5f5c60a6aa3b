//! `bowline recover`: most machines are lost for good, and the others go on.

use super::machine::{Machine, until};

#[track_caller]
fn join(machine: &Machine, by: &Machine, name: &str) {
    let token = by.say(&["token", "add"]).done();
    machine.form(&["join", token.trim(), "--name", name]).done();
}

/// Of each member: name, role and health.
#[track_caller]
fn members(machine: &Machine) -> Vec<String> {
    let list = machine.json(&["node", "list"]);
    let word = |item: &serde_json::Value, field: &str| item[field].as_str().unwrap().to_owned();
    let said = |item| [word(item, "name"), word(item, "role"), word(item, "health")].join(" ");
    list.as_array().unwrap().iter().map(said).collect()
}

#[test]
fn a_voter_and_a_stand_by_go_on_when_two_voters_are_lost_and_a_lost_one_that_comes_back_is_out() {
    let machines = [Machine::new(), Machine::new(), Machine::new(), Machine::new()];
    let [one, two, three, four] = &machines;
    one.form(&["init", "--name", "box1"]).done();
    join(two, one, "box2");
    join(three, one, "box3");
    join(four, one, "box4");
    one.say(&["sql", "shop", "CREATE TABLE t(n); INSERT INTO t VALUES (1), (2), (3)"]).done();
    one.say(&["recover", "--dry-run"]).refused(1, "BL-CLU-031", "nothing to recover");
    let copies = || (one.json(&["db", "list"])[1]["copies"] == 4).then_some(());
    until("all four have the database", copies);
    three.say(&["db", "check", "shop"]).done();

    one.kill();
    two.kill();
    // A survivor that was started again knows no less.
    three.kill();
    let _daemon = three.start();
    until("box3 knows what is lost", || (three.say(&["recover", "--dry-run"]).code == Some(0)).then_some(()));
    let plan = three.json(&["recover", "--dry-run"]);
    let names = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&plan["lost"]), names(&plan["survivors"])),
        (vec!["box1".into(), "box2".into()], vec!["box3".into(), "box4".into()])
    );
    assert_eq!(names(&plan["databases"]), ["sys", "shop"]);
    three.say(&["recover"]).refused(4, "BL-CLI-004", "recovering without box1 box2 was not confirmed");
    let (status, told) =
        three.http("POST /v1/recovery", "content-type: application/json\r\n", r#"{"give_up":["box1"]}"#);
    assert_eq!((status, told.contains("BL-CLU-033")), (412, true), "{told}");

    let done = four.say(&["recover", "--yes", "-o", "table"]).done();
    assert!(done.starts_with("2 databases go on with box3 and box4. Out of the cluster: box1 and box2."), "{done}");
    for machine in [three, four] {
        until("two healthy members", || {
            let all = members(machine);
            (all.len() == 2 && all.iter().all(|one| one.ends_with(" up"))).then_some(())
        });
        assert_eq!(machine.say(&["sql", "shop", "SELECT sum(n) FROM t"]).done(), "6\n");
    }
    four.say(&["sql", "shop", "INSERT INTO t VALUES (4)"]).done();
    four.say(&["recover", "--yes"]).refused(1, "BL-CLU-031", "nothing to recover");

    // One that was lost comes back: it hears that it is out, puts its state aside, and joins as a new machine.
    let _back = one.start();
    until("box1 belongs to no cluster", || one.belongs_to_nothing().then_some(()));
    join(one, three, "box1");
    until("three voters", || (members(one) == ["box1 voter up", "box3 voter up", "box4 voter up"]).then_some(()));
    assert_eq!(one.say(&["sql", "shop", "SELECT sum(n) FROM t"]).done(), "10\n");
}
