//! Node-to-node services, plugged in as their units come up and unplugged before they go.
//!
//! The network is the first unit to start and the last to stop, so that Raft can still talk while leadership is handed
//! over. Until a service is plugged in, and after it is unplugged, its calls are refused with a retry.

use base::{Code, Disposition, ErrorPage};
use bytes::Bytes;
use futures::future::BoxFuture;
use rpc::{Answer, Caller, Handler, Handlers, Refusal, Service};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The page of the refusal.
pub(crate) const NOT_PLUGGED: ErrorPage = ErrorPage {
    code: Code("BL-NODE-001"),
    title: "The node does not offer that service now",
    cause: "The node is starting, or it is stopping.",
    next: "Nothing to do: the caller tries again by itself.",
};

/// Which handler answers which service now.
#[derive(Clone, Default)]
pub(crate) struct Switchboard(Arc<RwLock<BTreeMap<Service, Arc<dyn Handler>>>>);

impl Switchboard {
    /// The handlers to give to the network: each looks up who is plugged in at the moment of the call.
    pub(crate) fn handlers(&self) -> Handlers {
        [Service::Raft, Service::Store, Service::Cluster, Service::Join]
            .into_iter()
            .fold(Handlers::new(), |handlers, service| {
                handlers.with(service, Arc::new(Socket { service, board: self.clone() }))
            })
    }

    /// Answers a service from now on.
    pub(crate) fn plug(&self, service: Service, handler: Arc<dyn Handler>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(service, handler);
    }

    /// Refuses a service from now on. Calls under way go on.
    pub(crate) fn unplug(&self, service: Service) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&service);
    }

    fn handler(&self, service: Service) -> Option<Arc<dyn Handler>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&service).cloned()
    }
}

struct Socket {
    service: Service,
    board: Switchboard,
}

impl Handler for Socket {
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        match self.board.handler(self.service) {
            Some(handler) => handler.handle(caller, method, body),
            None => Box::pin(std::future::ready(Err(Refusal::new(
                NOT_PLUGGED.code,
                Disposition::Retry { after: Duration::from_millis(50) },
                format!("{:?} is not offered now", self.service),
            )))),
        }
    }
}
