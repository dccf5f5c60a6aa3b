//! The cluster's certificate authority and the certificates it makes.

use crate::{ClusterError, ClusterId, NodeName};
use base::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rpc::{Fingerprint, node_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_hours(24);
/// Certificates begin so long before they are made, because clocks disagree, by hours when a machine joins.
const BACKDATED: Duration = DAY;
const CA_LIFE: Duration = DAY.saturating_mul(3_653);
const NODE_LIFE: Duration = DAY.saturating_mul(365);
/// A stranger's certificate is looked at for its key only.
const STRANGER_LIFE: Duration = DAY;

/// The authority: its certificate and its key (ECDSA P-256, ten years). Every member that may lead holds it, so that any
/// leader can let a machine in.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
    fingerprint: Fingerprint,
}

impl Authority {
    /// A new cluster's authority.
    pub fn generate(cluster: &ClusterId) -> Result<Self, ClusterError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Bowline");
        params.distinguished_name.push(DnType::CommonName, format!("cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = life(CA_LIFE)?;
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Self::from_pem(&certificate, &key.serialize_pem())
    }

    /// Takes an authority from its files' contents.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, ClusterError> {
        let pair = KeyPair::from_pem(key).map_err(failed)?;
        let fingerprint = fingerprint_of_pem(certificate)?;
        if fingerprint_of_key(&pair) != fingerprint {
            return Err(ClusterError::Certificate { why: "the CA's key is not that of its certificate".to_owned() });
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, pair).map_err(failed)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), issuer, fingerprint })
    }

    /// The certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key, as PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// By what a join token pins this authority.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Makes a node's certificate for the key in `request`, whatever else the request says. `hosts` are the addresses (`host:port`)
    /// under which the node is reached.
    pub(crate) fn sign(
        &self,
        request: &[u8],
        node: NodeId,
        name: &NodeName,
        hosts: &[&str],
    ) -> Result<String, ClusterError> {
        let request = CertificateSigningRequestDer::from(request);
        let request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|error| ClusterError::Message { why: format!("the certificate request: {error}") })?;
        self.issue(&request.public_key, node, name, hosts)
    }

    /// The same for a key at hand: the first node's.
    pub(crate) fn issue(
        &self,
        key: &impl PublicKeyData,
        node: NodeId,
        name: &NodeName,
        hosts: &[&str],
    ) -> Result<String, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Bowline");
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.subject_alt_names = alternative_names(node, name, hosts)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(serial());
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = life(NODE_LIFE)?;
        Ok(params.signed_by(key, &self.issuer).map_err(failed)?.pem())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        write!(f, "Authority({})", self.fingerprint)
    }
}

/// `node-ID.bowline` first, by which nodes know each other; then what clients may have typed.
fn alternative_names(node: NodeId, name: &NodeName, hosts: &[&str]) -> Result<Vec<SanType>, ClusterError> {
    let dns = |name: String| name.try_into().map(SanType::DnsName).map_err(failed);
    let mut names = vec![dns(node_name(node))?, dns(name.to_string())?];
    for host in hosts {
        let host = host.rsplit_once(':').map_or(*host, |(host, _)| host).trim_matches(['[', ']']);
        let alternative = match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            // A Unix socket has no name; a host that is none would only make the certificate unreadable.
            Err(_) if NodeName::new(host).is_err() => continue,
            Err(_) => dns(host.to_owned())?,
        };
        if !names.contains(&alternative) {
            names.push(alternative);
        }
    }
    Ok(names)
}

/// A node's key pair, made on the node and never sent anywhere.
pub(crate) struct NodeKey(KeyPair);

impl NodeKey {
    pub(crate) fn generate() -> Result<Self, ClusterError> {
        KeyPair::generate().map(Self).map_err(failed)
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, ClusterError> {
        KeyPair::from_pem(pem).map(Self).map_err(failed)
    }

    pub(crate) fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint_of_key(&self.0)
    }

    /// What the authority signs.
    pub(crate) fn request(&self, name: &NodeName) -> Result<Vec<u8>, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        Ok(params.serialize_request(&self.0).map_err(failed)?.der().to_vec())
    }

    /// The certificate of one who has none: it proves the key and nothing else.
    pub(crate) fn self_signed(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a machine that wants to join");
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = life(STRANGER_LIFE)?;
        let certificate = params.self_signed(&self.0).map_err(failed)?.der().clone();
        let key = PrivateKeyDer::try_from(self.0.serialize_der()).map_err(failed)?;
        Ok((certificate, key))
    }
}

fn fingerprint_of_key(key: &impl PublicKeyData) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    let mut fingerprint = Fingerprint::default();
    fingerprint.0.copy_from_slice(digest.as_ref());
    fingerprint
}

/// The fingerprint of the key in a certificate.
pub(crate) fn fingerprint_of_pem(certificate: &str) -> Result<Fingerprint, ClusterError> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(failed)?;
    rpc::fingerprint_of(&der).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> ClusterError {
    ClusterError::Certificate { why: error.to_string() }
}

/// Sixteen random bytes, positive.
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    rt::entropy::fill(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

fn life(life: Duration) -> Result<(OffsetDateTime, OffsetDateTime), ClusterError> {
    let now = rt::time::wall();
    let at = |time: Duration| {
        let seconds = i64::try_from(time.as_secs()).map_err(failed)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(failed)
    };
    Ok((at(now.saturating_sub(BACKDATED))?, at(now + life)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    #[test]
    fn an_authority_survives_its_files_and_a_foreign_key_is_refused() {
        let ours = Authority::generate(&ClusterId::random()).unwrap();
        let again = Authority::from_pem(ours.certificate(), ours.key()).unwrap();
        assert_eq!(again.fingerprint(), ours.fingerprint());
        let theirs = Authority::generate(&ClusterId::random()).unwrap();
        assert_ne!(theirs.fingerprint(), ours.fingerprint());
        assert!(Authority::from_pem(ours.certificate(), theirs.key()).is_err());
    }

    #[test]
    fn a_certificate_carries_what_the_authority_says_and_not_what_was_asked() {
        let authority = Authority::generate(&ClusterId::random()).unwrap();
        let key = NodeKey::generate().unwrap();
        let mut greedy = CertificateParams::new([node_name(NodeId(1))]).unwrap();
        greedy.distinguished_name.push(DnType::CommonName, "root");
        let request = greedy.serialize_request(key.pair()).unwrap().der().to_vec();
        let name = NodeName::new("box2").unwrap();
        let hosts = ["10.0.0.2:7440", "db.example:9000", "@abstract"];
        let pem = authority.sign(&request, NodeId(2), &name, &hosts).unwrap();
        assert_eq!(fingerprint_of_pem(&pem).unwrap(), key.fingerprint());

        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(
            names,
            &[
                GeneralName::DNSName("node-2.bowline"),
                GeneralName::DNSName("box2"),
                GeneralName::IPAddress(&[10, 0, 0, 2]),
                GeneralName::DNSName("db.example"),
            ]
        );
        assert!(!parsed.is_ca());
        assert!(parsed.validity().is_valid());
        let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
        assert_eq!(life, 366 * 24 * 60 * 60, "a year, and the day before");
    }

    #[test]
    fn no_request_that_was_tampered_with_gives_a_certificate_for_another_key() {
        let authority = Authority::generate(&ClusterId::random()).unwrap();
        let name = NodeName::new("box2").unwrap();
        let key = NodeKey::generate().unwrap();
        let request = key.request(&name).unwrap();
        let mut refused = 0;
        for at in 0..request.len() {
            let mut bent = request.clone();
            bent[at] ^= 0x01;
            match authority.sign(&bent, NodeId(2), &name, &[]) {
                // A few bytes around the signed part carry nothing.
                Ok(pem) => assert_eq!(fingerprint_of_pem(&pem).unwrap(), key.fingerprint(), "{at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > request.len() * 9 / 10, "{refused} of {}", request.len());
        assert!(authority.sign(&[], NodeId(2), &name, &[]).is_err());
    }
}
