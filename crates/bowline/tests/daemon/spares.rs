//! Machines beyond the voters and the stand-bys: they know the cluster, answer for it, hold no copy of a database, and get one when they are
//! needed.

use super::machine::{Machine, until};

#[track_caller]
fn join(machine: &Machine, by: &Machine, name: &str) -> String {
    let token = by.say(&["token", "add"]).done();
    machine.form(&["join", token.trim(), "--name", name, "-o", "table"]).done()
}

/// The names of members with a role.
fn with_role(machine: &Machine, role: &str) -> Vec<String> {
    let list = machine.json(&["node", "list"]);
    let of_role = list.as_array().unwrap().iter().filter(|node| node["role"] == role);
    of_role.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn copies(machine: &Machine) -> Vec<String> {
    let entries = std::fs::read_dir(machine.state_dir().join("databases")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[track_caller]
fn answers_for_the_cluster(spare: &Machine, rows: usize) {
    assert_eq!(copies(spare), ["sys.1"]);
    let listed = spare.json(&["db", "list"]);
    let shop = listed.as_array().unwrap().iter().find(|one| one["name"] == "shop").unwrap();
    assert!(shop["is_here"] == false && shop["copies"] == 3, "{listed}");
    let status = spare.say(&["status", "-o", "table"]).done();
    assert!(status.starts_with("Safe to reboot this machine: yes"), "{status}");
    // SQL goes to whoever leads.
    spare.say(&["sql", "shop", "INSERT INTO t VALUES (1)"]).done();
    let insert = r#"{"statements":[{"sql":"INSERT INTO t VALUES (1)"}]}"#;
    let (status, body) = spare.http("POST /v1/databases/shop/execute", "", insert);
    assert_eq!(status, 200, "{body}");
    assert_eq!(spare.say(&["sql", "shop", "SELECT count(*) FROM t"]).out.trim(), (rows + 2).to_string());
    // A copy of one's own is for members that have one.
    let (status, body) = spare.http("POST /v1/databases/shop/query?read=local", "", r#"{"sql":"SELECT 1"}"#);
    assert!(status == 409 && body.contains("BL-STORE-030") && body.contains("spare"), "{status}: {body}");
}

#[test]
fn a_fourth_machine_of_three_voters_waits_as_a_spare_and_takes_the_place_of_one_that_is_lost() {
    let machines: [Machine; 5] = std::array::from_fn(|_| Machine::new());
    machines[0].form(&["init", "--name", "box1"]).done();
    machines[0].say(&["node", "roles", "--voters", "3", "--stand-bys", "0"]).done();
    for (number, machine) in machines.iter().enumerate().skip(1).take(2) {
        join(machine, &machines[0], &format!("box{}", number + 1));
    }
    machines[0].say(&["sql", "shop", "CREATE TABLE t(x)"]).done();
    for (number, spare) in machines.iter().enumerate().skip(3) {
        let said = join(spare, &machines[number - 1], &format!("box{}", number + 1));
        assert!(said.starts_with(&format!("box{} joined as spare", number + 1)), "{said}");
    }
    for (number, spare) in machines[3..].iter().enumerate() {
        answers_for_the_cluster(spare, 2 * number);
    }
    // A spare makes databases, too, and drops them.
    machines[3].say(&["db", "create", "more"]).done();
    machines[4].say(&["db", "drop", "more", "--yes"]).done();

    // One of the voters is lost: a spare votes in its place, with all its data.
    machines[1].kill();
    let voter = until("a spare votes", || {
        with_role(&machines[0], "voter").into_iter().find(|name| ["box4", "box5"].contains(&name.as_str()))
    });
    let promoted = if voter == "box4" { &machines[3] } else { &machines[4] };
    until("it has a copy", || (copies(promoted) == ["shop.2", "sys.1"]).then_some(()));
    let query = r#"{"sql":"SELECT count(*) FROM t"}"#;
    until("its own copy has every row", || {
        let answer = promoted.try_http("POST /v1/databases/shop/query?read=local", "", query).ok()?;
        (answer.status == 200 && answer.body.contains('4')).then_some(())
    });

    // Who was lost comes back with an old copy, is a spare now, and gives the copy up.
    let _back = machines[1].start();
    until("it has only what a spare has", || {
        let spare = with_role(&machines[0], "spare").contains(&"box2".to_owned());
        (spare && copies(&machines[1]) == ["sys.1"]).then_some(())
    });
    answers_for_the_cluster(&machines[1], 4);

    // All stand by, and none does again.
    machines[0].say(&["node", "roles", "--voters", "3", "--stand-bys", "2"]).done();
    until("all have copies", || machines.iter().all(|machine| copies(machine) == ["shop.2", "sys.1"]).then_some(()));
    machines[0].say(&["node", "roles", "--voters", "3", "--stand-bys", "1"]).done();
    until("one of them gave its copy up", || {
        let without = machines.iter().filter(|machine| copies(machine) == ["sys.1"]).count();
        (without == 1 && with_role(&machines[0], "spare").len() == 1).then_some(())
    });
}
