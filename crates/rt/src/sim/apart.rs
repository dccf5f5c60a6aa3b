//! A node without a network: a runtime of its own, in virtual time, for tests of one process's async code.

use super::node::current;
use std::future::Future;
use std::time::Duration;

/// Virtual time after which a run counts as stuck.
const STUCK_AFTER: Duration = Duration::from_hours(1);

/// Runs `future` to its end on the current node, in virtual time. What it spawned and left behind is dropped, as when the
/// process is killed. To be called inside [`run_blocking`](super::run_blocking) or [`every_cut`](super::every_cut).
///
/// # Panics
/// Outside a simulated node, and when the future is not done after an hour of virtual time.
#[expect(clippy::disallowed_methods, clippy::panic, clippy::expect_used, reason = "a harness for tests")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let node = current().expect("block_on runs on a simulated node");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let output = runtime.block_on(async {
        node.carry_time(true);
        let output = tokio::time::timeout(STUCK_AFTER, node.run("main", future)).await;
        node.carry_time(false);
        // What is left behind is dropped as by a kill, but the machine and its disk go on.
        node.end_process();
        output
    });
    drop(runtime);
    node.revive();
    match output {
        Ok(Some(output)) => output,
        Ok(None) => panic!("the main task was dropped half-way"),
        Err(elapsed) => panic!(
            "{elapsed}: not done after an hour of virtual time; the last operations:\n  {}",
            node.disk().recent().join("\n  ")
        ),
    }
}
