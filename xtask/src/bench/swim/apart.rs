//! A network of the bench's own, with nothing in it but its loopback interface: the bench runs again inside.

use crate::bench::error::BenchError;
use crate::bench::process::{check_interrupted, command};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "BOWLINE_BENCH_IN_NETWORK_OF_ITS_OWN";
/// How long the bench inside may take to kill its processes.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Whether this process is the one inside.
pub(super) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program once more with the same arguments, in a network of its own, and passes on how that ended, which it has said itself; `None` if
/// none can be made here.
pub(super) fn run_again_inside() -> Result<Option<ExitCode>, BenchError> {
    // As root; or as root of a user namespace, where the system lets everybody have one.
    let ways: [&[&str]; 2] = [&["--net"], &["--net", "--map-root-user"]];
    let Some(way) = ways.into_iter().find(|way| can(way)) else { return Ok(None) };
    let this = std::env::current_exe().map_err(|e| BenchError::failed("finding this program", e.to_string()))?;
    // The kernel's kill of what outlives its parent does not survive `unshare`: it is asked for inside.
    let inner = command(&this);
    let mut outer = Command::new("unshare");
    outer.args(way).args(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    outer.arg(inner.get_program()).args(inner.get_args()).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    // Ctrl-C reaches it through this process only, once.
    outer.process_group(0);
    let child = outer.spawn().map_err(|e| BenchError::failed("starting in a network of its own", e.to_string()))?;
    wait(child).map(Some)
}

fn can(way: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    command.args(way).args(["ip", "link", "set", "lo", "up"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Path::new("/proc/net/snmp").exists() && command.status().is_ok_and(|status| status.success())
}

fn wait(mut child: Child) -> Result<ExitCode, BenchError> {
    let mut told: Option<Instant> = None;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) if status.success() => return Ok(ExitCode::SUCCESS),
            Ok(Some(_)) => return Ok(ExitCode::FAILURE),
            Err(e) => return Err(BenchError::failed("waiting for the bench in its network", e.to_string())),
        }
        match told {
            None if check_interrupted().is_err() => {
                // It may have ended just now.
                drop(Command::new("kill").args(["-INT", &child.id().to_string()]).status());
                told = Some(Instant::now());
            }
            // Its processes go with it.
            Some(at) if at.elapsed() > END_PATIENCE => drop(child.kill()),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
