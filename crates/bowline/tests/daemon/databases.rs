//! `bowline db` and `bowline sql`.

use super::machine::{Machine, until};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

#[test]
fn a_database_is_made_asked_checked_carried_out_and_in_and_dropped() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();

    assert!(machine.say(&["db", "create", "shop"]).done().contains("shop"));
    assert!(machine.say(&["db", "create", "shop"]).done().contains("was there already"));
    let table = "CREATE TABLE knots(name TEXT, turns INTEGER); INSERT INTO knots VALUES ('bowline', 1), ('hitch', 2)";
    machine.say(&["sql", "shop", table]).done();
    assert_eq!(
        machine.say(&["sql", "shop", "SELECT name, turns FROM knots ORDER BY turns"]).done(),
        "bowline\t1\nhitch\t2\n"
    );
    let rows = machine.json(&["sql", "shop", "SELECT count(*) AS n FROM knots"]);
    assert_eq!(rows, serde_json::json!([{"n": 2}]));
    let wrong = machine.say(&["sql", "shop", "SELECT * FROM knotz"]);
    assert!(wrong.code == Some(1) && wrong.err.contains("no such table: knotz") && wrong.out.is_empty(), "{wrong:?}");

    assert_eq!(machine.say(&["db", "list", "-o", "name"]).done(), "sys\nshop\n");
    assert!(machine.say(&["db", "check"]).done().contains("shop"));
    machine.say(&["db", "check", "nothing"]).refused(1, "BL-STORE-007", "nothing");

    let file = machine.path("shop.db");
    let file = file.to_str().unwrap();
    machine.say(&["db", "export", "shop", file]).done();
    assert!(std::fs::read(file).unwrap().starts_with(b"SQLite format 3\0"));
    machine.say(&["db", "export", "shop", file]).refused(4, "BL-CLI-003", "is there already");
    machine.say(&["db", "export", "shop", file, "--force"]).done();

    machine.say(&["db", "drop", "shop"]).refused(4, "BL-CLI-004", "shop");
    machine.say(&["db", "drop", "shop", "--yes"]).done();
    assert_eq!(machine.say(&["db", "list", "-o", "name"]).done(), "sys\n");
    machine.say(&["db", "drop", "shop", "--yes"]).refused(1, "BL-STORE-007", "shop");

    machine.say(&["db", "import", "copy", file]).done();
    assert_eq!(machine.say(&["sql", "copy", "SELECT sum(turns) FROM knots"]).done(), "3\n");
    machine.say(&["db", "import", "copy", file]).refused(1, "BL-STORE-008", "copy");
    let none = machine.path("none.db");
    machine.say(&["db", "import", "other", none.to_str().unwrap()]).refused(1, "BL-CLI-002", "none.db");
    std::fs::write(&none, "not a database").unwrap();
    let refused = machine.say(&["db", "import", "other", none.to_str().unwrap()]);
    assert!(refused.code == Some(1) && refused.err.starts_with("error BL-"), "{refused:?}");
    assert_eq!(machine.say(&["db", "list", "-o", "name"]).done(), "sys\ncopy\n", "a failed import leaves nothing");
}

#[test]
fn a_check_finds_the_page_that_the_disk_has_changed() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["sql", "shop", "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(40000))"]).done();
    machine.say(&["stop"]).done();
    let databases = std::fs::read_dir(machine.state_dir().join("databases")).unwrap();
    let shop = databases.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("/shop."));
    let file = std::fs::OpenOptions::new().write(true).open(shop.unwrap().join("data.db")).unwrap();
    file.write_all_at(b"x", 5 * 4096 + 1000).unwrap();

    let _daemon = machine.start();
    machine.ready();
    let checked = machine.say(&["db", "check", "shop"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("damaged"), "{checked:?}");
    assert!(checked.err.contains("error BL-CLI-011") && checked.err.contains("page 6 of the database file is corrupt"));
    machine.say(&["db", "check", "sys"]).done();
}

#[test]
fn an_import_that_a_crash_has_cut_off_can_be_dropped_and_done_again() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["sql", "old", "CREATE TABLE t(x)"]).done();
    for _ in 0..4 {
        machine.say(&["sql", "old", "INSERT INTO t VALUES (randomblob(12000000))"]).done();
    }
    let file = machine.path("old.db");
    let file = file.to_str().unwrap();
    machine.say(&["db", "export", "old", file]).done();

    let mut import = machine.command(&["db", "import", "new", file]);
    let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the import has begun", || machine.say(&["db", "list", "-o", "name"]).out.contains("new").then_some(()));
    machine.kill();
    assert!(!import.wait().unwrap().success());
    let _daemon = machine.start();
    machine.ready();
    machine.say(&["sql", "new", "SELECT count(*) FROM t"]).refused(3, "BL-STORE-019", "being imported");
    machine.say(&["db", "drop", "new", "--yes"]).done();
    machine.say(&["db", "import", "new", file]).done();
    assert_eq!(machine.say(&["sql", "new", "SELECT count(*) FROM t"]).done(), "4\n");
}
