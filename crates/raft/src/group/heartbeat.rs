//! The heartbeats of a group that this node leads. The engine could send them itself, but looks five times as often whether it is time to,
//! on followers, too: most of what an idle node did was that.

use super::core::Running;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use rt::time::Instant;
use std::time::Duration;

/// Makes the engine send a heartbeat as soon as it leads, and one each `every` from then on. Ends when the engine does.
pub(super) async fn beat(running: Running, every: Duration) {
    let mut server = running.raft.server_metrics();
    loop {
        let leads = server.borrow_watched().state == ServerState::Leader;
        if !leads {
            if server.changed().await.is_err() {
                return;
            }
            continue;
        }
        let next = Instant::now() + every;
        if running.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        rt::time::sleep_until(next).await;
    }
}
