//! The dqlite door: clients of the databases, over TCP and over the local Unix socket.

mod membership;

use super::{Members, tls};
use crate::daemon::error::NodeError;
use ::store::Store;
use api::dqlite::{Door, DoorOptions, SideDoor, StoreBackend, TlsDoor, Trust};
use cluster::{Keyring, Transport};
use lifecycle::{Context, Deadline, Ready, Scope, Unit, UnitError};
use membership::Directory;
use rt::net::Listener;
use std::path::PathBuf;
use std::sync::Arc;

/// The door for sessions that come over HTTPS.
pub(crate) type SqlDoor = SideDoor<StoreBackend<Directory>>;

/// Serves dqlite's protocol. The last to start and the first to stop.
pub(crate) struct DqliteUnit {
    socket: PathBuf,
    address: String,
    /// Bound before the unit first started, so that its port could be announced.
    listener: Option<Listener>,
    keys: Arc<Keyring>,
    doors: Option<Scope>,
}

impl DqliteUnit {
    /// `address` is bound again when the unit is restarted.
    pub(crate) fn new(socket: PathBuf, address: String, listener: Listener, keys: Arc<Keyring>) -> Self {
        Self { socket, address, listener: Some(listener), keys, doors: None }
    }
}

impl Unit for DqliteUnit {
    type Needs = (Ready<Store>, Ready<Members>);
    type Provides = SqlDoor;

    async fn start(&mut self, (store, members): Self::Needs, context: &Context) -> Result<SqlDoor, UnitError> {
        let tcp = match self.listener.take() {
            Some(listener) => listener,
            None => Listener::bind(&self.address).await.map_err(|source| NodeError::Bind {
                what: "dqlite clients",
                address: self.address.clone(),
                source,
            })?,
        };
        let unix = Listener::bind_unix(&self.socket).map_err(|source| NodeError::Bind {
            what: "local dqlite clients",
            address: self.socket.display().to_string(),
            source,
        })?;
        let trust = match self.keys.identity().record.transport {
            Transport::Tls => Trust::Tls(TlsDoor {
                tls: tls::listener(&self.keys, &[], &context.scope)?,
                is_member: Arc::new(|shown| rpc::node_of(shown).is_ok()),
            }),
            Transport::Plain => Trust::Everybody,
        };
        let directory = Directory::open((*store).clone(), members.cluster.clone()).await;
        context.scope.spawn_droppable("members", directory.clone().follow());
        let backend = Ready::announce("dqlite backend", StoreBackend::new((*store).clone(), directory));
        let doors = context.scope.child("doors");
        Door::new(tcp, trust, DoorOptions::default(), backend.clone()).open(&doors);
        let side = SideDoor::new(DoorOptions::default(), &backend, &doors);
        Door::new(unix, Trust::Local, DoorOptions::default(), backend).open(&doors);
        self.doors = Some(doors);
        Ok(side)
    }

    async fn drain(&mut self, deadline: &Deadline) {
        if let Some(doors) = self.doors.take() {
            let report = doors.stop(deadline.remaining()).await;
            if !report.is_clean() {
                tracing::info!(?report, "some clients were cut off in a transaction");
            }
        }
    }
}
