//! Who may do what over TLS, and who is not let in without it.

use super::fake::{Answer, Client, Fake};
use crate::dqlite::listener::{Guest, Origin};
use crate::dqlite::{DoorOptions, TlsDoor, Trust};
use ::dqlite::{Request, ResponseKind, Version};
use lifecycle::Scope;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A small certificate authority.
struct Ca(CertifiedIssuer<'static, KeyPair>);

type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.into(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

struct House {
    ca: Ca,
    member: Pair,
    guest: Arc<Guest<Fake>>,
    door: TlsDoor,
    scope: Scope,
}

impl House {
    fn new() -> Self {
        let ca = Ca::new();
        let (server, key) = ca.issue("server");
        let member = ca.issue("member");
        let verifier = WebPkiClientVerifier::builder(ca.roots()).build().unwrap();
        let config =
            ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(vec![server], key).unwrap();
        let known = member.0.clone();
        let door = TlsDoor { tls: rpc::ListenerTls::new(config), is_member: Arc::new(move |shown| *shown == known) };
        let guest = Guest::new(Arc::new(Fake::default()), Trust::Tls(door.clone()), DoorOptions::default());
        Self { ca, member, guest: Arc::new(guest), door, scope: Scope::new("house") }
    }

    /// The client's end of a connection from `origin`.
    fn knock(&self, origin: Origin) -> DuplexStream {
        let (here, there) = tokio::io::duplex(64 << 10);
        let (guest, door, stopping) = (Arc::clone(&self.guest), self.door.clone(), self.scope.cancelled());
        self.scope.spawn("client", async move {
            drop(guest.admit_tls(&door, there, origin, &stopping).await);
        });
        here
    }

    async fn knock_with(
        &self,
        shown: Option<Pair>,
        origin: Origin,
    ) -> std::io::Result<Client<TlsStream<DuplexStream>>> {
        let config = ClientConfig::builder().with_root_certificates(self.ca.roots());
        let config = match shown {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("server").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.knock(origin)).await?;
        Ok(Client::new(stream, Version::One))
    }
}

const WEIGHT: Request<'static> = Request::Weight { weight: 3 };

#[tokio::test]
async fn a_members_certificate_opens_everything() {
    let house = House::new();
    let shown = (house.member.0.clone(), house.member.1.clone_key());
    let mut client = house.knock_with(Some(shown), Origin::Elsewhere).await.unwrap();
    assert!(matches!(client.ask(&WEIGHT).await, Answer::Other(ResponseKind::Empty, _)));
    client.open().await;
    assert!(matches!(client.query("rows 20000").await, Answer::Rows { rows, .. } if rows.len() == 20_000));
}

#[tokio::test]
async fn another_certificate_opens_databases_only() {
    let house = House::new();
    let mut client = house.knock_with(Some(house.ca.issue("reporting")), Origin::Elsewhere).await.unwrap();
    assert!(matches!(client.ask(&WEIGHT).await, Answer::Failure(23, _)));
    client.open().await;
    assert!(matches!(client.exec("write").await, Answer::Other(ResponseKind::Result, _)));
}

#[tokio::test]
async fn without_a_certificate_of_the_cluster_nobody_comes_in_from_elsewhere() {
    let house = House::new();
    for shown in [None, Some(Ca::new().issue("stranger"))] {
        // TLS 1.3 clients learn of the refusal with their first read.
        if let Ok(mut client) = house.knock_with(shown, Origin::Elsewhere).await {
            client.send_ignoring_errors(&Request::Leader).await;
            assert_eq!(client.event().await, None);
        }
    }
}

#[tokio::test]
async fn a_plain_client_from_elsewhere_hears_nothing() {
    let house = House::new();
    let mut stream = house.knock(Origin::Elsewhere);
    stream.write_all(&Version::One.number().to_le_bytes()).await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty());
}

#[tokio::test]
async fn a_plain_client_on_the_same_machine_is_the_administrator() {
    let house = House::new();
    let mut client = Client::new(house.knock(Origin::SameMachine), Version::One);
    assert!(matches!(client.ask(&WEIGHT).await, Answer::Other(ResponseKind::Empty, _)));
}
