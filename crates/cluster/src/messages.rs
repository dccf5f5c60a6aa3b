//! What nodes say to each other about membership. Encoded with postcard; the first field of each is its form.

use crate::token::Secret;
use crate::{ClusterError, JoinAs, NodeRecord};
use base::{GroupId, NodeId, Role};
use bytes::Bytes;
use raft::LogPos;
use rpc::Fingerprint;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The form of all messages here.
pub(crate) const FORM: u16 = 1;
/// Redeem a token: method of the join service, for strangers.
pub(crate) const REDEEM: u16 = 1;
/// A member that the others do not know by its certificate any more asks for a new one: method of the join service.
pub(crate) const RENEW: u16 = 2;
/// What does your clock say? Method of the join service; nothing in, a [`Clock`] out.
pub(crate) const CLOCK: u16 = 3;
/// Redeem a token for a stranger: method of the cluster service, for members.
pub(crate) const REDEEM_FOR: u16 = 1;
/// A member runs: method of the cluster service.
pub(crate) const ANNOUNCE: u16 = 2;
/// Are you there? Method of the cluster service; nothing in, a [`Clock`] out, but in the simulator nothing.
pub(crate) const PROBE: u16 = 3;
/// A member's logs were damaged: method of the cluster service.
pub(crate) const DAMAGED: u16 = 4;
/// What have you? Method of the cluster service.
pub(crate) const SURVEY: u16 = 5;
/// Go on alone: method of the cluster service; nothing out.
pub(crate) const GO_ON_ALONE: u16 = 6;

/// Have you the key of this CA? Method of the cluster service.
pub(crate) const CA_KEY: u16 = 7;
/// What signs gossip? Method of the cluster service.
pub(crate) const GOSSIP_KEYS: u16 = 8;

/// A machine asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub(crate) form: u16,
    pub(crate) token: String,
    pub(crate) secret: Secret,
    pub(crate) who: JoinAs,
    /// The certificate request (DER); empty on the simulator's transport.
    pub(crate) request: Vec<u8>,
}

/// A member passes on what a stranger asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRequestFor {
    pub(crate) form: u16,
    /// The key that the stranger's connection proved.
    pub(crate) key: Fingerprint,
    pub(crate) request: JoinRequest,
}

/// A machine is let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinAnswer {
    pub(crate) form: u16,
    pub(crate) node: NodeId,
    pub(crate) cluster: String,
    /// PEM texts; empty on the simulator's transport.
    pub(crate) ca: String,
    pub(crate) ca_key: String,
    pub(crate) certificate: String,
    pub(crate) members: Vec<MemberAddress>,
    pub(crate) leader: NodeId,
    /// The leader's clock, in milliseconds since the Unix epoch.
    pub(crate) wall_ms: u64,
}

/// A member asks for a certificate. Who it is, the key tells that its connection proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenewRequest {
    pub(crate) form: u16,
    /// The certificate request (DER), for the same key.
    pub(crate) request: Vec<u8>,
}

/// A member's certificate, and the CAs as they are now.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenewAnswer {
    pub(crate) form: u16,
    /// PEM texts, of one CA or of two.
    pub(crate) ca: String,
    pub(crate) ca_key: String,
    pub(crate) certificate: String,
}

/// A member wants the key of a CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaKeyRequest {
    pub(crate) form: u16,
    pub(crate) ca: Fingerprint,
}

/// It gets it, from one who has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaKeyAnswer {
    pub(crate) form: u16,
    /// As PEM.
    pub(crate) key: Option<String>,
}

/// A member without the key of the CA wants what the others derive from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GossipKeysRequest {
    pub(crate) form: u16,
}

/// It gets it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GossipKeysAnswer {
    pub(crate) form: u16,
    /// The one that signs is the first.
    pub(crate) keys: Vec<[u8; 32]>,
}

/// What a member's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub(crate) form: u16,
    /// In milliseconds since the Unix epoch.
    pub(crate) wall_ms: u64,
}

impl Clock {
    /// This machine's.
    pub(crate) fn now() -> Self {
        Self { form: FORM, wall_ms: u64::try_from(rt::time::wall().as_millis()).unwrap_or(u64::MAX) }
    }

    /// How far this clock is ahead of the other, in milliseconds; less than nothing if it is behind.
    pub(crate) fn ahead_of(self, other: Self) -> i64 {
        self.wall_ms.cast_signed().saturating_sub(other.wall_ms.cast_signed())
    }
}

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddress {
    /// The member.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// `host:port` for other nodes.
    pub address: String,
}

/// A member says that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announce {
    pub(crate) form: u16,
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) dqlite_address: String,
    pub(crate) https_address: String,
    pub(crate) version: String,
}

impl Announce {
    /// What the node of `record` says when it runs `version`.
    pub(crate) fn of(record: &NodeRecord, version: &str) -> Self {
        Self {
            form: FORM,
            node: record.node,
            address: record.address.clone(),
            dqlite_address: record.dqlite_address.clone(),
            https_address: record.https_address.clone(),
            version: version.to_owned(),
        }
    }
}

/// The logs of these groups were damaged on a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damaged {
    pub(crate) form: u16,
    pub(crate) node: NodeId,
    pub(crate) groups: Vec<GroupId>,
}

/// By the newest members of these groups, made at these positions, the damaged member has no vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Withdrawn {
    pub(crate) form: u16,
    pub(crate) groups: Vec<(GroupId, LogPos)>,
}

/// Somebody wants to know what a member has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Survey {
    pub(crate) form: u16,
    /// To recover: nobody else may for a while.
    pub(crate) to_recover: bool,
}

/// What a member has of every group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SurveyAnswer {
    pub(crate) form: u16,
    pub(crate) groups: Vec<GroupSurvey>,
}

/// What a member has of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupSurvey {
    pub(crate) group: GroupId,
    /// The last entry of its log.
    pub(crate) last: Option<LogPos>,
    /// The members by that log, and the entry that made them.
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    pub(crate) members_since: Option<LogPos>,
    /// Not failed, stopped, or waiting for its disk.
    pub(crate) runs: bool,
    /// Not damaged.
    pub(crate) is_whole: bool,
    /// The last entry that its log has no longer.
    pub(crate) purged: Option<LogPos>,
    /// It is a witness, from which nothing goes on.
    pub(crate) witness: bool,
}

/// Somebody has decided that a group shall go on from this member, whose log ends there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoOnAlone {
    pub(crate) form: u16,
    pub(crate) group: GroupId,
    pub(crate) last: LogPos,
}

/// The member has its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) form: u16,
    pub(crate) role: Role,
    pub(crate) voters: Vec<NodeId>,
}

/// What bytes are taken for: the way in for tests of the decoders from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// A machine asks to be let in.
    Join,
    /// A member passes that on.
    JoinFor,
    /// A machine is let in.
    Joined,
    /// A member says that it runs.
    Announce,
    /// It has its role.
    Announced,
    /// A member's logs were damaged.
    Damaged,
    /// In which groups it has no vote any more.
    Withdrawn,
    /// Somebody wants to know what a member has.
    Survey,
    /// What a member has of every group.
    SurveyAnswer,
    /// A member shall go on alone.
    GoOnAlone,
    /// A member asks for a certificate.
    Renew,
    /// It gets one.
    Renewed,
    /// What a member's clock says.
    Clock,
    /// A member wants the key of a CA.
    CaKey,
    /// It gets it.
    CaKeyGiven,
    /// A member wants the keys that sign gossip.
    GossipKeys,
    /// It gets them.
    GossipKeysGiven,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Join,
        Self::JoinFor,
        Self::Joined,
        Self::Announce,
        Self::Announced,
        Self::Damaged,
        Self::Withdrawn,
        Self::Survey,
        Self::SurveyAnswer,
        Self::GoOnAlone,
        Self::Renew,
        Self::Renewed,
        Self::Clock,
        Self::CaKey,
        Self::CaKeyGiven,
        Self::GossipKeys,
        Self::GossipKeysGiven,
    ];

    /// Reads `bytes` and writes what was read: none if they are no such message.
    pub fn recode(self, bytes: &[u8]) -> Option<Bytes> {
        match self {
            Self::Join => again::<JoinRequest>(bytes),
            Self::JoinFor => again::<JoinRequestFor>(bytes),
            Self::Joined => again::<JoinAnswer>(bytes),
            Self::Announce => again::<Announce>(bytes),
            Self::Announced => again::<Announced>(bytes),
            Self::Damaged => again::<Damaged>(bytes),
            Self::Withdrawn => again::<Withdrawn>(bytes),
            Self::Survey => again::<Survey>(bytes),
            Self::SurveyAnswer => again::<SurveyAnswer>(bytes),
            Self::GoOnAlone => again::<GoOnAlone>(bytes),
            Self::Renew => again::<RenewRequest>(bytes),
            Self::Renewed => again::<RenewAnswer>(bytes),
            Self::Clock => again::<Clock>(bytes),
            Self::CaKey => again::<CaKeyRequest>(bytes),
            Self::CaKeyGiven => again::<CaKeyAnswer>(bytes),
            Self::GossipKeys => again::<GossipKeysRequest>(bytes),
            Self::GossipKeysGiven => again::<GossipKeysAnswer>(bytes),
        }
    }
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Bytes> {
    encode(&decode::<T>(bytes).ok()?).ok()
}

pub(crate) fn encode(message: &impl Serialize) -> Result<Bytes, ClusterError> {
    postcard::to_stdvec(message).map(Bytes::from).map_err(|error| ClusterError::Message { why: error.to_string() })
}

/// Total: what does not decode, or has another form, is an error.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClusterError> {
    let unreadable = |why: String| ClusterError::Message { why };
    let (form, _) = postcard::take_from_bytes::<u16>(bytes).map_err(|error| unreadable(error.to_string()))?;
    if form != FORM {
        return Err(unreadable(format!("its form is {form}, this version reads {FORM}")));
    }
    postcard::from_bytes(bytes).map_err(|error| unreadable(error.to_string()))
}
