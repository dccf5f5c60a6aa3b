//! One node's part in the membership: what it serves to others, and what it follows.

mod damaged;
mod directory;
mod handover;
mod parting;
mod recovery;
mod renewal;
mod rotating;
mod service;

pub use handover::hand_over;
pub use recovery::{Recovery, Reseed, Stuck};
pub use rotating::RotationView;

use crate::authority::NodeKey;
use crate::controller::{self, Pass, leads};
use crate::gossiping::{self, Gossiping, Peers};
use crate::join::desk::{Desk, ForStrangers};
use crate::keyring::Keyring;
use crate::messages::{ANNOUNCE, Announce, Announced, Clock, FORM, PROBE, decode, encode};
use crate::node_rows::{self, NodeRow, NodeRowState};
use crate::roles::Targets;
use crate::rotation::{self, Rotation, fingerprint};
use crate::spares;
use crate::steps::role_of;
use crate::sys::SysSql;
use crate::token::{Secret, Token, TokenId, TokenKind};
use crate::token_rows::{self, TokenRow};
use crate::{
    AccessRole, AccessRow, AuditEntry, AuditOutcome, AuditRow, CertificateRow, ClusterError, Credentials, NodeName,
    NodeRecord, Transport, access_rows, audit_rows, certificate_rows, targets,
};
use base::{Fault, NodeId, Role};
use bytes::Bytes;
use futures::future::join_all;
use lifecycle::Scope;
use raft::{Group, RaftHost};
use rpc::{CallError, Class, Fingerprint, Handler, Mesh, Service};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::ReadLevel;
use tokio::sync::Notify;

/// How long the leader may work on giving an announced node its role before it says "later".
const PLACE_MAX: Duration = Duration::from_secs(8);
/// The wait before asking again for a leader.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// What a node's part in the membership is made from.
#[derive(Debug)]
pub struct ClusterConfig {
    /// Who this node is.
    pub keys: Arc<Keyring>,
    /// The version of its daemon.
    pub version: String,
    /// Its member of the cluster's gossip group.
    pub gossiping: Gossiping,
}

/// One node's part in the membership. Cheap to clone; its tasks end with the scope it was given.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

pub(crate) struct Inner {
    config: ClusterConfig,
    /// Who this node is, which stays.
    pub(crate) record: NodeRecord,
    pub(crate) sys: Arc<dyn SysSql>,
    pub(crate) sys_group: Group,
    pub(crate) host: RaftHost,
    pub(crate) mesh: Arc<Mesh>,
    desk: Arc<Desk>,
    pub(crate) gossiping: Gossiping,
    /// Who should be in the gossip group.
    peers: watch::Sender<Arc<Peers>>,
    pub(crate) nudge: Notify,
    pub(crate) passed: watch::Sender<Option<Pass>>,
    /// Who recovers the cluster, since its last survey.
    recovering: Mutex<Option<(NodeId, Instant)>>,
}

/// What a node was given to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its role.
    pub role: Role,
    /// All voters.
    pub voters: Vec<NodeId>,
}

impl Cluster {
    /// Takes part: follows the rows of `sys`, and while this node leads `sys` makes Raft's groups agree with them. `sys_group` is
    /// the group of the store's `sys`. The tasks live in `scope`.
    pub fn start(
        config: ClusterConfig,
        sys: Arc<dyn SysSql>,
        sys_group: Group,
        host: RaftHost,
        mesh: Arc<Mesh>,
        scope: &Scope,
    ) -> Result<Self, ClusterError> {
        let record = config.keys.identity().record.clone();
        let desk = Arc::new(Desk {
            node: record.node,
            cluster: record.cluster.clone(),
            transport: record.transport,
            keys: Arc::clone(&config.keys),
            sys: Arc::clone(&sys),
            mesh: Arc::clone(&mesh),
        });
        let gossiping = config.gossiping.clone();
        let inner = Arc::new(Inner {
            config,
            record,
            sys,
            sys_group,
            host,
            mesh,
            desk,
            gossiping: gossiping.clone(),
            peers: watch::channel(Arc::default()).0,
            nudge: Notify::new(),
            passed: watch::channel(None).0,
            recovering: Mutex::default(),
        });
        drop(scope.spawn_droppable("directory", directory::follow(Arc::clone(&inner))));
        drop(scope.spawn_droppable("damaged", damaged::ask(Arc::clone(&inner))));
        drop(scope.spawn_droppable("roles", controller::run(Arc::clone(&inner))));
        let peers = inner.peers.subscribe();
        drop(scope.spawn_droppable("gossip members", gossiping::follow(gossiping, inner.node(), peers)));
        drop(scope.spawn_droppable("gossip news", gossiping::report(Arc::clone(&inner))));
        if inner.record.transport == Transport::Tls {
            drop(scope.spawn_droppable("gossip keys", gossiping::follow_keys(Arc::clone(&inner))));
            drop(scope.spawn_droppable("certificates", renewal::keep(Arc::clone(&inner))));
            drop(scope.spawn_droppable("rotation", rotation::controller::run(Arc::clone(&inner))));
        }
        Ok(Self(inner))
    }

    /// Writes the tables and this node's own row into the `sys` of a new cluster. Repeating it changes nothing.
    pub async fn found(&self) -> Result<(), ClusterError> {
        let Inner { config, sys, record, .. } = &*self.0;
        let key = match &config.keys.identity().credentials {
            Credentials::Tls { key, .. } => NodeKey::from_pem(key)?.fingerprint(),
            Credentials::Plain => Fingerprint::default(),
        };
        node_rows::found(sys.as_ref(), record, key, &config.version).await?;
        self.0.nudge.notify_one();
        Ok(())
    }

    /// Answers [`Service::Join`].
    pub fn join_handler(&self) -> Arc<dyn Handler> {
        Arc::new(ForStrangers(Arc::clone(&self.0.desk)))
    }

    /// Answers [`Service::Cluster`].
    pub fn member_handler(&self) -> Arc<dyn Handler> {
        Arc::new(service::ForMembers(Arc::clone(&self.0)))
    }

    /// Tells the leader that this node runs, where and in which version, and waits until it has its role. To be called at every
    /// start, once calls are answered. Asks again as long as there is no leader, until `deadline`. May be dropped and repeated.
    pub async fn announce(&self, deadline: Duration) -> Result<Placement, ClusterError> {
        let record = &self.0.record;
        let announce = Announce::of(record, &self.0.config.version);
        let until = Instant::now() + deadline;
        let mut asked = 0_usize;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let error = match self.announce_once(&announce, asked, left).await {
                Ok(placement) => return Ok(placement),
                Err(error) => error,
            };
            if !error.disposition().is_passing() || Instant::now() + LEADER_PAUSE >= until {
                return Err(error);
            }
            asked += 1;
            // Nothing tells a node that has no leader yet when there is one elsewhere; the leader itself contacts it soon.
            let mut group = self.0.sys_group.watch();
            tokio::select! {
                biased;
                _known = async { group.wait_for(|status| status.leader.is_some_and(|l| l != record.node)).await.is_ok() } => {
                    rt::time::sleep(LEADER_PAUSE).await;
                }
                () = rt::time::sleep(LEADER_PAUSE) => {}
            }
        }
    }

    /// Asks the leader if one is known, else one member after the other: they know.
    async fn announce_once(
        &self,
        announce: &Announce,
        asked: usize,
        left: Duration,
    ) -> Result<Placement, ClusterError> {
        let others: Vec<NodeId> = self.0.mesh.peers().into_iter().filter(|peer| *peer != self.0.node()).collect();
        let to = match self.0.leader() {
            Some(leader) => leader,
            None if others.is_empty() => return Err(ClusterError::NoLeader),
            None => others.get(asked % others.len()).copied().ok_or(ClusterError::NoLeader)?,
        };
        let body = encode(announce)?;
        let answer = self.0.mesh.call(to, Service::Cluster, ANNOUNCE, body, left, Class::Control).await;
        let announced: Announced = decode(&answer.map_err(ClusterError::of_call)?)?;
        Ok(Placement { role: announced.role, voters: announced.voters })
    }

    /// Issues a join token, valid for a while and, if a name is given, only for a node of that name. The token's text is the only
    /// copy of its secret.
    pub async fn token_add(&self, name: Option<&NodeName>, valid: Duration) -> Result<(Token, TokenRow), ClusterError> {
        let token = self.token(TokenKind::Join, |row| row.address).await?;
        let row = token_rows::add(self.0.sys.as_ref(), &token.id, &token.secret, name, valid).await?;
        self.note_pin(&token).await?;
        Ok((token, row))
    }

    /// A new token that names the members and pins the CA. Nobody knows it yet.
    async fn token(&self, kind: TokenKind, address: impl Fn(NodeRow) -> String) -> Result<Token, ClusterError> {
        let ca = match self.newest_rotation().await? {
            Some(rotation) => fingerprint(rotation.pinned())?,
            None => self.0.keys().identity().issuer()?.unwrap_or_default(),
        };
        let mut members = node_rows::all(self.0.sys.as_ref(), ReadLevel::Linearizable).await?;
        members.retain(|row| row.state == NodeRowState::Member);
        let leader = self.0.leader();
        // The leader first: it answers without passing on.
        members.sort_by_key(|row| (Some(row.node) != leader, row.node));
        let addresses = members.into_iter().map(address).take(Token::ADDRESSES_MAX).collect();
        Ok(Token { kind, addresses, ca, id: TokenId::random(), secret: Secret::random() })
    }

    /// The newest rotation of the CA; none in the simulator.
    async fn newest_rotation(&self) -> Result<Option<Rotation>, ClusterError> {
        match self.0.record.transport {
            Transport::Tls => rotation::rows::newest(self.0.sys.as_ref(), ReadLevel::Linearizable).await,
            Transport::Plain => Ok(None),
        }
    }

    /// Notes which CA a token pins, if it is not the cluster's first. Without the note it is waited for in vain when that goes.
    async fn note_pin(&self, token: &Token) -> Result<(), ClusterError> {
        match self.newest_rotation().await? {
            Some(rotation) if rotation.new == token.ca.to_string() => {
                rotation::rows::pin(self.0.sys.as_ref(), &token.id, &rotation.new).await
            }
            _ => Ok(()),
        }
    }

    /// Gives a person or a program access to the API. The token's text is the only copy of its secret.
    pub async fn access_add(
        &self,
        name: &NodeName,
        role: AccessRole,
        valid: Duration,
    ) -> Result<(Token, AccessRow), ClusterError> {
        let token = self.token(TokenKind::Access, |row| row.https_address).await?;
        let row = access_rows::add(self.0.sys.as_ref(), name, &token.id, &token.secret, role, valid).await?;
        self.note_pin(&token).await?;
        Ok((token, row))
    }

    /// Who has access to the API, by name.
    pub async fn access(&self) -> Result<Vec<AccessRow>, ClusterError> {
        access_rows::all(self.0.sys.as_ref()).await
    }

    /// Takes access away. Members that are cut off from the others hear of it when they are back.
    pub async fn access_revoke(&self, name: &str) -> Result<AccessRow, ClusterError> {
        access_rows::revoke(self.0.sys.as_ref(), name).await
    }

    /// Whose access token this is, by this node's copy of `sys`; nobody's if it expired or was revoked.
    pub async fn access_of(&self, token: &Token) -> Result<Option<AccessRow>, ClusterError> {
        access_rows::holder(self.0.sys.as_ref(), &token.id, &token.secret).await
    }

    /// What the members have said of their certificates, as this node's copy of `sys` has it.
    pub async fn certificates(&self) -> Result<Vec<CertificateRow>, ClusterError> {
        certificate_rows::all(self.0.sys.as_ref(), ReadLevel::Local).await
    }

    /// How many members should vote and stand by.
    pub async fn targets(&self) -> Result<Targets, ClusterError> {
        targets::read(self.0.sys.as_ref(), ReadLevel::Linearizable).await
    }

    /// Changes that. The roles follow by themselves, as the members allow it.
    pub async fn set_targets(&self, targets: Targets) -> Result<(), ClusterError> {
        targets::write(self.0.sys.as_ref(), targets).await
    }

    /// Says with whom a node fails together, and how gladly it takes a role; what is none stays. Roles move only when they have to: it counts at
    /// the next choice.
    pub async fn set_node(
        &self,
        name: &str,
        failure_domain: Option<u64>,
        weight: Option<u64>,
    ) -> Result<(), ClusterError> {
        node_rows::set(self.0.sys.as_ref(), name, failure_domain, weight).await
    }

    /// Notes that somebody asks for something. Gives the number of the note. Not cancel-safe: it may be there all the same.
    pub async fn audit_begin(&self, entry: &AuditEntry) -> Result<u64, ClusterError> {
        audit_rows::begin(self.0.sys.as_ref(), entry).await
    }

    /// Notes what became of it; all of it, if it could not be noted before.
    pub async fn audit_end(
        &self,
        id: Option<u64>,
        entry: &AuditEntry,
        outcome: &AuditOutcome,
    ) -> Result<(), ClusterError> {
        audit_rows::end(self.0.sys.as_ref(), id, entry, outcome).await
    }

    /// The newest notes before note `before`, the newest first.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, ClusterError> {
        audit_rows::page(self.0.sys.as_ref(), before, limit).await
    }

    /// All tokens that were not swept away yet, the newest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, ClusterError> {
        token_rows::all(self.0.sys.as_ref()).await
    }

    /// Makes a token useless. Who joined with it stays.
    pub async fn token_revoke(&self, id: &TokenId) -> Result<TokenRow, ClusterError> {
        token_rows::revoke(self.0.sys.as_ref(), id).await
    }

    /// The nodes that are joining, members, or leaving, by name, with their roles, as this node's copy of `sys` has them.
    pub async fn nodes(&self, level: ReadLevel) -> Result<Vec<(NodeRow, Role)>, ClusterError> {
        let rows = node_rows::all(self.0.sys.as_ref(), level).await?.into_iter();
        let spares = spares::all(self.0.sys.as_ref(), level).await?;
        let membership = self.0.sys_group.status().membership;
        let rows = rows.filter(|row| row.state != NodeRowState::Removed);
        Ok(rows
            .map(|row| {
                let role = role_of(&row, &membership, &spares);
                (row, role)
            })
            .collect())
    }

    /// Asks these nodes whether they are there, all at once, and waits `deadline` at most. Gives those that answer: whatever they
    /// say, they run and can be reached from here. Cancel-safe.
    pub async fn probe(&self, nodes: impl IntoIterator<Item = NodeId>, deadline: Duration) -> BTreeSet<NodeId> {
        self.probe_clocks(nodes, deadline).await.into_keys().collect()
    }

    /// The same, with how far each one's clock is ahead of this machine's, in milliseconds, give or take half the time that its answer
    /// took; none if it does not say.
    pub async fn probe_clocks(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
        deadline: Duration,
    ) -> BTreeMap<NodeId, Option<i64>> {
        let asked = nodes.into_iter().map(|node| async move {
            let (asked, before) = (Instant::now(), Clock::now());
            let answer = self.0.mesh.call(node, Service::Cluster, PROBE, Bytes::new(), deadline, Class::Control).await;
            let half = i64::try_from(asked.elapsed().as_millis() / 2).unwrap_or_default();
            match answer {
                Ok(body) => Some((node, decode::<Clock>(&body).ok().map(|there| there.ahead_of(before) - half))),
                Err(CallError::Refused(_)) => Some((node, None)),
                Err(_) => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Hands over the leadership of every group that this node leads; see [`hand_over`].
    pub async fn hand_over(&self, deadline: Duration) -> Vec<base::GroupId> {
        hand_over(&self.0.groups(), deadline).await
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.0.record.name)
    }
}

impl Inner {
    pub(crate) fn node(&self) -> NodeId {
        self.record.node
    }

    /// Whether this node is a witness.
    pub(crate) fn is_witness(&self) -> bool {
        self.record.witness
    }

    pub(crate) fn groups(&self) -> Vec<Group> {
        self.host.groups()
    }

    /// Changes when there is a group more.
    pub(crate) fn watch_opened(&self) -> watch::Receiver<u64> {
        self.host.watch_opened()
    }

    pub(crate) fn keys(&self) -> &Arc<Keyring> {
        &self.config.keys
    }

    /// Who leads `sys`, as far as this node knows.
    fn leader(&self) -> Option<NodeId> {
        self.sys.leader()
    }

    /// The leader's side of an announcement: the row is written, and the answer waits for a pass of the role controller that saw it.
    async fn announced(&self, announce: &Announce) -> Result<Announced, ClusterError> {
        node_rows::announce(self.sys.as_ref(), announce).await?;
        self.mesh.set_address(announce.node, announce.address.as_str());
        let written = Instant::now();
        let mut passed = self.passed.subscribe();
        self.nudge.notify_one();
        let settled =
            passed.wait_for(|pass| pass.as_ref().is_some_and(|pass| pass.began >= written && pass.settled.is_some()));
        let assignment = match rt::time::timeout(PLACE_MAX, settled).await {
            Ok(Ok(pass)) => pass.as_ref().and_then(|pass| pass.settled.clone()).unwrap_or_default(),
            Ok(Err(_)) => return Err(ClusterError::NoLeader),
            Err(_) if !leads(&self.sys_group.status()) => return Err(ClusterError::NoLeader),
            Err(_) => return Err(ClusterError::NotPlaced { node: announce.node, waited: PLACE_MAX }),
        };
        let voters = assignment.iter().filter(|(_, place)| place.role == Role::Voter);
        Ok(Announced {
            form: FORM,
            // Whom no group knows is a spare.
            role: assignment.get(&announce.node).map_or(Role::Spare, |place| place.role),
            voters: voters.map(|(node, _)| *node).collect(),
        })
    }
}
