//! The cluster's certificate authority and the certificates it makes.

use crate::certificate::{Validity, names_for};
use crate::{ClusterError, ClusterId, NodeName};
use base::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rpc::Fingerprint;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use std::time::Duration;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_hours(24);
/// Certificates begin so long before they are made, because clocks disagree, by hours when a machine joins.
const BACKDATED: Duration = DAY;
const CA_LIFE: Duration = DAY.saturating_mul(3_653);
/// How long a node's certificate is good, unless a test wants less.
pub const NODE_LIFE: Duration = DAY.saturating_mul(365);
/// A stranger's certificate is looked at for its key only.
const STRANGER_LIFE: Duration = DAY;

/// The authority: its certificate and its key (ECDSA P-256, ten years). Every member that may lead holds it, so that any
/// leader can let a machine in.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
    fingerprint: Fingerprint,
    validity: Validity,
    node_life: Duration,
}

impl Authority {
    /// A new cluster's authority.
    pub fn generate(cluster: &ClusterId) -> Result<Self, ClusterError> {
        let key = KeyPair::generate().map_err(failed)?;
        // Below it may stand its successor, while that one is being made known.
        let mut params = ca_params(cluster, fingerprint_of_key(&key), BasicConstraints::Constrained(1));
        (params.not_before, params.not_after) = life(CA_LIFE)?;
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Self::from_pem(&certificate, &key.serialize_pem())
    }

    /// Vouches for the key of the authority that will take this one's place: a certificate with which those who trust only this
    /// one find their way to what that one has made.
    pub(crate) fn vouch_for(&self, successor: &Self, cluster: &ClusterId) -> Result<String, ClusterError> {
        let mut params = ca_params(cluster, successor.fingerprint, BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = life(CA_LIFE)?;
        params.not_after = params.not_after.min(self.end()?).min(successor.end()?);
        Ok(params.signed_by(successor.issuer.key(), &self.issuer).map_err(failed)?.pem())
    }

    /// The same authority, which makes certificates that are good for so long.
    pub(crate) fn with_node_life(self, node_life: Duration) -> Self {
        Self { node_life, ..self }
    }

    /// Until when it is good.
    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    fn end(&self) -> Result<OffsetDateTime, ClusterError> {
        OffsetDateTime::from_unix_timestamp(self.validity.not_after).map_err(failed)
    }

    /// Takes an authority from its files' contents.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, ClusterError> {
        let pair = KeyPair::from_pem(key).map_err(failed)?;
        let fingerprint = fingerprint_of_pem(certificate)?;
        if fingerprint_of_key(&pair) != fingerprint {
            return Err(ClusterError::Certificate { why: "the CA's key is not that of its certificate".to_owned() });
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, pair).map_err(failed)?;
        let validity = Validity::of_pem(certificate)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            issuer,
            fingerprint,
            validity,
            node_life: NODE_LIFE,
        })
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
        params.subject_alt_names =
            names_for(node, name, hosts).iter().map(|name| name.to_san().map_err(failed)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(serial());
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = life(self.node_life)?;
        // Nobody would take a certificate for good whose maker is not.
        params.not_after = params.not_after.min(self.end()?);
        Ok(params.signed_by(key, &self.issuer).map_err(failed)?.pem())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        write!(f, "Authority({})", self.fingerprint)
    }
}

/// An authority's name has its key in it, so that one can be told from its successor.
fn ca_params(cluster: &ClusterId, key: Fingerprint, below: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    let short: String = key.to_string().chars().take(8).collect();
    params.distinguished_name.push(DnType::OrganizationName, "Bowline");
    params.distinguished_name.push(DnType::CommonName, format!("cluster {cluster} CA {short}"));
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(rpc::key_id_of(&key).to_vec());
    params.serial_number = Some(serial());
    params
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

/// The fingerprint of the key in a certificate, the first one if there are more.
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
    // A short life, which only tests have, does not begin long before.
    Ok((at(now.saturating_sub(BACKDATED.min(life)))?, at(now + life)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::node_name;
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
    fn no_certificate_outlives_its_authority() {
        let authority = Authority::generate(&ClusterId::random()).unwrap().with_node_life(CA_LIFE * 2);
        let (key, name) = (NodeKey::generate().unwrap(), NodeName::new("box1").unwrap());
        let pem = authority.issue(key.pair(), NodeId(1), &name, &[]).unwrap();
        assert_eq!(Validity::of_pem(&pem).unwrap().not_after, authority.validity().not_after);
    }

    #[test]
    fn who_trusts_an_authority_finds_the_way_to_what_its_successor_made_and_nobody_else_does() {
        let cluster = ClusterId::random();
        let (old, new) = (Authority::generate(&cluster).unwrap(), Authority::generate(&cluster).unwrap());
        let cross = old.vouch_for(&new, &cluster).unwrap();
        assert_eq!(fingerprint_of_pem(&cross).unwrap(), new.fingerprint());
        let (key, name) = (NodeKey::generate().unwrap(), NodeName::new("box1").unwrap());
        let leaf = new.issue(key.pair(), NodeId(1), &name, &[]).unwrap();
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let verify = |roots: &[&str], between: &[CertificateDer<'_>]| {
            let roots: Vec<_> = roots.iter().map(|pem| der(pem)).collect();
            crate::certificate::verify(&der(&leaf), between, &roots, rt::time::wall())
        };
        assert!(verify(&[new.certificate()], &[]).is_ok());
        assert!(verify(&[old.certificate()], &[]).is_err());
        assert!(verify(&[old.certificate()], &[der(&cross)]).is_ok());
        let stranger = Authority::generate(&cluster).unwrap();
        assert!(verify(&[stranger.certificate()], &[der(&cross)]).is_err());
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
