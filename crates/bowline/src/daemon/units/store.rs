//! The databases.

use super::Network;
use crate::daemon::error::NodeError;
use ::raft::RaftHost;
use ::store::{Store, StoreConfig};
use lifecycle::{Context, Deadline, Ready, Unit, UnitError};
use rpc::Service;

/// Opens the databases; before it stops, hands over what it leads.
pub(crate) struct StoreUnit {
    config: StoreConfig,
    running: Option<(Store, Ready<RaftHost>, Ready<Network>)>,
}

impl StoreUnit {
    pub(crate) fn new(config: StoreConfig) -> Self {
        Self { config, running: None }
    }
}

impl Unit for StoreUnit {
    type Needs = (Ready<Network>, Ready<RaftHost>);
    type Provides = Store;

    async fn start(&mut self, (network, host): Self::Needs, context: &Context) -> Result<Store, UnitError> {
        let mesh = network.mesh.clone();
        let store = Store::open(self.config.clone(), (*host).clone(), mesh, context.scope.clone())
            .await
            .map_err(NodeError::Store)?;
        network.board.plug(Service::Store, store.handler());
        self.running = Some((store.clone(), host, network));
        Ok(store)
    }

    async fn drain(&mut self, deadline: &Deadline) {
        if let Some((_, host, _)) = &self.running {
            let kept = cluster::hand_over(&host.groups(), deadline.remaining()).await;
            if !kept.is_empty() {
                tracing::info!(?kept, "leadership could not be handed over");
            }
        }
    }

    async fn stop(&mut self, _deadline: &Deadline) -> Result<(), UnitError> {
        if let Some((store, _host, network)) = self.running.take() {
            network.board.unplug(Service::Store);
            store.close().await;
        }
        Ok(())
    }
}
