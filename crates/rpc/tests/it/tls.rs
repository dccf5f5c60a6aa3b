//! Who is let in, and what one who is not is told.

use crate::support::*;
use base::{Fault, NodeId};
use bytes::Bytes;
use rpc::frame::{Frame, Hello, VERSION, split};
use rpc::{CallError, Class, ConnectError, Fingerprint, Identity, Service, StrangerConnection, node_name};
use rt::net::Stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

async fn why_not(a: &Node, b: &Node) -> String {
    let error = a.call(b, ECHO, "").await.unwrap_err();
    assert!(matches!(error, CallError::Down { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_by_either_side() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let a = Node::start(ours.node(1)).await;
    let b = Node::start(theirs.node(2)).await;
    assert!(why_not(&a, &b).await.contains("its certificate is not of this cluster"));

    // One that trusts us, but has nothing that we trust.
    let mut spy = theirs.sign(3, |_| {});
    spy.roots = vec![ours.certificate.clone()];
    let spy = Node::start(Identity::Tls(spy)).await;
    let why = why_not(&spy, &a).await;
    assert!(why.contains("this node's certificate is not of its cluster"), "{why}");
    assert_eq!(a.handler.calls.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_both_sides_say_so() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let old = ca.sign(2, |params| params.not_after = rcgen::date_time_ymd(2020, 5, 1));
    let b = Node::start(Identity::Tls(old)).await;
    let why = why_not(&a, &b).await;
    assert!(why.contains("its certificate expired at 2020-05-01T00:00:00Z; this machine's clock says 2"), "{why}");
    let why = why_not(&b, &a).await;
    assert!(why.contains("this node's certificate has expired or is not valid yet"), "{why}");
}

#[tokio::test]
async fn a_certificate_from_the_future_points_at_the_clocks() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let future = ca.sign(2, |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    let b = Node::start(Identity::Tls(future)).await;
    let why = why_not(&a, &b).await;
    assert!(
        why.contains("not valid before 2999-01-01T00:00:00Z") && why.contains("one of the two clocks is wrong"),
        "{why}"
    );
    assert!(why_not(&b, &a).await.contains("compare the clocks"));
}

#[tokio::test]
async fn a_certificate_of_the_cluster_that_names_no_node_or_two_is_refused() {
    let ca = Ca::new();
    let nameless = ca.sign(2, |params| params.subject_alt_names.clear());
    assert!(rpc::Mesh::new(Identity::Tls(nameless), &lifecycle::Scope::new("test")).is_err());
    let a = Node::start(ca.node(1)).await;
    for names in [vec!["web.example".to_owned()], vec![node_name(NodeId(2)), node_name(NodeId(3))]] {
        let odd = ca.sign(2, |params| {
            params.subject_alt_names =
                names.into_iter().map(|n| rcgen::SanType::DnsName(n.try_into().unwrap())).collect();
        });
        let config = raw_client(&ca, &[&rustls::version::TLS13], Some(odd));
        let error = speak(&a.address, config, Some(NodeId(2))).await.unwrap_err();
        assert!(error.to_string().contains("alert"), "{error}");
    }
}

#[tokio::test]
async fn a_stranger_may_join_and_nothing_else() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let identity = stranger();
    let mut connection = StrangerConnection::open(&a.address, &identity, ca.fingerprint(), SOON).await.unwrap();
    assert_eq!(connection.node(), NodeId(1));
    assert_eq!(connection.call(ECHO, Bytes::from("let me in"), SOON).await.unwrap(), "let me in");
    let who = connection.call(WHO, Bytes::new(), SOON).await.unwrap();
    let again = StrangerConnection::open(&a.address, &identity, ca.fingerprint(), SOON)
        .await
        .unwrap()
        .call(WHO, Bytes::new(), SOON)
        .await;
    assert_eq!(again.unwrap(), who, "the same key has the same fingerprint");
    assert!(who.starts_with(b"None ") && !who.ends_with(&[b'0'; 64]));

    let (certificate, key) = self_signed();
    let config = raw_client(
        &ca,
        &[&rustls::version::TLS13],
        Some(rpc::TlsIdentity { chain: vec![certificate], key, roots: vec![] }),
    );
    let answer = speak(&a.address, config, None).await.unwrap();
    assert!(matches!(&answer, Frame::Refused(refusal) if refusal.code == "BL-RPC-010"), "{answer:?}");
    assert_eq!(a.handler.calls.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_stranger_that_claims_to_be_a_member_is_refused() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let (certificate, key) = self_signed();
    let config = raw_client(
        &ca,
        &[&rustls::version::TLS13],
        Some(rpc::TlsIdentity { chain: vec![certificate], key, roots: vec![] }),
    );
    let answer = speak(&a.address, config, Some(NodeId(2))).await.unwrap();
    assert!(matches!(&answer, Frame::Goodbye(why) if why.contains("another node than the certificate")), "{answer:?}");
}

#[tokio::test]
async fn a_stranger_turns_away_from_a_cluster_that_its_token_does_not_name() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let b = Node::start(theirs.node(2)).await;
    let error = StrangerConnection::open(&b.address, &stranger(), ours.fingerprint(), SOON).await.unwrap_err();
    assert_eq!(error, ConnectError::OtherCluster);
    assert_eq!(error.code().0, "BL-RPC-012");
    // Sending our CA along does not help one who has no certificate from it.
    let mut liar = theirs.sign(2, |_| {});
    liar.chain.push(ours.certificate.clone());
    let liar = Node::start(Identity::Tls(liar)).await;
    let error = StrangerConnection::open(&liar.address, &stranger(), ours.fingerprint(), SOON).await.unwrap_err();
    assert_eq!(error, ConnectError::OtherCluster);
}

#[tokio::test]
async fn a_stranger_is_told_when_the_clocks_disagree() {
    let ca = Ca::new();
    let future = ca.sign(2, |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    let b = Node::start(Identity::Tls(future)).await;
    let error = StrangerConnection::open(&b.address, &stranger(), ca.fingerprint(), SOON).await.unwrap_err();
    assert!(error.to_string().contains("one of the two clocks is wrong"), "{error}");
    assert_eq!(error.code().0, "BL-RPC-021");
    // It may ask what time it is there; whether it is the right cluster counts all the same.
    let mut asking = StrangerConnection::open_whenever(&b.address, &stranger(), ca.fingerprint(), SOON).await.unwrap();
    assert_eq!(asking.call(ECHO, Bytes::from("what time is it?"), SOON).await.unwrap(), "what time is it?");
    let other = StrangerConnection::open_whenever(&b.address, &stranger(), Ca::new().fingerprint(), SOON).await;
    assert_eq!(other.unwrap_err(), ConnectError::OtherCluster);
}

#[tokio::test]
async fn one_who_has_the_cas_of_a_cluster_comes_in_whatever_its_own_certificate_is_worth() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let a = Node::start(ours.node(1)).await;
    let roots = [theirs.certificate.clone(), ours.certificate.clone()];
    let mut connection = StrangerConnection::open_trusting(&a.address, &stranger(), &roots, SOON).await.unwrap();
    assert_eq!(connection.call(ECHO, Bytes::from("it is me"), SOON).await.unwrap(), "it is me");
    let error = StrangerConnection::open_trusting(&a.address, &stranger(), &roots[..1], SOON).await.unwrap_err();
    assert_eq!(error, ConnectError::OtherCluster);
}

#[tokio::test]
async fn a_client_that_speaks_only_tls_1_2_is_refused() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let config = raw_client(&ca, &[&rustls::version::TLS12], Some(ca.sign(2, |_| {})));
    let error = speak(&a.address, config, Some(NodeId(2))).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let config = raw_client(&ca, &[&rustls::version::TLS13], None);
    let error = speak(&a.address, config, None).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn bytes_without_tls_get_no_answer_and_harm_nobody() {
    let (a, b) = pair().await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 5000]] {
        let mut stream = Stream::connect(&b.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // The end may come as a reset.
        drop(rt::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed"));
        assert!(!answer.windows(4).any(|w| w == b"BLRP"));
    }
    assert_eq!(a.call(&b, ECHO, "x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_member_that_sends_nonsense_loses_its_connection_and_nobody_elses() {
    let ca = Ca::new();
    let (a, b) = (Node::start(ca.node(1)).await, Node::start(ca.node(2)).await);
    a.call(&b, ECHO, "").await.unwrap();
    let config = raw_client(&ca, &[&rustls::version::TLS13], Some(ca.sign(3, |_| {})));
    let mut stream = connect(&b.address, NodeId(2), config).await.unwrap();
    let mut out = bytes::BytesMut::new();
    Frame::Hello(hello(Some(NodeId(3)))).encode(0, &mut out);
    out.extend_from_slice(&[20, 0, 0, 0, 99]);
    out.extend_from_slice(&[0; 19]);
    stream.write_all(&out).await.unwrap();
    let mut answer = Vec::new();
    rt::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("frames of kind 99 are not known"));
    assert_eq!(a.call(&b, ECHO, "x").await.unwrap(), "x");
    assert_eq!(a.mesh.watch(NodeId(2)).borrow().lost, 0);
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart() {
    let ca = Ca::new();
    let old = ca.sign(2, |params| params.not_after = rcgen::date_time_ymd(2020, 5, 1));
    let (a, b) = (Node::start(ca.node(1)).await, Node::start(Identity::Tls(old)).await);
    why_not(&a, &b).await;
    b.mesh.set_identity(ca.node(2)).unwrap();
    let again = async {
        while a.call(&b, ECHO, "").await.is_err() {
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    };
    rt::time::timeout(SOON, again).await.unwrap();
    assert!(b.mesh.set_identity(ca.node(3)).is_err(), "a node keeps its id");
}

/// A TLS client that does what no node would.
fn raw_client(
    ca: &Ca,
    versions: &[&'static rustls::SupportedProtocolVersion],
    identity: Option<rpc::TlsIdentity>,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"bowline-rpc".to_vec()];
    config
}

async fn connect(
    address: &str,
    node: NodeId,
    config: ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<Stream>> {
    let stream = Stream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(node_name(node)).unwrap(), stream).await
}

fn hello(node: Option<NodeId>) -> Hello {
    Hello { version: VERSION, class: Class::Control, node, wanted: None, fingerprint: Fingerprint::default() }
}

/// Says hello as `node`, calls Raft, and returns the first frame that is not a welcome.
async fn speak(address: &str, config: ClientConfig, node: Option<NodeId>) -> std::io::Result<Frame> {
    let mut stream = connect(address, NodeId(1), config).await?;
    let mut out = bytes::BytesMut::new();
    Frame::Hello(hello(node)).encode(0, &mut out);
    let call = Frame::Call { service: Service::Raft.code(), method: ECHO, deadline_ms: 1000, body: Bytes::new() };
    call.encode(1, &mut out);
    let sent = stream.write_all(&out).await;
    let mut input = bytes::BytesMut::new();
    loop {
        while let Ok(payload) = split(&mut input, 1 << 20).unwrap() {
            match Frame::decode(&payload).unwrap().1 {
                Frame::Welcome { .. } => {}
                other => return Ok(other),
            }
        }
        if stream.read_buf(&mut input).await? == 0 {
            sent?;
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
