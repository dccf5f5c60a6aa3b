//! The Raft log and its groups.

use super::Network;
use crate::daemon::error::NodeError;
use ::raft::{HostConfig, RaftHost};
use lifecycle::{Context, Deadline, Ready, Unit, UnitError};
use rpc::Service;

/// Owns the Raft log. Groups are opened on it by the store.
pub(crate) struct RaftUnit {
    config: HostConfig,
    running: Option<(RaftHost, Ready<Network>)>,
}

impl RaftUnit {
    pub(crate) fn new(config: HostConfig) -> Self {
        Self { config, running: None }
    }
}

impl Unit for RaftUnit {
    type Needs = (Ready<Network>,);
    type Provides = RaftHost;

    async fn start(&mut self, (network,): Self::Needs, context: &Context) -> Result<RaftHost, UnitError> {
        let host =
            RaftHost::open(self.config.clone(), network.mesh.clone(), &context.scope).await.map_err(NodeError::Log)?;
        network.board.plug(Service::Raft, host.handler());
        self.running = Some((host.clone(), network));
        Ok(host)
    }

    async fn stop(&mut self, deadline: &Deadline) -> Result<(), UnitError> {
        if let Some((host, network)) = self.running.take() {
            host.stop(deadline.remaining()).await;
            network.board.unplug(Service::Raft);
        }
        Ok(())
    }
}
