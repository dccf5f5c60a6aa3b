//! What a service manager hears of the daemon, on a socket of its own.

use super::machine::{Machine, PATIENCE};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Receives lines until one of them is `wanted`.
#[track_caller]
fn heard(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut lines = Vec::new();
    while Instant::now() < deadline {
        let mut datagram = [0; 1024];
        let Ok(length) = socket.recv(&mut datagram) else { break };
        lines.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
        if lines.iter().any(|line| line == wanted) {
            return lines;
        }
    }
    panic!("{wanted} was not among {lines:?}")
}

#[test]
fn the_service_manager_hears_ready_and_stopping_and_its_watchdog_is_fed() {
    let machine = Machine::new();
    let path = machine.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let watched = |machine: &Machine| {
        let mut command = machine.start_command();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        super::machine::Daemon(command.spawn().unwrap())
    };

    // A daemon that belongs to no cluster has started as well as one that does.
    let daemon = watched(&machine);
    let lines = heard(&socket, "READY=1");
    assert!(lines.iter().any(|line| line.starts_with("STATUS=belongs to no cluster")), "{lines:?}");
    for _ in 0..5 {
        heard(&socket, "WATCHDOG=1");
    }
    machine.form(&["init", "--name", "box1"]).done();
    heard(&socket, "STATUS=ready");
    daemon.terminate();
    heard(&socket, "STOPPING=1");
    assert_eq!(daemon.ended_within(Duration::from_secs(40)).code(), Some(0));

    let daemon = watched(&machine);
    heard(&socket, "READY=1");
    heard(&socket, "WATCHDOG=1");
    // Through the control socket it hears the same.
    machine.say(&["stop"]).done();
    heard(&socket, "STOPPING=1");
    assert_eq!(daemon.ended_within(Duration::from_secs(40)).code(), Some(0));
}
