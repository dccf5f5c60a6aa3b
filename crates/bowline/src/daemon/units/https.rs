//! The HTTPS door: the API for people and programs on other machines.

use super::tls;
use crate::daemon::error::NodeError;
use api::control::{Entrance, Router};
use cluster::{Keyring, Transport};
use lifecycle::{Context, Deadline, Unit, UnitError};
use rt::net::Listener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long requests may take to end when everything else has.
const ANSWERS_MAX: Duration = Duration::from_secs(2);

/// Serves the API over TLS. The first to start and the last to stop: what is asked while the others start or stop is answered with
/// when to come again.
pub(crate) struct HttpsUnit {
    address: String,
    /// Bound before the unit first started, so that its port could be announced.
    listener: Option<Listener>,
    keys: Arc<Keyring>,
    router: Router,
    serving: Option<Serving>,
}

struct Serving {
    stop: Arc<Notify>,
    ended: lifecycle::Spawned<Option<()>>,
}

impl HttpsUnit {
    /// `address` is bound again when the unit is restarted.
    pub(crate) fn new(address: String, listener: Listener, keys: Arc<Keyring>, router: Router) -> Self {
        Self { address, listener: Some(listener), keys, router, serving: None }
    }
}

impl Unit for HttpsUnit {
    type Needs = ();
    type Provides = ();

    async fn start(&mut self, (): (), context: &Context) -> Result<(), UnitError> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => Listener::bind(&self.address).await.map_err(|source| NodeError::Bind {
                what: "clients of the API",
                address: self.address.clone(),
                source,
            })?,
        };
        let entrance = match self.keys.identity().record.transport {
            Transport::Tls => Entrance::Tls(tls::listener(&self.keys, &[b"http/1.1"], &context.scope)?),
            Transport::Plain => Entrance::Trusted,
        };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let serve =
            api::control::serve(listener, entrance, self.router.clone(), async move { stopped.notified().await });
        self.serving = Some(Serving { stop, ended: context.scope.spawn_droppable("serve", serve) });
        Ok(())
    }

    async fn stop(&mut self, deadline: &Deadline) -> Result<(), UnitError> {
        if let Some(Serving { stop, ended }) = self.serving.take() {
            stop.notify_one();
            if rt::time::timeout(ANSWERS_MAX.min(deadline.remaining()), ended).await.is_err() {
                tracing::info!("requests over HTTPS were cut off");
            }
        }
        Ok(())
    }
}
