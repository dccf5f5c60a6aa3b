//! A certificate authority, nodes and handlers for the tests.

use base::{Disposition, NodeId};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lifecycle::Scope;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rpc::{
    Answer, CallError, Caller, Class, Fingerprint, Handler, Handlers, Identity, Mesh, Refusal, Service,
    StrangerIdentity, TlsIdentity, fingerprint_of, node_name,
};
use rt::net::Listener;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) struct Ca {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "Bowline test CA");
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(&self.certificate).unwrap()
    }

    /// A certificate for the node, as changed by `adjust`.
    pub(crate) fn sign(&self, node: u64, adjust: impl FnOnce(&mut CertificateParams)) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([node_name(NodeId(node))]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("n{node}"));
        adjust(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        TlsIdentity {
            chain: vec![certificate],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            roots: vec![self.certificate.clone()],
        }
    }

    pub(crate) fn node(&self, node: u64) -> Identity {
        Identity::Tls(self.sign(node, |_| {}))
    }
}

pub(crate) fn self_signed() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["stranger".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a machine that wants to join");
    // A clock that is wrong by years must not keep anybody out.
    params.not_before = rcgen::date_time_ymd(1999, 1, 1);
    params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

pub(crate) fn stranger() -> StrangerIdentity {
    let (certificate, key) = self_signed();
    StrangerIdentity::Tls { certificate, key }
}

pub(crate) const ECHO: u16 = 1;
pub(crate) const WHO: u16 = 2;
pub(crate) const WAIT: u16 = 3;
pub(crate) const REFUSE: u16 = 4;
pub(crate) const PANIC_AT_ONCE: u16 = 5;
pub(crate) const PANIC_LATER: u16 = 6;
pub(crate) const LONG: u16 = 7;

/// Answers in every way that a handler can.
#[derive(Default)]
pub(crate) struct Testing {
    /// Calls of `WAIT` that have started.
    pub(crate) started: Arc<Semaphore0>,
    /// Lets them go on.
    pub(crate) go: Arc<Semaphore0>,
    /// Calls of `WAIT` that were dropped before they were done.
    pub(crate) dropped: Arc<Semaphore0>,
    pub(crate) calls: AtomicUsize,
}

/// A semaphore that starts empty: a counter that can be waited for.
pub(crate) struct Semaphore0(Semaphore);

impl Default for Semaphore0 {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Semaphore0 {
    pub(crate) fn add(&self, n: usize) {
        self.0.add_permits(n);
    }
    pub(crate) async fn take(&self) {
        rt::time::timeout(SOON, self.0.acquire()).await.expect("it should happen soon").unwrap().forget();
    }
    async fn take_some_day(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

struct Dropped(Option<Arc<Semaphore0>>);

impl Dropped {
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.add(1);
        }
    }
}

impl Handler for Testing {
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match method {
            ECHO => async move { Ok(body) }.boxed(),
            WHO => {
                let who = format!("{:?} {}", caller.node, caller.fingerprint);
                async move { Ok(who.into()) }.boxed()
            }
            WAIT => {
                let (started, go) = (Arc::clone(&self.started), Arc::clone(&self.go));
                let mut dropped = Dropped(Some(Arc::clone(&self.dropped)));
                async move {
                    started.add(1);
                    go.take_some_day().await;
                    dropped.forget();
                    Ok(body)
                }
                .boxed()
            }
            REFUSE => async {
                Err(Refusal {
                    code: "BL-TEST-001".into(),
                    disposition: Disposition::Retry { after: Duration::from_millis(7) },
                    message: "not today".to_owned(),
                })
            }
            .boxed(),
            PANIC_AT_ONCE => panic!("at once"),
            PANIC_LATER => async { panic!("later") }.boxed(),
            LONG => async { Ok(vec![7; rpc::frame::BODY_LEN_MAX + 1].into()) }.boxed(),
            other => panic!("no method {other}"),
        }
    }
}

pub(crate) struct Node {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) handler: Arc<Testing>,
    pub(crate) address: String,
    pub(crate) scope: Scope,
}

impl Node {
    pub(crate) async fn start(identity: Identity) -> Self {
        Self::start_at(identity, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(identity: Identity, address: &str) -> Self {
        let scope = Scope::new("test");
        let mesh = Mesh::new(identity, &scope).unwrap();
        let handler = Arc::new(Testing::default());
        let listener = Listener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let handlers = Handlers::new()
            .with(Service::Raft, Arc::clone(&handler) as Arc<dyn Handler>)
            .with(Service::Join, Arc::clone(&handler) as Arc<dyn Handler>);
        mesh.serve(listener, handlers);
        Self { mesh, handler, address, scope }
    }

    /// Calls `to`, of which it knows the address.
    pub(crate) async fn call(&self, to: &Self, method: u16, body: impl Into<Bytes>) -> Result<Bytes, CallError> {
        self.mesh.set_address(to.mesh.node(), &to.address);
        self.mesh.call(to.mesh.node(), Service::Raft, method, body.into(), SOON, Class::Control).await
    }
}

/// Two nodes of one cluster over TLS.
pub(crate) async fn pair() -> (Node, Node) {
    let ca = Ca::new();
    (Node::start(ca.node(1)).await, Node::start(ca.node(2)).await)
}

/// An address on which nobody listens.
pub(crate) async fn nobody() -> String {
    Listener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}
