//! How daemons start and end.

use super::machine::{Machine, say};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A second SIGTERM leaves three seconds for everything; the rest is for a machine with much else to do.
const HURRIED: Duration = Duration::from_secs(20);

#[test]
fn a_command_without_a_daemon_says_how_to_start_one_and_stop_ends_it_in_order() {
    let machine = Machine::new();
    machine.say(&["status"]).refused(3, "BL-API-005", "no Bowline daemon answers");
    let ready = machine.form(&["init", "--name", "box1"]);
    assert!(ready.done().contains("box1 is ready in "));
    machine.form(&["init", "--name", "box1"]).refused(1, "BL-CLU-013", "already");

    let status = machine.say(&["status", "-o", "table"]).done();
    assert!(status.starts_with("Safe to reboot this machine: no, it is the only machine"), "{status}");
    assert_eq!(machine.daemons().len(), 1);
    let stopped = machine.say(&["stop"]);
    assert!(stopped.code == Some(0) && stopped.err.contains("stopped in order"), "{stopped:?}");
    assert_eq!(machine.daemons(), []);
    machine.say(&["stop"]).refused(3, "BL-API-005", "no Bowline daemon answers");
}

#[test]
fn a_directory_that_a_daemon_uses_is_refused_to_another() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    let second = say(&mut machine.start_command());
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("error BL-NODE-004: another daemon runs on "), "{second:?}");
    // The first has not noticed.
    machine.say(&["sql", "shop", "SELECT 1"]).done();
}

#[test]
fn sigterms_end_a_daemon_in_time_wherever_it_is_in_its_start() {
    let machine = Machine::new();
    // It belongs to no cluster.
    let daemon = machine.start();
    assert_eq!(daemon.terminated_within(HURRIED).code(), Some(0));

    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["sql", "shop", "CREATE TABLE t(n); INSERT INTO t VALUES (1)"]).done();
    machine.say(&["stop"]).done();
    // In the middle of its start, a little later each time: as soon as its socket is there, and when some units are up.
    for units in 0..5 {
        let daemon = machine.start();
        super::machine::until("so many units are up", || {
            let status = machine.say(&["status", "--units", "-o", "json"]);
            let up = serde_json::from_str::<serde_json::Value>(&status.out).ok()?;
            let up = up["units"].as_array()?.iter().filter(|unit| unit["phase"] == "ready").count();
            (units == 0 || up >= units).then_some(())
        });
        assert_eq!(daemon.terminated_within(HURRIED).code(), Some(0), "with {units} units up");
    }
    let _daemon = machine.start();
    machine.ready();
    assert_eq!(machine.say(&["sql", "shop", "SELECT n FROM t"]).done(), "1\n");
}

#[test]
fn a_request_that_its_client_never_finishes_holds_no_stop_up() {
    let machine = Machine::new();
    let daemon = machine.start();
    machine.form(&["init", "--name", "box1"]).done();
    let mut import = UnixStream::connect(machine.socket()).unwrap();
    import
        .write_all(b"PUT /v1/databases/shop/file HTTP/1.1\r\nhost: bowline\r\ncontent-length: 1000000\r\n\r\nSQLite format 3\0")
        .unwrap();
    super::machine::until("the import is under way", || arriving(&machine).then_some(()));
    // Once, and in less than a stop may take: the answers have two seconds after everything else.
    daemon.terminate();
    assert_eq!(daemon.ended_within(HURRIED).code(), Some(0));
    // The client hears of it.
    drop(import.read_to_end(&mut Vec::new()));
    // What has arrived of the file does not stay for ever.
    let _daemon = machine.start();
    assert!(!arriving(&machine));
}

fn arriving(machine: &Machine) -> bool {
    std::fs::read_dir(machine.state_dir().join("incoming")).unwrap().next().is_some()
}
