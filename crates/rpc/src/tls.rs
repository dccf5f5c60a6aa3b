//! TLS as nodes speak it: version 1.3 only, both sides with a certificate, no resumption, time from `rt`.

use crate::Fingerprint;
use crate::connect::ConnectError;
use crate::identity::{TlsIdentity, node_name};
use base::NodeId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme, version,
};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The protocol name that both sides must agree on inside the handshake.
const ALPN: &[u8] = b"bowline-rpc";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The node's wall clock, which the simulator controls.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(rt::time::wall()))
    }
}

/// For accepting: members by their certificate, strangers by a self-signed one.
pub(crate) fn server_config(identity: &TlsIdentity) -> Result<ServerConfig, Error> {
    let members = WebPkiClientVerifier::builder_with_provider(roots(&identity.roots)?, Arc::clone(&PROVIDER))
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::new(Clock))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(MembersAndStrangers(members)))
        .with_single_cert(presented(identity), identity.key.clone_key())?;
    // A resumed session would carry yesterday's verdict on a certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// For connecting as a member.
pub(crate) fn client_config(identity: &TlsIdentity) -> Result<ClientConfig, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(&identity.roots)?, Arc::clone(&PROVIDER))
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
    client(verifier, presented(identity), identity.key.clone_key())
}

/// For connecting as a stranger, to any node of the cluster.
pub(crate) fn stranger_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    whom: AnyNode,
) -> Result<ClientConfig, Error> {
    client(Arc::new(whom), vec![certificate], key)
}

/// For clients of the API, who know of the cluster only the fingerprint of its CA's key and prove who they are by other means.
pub(crate) fn pinned_config(ca: Fingerprint) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::new(Clock))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyNode::pinned(ca)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// For listeners of clients: the node's certificate, and a client's if it shows one. `alpn` are the protocols that are spoken; none if the
/// listener does not say.
pub(crate) fn listener_config(identity: &TlsIdentity, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&identity.roots)?, Arc::clone(&PROVIDER))
        .allow_unauthenticated()
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::new(Clock))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(presented(identity), identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn client(
    verifier: Arc<dyn ServerCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::new(Clock))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The CAs go along with the certificate, so that one who knows only a fingerprint can check the chain. One whose key is in the chain
/// already, because another CA vouches for it, is left out: who looks for a way to a CA that it trusts takes the first that fits.
fn presented(identity: &TlsIdentity) -> Vec<CertificateDer<'static>> {
    let mut chain = identity.chain.clone();
    let has = |chain: &[CertificateDer<'_>], ca: &CertificateDer<'_>| {
        let key = fingerprint(ca);
        key.is_ok() && chain.iter().any(|certificate| fingerprint(certificate) == key)
    };
    for ca in &identity.roots {
        if !has(&chain, ca) {
            chain.push(ca.clone());
        }
    }
    chain
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone())?;
    }
    Ok(Arc::new(store))
}

/// The name to ask for when connecting to `node`.
pub(crate) fn server_name(node: NodeId) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(node_name(node)).map_err(|e| Error::General(e.to_string()))
}

/// SHA-256 of the certificate's public key.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> Result<Fingerprint, Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let digest = aws_lc_rs_digest(&key);
    Ok(Fingerprint(digest))
}

fn aws_lc_rs_digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}

/// The one node that a certificate names.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Result<NodeId, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| e.to_string())?;
    let names = parsed.subject_alternative_name().map_err(|e| e.to_string())?;
    let mut nodes = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => name.strip_prefix("node-")?.strip_suffix(".bowline")?.parse().ok().map(NodeId),
        _ => None,
    });
    match (nodes.next(), nodes.next()) {
        (Some(node), None) if node.0 != 0 => Ok(node),
        (None, _) => Err("it has no name of the form node-ID.bowline".to_owned()),
        (Some(node), None) => Err(format!("node {node} cannot be")),
        (Some(one), Some(two)) => Err(format!("it names node {one} and node {two}")),
    }
}

/// What the certificate of one who connected says, after the handshake has proved that it holds the key.
pub(crate) fn presented_by(certificate: &CertificateDer<'_>) -> Result<(Option<NodeId>, Fingerprint), Error> {
    let node = if is_self_issued(certificate) { None } else { Some(node_of(certificate).map_err(other)?) };
    Ok((node, fingerprint(certificate)?))
}

/// A certificate in which the subject vouches for itself. It proves possession of a key and nothing more.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.issuer().as_raw() == parsed.subject().as_raw() && !parsed.is_ca())
}

fn other(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(std::io::Error::other(why)))))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

/// Accepts two kinds of client: those whose certificate chains to the CA and names one node, and those who vouch for themselves.
/// The times in a stranger's certificate mean nothing: its clock may be wrong by hours when it joins.
#[derive(Debug)]
struct MembersAndStrangers(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for MembersAndStrangers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a stranger must send its certificate too.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if is_self_issued(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        node_of(end_entity).map_err(other)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts any node of a cluster, whatever its name.
#[derive(Debug)]
pub(crate) struct AnyNode {
    whose: Whose,
    times: Times,
}

/// How the cluster is known.
#[derive(Debug)]
enum Whose {
    /// By the fingerprint of its CA's key; the node sends the CA along.
    Pinned(Fingerprint),
    /// By its CAs.
    Roots(Vec<CertificateDer<'static>>),
}

/// What the times in a node's certificate mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// It is good between them, by this machine's clock.
    Count,
    /// Nothing: this machine's clock is what is in doubt.
    DoNotCount,
}

impl AnyNode {
    pub(crate) fn pinned(ca: Fingerprint) -> Self {
        Self { whose: Whose::Pinned(ca), times: Times::Count }
    }

    pub(crate) fn of_roots(roots: Vec<CertificateDer<'static>>) -> Self {
        Self { whose: Whose::Roots(roots), times: Times::Count }
    }

    pub(crate) fn whenever(self) -> Self {
        Self { times: Times::DoNotCount, ..self }
    }

    fn anchors(&self, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        match &self.whose {
            Whose::Roots(roots) => {
                for root in roots {
                    store.add(root.clone())?;
                }
            }
            Whose::Pinned(pin) => {
                let is_it = |certificate: &&CertificateDer<'_>| fingerprint(certificate).is_ok_and(|key| key == *pin);
                let Some(ca) = sent.iter().find(is_it) else {
                    let is_replaced = sent.iter().any(|certificate| was_vouched_for_by(certificate, pin));
                    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
                    return Err(if is_replaced { other(REPLACED.to_owned()) } else { unknown });
                };
                store.add(ca.clone().into_owned())?;
            }
        }
        Ok(store)
    }
}

/// What [`explain`] knows a replaced CA by.
const REPLACED: &str = "the CA that is pinned was replaced";

/// Whether a certificate says that the CA with this key made it. Nothing proves that; it is good for a hint.
fn was_vouched_for_by(certificate: &CertificateDer<'_>, ca: &Fingerprint) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let mut ids = parsed.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
        _ => None,
    });
    ids.any(|id| *id.0 == key_id(ca))
}

/// How a CA's certificate names its key: the first 20 bytes of its fingerprint.
pub(crate) fn key_id(ca: &Fingerprint) -> [u8; 20] {
    let mut id = [0; 20];
    id.iter_mut().zip(ca.0).for_each(|(to, from)| *to = from);
    id
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let store = self.anchors(intermediates)?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = algorithms().all;
        let verify = |at: UnixTime| {
            rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, &store, intermediates, at, algorithms)
        };
        match self.times {
            Times::Count => verify(now)?,
            Times::DoNotCount => verify(within_its_times(end_entity, now))?,
        }
        node_of(end_entity).map_err(other)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// The moment nearest to `now` at which the certificate is good.
fn within_its_times(certificate: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return now };
    let second = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
    let (begin, end) = (second(parsed.validity().not_before), second(parsed.validity().not_after));
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().clamp(begin, end.max(begin))))
}

/// What a failed handshake or a broken stream says, in words that name the next step.
pub(crate) fn explain(error: &std::io::Error) -> ConnectError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => explain_tls(tls),
        None => ConnectError::Io(error.kind(), error.to_string()),
    }
}

fn explain_tls(error: &Error) -> ConnectError {
    use CertificateError as Certificate;
    match error {
        Error::InvalidCertificate(Certificate::NotValidYetContext { time, not_before }) => {
            ConnectError::NotYetValid { now: utc(*time), not_before: utc(*not_before) }
        }
        Error::InvalidCertificate(Certificate::ExpiredContext { time, not_after }) => {
            ConnectError::Expired { now: utc(*time), not_after: utc(*not_after) }
        }
        Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => ConnectError::OtherCluster,
        Error::InvalidCertificate(Certificate::Other(why)) if why.0.to_string() == REPLACED => ConnectError::ReplacedCa,
        Error::InvalidCertificate(Certificate::NotValidForNameContext { presented, .. }) => {
            ConnectError::OtherNode(presented.join(", "))
        }
        Error::AlertReceived(alert) => ConnectError::RefusedByPeer(match alert {
            AlertDescription::CertificateExpired => {
                "by its clock, this node's certificate has expired or is not valid yet: compare the clocks of the two machines, `date -u`"
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "this node's certificate is not of its cluster"
            }
            AlertDescription::CertificateRequired => "it wants a certificate",
            AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
            AlertDescription::NoApplicationProtocol => "it does not speak Bowline's node protocol",
            _ => return ConnectError::Tls(error.to_string()),
        }),
        other => ConnectError::Tls(other.to_string()),
    }
}

fn utc(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("{} s after 1970", time.as_secs()), |timestamp| timestamp.to_string())
}
