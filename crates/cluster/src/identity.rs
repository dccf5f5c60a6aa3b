//! The files that make a machine a node: who it is, and how it proves it.
//!
//! `identity/` in the state directory: `node.key` is written first, `node.json` last. Without `node.json` the machine is no node,
//! whatever else is there; what a join that was killed has left behind is used by the next one.

use crate::authority::{Authority, NodeKey, fingerprint_of_pem};
use crate::certificate::{self, Validity, blocks};
use crate::names::check_address;
use crate::{ClusterError, ClusterId, NodeName};
use base::NodeId;
use rpc::{Fingerprint, Identity, TlsIdentity};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RECORD: &str = "node.json";
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "node.pem";
const KEY: &str = "node.key";
const FORMAT: u32 = 1;

/// How nodes prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// By certificates. Every real node.
    Tls,
    /// By their word. In the simulator.
    Plain,
}

/// Who a node is: `node.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The form of this file.
    format: u32,
    /// The node's id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Where dqlite clients reach it.
    pub dqlite_address: String,
    /// Where clients of the HTTPS API reach it.
    pub https_address: String,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// How it proves who it is.
    pub transport: Transport,
    /// It keeps no data but `sys`: what it is for its whole life as a member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
}

impl NodeRecord {
    pub(crate) fn new(node: NodeId, cluster: ClusterId, transport: Transport, who: &crate::JoinAs) -> Self {
        Self {
            format: FORMAT,
            node,
            name: who.name.clone(),
            address: who.address.clone(),
            dqlite_address: who.dqlite_address.clone(),
            https_address: who.https_address.clone(),
            cluster,
            transport,
            witness: who.witness,
        }
    }
}

/// With what a node proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// PEM texts.
    Tls {
        /// The certificates of the CAs that are trusted: one, or two while one takes the place of the other.
        ca: String,
        /// Keys of those CAs, on nodes that may lead.
        ca_key: Option<String>,
        /// The node's certificate; after it the one with which an older CA vouches for the CA that made it, if there was one.
        certificate: String,
        /// The node's key.
        key: String,
    },
    /// Nothing.
    Plain,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        f.write_str(match self {
            Self::Tls { .. } => "Credentials::Tls",
            Self::Plain => "Credentials::Plain",
        })
    }
}

/// A node's identity, as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Who it is.
    pub record: NodeRecord,
    /// How it proves it.
    pub credentials: Credentials,
}

impl NodeIdentity {
    /// Makes the first node of a new cluster, its authority included, and writes it to `dir`. Refused if `dir` holds a node
    /// already. Blocks on file IO: call it through `rt::blocking`.
    /// Its certificate is good for `node_life`.
    pub fn found(
        dir: &Path,
        who: &crate::JoinAs,
        transport: Transport,
        node_life: Duration,
    ) -> Result<Self, ClusterError> {
        who.check()?;
        refuse_member(dir)?;
        let cluster = ClusterId::random();
        let node = crate::names::random_node();
        let credentials = match transport {
            Transport::Plain => Credentials::Plain,
            Transport::Tls => {
                let authority = Authority::generate(&cluster)?.with_node_life(node_life);
                let key = NodeKey::generate()?;
                let hosts = [who.address.as_str(), who.dqlite_address.as_str(), who.https_address.as_str()];
                Credentials::Tls {
                    ca: authority.certificate().to_owned(),
                    ca_key: Some(authority.key().to_owned()),
                    certificate: authority.issue(key.pair(), node, &who.name, &hosts)?,
                    key: key.pem(),
                }
            }
        };
        let identity = Self { record: NodeRecord::new(node, cluster, transport, who), credentials };
        identity.save(dir)?;
        Ok(identity)
    }

    /// Writes all files, each atomically and with mode 0600, `node.json` last. Blocks on file IO.
    pub fn save(&self, dir: &Path) -> Result<(), ClusterError> {
        create(dir)?;
        if let Credentials::Tls { ca, ca_key, certificate, key } = &self.credentials {
            write(&dir.join(KEY), key.as_bytes())?;
            write(&dir.join(CA), ca.as_bytes())?;
            if let Some(ca_key) = ca_key {
                write(&dir.join(CA_KEY), ca_key.as_bytes())?;
            }
            write(&dir.join(CERTIFICATE), certificate.as_bytes())?;
        }
        let path = dir.join(RECORD);
        let mut json = serde_json::to_vec_pretty(&self.record)
            .map_err(|error| ClusterError::Damaged { path: path.clone(), why: error.to_string() })?;
        json.push(b'\n');
        write(&path, &json)
    }

    /// Puts other credentials in the place of these, on disk; gives the identity that has them. After a crash at any point the node
    /// has the old certificate or the new one, and trusts who made it. Blocks on file IO.
    pub(crate) fn replace(&self, dir: &Path, by: Credentials) -> Result<Self, ClusterError> {
        let next = Self { record: self.record.clone(), credentials: by };
        next.check(dir)?;
        let (
            Credentials::Tls { ca: old_ca, ca_key: old_key, certificate: old_certificate, .. },
            Credentials::Tls { ca, ca_key, certificate, .. },
        ) = (&self.credentials, &next.credentials)
        else {
            return Ok(next);
        };
        let both_cas = union(old_ca, ca);
        let both_keys = union(old_key.as_deref().unwrap_or_default(), ca_key.as_deref().unwrap_or_default());
        let steps = [
            // A key without its certificate is passed over, so it comes first and goes last.
            (CA_KEY, old_key.as_deref().unwrap_or_default(), both_keys.as_str()),
            (CA, old_ca, &both_cas),
            (CERTIFICATE, old_certificate, certificate),
            (CA, &both_cas, ca),
            (CA_KEY, &both_keys, ca_key.as_deref().unwrap_or_default()),
        ];
        for (file, was, is) in steps {
            if was != is && !is.is_empty() {
                write(&dir.join(file), is.as_bytes())?;
            }
        }
        Ok(next)
    }

    /// Writes a key beside those of the CAs that are trusted, on disk: one that is about to become one of them. Blocks on file IO.
    pub(crate) fn keep_key(&self, dir: &Path, key: &str) -> Result<Self, ClusterError> {
        let mut next = self.clone();
        if let Credentials::Tls { ca_key: Some(keys), .. } = &mut next.credentials {
            *keys = union(keys, key);
            write(&dir.join(CA_KEY), keys.as_bytes())?;
        }
        Ok(next)
    }

    /// Reads a node's identity and checks that its files belong together; none if the machine is no node. A certificate that is not
    /// good now is no damage: the node gets another one, or the clock is set. Blocks on file IO.
    pub fn load(dir: &Path, transport: Transport) -> Result<Option<Self>, ClusterError> {
        let Some(record) = read_record(dir)? else { return Ok(None) };
        if record.transport != transport {
            let why = format!("it is of a node whose transport is {:?}, not {transport:?}", record.transport);
            return Err(ClusterError::Damaged { path: dir.join(RECORD), why });
        }
        let credentials = match transport {
            Transport::Plain => Credentials::Plain,
            Transport::Tls => Credentials::Tls {
                ca: read(&dir.join(CA))?,
                ca_key: read_if_there(&dir.join(CA_KEY))?,
                certificate: read(&dir.join(CERTIFICATE))?,
                key: read(&dir.join(KEY))?,
            },
        };
        let identity = Self { record, credentials };
        identity.check(dir)?;
        Ok(Some(identity))
    }

    /// What the mesh takes.
    pub fn mesh(&self) -> Result<Identity, ClusterError> {
        match &self.credentials {
            Credentials::Plain => Ok(Identity::Plain { node: self.record.node }),
            Credentials::Tls { ca, certificate, key, .. } => {
                let tls = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes());
                tls.map(Identity::Tls).map_err(|error| ClusterError::Certificate { why: error.to_string() })
            }
        }
    }

    /// The authorities that are trusted and whose keys this node holds.
    pub fn authorities(&self) -> Result<Vec<Authority>, ClusterError> {
        let Credentials::Tls { ca, ca_key: Some(keys), .. } = &self.credentials else { return Ok(Vec::new()) };
        let (certificates, keys) = (blocks(ca), blocks(keys));
        if keys.is_empty() {
            return Err(ClusterError::Certificate { why: "there is no key in it".to_owned() });
        }
        let mut held = Vec::new();
        let mut others = None;
        for certificate in &certificates {
            let tried = keys.iter().map(|key| Authority::from_pem(certificate, key));
            for authority in tried {
                match authority {
                    Ok(authority) => held.push(authority),
                    Err(error) => others = Some(error),
                }
            }
        }
        match others {
            Some(error) if held.is_empty() => Err(error),
            _ => Ok(held),
        }
    }

    /// The CAs that this node trusts: their fingerprints, and until when they are good. None without certificates.
    pub fn trusted(&self) -> Result<Vec<(Fingerprint, Validity)>, ClusterError> {
        let Credentials::Tls { ca, .. } = &self.credentials else { return Ok(Vec::new()) };
        blocks(ca).iter().map(|pem| Ok((fingerprint_of_pem(pem)?, Validity::of_pem(pem)?))).collect()
    }

    /// The CA that made this node's certificate. None without certificates.
    pub fn issuer(&self) -> Result<Option<Fingerprint>, ClusterError> {
        let Identity::Tls(tls) = self.mesh()? else { return Ok(None) };
        let Some(leaf) = tls.chain.first() else { return Ok(None) };
        let at = self.good_at()?;
        for root in &tls.roots {
            if certificate::verify(leaf, &[], std::slice::from_ref(root), at).is_ok() {
                return rpc::fingerprint_of(root)
                    .map(Some)
                    .map_err(|error| ClusterError::Certificate { why: error.to_string() });
            }
        }
        Ok(None)
    }

    /// When this node's certificate is good. None without certificates.
    pub fn validity(&self) -> Result<Option<Validity>, ClusterError> {
        match &self.credentials {
            Credentials::Tls { certificate, .. } => Validity::of_pem(certificate).map(Some),
            Credentials::Plain => Ok(None),
        }
    }

    /// The moment nearest to now at which the certificate is good.
    fn good_at(&self) -> Result<Duration, ClusterError> {
        let now = crate::sys::now();
        let at = self.validity()?.map_or(now, |v| now.clamp(v.not_before, v.not_after.max(v.not_before)));
        Ok(Duration::from_secs(u64::try_from(at).unwrap_or_default()))
    }

    /// The addresses for which this node's certificate is to be good.
    pub(crate) fn hosts(&self) -> [&str; 3] {
        [&self.record.address, &self.record.dqlite_address, &self.record.https_address]
    }

    /// Whether the parts belong together; `dir` is where they lie, or will.
    pub(crate) fn check(&self, dir: &Path) -> Result<(), ClusterError> {
        let damaged = |file: &str, why: String| ClusterError::Damaged { path: dir.join(file), why };
        let Credentials::Tls { ca, ca_key, certificate, key } = &self.credentials else { return Ok(()) };
        let own_key = NodeKey::from_pem(key).map_err(|error| damaged(KEY, error.to_string()))?;
        let tls = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())
            .map_err(|error| damaged(CERTIFICATE, error.to_string()))?;
        let named = tls.node().map_err(|error| damaged(CERTIFICATE, error.to_string()))?;
        if named != self.record.node {
            return Err(damaged(CERTIFICATE, format!("it is of node {named}, but {RECORD} says {}", self.record.node)));
        }
        let of_key = fingerprint_of_pem(certificate).map_err(|error| damaged(CERTIFICATE, error.to_string()))?;
        if of_key != own_key.fingerprint() {
            return Err(damaged(KEY, format!("it is not the key of {CERTIFICATE}")));
        }
        let (leaf, rest) =
            tls.chain.split_first().ok_or_else(|| damaged(CERTIFICATE, "there is no certificate in it".to_owned()))?;
        certificate::verify(leaf, rest, &tls.roots, self.good_at()?)
            .map_err(|error| damaged(CERTIFICATE, format!("{CA} does not vouch for it: {error}")))?;
        if ca_key.is_some() {
            self.authorities().map_err(|error| damaged(CA_KEY, error.to_string()))?;
        }
        Ok(())
    }
}

/// The blocks of two PEM texts, each once.
pub(crate) fn union(one: &str, other: &str) -> String {
    let mut all = blocks(one);
    for block in blocks(other) {
        if !all.contains(&block) {
            all.push(block);
        }
    }
    all.concat()
}

/// The certificates in a PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ClusterError> {
    use rustls::pki_types::pem::PemObject;
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    all.map_err(|error| ClusterError::Certificate { why: error.to_string() })
}

/// Refuses if the directory holds a node.
pub(crate) fn refuse_member(dir: &Path) -> Result<(), ClusterError> {
    match read_record(dir)? {
        Some(record) => Err(ClusterError::AlreadyMember {
            name: record.name.to_string(),
            node: record.node,
            cluster: record.cluster.to_string(),
        }),
        None => Ok(()),
    }
}

/// The key that a join uses: the one that an earlier attempt left behind, or a new one, which is on disk before anybody hears of
/// it. So a join that is repeated is known to be the same machine's.
pub(crate) fn joining_key(dir: &Path) -> Result<NodeKey, ClusterError> {
    refuse_member(dir)?;
    create(dir)?;
    let path = dir.join(KEY);
    if let Some(pem) = read_if_there(&path)? {
        return NodeKey::from_pem(&pem).map_err(|error| ClusterError::Damaged { path, why: error.to_string() });
    }
    let key = NodeKey::generate()?;
    write(&path, key.pem().as_bytes())?;
    Ok(key)
}

/// What a machine of the simulator goes by while it joins, kept like a key.
pub(crate) fn joining_mark(dir: &Path) -> Result<Fingerprint, ClusterError> {
    refuse_member(dir)?;
    create(dir)?;
    let path = dir.join(KEY);
    if let Some(text) = read_if_there(&path)? {
        let mark = crate::token::unhex(&text).map(Fingerprint);
        return mark.ok_or(ClusterError::Damaged { path, why: "it is not a mark of the simulator".to_owned() });
    }
    let mut mark = Fingerprint::default();
    rt::entropy::fill(&mut mark.0);
    write(&path, mark.to_string().as_bytes())?;
    Ok(mark)
}

/// Forgets the key of a join that can never succeed with it.
pub(crate) fn forget_joining_key(dir: &Path) -> Result<(), ClusterError> {
    let path = dir.join(KEY);
    match rt::fs::remove_file(&path).and_then(|()| rt::fs::sync_dir(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ClusterError::File { path, error }),
        _ => Ok(()),
    }
}

fn read_record(dir: &Path) -> Result<Option<NodeRecord>, ClusterError> {
    let path = dir.join(RECORD);
    let Some(json) = read_if_there(&path)? else { return Ok(None) };
    let damaged = |why: String| ClusterError::Damaged { path: path.clone(), why };
    let record: NodeRecord = serde_json::from_str(&json).map_err(|error| damaged(error.to_string()))?;
    if record.format != FORMAT {
        return Err(damaged(format!("its form is {}, this version reads {FORMAT}", record.format)));
    }
    if record.node.0 == 0 {
        return Err(damaged("no node has the id 0".to_owned()));
    }
    check_address(&record.address).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(record))
}

fn create(dir: &Path) -> Result<(), ClusterError> {
    let made = rt::fs::create_dir_all(dir).and_then(|()| dir.parent().map_or(Ok(()), rt::fs::sync_dir));
    made.map_err(|error| ClusterError::File { path: dir.to_owned(), error })
}

fn write(path: &Path, contents: &[u8]) -> Result<(), ClusterError> {
    rt::fs::write_atomic(path, contents).map_err(|error| ClusterError::File { path: path.to_owned(), error })
}

fn read(path: &Path) -> Result<String, ClusterError> {
    read_if_there(path)?.ok_or_else(|| ClusterError::Damaged { path: path.to_owned(), why: "it is missing".to_owned() })
}

fn read_if_there(path: &Path) -> Result<Option<String>, ClusterError> {
    let path: PathBuf = path.to_owned();
    match rt::fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(ClusterError::Damaged { path, why: "it is not text".to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClusterError::File { path, error }),
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
