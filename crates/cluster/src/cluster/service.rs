//! What this node answers to members.

use super::Inner;
use crate::messages::{
    ANNOUNCE, Announce, CA_KEY, Clock, DAMAGED, Damaged, FORM, GO_ON_ALONE, GOSSIP_KEYS, PROBE, REDEEM_FOR, SURVEY,
    Survey, SurveyAnswer, decode, encode,
};
use crate::{ClusterError, Transport};
use base::NodeId;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rpc::{Answer, Caller, Handler, Refusal};
use rt::time::Instant;
use std::sync::Arc;

/// Answers members.
pub(super) struct ForMembers(pub(super) Arc<Inner>);

impl Handler for ForMembers {
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        let (inner, node, deadline) = (Arc::clone(&self.0), caller.node, caller.deadline);
        async move {
            let answer = match method {
                REDEEM_FOR => inner.desk.redeem_for(&body).await,
                ANNOUNCE => inner.announce(node, body, deadline).await,
                PROBE => inner.probed(),
                DAMAGED => inner.told_of_damage(node, &body).await,
                SURVEY => inner.survey_for(node, &body),
                CA_KEY => inner.give_key(node, &body).await,
                GOSSIP_KEYS => inner.give_gossip_keys(node, &body).await,
                GO_ON_ALONE => inner.go_on_alone_for(node, &body).await,
                other => Err(ClusterError::Message { why: format!("this version knows no method {other}") }),
            };
            answer.map_err(|error| Refusal::of(&error))
        }
        .boxed()
    }
}

impl Inner {
    /// The simulator's nodes have other things to do than to compare their clocks, which are wrong on purpose.
    fn probed(&self) -> Result<Bytes, ClusterError> {
        match self.record.transport {
            Transport::Tls => encode(&Clock::now()),
            Transport::Plain => Ok(Bytes::new()),
        }
    }

    async fn told_of_damage(&self, caller: Option<NodeId>, body: &Bytes) -> Result<Bytes, ClusterError> {
        let damaged: Damaged = decode(body)?;
        // A member speaks for itself.
        if caller == Some(damaged.node) {
            return encode(&self.withdraw_votes(&damaged).await);
        }
        Err(ClusterError::Message { why: format!("it speaks of {}'s logs", damaged.node) })
    }

    fn survey_for(&self, caller: Option<NodeId>, body: &Bytes) -> Result<Bytes, ClusterError> {
        let survey: Survey = decode(body)?;
        let caller = caller.ok_or_else(|| ClusterError::Message { why: "nobody asks".to_owned() })?;
        encode(&SurveyAnswer { form: FORM, groups: self.surveyed(caller, survey.to_recover)? })
    }

    async fn go_on_alone_for(&self, caller: Option<NodeId>, body: &Bytes) -> Result<Bytes, ClusterError> {
        let order = decode(body)?;
        let caller = caller.ok_or_else(|| ClusterError::Message { why: "nobody orders it".to_owned() })?;
        self.go_on_alone(caller, &order).await.map(|()| Bytes::new())
    }

    async fn announce(&self, caller: Option<NodeId>, body: Bytes, deadline: Instant) -> Result<Bytes, ClusterError> {
        let announce: Announce = decode(&body)?;
        if self.desk.leads() {
            return encode(&self.announced(&announce).await?);
        }
        // A member speaks for itself; one that passes on has taken this node for the leader and shall look again.
        if caller == Some(announce.node) && announce.node != self.node() {
            return self.desk.pass_on(ANNOUNCE, body, deadline).await;
        }
        Err(ClusterError::NoLeader)
    }
}
