//! Where machines are let in: by the leader; any other member passes on to it, once.

use crate::authority::{Authority, fingerprint_of_pem};
use crate::messages::{
    FORM, JoinAnswer, JoinRequest, JoinRequestFor, MemberAddress, REDEEM, REDEEM_FOR, decode, encode,
};
use crate::node_rows::{self, NodeRowState};
use crate::sys::SysSql;
use crate::{ClusterError, ClusterId, Transport, token_rows};
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
    pub(crate) authority: Option<Authority>,
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
        let authority = match (self.transport, &self.authority) {
            (Transport::Tls, None) => return Err(ClusterError::NoAuthority),
            (_, authority) => authority.as_ref(),
        };
        if let Some(authority) = authority {
            // Nor may a request that cannot be signed, or one for another key. The node's id is not known yet; any will do.
            let trial = authority.sign(&request.request, self.node, &request.who.name, &[])?;
            if fingerprint_of_pem(&trial)? != key {
                return Err(ClusterError::OtherKey);
            }
        }
        let row = token_rows::redeem(sys, request, key).await?;
        let hosts = [row.address.as_str(), row.dqlite_address.as_str(), row.https_address.as_str()];
        let certificate = match authority {
            Some(authority) => authority.sign(&request.request, row.node, &request.who.name, &hosts)?,
            None => String::new(),
        };
        let members = node_rows::all(sys, ReadLevel::Linearizable).await?.into_iter();
        let members = members.filter(|m| matches!(m.state, NodeRowState::Member | NodeRowState::Leaving));
        Ok(JoinAnswer {
            form: FORM,
            node: row.node,
            cluster: self.cluster.to_string(),
            ca: authority.map(|authority| authority.certificate().to_owned()).unwrap_or_default(),
            ca_key: authority.map(|authority| authority.key().to_owned()).unwrap_or_default(),
            certificate,
            members: members.map(|m| MemberAddress { node: m.node, name: m.name, address: m.address }).collect(),
            leader: self.node,
            wall_ms: u64::try_from(rt::time::wall().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
