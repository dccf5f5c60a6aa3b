//! A member's part in the rotation of the CA: it begins one, does what the plan asks of it, and hands keys to other members.

use super::{Cluster, Inner};
use crate::authority::Authority;
use crate::messages::{CA_KEY, CaKeyAnswer, CaKeyRequest, FORM, decode, encode};
use crate::node_rows::{self, NodeRowState};
use crate::rotation::rows::{self, TokensOnOld};
use crate::rotation::{Rotation, RotationState, Step, controller, fingerprint};
use crate::{ClusterError, Transport, certificate_rows};
use base::NodeId;
use bytes::Bytes;
use rpc::{Class, Fingerprint, Service};
use std::time::Duration;
use store::ReadLevel;

/// How long a member may take to hand a key over.
const KEY_MAX: Duration = Duration::from_secs(5);

/// A rotation, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationView {
    /// The plan.
    pub rotation: Rotation,
    /// The members that it waits for in its state.
    pub waits_for: Vec<NodeId>,
    /// The tokens that pin the CA that goes.
    pub tokens: TokensOnOld,
}

impl Cluster {
    /// The newest rotation, done or not, as this node's copy of `sys` has it. None if there never was one.
    pub async fn rotation(&self) -> Result<Option<RotationView>, ClusterError> {
        self.0.rotation_view(ReadLevel::Local).await
    }

    /// Replaces the CA: begins a rotation, or hurries the one that is under way. With `finish` it does not wait for tokens that pin the
    /// CA that goes; nor for the members in `without`. Returns once that is noted; the rest goes by itself. May be repeated.
    pub async fn rotate(&self, finish: bool, without: &[String]) -> Result<RotationView, ClusterError> {
        let inner = &*self.0;
        let sys = inner.sys.as_ref();
        if inner.record.transport == Transport::Plain {
            return Err(ClusterError::NoAuthority);
        }
        let nodes = node_rows::all(sys, ReadLevel::Linearizable).await?;
        let id = |name: &String| {
            let mut there = nodes.iter().filter(|row| row.state != NodeRowState::Removed);
            let row = there.find(|row| row.name == *name).map(|row| row.node);
            row.ok_or_else(|| ClusterError::NoSuchNode { name: name.clone() })
        };
        let without = without.iter().map(id).collect::<Result<Vec<_>, _>>()?;
        let newest = rows::newest(sys, ReadLevel::Linearizable).await?;
        if newest.as_ref().is_none_or(|rotation| rotation.state == RotationState::Done) {
            let old = match newest {
                Some(done) => done.new,
                None => inner.keys().identity().issuer()?.ok_or(ClusterError::NoAuthority)?.to_string(),
            };
            let begun =
                Rotation { is_finishing: finish, without: without.clone(), ..inner.make_successor(&old).await? };
            rt::sim_point!("rotation.key_kept");
            // Somebody else may have been quicker; then that one is hurried.
            rows::begin(sys, &begun).await?;
        }
        if let Some(rotation) = rows::newest(sys, ReadLevel::Linearizable).await? {
            rows::hurry(sys, &rotation, finish, &without).await?;
        }
        inner.rotation_view(ReadLevel::Linearizable).await?.ok_or(ClusterError::NoLeader)
    }
}

impl Inner {
    async fn rotation_view(&self, level: ReadLevel) -> Result<Option<RotationView>, ClusterError> {
        let sys = self.sys.as_ref();
        let Some(rotation) = rows::newest(sys, level).await? else { return Ok(None) };
        let members = controller::members(self, level).await?;
        let waits_for = rotation.waits_for(&members, &certificate_rows::all(sys, level).await?);
        let tokens = rows::tokens_on_old(sys, level, &rotation.new).await?;
        Ok(Some(RotationView { rotation, waits_for, tokens }))
    }

    /// Makes a CA for which the one with this fingerprint vouches. Its key is on this node's disk before anybody hears of it.
    pub(crate) async fn make_successor(&self, old: &str) -> Result<Rotation, ClusterError> {
        if !self.keys().may_sign() {
            return Err(ClusterError::NoAuthority);
        }
        let authority = self.keys().authority(fingerprint(old)?)?.ok_or(ClusterError::AuthorityLater)?;
        let successor = Authority::generate(&self.record.cluster)?;
        let cross = authority.vouch_for(&successor, &self.record.cluster)?;
        self.keys().keep_key(successor.key()).await?;
        Ok(Rotation {
            id: 0,
            state: RotationState::Distributing,
            old: old.to_owned(),
            new: successor.fingerprint().to_string(),
            certificate: successor.certificate().to_owned(),
            cross,
            is_finishing: false,
            without: Vec::new(),
            begun: 0,
            since: 0,
        })
    }

    /// Does what the newest rotation asks of this node, by its copy of `sys`. Done again after a fall at any point.
    pub(super) async fn follow_rotation(&self) -> Result<(), ClusterError> {
        let Some(rotation) = rows::newest(self.sys.as_ref(), ReadLevel::Local).await? else { return Ok(()) };
        let (keys, new) = (self.keys(), fingerprint(&rotation.new)?);
        // There are three things that it can ask for.
        for _ in 0..3 {
            let identity = keys.identity();
            let trusted: Vec<String> = identity.trusted()?.iter().map(|(ca, _)| ca.to_string()).collect();
            let issuer = identity.issuer()?.ok_or(ClusterError::NoAuthority)?.to_string();
            match rotation.asks(&trusted, &issuer) {
                None => break,
                Some(Step::Trust) => {
                    let key = if keys.may_sign() { Some(self.key_of_new(new).await?) } else { None };
                    keys.trust(&rotation.certificate, key.as_deref()).await?;
                }
                Some(Step::Reissue) => {
                    if !keys.reissue(new, Some(rotation.cross.clone())).await? {
                        super::renewal::ask_members(self, super::renewal::Take::Whatever).await?;
                    }
                }
                Some(Step::Retire) => keys.trust_only(new).await?,
            }
        }
        Ok(())
    }

    /// The key of the CA that comes: this node's, or another member's.
    async fn key_of_new(&self, ca: Fingerprint) -> Result<String, ClusterError> {
        if let Some(key) = self.keys().key_of(ca) {
            return Ok(key);
        }
        let others = self.mesh.peers().into_iter().filter(|peer| *peer != self.node());
        let mut why = ClusterError::AuthorityLater;
        for peer in others {
            match self.ask_for_key(peer, ca).await {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Asks a member for the key of a CA. None if it says that it has not got it.
    pub(crate) async fn ask_for_key(&self, member: NodeId, ca: Fingerprint) -> Result<Option<String>, ClusterError> {
        let body = encode(&CaKeyRequest { form: FORM, ca })?;
        let answer = self.mesh.call(member, Service::Cluster, CA_KEY, body, KEY_MAX, Class::Control).await;
        let CaKeyAnswer { key, .. } = decode(&answer.map_err(ClusterError::of_call)?)?;
        Ok(key)
    }

    /// Refuses who is none, by what a majority has.
    pub(crate) async fn is_member(&self, caller: Option<NodeId>) -> Result<(), ClusterError> {
        let node = caller.ok_or_else(|| ClusterError::Message { why: "nobody asks".to_owned() })?;
        let row = node_rows::by_id(self.sys.as_ref(), node).await?;
        let is_one = row.is_some_and(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving));
        if is_one { Ok(()) } else { Err(ClusterError::NotMember { node }) }
    }

    /// Hands the key of a CA to a member, as it was handed to it when it joined.
    pub(super) async fn give_key(&self, caller: Option<NodeId>, body: &Bytes) -> Result<Bytes, ClusterError> {
        let CaKeyRequest { ca, .. } = decode(body)?;
        self.is_member(caller).await?;
        encode(&CaKeyAnswer { form: FORM, key: self.keys().key_of(ca) })
    }
}
