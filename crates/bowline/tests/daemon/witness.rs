//! Two machines and a witness: any one of them may fall, and the witness keeps no data.

use super::machine::{Daemon, Machine, until};
use serde_json::Value;

const JSON: &str = "content-type: application/json\r\n";

#[track_caller]
fn join(machine: &Machine, by: &Machine, name: &str, words: &[&str]) -> String {
    let token = by.say(&["token", "add"]).done();
    machine.form(&[&["join", token.trim(), "--name", name, "-o", "table"], words].concat()).done()
}

/// Of each member: name, role, health.
#[track_caller]
fn members(machine: &Machine) -> Vec<String> {
    let list = machine.json(&["node", "list"]);
    let word = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    let said = |item: &Value| {
        let witness = if item["witness"] == true { " witness" } else { "" };
        format!("{} {}{witness} {}", word(item, "name"), word(item, "role"), word(item, "health"))
    };
    list.as_array().unwrap().iter().map(said).collect()
}

#[track_caller]
fn all_are_well(machine: &Machine) {
    until("all three vote and answer", || {
        let all = members(machine);
        (all == ["box1 voter up", "box2 voter up", "box3 voter witness up"]).then_some(())
    });
}

struct Trio {
    one: Machine,
    two: Machine,
    witness: Machine,
}

impl Trio {
    #[track_caller]
    fn form() -> Self {
        let trio = Self { one: Machine::new(), two: Machine::new(), witness: Machine::new() };
        trio.one.form(&["init", "--name", "box1"]).done();
        join(&trio.two, &trio.one, "box2", &[]);
        let status = trio.one.say(&["status", "-o", "table"]).done();
        assert!(status.contains("Losing box1 stops writes until it is back"), "{status}");
        assert!(status.contains("`bowline join TOKEN --witness`"), "{status}");
        let said = join(&trio.witness, &trio.one, "box3", &["--witness"]);
        assert!(said.starts_with("box3 joined as witness"), "{said}");
        all_are_well(&trio.one);
        trio
    }
}

fn count(machine: &Machine) -> String {
    machine.say(&["sql", "shop", "SELECT count(*) FROM t"]).out
}

#[test]
fn any_one_of_two_machines_and_a_witness_is_killed_and_writes_go_on() {
    let trio = Trio::form();
    let Trio { one, two, witness } = &trio;
    one.say(&["sql", "shop", "CREATE TABLE t(n)"]).done();
    let table = one.say(&["node", "list", "-o", "table"]).done();
    assert!(table.lines().any(|line| line.starts_with("box3") && line.contains(" witness ")), "{table}");
    for machine in [one, two, witness] {
        let status = machine.say(&["status", "-o", "table"]).done();
        assert!(status.contains("The cluster survives the loss of any one machine"), "{status}");
        assert!(status.starts_with("Safe to reboot this machine: yes"), "{status}");
    }
    let mut daemons: Vec<Daemon> = Vec::new();
    let mut written = 0;
    for round in 0..2 {
        for (fallen, left) in [(one, [two, witness]), (witness, [one, two]), (two, [witness, one])] {
            all_are_well(left[0]);
            fallen.kill();
            for machine in left {
                // Whoever is asked finds the leader: the witness as well.
                let insert = format!("INSERT INTO t VALUES ({round})");
                until("a write goes on", || (machine.say(&["sql", "shop", &insert]).code == Some(0)).then_some(()));
                written += 1;
            }
            daemons.push(fallen.start());
            fallen.ready();
        }
    }
    all_are_well(one);
    // A write of unknown outcome may have been done twice.
    let counted: u64 = count(one).trim().parse().unwrap();
    assert!(counted >= written, "{counted} of {written}");
    let hash = |machine: &Machine| machine.json(&["db", "check", "shop"])[0]["hash"].as_str().unwrap().to_owned();
    until("both copies are equal", || (hash(one) == hash(two)).then_some(()));
    the_witness_keeps_no_data_and_says_who_does(witness);

    let status = two.say(&["node", "remove", "box3", "--yes", "-o", "table"]).done();
    assert!(status.contains("add a third machine or a witness"), "{status}");
}

#[track_caller]
fn the_witness_keeps_no_data_and_says_who_does(witness: &Machine) {
    let databases = witness.state_dir().join("databases");
    for entry in std::fs::read_dir(&databases).unwrap() {
        let dir = entry.unwrap().path();
        if dir.file_name().unwrap() != "sys.1" {
            let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
            assert!(files.iter().all(|name| name == "position"), "{files:?}");
        }
    }
    let list = witness.json(&["db", "list"]);
    assert_eq!((&list[1]["name"], &list[1]["copies"], &list[1]["is_here"]), (&"shop".into(), &2.into(), &false.into()));
    witness.say(&["db", "check"]).done();
    witness.say(&["db", "check", "shop"]).refused(1, "BL-STORE-030", "holds no copy of shop");
    let (status, told) = witness.http("POST /v1/databases/shop/query", JSON, r#"{"sql": "SELECT 1"}"#);
    assert_eq!((status, told.contains("BL-STORE-030") && told.contains("which leads it")), (409, true), "{told}");
    let insert = r#"{"statements": [{"sql": "INSERT INTO t VALUES (7)"}]}"#;
    let (status, told) = witness.http("POST /v1/databases/shop/execute", JSON, insert);
    assert_eq!(status, 200, "{told}");
    witness.say(&["db", "create", "other"]).done();
    witness.say(&["db", "drop", "other", "--yes"]).done();
    let (_, metrics) = witness.http("GET /metrics", "", "");
    assert!(metrics.contains("bowline_witness 1"), "{metrics}");
}

/// The machine that was ahead is lost for good, and the log of the witness no longer reaches back to where the other one ended.
#[test]
fn what_only_a_lost_machine_and_the_witness_knew_is_named_before_it_is_given_up() {
    let trio = Trio::form();
    let Trio { one, two, witness } = &trio;
    one.say(&["sql", "shop", "CREATE TABLE t(n); INSERT INTO t VALUES (1)"]).done();
    until("box2 has it", || (count(two) == "1\n").then_some(()));
    let leader =
        one.json(&["node", "list"]).as_array().unwrap().iter().find(|n| n["leader"] == true).unwrap()["name"].clone();
    let (ahead, behind) = if leader == "box1" { (one, two) } else { (two, one) };
    behind.kill();
    // More than the log of a witness keeps.
    let fill = "INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 8) SELECT randomblob(1048576) FROM c";
    for _ in 0..10 {
        ahead.say(&["sql", "shop", fill]).done();
    }
    ahead.kill();
    let _behind = behind.start();
    until("its status says for what it waits", || {
        let said = behind.say(&["status", "-o", "table"]).out;
        said.contains("Database shop waits for a machine that is away: the witness has acknowledged").then_some(())
    });
    witness.say(&["recover", "--dry-run"]).refused(4, "BL-CLU-051", "has acknowledged more");
    let plan = behind.json(&["recover", "--dry-run"]);
    assert_eq!(plan["lost"].as_array().unwrap().len(), 2, "the machine and the witness: {plan}");
    let shop = plan["databases"].as_array().unwrap().iter().find(|database| database["name"] == "shop").unwrap();
    assert!(shop["lost_entries"].as_u64().unwrap() >= 10, "{plan}");
    let done = behind.say(&["recover", "--yes", "-o", "table"]).done();
    assert!(done.contains("1 database goes on with box") && done.contains("box3"), "{done}");
    until("it goes on with what it has", || (count(behind) == "1\n").then_some(()));
    until("the witness is out", || witness.belongs_to_nothing().then_some(()));
    let said = join(witness, behind, "box4", &["--witness"]);
    assert!(said.contains("it votes once two machines keep data"), "{said}");
}
