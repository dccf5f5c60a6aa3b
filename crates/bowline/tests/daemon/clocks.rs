//! Machines whose clocks are wrong. The clock of a process is set by `faketime`, which Debian has.

use super::machine::{Machine, until};
use std::path::Path;

/// The library that gives a program another clock, where it is installed.
fn faketime() -> Option<String> {
    let found =
        ["x86_64", "aarch64"].iter().map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"));
    let found = found.into_iter().find(|library| Path::new(library).exists());
    if found.is_none() {
        eprintln!("SKIPPED: faketime is not installed (apt-get install faketime)");
    }
    found
}

/// A machine whose clock is off by so much, as `faketime` writes it: `+3h`, `-40d`.
fn machine_at(library: &str, offset: &str) -> Machine {
    Machine::new().with("LD_PRELOAD", library).with("FAKETIME", offset).with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn a_clock_that_is_hours_off_keeps_nobody_from_joining_and_both_times_are_said() {
    let Some(library) = faketime() else { return };
    let first = Machine::new();
    first.form(&["init", "--name", "box1"]).done();
    for (name, offset, side) in [("box2", "+5h", "ahead of"), ("box3", "-5h", "behind")] {
        let machine = machine_at(&library, offset);
        let token = first.say(&["token", "add"]).done();
        let joined = machine.form(&["join", token.trim(), "--name", name]);
        assert_eq!(joined.code, Some(0), "{joined:?}");
        let warning = joined.err.lines().find(|line| line.starts_with("warning BL-CLU-044: ")).unwrap_or_default();
        assert!(warning.contains("this machine's clock says 20") && warning.contains("the leader's 20"), "{joined:?}");
        assert!(warning.contains(side) && joined.err.contains("timedatectl"), "{joined:?}");

        // Whoever is asked says so, also the one whose clock it is.
        for asked in [&first, &machine] {
            let status = until("the clock is noticed", || {
                let status = asked.say(&["status", "-o", "json"]);
                status.out.contains(&format!("The clock of {name} is ")).then_some(status.out)
            });
            assert!(status.contains(&format!("{side} the leader's")) && status.contains("timedatectl"), "{status}");
        }
        machine.ready();
        first.say(&["node", "remove", name, "--yes", "--force"]).done();
    }
}

#[test]
fn a_clock_that_is_days_behind_is_said_to_be_wrong_and_nothing_is_lost_by_trying() {
    let Some(library) = faketime() else { return };
    let first = Machine::new();
    first.form(&["init", "--name", "box1"]).done();
    let token = first.say(&["token", "add"]).done();
    for (offset, year) in [("-3000d", "20"), ("+4000d", "20")] {
        let machine = machine_at(&library, offset);
        let refused = machine.form(&["join", token.trim(), "--name", "box2"]);
        assert!(refused.err.contains(&format!("this machine's clock says {year}")), "{refused:?}");
        assert!(refused.err.contains("timedatectl") || refused.err.contains("date -u"), "{refused:?}");
        let code = refused.err.lines().find_map(|line| line.strip_prefix("error "));
        assert!(code.is_some_and(|line| line.starts_with("BL-CLU-040: ")), "{refused:?}");
        assert!(machine.belongs_to_nothing());
    }
    // The clock is set, and the same token is good: nobody has used it.
    let machine = Machine::new();
    machine.form(&["join", token.trim(), "--name", "box2"]).done();
    machine.ready();
}
