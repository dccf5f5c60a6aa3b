//! Where machines are let in: by the leader; any other member passes on to it, once.

use crate::authority::{Authority, fingerprint_of_pem};
use crate::keyring::Keyring;
use crate::messages::{
    CLOCK, Clock, FORM, JoinAnswer, JoinRequest, JoinRequestFor, MemberAddress, REDEEM, REDEEM_FOR, RENEW, RenewAnswer,
    RenewRequest, decode, encode,
};
use crate::node_rows::{self, NodeRowState};
use crate::sys::SysSql;
use crate::{ClusterError, ClusterId, Credentials, NodeName, Transport, rotation, token_rows};
use base::{Fault, NodeId};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rpc::{Answer, Caller, Class, Fingerprint, Handler, Mesh, Refusal, Service};
use rt::time::Instant;
use std::sync::Arc;
use std::time::Duration;
use store::ReadLevel;

/// What letting in needs.
pub(crate) struct Desk {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) transport: Transport,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) sys: Arc<dyn SysSql>,
    pub(crate) mesh: Arc<Mesh>,
}

/// Answers strangers: they may join.
pub(crate) struct ForStrangers(pub(crate) Arc<Desk>);

impl Handler for ForStrangers {
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        let (desk, key, deadline) = (Arc::clone(&self.0), caller.fingerprint, caller.deadline);
        async move {
            let answer = match method {
                REDEEM => desk.redeem(key, &body, deadline).await,
                RENEW => desk.renew(key, &body).await,
                CLOCK => encode(&Clock::now()),
                other => Err(ClusterError::Message { why: format!("this version knows no method {other}") }),
            };
            answer.map_err(|error| Refusal::of(&error))
        }
        .boxed()
    }
}

impl Desk {
    /// Whether this node leads `sys`, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.sys.leader() == Some(self.node)
    }

    /// A stranger asks this node.
    async fn redeem(&self, key: Fingerprint, body: &Bytes, deadline: Instant) -> Result<Bytes, ClusterError> {
        let request: JoinRequest = decode(body)?;
        if self.leads() {
            return encode(&self.redeem_here(&request, key).await?);
        }
        self.pass_on(REDEEM_FOR, encode(&JoinRequestFor { form: FORM, key, request })?, deadline).await
    }

    /// A member asks for a stranger. It took this node for the leader; if it is not, it shall look again.
    pub(crate) async fn redeem_for(&self, body: &Bytes) -> Result<Bytes, ClusterError> {
        let JoinRequestFor { key, request, .. } = decode(body)?;
        if !self.leads() {
            return Err(ClusterError::NoLeader);
        }
        encode(&self.redeem_here(&request, key).await?)
    }

    /// Asks the leader what this node was asked.
    pub(crate) async fn pass_on(&self, method: u16, body: Bytes, deadline: Instant) -> Result<Bytes, ClusterError> {
        let leader = self.sys.leader().filter(|leader| *leader != self.node).ok_or(ClusterError::NoLeader)?;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let answer = self.mesh.call(leader, Service::Cluster, method, body, left, Class::Control).await;
        answer.map_err(|error| match ClusterError::of_call(error) {
            // Who asked knows nothing of the two nodes between which this happened.
            ClusterError::Call(error) if error.disposition().is_passing() => {
                tracing::info!(%error, "the leader could not be asked");
                ClusterError::NoLeader
            }
            other => other,
        })
    }

    async fn redeem_here(&self, request: &JoinRequest, key: Fingerprint) -> Result<JoinAnswer, ClusterError> {
        let (name, token) = (&request.who.name, &request.token);
        let answer = self.let_in(request, key).await;
        match &answer {
            Ok(answer) => tracing::info!(node = %answer.node, %name, token, "let a machine in"),
            Err(error) => tracing::info!(%name, token, code = %error.code(), %error, "did not let a machine in"),
        }
        answer
    }

    /// Lets the machine that holds `key` in, or says why not. Runs on the leader. May be repeated: the same key with the same
    /// token is the same node, with a fresh certificate.
    async fn let_in(&self, request: &JoinRequest, key: Fingerprint) -> Result<JoinAnswer, ClusterError> {
        let sys = self.sys.as_ref();
        request.who.check()?;
        // Before anything is written: a leader that cannot sign must not use tokens up.
        let issuing = match self.transport {
            Transport::Tls => Some(self.issuing().await?),
            Transport::Plain => None,
        };
        if let Some((authority, _)) = &issuing {
            // Nor may a request that cannot be signed, or one for another key. The node's id is not known yet; any will do.
            let trial = authority.sign(&request.request, self.node, &request.who.name, &[])?;
            if fingerprint_of_pem(&trial)? != key {
                return Err(ClusterError::OtherKey);
            }
        }
        let row = token_rows::redeem(sys, request, key).await?;
        let hosts = [row.address.as_str(), row.dqlite_address.as_str(), row.https_address.as_str()];
        let certificate = match &issuing {
            Some((authority, cross)) => {
                authority.sign(&request.request, row.node, &request.who.name, &hosts)? + cross.as_deref().unwrap_or("")
            }
            None => String::new(),
        };
        let (ca, ca_key) = self.cas();
        let members = node_rows::all(sys, ReadLevel::Linearizable).await?.into_iter();
        let members = members.filter(|m| matches!(m.state, NodeRowState::Member | NodeRowState::Leaving));
        Ok(JoinAnswer {
            form: FORM,
            node: row.node,
            cluster: self.cluster.to_string(),
            ca,
            ca_key,
            certificate,
            members: members.map(|m| MemberAddress { node: m.node, name: m.name, address: m.address }).collect(),
            leader: self.node,
            wall_ms: Clock::now().wall_ms,
        })
    }

    /// The authority that makes certificates now, and how the one before vouches for it.
    async fn issuing(&self) -> Result<(Authority, Option<String>), ClusterError> {
        let Some(rotation) = rotation::rows::newest(self.sys.as_ref(), ReadLevel::Linearizable).await? else {
            let own = self.keys.identity().issuer()?.ok_or(ClusterError::NoAuthority)?;
            let authority = self.keys.authority(own)?.ok_or(ClusterError::NoAuthority)?;
            return Ok((authority, self.keys.cross_of(own)));
        };
        let ca = rotation::fingerprint(rotation.issuing())?;
        let later = || if self.keys.may_sign() { ClusterError::AuthorityLater } else { ClusterError::NoAuthority };
        let authority = self.keys.authority(ca)?.ok_or_else(later)?;
        let cross = if rotation.issuing() == rotation.new { Some(rotation.cross) } else { self.keys.cross_of(ca) };
        Ok((authority, cross))
    }

    /// The CAs that this node trusts, and their keys. Empty in the simulator.
    fn cas(&self) -> (String, String) {
        match &self.keys.identity().credentials {
            Credentials::Tls { ca, ca_key, .. } => (ca.clone(), ca_key.clone().unwrap_or_default()),
            Credentials::Plain => (String::new(), String::new()),
        }
    }

    /// Gives the member that holds `key` a new certificate for it, and the CAs as they are. The others may not know it by its
    /// certificate any more: that has expired, or its CA is gone. Its key they know: it is in its row. Any member with the CA's key may do
    /// this, as long as a majority says that it still is a member.
    async fn renew(&self, key: Fingerprint, body: &Bytes) -> Result<Bytes, ClusterError> {
        let request: RenewRequest = decode(body)?;
        let row = node_rows::by_fingerprint(self.sys.as_ref(), key).await?.ok_or(ClusterError::KeyUnknown)?;
        if row.state == NodeRowState::Removed {
            return Err(ClusterError::NotMember { node: row.node });
        }
        let (authority, cross) = self.issuing().await?;
        let hosts = [row.address.as_str(), row.dqlite_address.as_str(), row.https_address.as_str()];
        let certificate = authority.sign(&request.request, row.node, &NodeName::new(&row.name)?, &hosts)?;
        if fingerprint_of_pem(&certificate)? != key {
            return Err(ClusterError::OtherKey);
        }
        let (ca, ca_key) = self.cas();
        tracing::info!(node = %row.node, name = row.name, "gave a member a new certificate");
        encode(&RenewAnswer { form: FORM, ca, ca_key, certificate: certificate + cross.as_deref().unwrap_or("") })
    }
}
