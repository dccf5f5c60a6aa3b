//! A node's identity while the node runs: its credentials are replaced, on disk first, and whoever uses them hears of it.

use crate::authority::{Authority, NodeKey, fingerprint_of_pem};
use crate::certificate::{Stage, Validity, blocks, names_for, names_in};
use crate::identity::union;
use crate::{ClusterError, Credentials, NodeIdentity};
use rpc::Fingerprint;
use rt::sync::watch;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A node's identity, which changes while the node runs: never who it is, but with what it proves it. The key stays for life; the
/// certificate for it is renewed, and the CAs that are trusted come and go.
pub struct Keyring {
    dir: PathBuf,
    node_life: Duration,
    identity: watch::Sender<Arc<NodeIdentity>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    /// Why the certificate is not as it should be, if the last attempt to change that failed.
    trouble: Mutex<Option<String>>,
}

/// What a node can say of its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// When the certificate is good.
    pub validity: Validity,
    /// Who made it.
    pub issuer: Fingerprint,
    /// The CAs that are trusted, and when they are good.
    pub trusted: Vec<(Fingerprint, Validity)>,
    /// Why it was not renewed, if it should have been.
    pub trouble: Option<String>,
}

impl Keyring {
    /// Takes up an identity as it lies in `dir`. Certificates that this node makes are good for `node_life`. One that is not good now is
    /// replaced at once if this node holds the key of the CA that made it: nobody else has to be there for that.
    pub async fn open(dir: PathBuf, identity: NodeIdentity, node_life: Duration) -> Result<Arc<Self>, ClusterError> {
        let keyring = Arc::new(Self {
            dir,
            node_life,
            identity: watch::Sender::new(Arc::new(identity)),
            changing: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        });
        if matches!(keyring.stage()?, Some(Stage::NotYet | Stage::Expired))
            && let Some(issuer) = keyring.identity().issuer()?
            && let Err(error) = keyring.reissue(issuer, None).await
        {
            tracing::warn!(%error, "the node's certificate is not good now, and could not be made anew");
        }
        Ok(keyring)
    }

    /// The identity as it is now.
    pub fn identity(&self) -> Arc<NodeIdentity> {
        Arc::clone(&self.identity.borrow())
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<Arc<NodeIdentity>> {
        self.identity.subscribe()
    }

    /// What there is to say of the certificate. None without certificates.
    pub fn state(&self) -> Result<Option<CertificateState>, ClusterError> {
        let identity = self.identity();
        let (Some(validity), Some(issuer)) = (identity.validity()?, identity.issuer()?) else { return Ok(None) };
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Some(CertificateState { validity, issuer, trusted: identity.trusted()?, trouble }))
    }

    pub(crate) fn note_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What this moment is to the certificate. None without certificates.
    pub(crate) fn stage(&self) -> Result<Option<Stage>, ClusterError> {
        let identity = self.identity();
        Ok(identity.validity()?.map(|validity| validity.stage(identity.record.node, crate::sys::now())))
    }

    /// Whether the certificate carries the names under which the node is reached.
    pub(crate) fn has_its_names(&self) -> Result<bool, ClusterError> {
        let identity = self.identity();
        let Credentials::Tls { certificate, .. } = &identity.credentials else { return Ok(true) };
        let wanted = names_for(identity.record.node, &identity.record.name, &identity.hosts());
        Ok(names_in(certificate)? == wanted)
    }

    /// The authority with this fingerprint, if it is trusted and this node holds its key.
    pub(crate) fn authority(&self, ca: Fingerprint) -> Result<Option<Authority>, ClusterError> {
        let held = self.identity().authorities()?;
        Ok(held.into_iter().find(|held| held.fingerprint() == ca).map(|held| held.with_node_life(self.node_life)))
    }

    /// The certificate with which an older CA vouches for `ca`, if this node has it.
    pub(crate) fn cross_of(&self, ca: Fingerprint) -> Option<String> {
        let identity = self.identity();
        let Credentials::Tls { certificate, .. } = &identity.credentials else { return None };
        blocks(certificate).into_iter().skip(1).find(|pem| fingerprint_of_pem(pem).is_ok_and(|key| key == ca))
    }

    /// Makes this node another certificate for its key, with the key of `issuer`, and takes it into use. `cross` is how an older CA
    /// vouches for the issuer; that which the node has if none is given. False if this node does not hold the issuer's key. Refused
    /// while this machine's clock is wrong without doubt.
    pub(crate) async fn reissue(&self, issuer: Fingerprint, cross: Option<String>) -> Result<bool, ClusterError> {
        let _only = self.changing.lock().await;
        let identity = self.identity();
        let Credentials::Tls { ca, ca_key, key, .. } = &identity.credentials else { return Ok(false) };
        let Some(authority) = self.authority(issuer)? else { return Ok(false) };
        let now = crate::sys::now();
        if !authority.validity().contains(now) {
            return Err(ClusterError::ClockBeyondCa {
                now: utc(now),
                not_before: utc(authority.validity().not_before),
                not_after: utc(authority.validity().not_after),
            });
        }
        let record = &identity.record;
        let own = NodeKey::from_pem(key)?;
        let mut certificate = authority.issue(own.pair(), record.node, &record.name, &identity.hosts())?;
        certificate.push_str(&cross.or_else(|| self.cross_of(issuer)).unwrap_or_default());
        let by = Credentials::Tls { ca: ca.clone(), ca_key: ca_key.clone(), certificate, key: key.clone() };
        self.put(by).await?;
        Ok(true)
    }

    /// Takes what another member has given into use. The key stays.
    pub(crate) async fn take(
        &self,
        ca: String,
        ca_key: Option<String>,
        certificate: String,
    ) -> Result<(), ClusterError> {
        let _only = self.changing.lock().await;
        let identity = self.identity();
        let Credentials::Tls { key, .. } = &identity.credentials else { return Ok(()) };
        self.put(Credentials::Tls { ca, ca_key, certificate, key: key.clone() }).await
    }

    /// Trusts a CA from now on, beside those that are trusted; with its key, if this node may sign.
    pub(crate) async fn trust(&self, ca: &str, key: Option<&str>) -> Result<(), ClusterError> {
        let _only = self.changing.lock().await;
        let identity = self.identity();
        let Credentials::Tls { ca: trusted, ca_key, certificate, key: own } = &identity.credentials else {
            return Ok(());
        };
        let by = Credentials::Tls {
            ca: union(trusted, ca),
            ca_key: ca_key.as_ref().map(|keys| union(keys, key.unwrap_or_default())),
            certificate: certificate.clone(),
            key: own.clone(),
        };
        self.put(by).await
    }

    /// Trusts this CA only from now on, and forgets the keys of others. Refused unless it made the node's certificate.
    pub(crate) async fn trust_only(&self, ca: Fingerprint) -> Result<(), ClusterError> {
        let _only = self.changing.lock().await;
        let identity = self.identity();
        let Credentials::Tls { ca: trusted, ca_key, certificate, key } = &identity.credentials else { return Ok(()) };
        let of_ca = |pem: &String| fingerprint_of_pem(pem).is_ok_and(|found| found == ca);
        let its_key = |pem: &String| NodeKey::from_pem(pem).is_ok_and(|found| found.fingerprint() == ca);
        let by = Credentials::Tls {
            ca: blocks(trusted).into_iter().filter(of_ca).collect(),
            ca_key: ca_key.as_ref().map(|keys| blocks(keys).into_iter().filter(its_key).collect()),
            certificate: certificate.clone(),
            key: key.clone(),
        };
        self.put(by).await
    }

    /// Keeps the key of a CA that is about to be trusted.
    pub(crate) async fn keep_key(&self, key: &str) -> Result<(), ClusterError> {
        let _only = self.changing.lock().await;
        let (identity, dir, key) = (self.identity(), self.dir.clone(), key.to_owned());
        let next = on_disk(move || identity.keep_key(&dir, &key)).await?;
        self.identity.send_replace(Arc::new(next));
        Ok(())
    }

    /// The key of a CA, as PEM, if this node has it; also of one that it does not trust yet.
    pub(crate) fn key_of(&self, ca: Fingerprint) -> Option<String> {
        let identity = self.identity();
        let Credentials::Tls { ca_key: Some(keys), .. } = &identity.credentials else { return None };
        blocks(keys).into_iter().find(|pem| NodeKey::from_pem(pem).is_ok_and(|found| found.fingerprint() == ca))
    }

    /// Whether this node may sign.
    pub(crate) fn may_sign(&self) -> bool {
        matches!(&self.identity().credentials, Credentials::Tls { ca_key: Some(_), .. })
    }

    /// With the lock held.
    async fn put(&self, by: Credentials) -> Result<(), ClusterError> {
        let (identity, dir) = (self.identity(), self.dir.clone());
        let next = on_disk(move || identity.replace(&dir, by)).await?;
        if let Some(validity) = next.validity()? {
            tracing::info!(until = utc(validity.not_after), "the node's certificates were replaced");
        }
        self.identity.send_replace(Arc::new(next));
        Ok(())
    }
}

/// Does file work where it may block.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    rt::blocking::run(work).await.unwrap_or_else(|end| {
        Err(ClusterError::File { path: PathBuf::from("identity"), error: std::io::Error::other(end.to_string()) })
    })
}

/// A time as people read it.
pub(crate) fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s after 1970"), |time| time.to_string())
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        write!(f, "Keyring({})", self.identity().record.name)
    }
}
