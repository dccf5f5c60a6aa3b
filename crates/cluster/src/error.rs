//! How things can fail here, what to do, and the pages that `bowline explain` prints.

mod pages;

pub use pages::{PAGES, warning};

use base::{Code, Disposition, Fault, NodeId};
use gossip::GossipError;
pub(crate) use pages::code;
use rpc::{CallError, ConnectError, Refusal};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use store::StoreError;

/// Everything that can go wrong with identities, tokens, joining and roles.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This machine's clock and the cluster's are so far apart that no certificate is valid by both.
    #[error("this machine's clock says {here}, that of {whose} says {there}: no certificate is valid by both")]
    ClocksApart {
        /// The time here.
        here: String,
        /// The time there.
        there: String,
        /// Whose clock that is.
        whose: String,
    },
    /// The clock says a time at which the cluster's CA is not good.
    #[error("this machine's clock says {now}, but the cluster's CA is good from {not_before} to {not_after}")]
    ClockBeyondCa {
        /// The time here.
        now: String,
        /// Since when there is the CA.
        not_before: String,
        /// Until when it is good.
        not_after: String,
    },
    /// This member does not have the key yet that makes certificates now.
    #[error("the CA is being replaced, and this node does not have the key of the new one yet")]
    AuthorityLater,
    /// This node's member of the gossip group could not do what it was to.
    #[error(transparent)]
    Gossip(GossipError),
    /// No member has this key.
    #[error("no member has the key of this machine")]
    KeyUnknown,
    /// Nobody could renew the certificate of this node.
    #[error("no member could renew this node's certificate: {}", tried.join("; "))]
    NotRenewed {
        /// What happened at each.
        tried: Vec<String>,
    },
    /// The text is no token, or one of another kind.
    #[error("this is not the token that is wanted here: {why}")]
    TokenForm {
        /// What is wrong with it.
        why: String,
    },
    /// The token is of a form that this version does not know.
    #[error("this token is of a newer form ({form}) than this version of Bowline reads")]
    TokenVersion {
        /// Its prefix.
        form: String,
    },
    /// No such token was issued, or it was revoked.
    #[error("join token {id} is not known: it was revoked, or another cluster issued it")]
    TokenUnknown {
        /// Its id.
        id: String,
    },
    /// The token was redeemed by another machine.
    #[error("join token {id} was used already, by node {node}")]
    TokenUsed {
        /// Its id.
        id: String,
        /// Who used it.
        node: NodeId,
    },
    /// The token's time is over.
    #[error("join token {id} has expired")]
    TokenExpired {
        /// Its id.
        id: String,
    },
    /// The token was issued for a node of another name.
    #[error("join token {id} was issued for {name} only")]
    TokenName {
        /// Its id.
        id: String,
        /// The name that may use it.
        name: String,
    },
    /// A member has that name.
    #[error("the name {name} is taken by node {node}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        node: NodeId,
    },
    /// A member has that address.
    #[error("the address {address} is taken by node {node}")]
    AddressTaken {
        /// The address.
        address: String,
        /// Who has it.
        node: NodeId,
    },
    /// The name cannot be a node's.
    #[error("{name:?} cannot be a node's name: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The address cannot be a node's.
    #[error("{address:?} cannot be a node's address: {why}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of the node's identity cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file of the node's identity is not what it should be.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The directory holds a node's identity already.
    #[error("this machine is {name} already, node {node} of cluster {cluster}")]
    AlreadyMember {
        /// Its name.
        name: String,
        /// The node.
        node: NodeId,
        /// The cluster.
        cluster: String,
    },
    /// Of all members only a witness is left.
    #[error("only a witness is left, and it holds no database")]
    OnlyWitness,
    /// This node is a witness that has acknowledged more than any survivor has.
    #[error("this node is a witness, and has acknowledged more than any machine that is left and keeps data")]
    WitnessAhead,
    /// This node has no key of the cluster's CA.
    #[error("this node does not hold the key of the cluster's CA")]
    NoAuthority,
    /// A certificate could not be made.
    #[error("a certificate could not be made: {why}")]
    Certificate {
        /// Why.
        why: String,
    },
    /// None of the members that the token names could be reached.
    #[error("no member of the cluster could be reached: {}", tried.join("; "))]
    Unreachable {
        /// Each address with what happened there.
        tried: Vec<String>,
    },
    /// A member answered, but the connection is not to be trusted or not wanted.
    #[error("{address}: {error}")]
    Connect {
        /// The member's address.
        address: String,
        /// Why not.
        error: ConnectError,
    },
    /// The key that signed the request is not the one that the connection proved.
    #[error("the request to join was not made with the key of the connection")]
    OtherKey,
    /// A member has this machine's key already: what is left of it here must not become a second node, nor the same one again
    /// without its data.
    #[error("the key of this machine belongs to node {node}, which is a member already")]
    KeyInUse {
        /// The member.
        node: NodeId,
    },
    /// The row of a joining node is gone: it took too long, or its name went to another machine.
    #[error("node {node} is not a member, or no longer")]
    NotMember {
        /// The node.
        node: NodeId,
    },
    /// The node has not got its role in time. The cluster goes on giving it one.
    #[error("node {node} is a member, but has not got its role within {} s", waited.as_secs_f64())]
    NotPlaced {
        /// The node.
        node: NodeId,
        /// How long was waited.
        waited: Duration,
    },
    /// Nobody leads `sys` at the moment, as far as this node knows.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// A message between nodes does not decode.
    #[error("a message of another node could not be read: {why}")]
    Message {
        /// Why.
        why: String,
    },
    /// A row of `sys` does not have its form.
    #[error("a row of sys.{table} is damaged: {why}")]
    Row {
        /// The table.
        table: &'static str,
        /// What does not fit.
        why: String,
    },
    /// `sys` could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Raft refused a change.
    #[error(transparent)]
    Raft(#[from] raft::ChangeError),
    /// No node of that name is there.
    #[error("there is no node {name}")]
    NoSuchNode {
        /// The name.
        name: String,
    },
    /// The cluster would end with it.
    #[error("{name} is the only member")]
    LastMember {
        /// Its name.
        name: String,
    },
    /// Its removal would cost something that nobody has agreed to.
    #[error("{name} is not removed: {why}")]
    UnsafeRemoval {
        /// Its name.
        name: String,
        /// What it would cost.
        why: String,
    },
    /// A node is on its way out, and was not gone in time.
    #[error("{name} is leaving, but has not gone within {} s", waited.as_secs_f64())]
    NotGone {
        /// Its name.
        name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// No database has lost its majority: a recovery would only do harm.
    #[error("every database has its majority: there is nothing to recover{}", but_down(lost))]
    MajorityThere {
        /// The members that do not answer, by name.
        lost: Vec<String>,
    },
    /// Nothing can be recovered by a node that has no copy of `sys`.
    #[error("this node has no copy of the cluster's own database{}", but_have(others))]
    NoCopy {
        /// Who has one.
        others: Vec<NodeId>,
    },
    /// That many cannot vote or stand by.
    #[error("this cannot be: {why}")]
    Targets {
        /// What is wrong with it.
        why: String,
    },
    /// Another member recovers the cluster.
    #[error("node {by} recovers the cluster")]
    Recovering {
        /// Which.
        by: NodeId,
    },
    /// The members to be given up are not those that do not answer.
    #[error("these do not answer: {}; to be given up were: {}", or_none(lost), or_none(named))]
    OthersLost {
        /// Who is to be given up.
        named: Vec<String>,
        /// Who does not answer.
        lost: Vec<String>,
    },
    /// Somebody of that name has access.
    #[error("{name} has access already")]
    AccessExists {
        /// The name.
        name: String,
    },
    /// Nobody of that name has access.
    #[error("nobody named {name} has access")]
    AccessUnknown {
        /// The name.
        name: String,
    },
    /// A call to a member failed.
    #[error(transparent)]
    Call(CallError),
    /// A member refused, with an error of its own.
    #[error("{message}")]
    Refused {
        /// The code of the error there, if this version knows it.
        code: Code,
        /// What to do with it.
        disposition: Disposition,
        /// What it said.
        message: String,
    },
}

fn but_down(lost: &[String]) -> String {
    if lost.is_empty() { String::new() } else { format!(" (without an answer: {})", lost.join(", ")) }
}

fn but_have(others: &[NodeId]) -> String {
    let names: Vec<String> = others.iter().map(NodeId::to_string).collect();
    if names.is_empty() { String::new() } else { format!("; these have: {}", names.join(", ")) }
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl ClusterError {
    /// What came back over the wire.
    pub(crate) fn of_call(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => Self::of_refusal(refusal),
            other => Self::Call(other),
        }
    }

    fn of_refusal(refusal: Refusal) -> Self {
        let known = PAGES.iter().chain(rpc::PAGES).chain(store::PAGES).chain(raft::PAGES).map(|page| page.code);
        let code = known.into_iter().find(|code| code.0 == refusal.code).unwrap_or(code::REFUSED);
        Self::Refused { code, disposition: refusal.disposition, message: refusal.message }
    }
}

impl Fault for ClusterError {
    fn code(&self) -> Code {
        match self {
            Self::ClocksApart { .. } | Self::ClockBeyondCa { .. } => code::CLOCKS_APART,
            Self::KeyUnknown => code::KEY_UNKNOWN,
            Self::AuthorityLater => code::AUTHORITY_LATER,
            Self::NotRenewed { .. } => code::NOT_RENEWED,
            Self::TokenForm { .. } => code::TOKEN_FORM,
            Self::TokenVersion { .. } => code::TOKEN_VERSION,
            Self::TokenUnknown { .. } => code::TOKEN_UNKNOWN,
            Self::TokenUsed { .. } => code::TOKEN_USED,
            Self::TokenExpired { .. } => code::TOKEN_EXPIRED,
            Self::TokenName { .. } => code::TOKEN_NAME,
            Self::NameTaken { .. } => code::NAME_TAKEN,
            Self::AddressTaken { .. } => code::ADDRESS_TAKEN,
            Self::Name { .. } => code::NAME,
            Self::Address { .. } => code::ADDRESS,
            Self::File { .. } => code::FILE,
            Self::Damaged { .. } => code::DAMAGED,
            Self::AlreadyMember { .. } => code::ALREADY_MEMBER,
            Self::OnlyWitness => code::ONLY_WITNESS,
            Self::WitnessAhead => code::WITNESS_AHEAD,
            Self::Gossip(error) => error.code(),
            Self::NoAuthority => code::NO_AUTHORITY,
            Self::Certificate { .. } => code::CERTIFICATE,
            Self::Unreachable { .. } => code::UNREACHABLE,
            Self::Connect { error, .. } => error.code(),
            Self::OtherKey => code::OTHER_KEY,
            Self::NotMember { .. } => code::NOT_MEMBER,
            Self::KeyInUse { .. } => code::KEY_IN_USE,
            Self::NotPlaced { .. } => code::NOT_PLACED,
            Self::NoLeader => code::NO_LEADER,
            Self::Message { .. } => code::MESSAGE,
            Self::Row { .. } => code::ROW,
            Self::NoSuchNode { .. } => code::NO_SUCH_NODE,
            Self::LastMember { .. } => code::LAST_MEMBER,
            Self::UnsafeRemoval { .. } => code::UNSAFE_REMOVAL,
            Self::NotGone { .. } => code::NOT_GONE,
            Self::MajorityThere { .. } => code::MAJORITY_THERE,
            Self::NoCopy { .. } => code::NO_COPY,
            Self::OthersLost { .. } => code::OTHERS_LOST,
            Self::Recovering { .. } => code::RECOVERING,
            Self::Targets { .. } => code::TARGETS,
            Self::AccessExists { .. } => code::ACCESS_EXISTS,
            Self::AccessUnknown { .. } => code::ACCESS_UNKNOWN,
            Self::Store(error) => error.code(),
            Self::Raft(error) => error.code(),
            Self::Call(error) => error.code(),
            Self::Refused { code, .. } => *code,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. } => Disposition::Retry { after: Duration::from_secs(2) },
            Self::NoLeader | Self::NotPlaced { .. } | Self::AuthorityLater => {
                Disposition::Retry { after: Duration::from_millis(500) }
            }
            Self::NotMember { .. } | Self::NoSuchNode { .. } | Self::AccessUnknown { .. } => Disposition::Gone,
            Self::NotRenewed { .. } => Disposition::Retry { after: Duration::from_secs(10) },
            Self::NotGone { .. } | Self::Recovering { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Damaged { .. } | Self::Row { .. } => Disposition::Corrupt,
            Self::Certificate { .. } => Disposition::Bug,
            Self::Connect { error, .. } => error.disposition(),
            Self::Gossip(error) => error.disposition(),
            Self::Store(error) => error.disposition(),
            Self::Raft(error) => error.disposition(),
            Self::Call(error) => error.disposition(),
            Self::Refused { disposition, .. } => *disposition,
            _ => Disposition::Refuse,
        }
    }
}
