//! With what gossip is signed: a key from the key of each CA that the node trusts, so that a rotation of the CA is one of these keys: first all accept
//! both, then they sign with the new one, then the old one goes. Members that do not hold the CA's key are told by one that does.

use crate::cluster::Inner;
use crate::messages::{FORM, GOSSIP_KEYS, GossipKeysAnswer, GossipKeysRequest, decode, encode};
use crate::{ClusterError, Credentials, NodeIdentity};
use base::NodeId;
use bytes::Bytes;
use rpc::{Class, Service};
use std::sync::Arc;
use std::time::Duration;
use swim::GroupKey;

/// How long a member may take to tell.
const TOLD_MAX: Duration = Duration::from_secs(5);
/// Nobody could tell: somebody is asked again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Who depends on others asks now and then whether anything is new.
const ASK_EVERY: Duration = Duration::from_mins(1);

const CONTEXT: &str = "bowline gossip, signing key of a cluster, from the key of its CA";
const CONTEXT_WITHOUT_CA: &str = "bowline gossip, signing key of a simulated cluster";

/// The keys that a node accepts, as far as it can derive them; the one with which it signs is the first.
pub(super) fn of(identity: &NodeIdentity) -> Result<Vec<GroupKey>, ClusterError> {
    if identity.credentials == Credentials::Plain {
        let cluster = identity.record.cluster.as_str();
        return Ok(vec![GroupKey(blake3::derive_key(CONTEXT_WITHOUT_CA, cluster.as_bytes()))]);
    }
    let issuer = identity.issuer()?;
    let mut authorities = identity.authorities()?;
    authorities.sort_by_key(|authority| Some(authority.fingerprint()) != issuer);
    Ok(authorities.iter().map(|authority| GroupKey(derive(authority.key()))).collect())
}

/// From what a PEM text says, however its lines are broken.
fn derive(pem: &str) -> [u8; 32] {
    let text: Vec<u8> = pem.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    blake3::derive_key(CONTEXT, &text)
}

/// A key that nobody else has: who signs with it is heard by nobody.
pub(super) fn of_nobody() -> GroupKey {
    let mut key = [0; 32];
    rt::entropy::fill(&mut key);
    GroupKey(key)
}

/// Lets the node's member use the keys as they are. Runs until it is dropped, or the member has ended.
pub(crate) async fn follow_keys(inner: Arc<Inner>) {
    let mut identity = inner.keys().watch();
    while inner.gossiping.member().ended().is_none() {
        let now = Arc::clone(&identity.borrow_and_update());
        let (keys, pause) = match current(&inner, &now).await {
            Ok((keys, pause)) => (keys, pause),
            Err(error) => {
                tracing::debug!(%error, "gossip goes on with the keys that it had");
                (Vec::new(), Some(RETRY_AFTER))
            }
        };
        if !keys.is_empty() && inner.gossiping.member().set_keys(keys).await.is_err() {
            return;
        }
        let wait = async {
            match pause {
                Some(pause) => rt::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = identity.changed() => if changed.is_err() { return },
            () = wait => {}
        }
    }
}

/// The node's own keys, or those of another member; and when to look again.
async fn current(inner: &Inner, identity: &NodeIdentity) -> Result<(Vec<GroupKey>, Option<Duration>), ClusterError> {
    let own = of(identity)?;
    if !own.is_empty() {
        return Ok((own, None));
    }
    let mut why = ClusterError::NoAuthority;
    for peer in inner.mesh.peers().into_iter().filter(|peer| *peer != inner.node()) {
        match inner.ask_for_gossip_keys(peer).await {
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => return Ok((keys, Some(ASK_EVERY))),
            Err(error) => why = error,
        }
    }
    Err(why)
}

impl Inner {
    async fn ask_for_gossip_keys(&self, member: NodeId) -> Result<Vec<GroupKey>, ClusterError> {
        let body = encode(&GossipKeysRequest { form: FORM })?;
        let answer = self.mesh.call(member, Service::Cluster, GOSSIP_KEYS, body, TOLD_MAX, Class::Control).await;
        let GossipKeysAnswer { keys, .. } = decode(&answer.map_err(ClusterError::of_call)?)?;
        Ok(keys.into_iter().map(GroupKey).collect())
    }

    /// Tells a member the keys that this node can derive.
    pub(crate) async fn give_gossip_keys(&self, caller: Option<NodeId>, body: &Bytes) -> Result<Bytes, ClusterError> {
        let GossipKeysRequest { .. } = decode(body)?;
        self.is_member(caller).await?;
        let keys = of(&self.keys().identity())?.into_iter().map(|GroupKey(key)| key).collect();
        encode(&GossipKeysAnswer { form: FORM, keys })
    }
}
