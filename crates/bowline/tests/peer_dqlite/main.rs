//! dqlite's own clients against Bowline: Canonical's go-dqlite driver through `peers/go/dqconf`, and Debian's `dqlite` shell.
//! The same checks run against a real dqlite cluster, so that they say what dqlite does and not what Bowline does.
//!
//! What is missing is named, with how to install it. With `BOWLINE_REQUIRE_PEERS=1` (CI) a missing peer fails.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests start and watch real processes: files and clocks are the machine's"
)]

mod bowline;
mod peers;
mod process;

use bowline::{Dev, Members};
use peers::{CHECKS, Go, SHELL};
use process::{Running, output};
use std::process::Command;

/// Runs the checks and shows what they said if one failed.
#[track_caller]
fn check(command: &mut Command) {
    let (success, text) = output(command);
    assert!(success, "{text}");
    assert!(text.contains(" ok, 0 failed"), "{text}");
    println!("{text}");
}

#[test]
fn go_dqlite_passes_every_check_and_works_through_kill_9_of_the_leader() {
    let Some(checks) = Go::build(&CHECKS) else { return };
    let members = Members::three();
    let pids = members.pids().iter().map(|(address, pid)| format!("{address}={pid}")).collect::<Vec<_>>().join(",");
    check(Command::new(checks).args(["-s", &members.addresses().join(","), "-pids", &pids]));
}

#[test]
fn go_dqlite_passes_every_check_against_one_process_with_three_nodes() {
    let Some(checks) = Go::build(&CHECKS) else { return };
    let dev = Dev::start(3);
    check(Command::new(checks).args(["-s", &dev.addresses.join(",")]));
    dev.stop();
}

#[test]
fn the_checks_hold_against_dqlite_itself() {
    let (Some(checks), Some(node)) = (Go::build(&CHECKS), Go::build(&peers::DQLITE_NODE)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut addresses: Vec<String> = Vec::new();
    let mut nodes = Vec::new();
    for i in 1..=3 {
        let address = format!("127.0.0.1:{}", process::free_port());
        let mut command = Command::new(&node);
        command.arg("-dir").arg(dir.path().join(i.to_string())).args(["-addr", &address]);
        if let Some(first) = addresses.first() {
            command.args(["-join", first]);
        }
        nodes.push(Running::start(&mut command, |line| line.starts_with("READY")));
        addresses.push(address);
    }
    // The second member becomes a voter with the third, a moment after that is ready.
    process::until("three voters", || {
        let (_, members) = output(Command::new(&checks).args([
            "-s",
            &addresses.join(","),
            "-peer",
            "dqlite-1.11",
            "-only",
            "three-voters",
        ]));
        members.contains("1 ok")
    });
    let pids = addresses.iter().zip(&nodes).map(|(a, n)| format!("{a}={}", n.pid())).collect::<Vec<_>>().join(",");
    check(Command::new(checks).args(["-s", &addresses.join(","), "-peer", "dqlite-1.11", "-pids", &pids]));
}

#[test]
fn debians_dqlite_shell_works() {
    let Some(shell) = Go::build(&SHELL) else { return };
    let dev = Dev::start(3);
    let scratch = tempfile::tempdir().unwrap();
    let ask = |line: &str| {
        let mut command = Command::new(&shell);
        command.args(["-s", &dev.addresses.join(","), "shop", line]).current_dir(scratch.path());
        let (success, text) = output(&mut command);
        assert!(success, "{line}: {text}");
        text
    };
    ask("CREATE TABLE knots(id INTEGER PRIMARY KEY, name TEXT, tied DATETIME, safe BOOLEAN)");
    ask("INSERT INTO knots VALUES(1, 'bowline', '2026-02-28 12:00:00', 1), (2, 'granny', 1.5, 'no')");
    let rows = ask("SELECT name, safe FROM knots ORDER BY id");
    assert!(rows.contains("bowline|true") && rows.contains("granny|no"), "{rows}");
    let cluster = ask(".cluster");
    for address in &dev.addresses {
        assert!(cluster.contains(&format!("{address}|voter")), "{cluster}");
    }
    let leader = ask(".leader");
    assert!(dev.addresses.iter().any(|address| leader.trim() == address), "{leader}");
    let described = ask(&format!(".describe {}", leader.trim()));
    let [address, _failure_domain, weight] = described.trim().split('|').collect::<Vec<_>>()[..] else {
        panic!("{described}")
    };
    assert_eq!((address, weight), (leader.trim(), "0"));
    ask(&format!(".dump {} shop", leader.trim()));
    let dumped = std::fs::read(scratch.path().join("shop")).unwrap();
    assert!(dumped.starts_with(b"SQLite format 3\0"));
    assert!(dumped.windows(7).any(|w| w == b"bowline"), "the rows are in the dump");
    dev.stop();
}
