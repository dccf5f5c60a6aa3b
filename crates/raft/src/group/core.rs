//! What all parts of a group share on its node: the log, the state machine, and the engine while one runs.

use super::reseed::Order;
use super::witness::{AskedInVain, Standing};
use crate::engine::machine::Machine;
use crate::engine::network::Offers;
use crate::engine::serve::Pulling;
use crate::engine::wire::{self, method};
use crate::engine::{Metrics, MetricsReceiver, RaftHandle, StoredMembership, pos, view};
use crate::log::Log;
use crate::{
    ChangeError, GroupOptions, GroupState, GroupStatus, LeaseRead, LogPos, MembershipView, ProposeError, ReadError,
    Timing,
};
use base::{GroupId, LogIndex, NodeId, Term};
use lifecycle::Scope;
use openraft::async_runtime::WatchReceiver;
use openraft::{ReadPolicy, ServerState};
use rpc::{Class, Mesh, Service};
use rt::sync::watch;
use rt::time::Instant;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// What runs while the group does.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) raft: RaftHandle,
    pub(crate) metrics: MetricsReceiver,
}

/// The shared part of a group. It outlives the engines that drive it: after a failing disk there is a new one.
pub(crate) struct Core {
    pub(crate) id: GroupId,
    pub(crate) node: NodeId,
    pub(crate) log: Log,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) timing: Timing,
    pub(crate) options: GroupOptions,
    pub(crate) standing: Standing,
    pub(crate) asked_in_vain: AskedInVain,
    pub(crate) scope: Scope,
    pub(crate) status: watch::Sender<GroupStatus>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) pulling: Pulling,
    running: RwLock<Option<Running>>,
    /// One more than the highest commit position that any other member may know from here.
    announced: AtomicU64,
    /// In this term and before, no lease.
    lease_given_up: AtomicU64,
    /// When a leader was last heard, in microseconds.
    heard_at: AtomicU64,
    promised_until: Mutex<Instant>,
    is_quarantined: AtomicBool,
    /// Where the group's members stopped to count on the vote of this node, if a leader has said so since its log was damaged.
    vote_withdrawn: Mutex<Option<LogPos>>,
    /// This node shall go on alone: its steward is told.
    order: Mutex<Option<Order>>,
    pub(crate) ordered: Notify,
    checkpointing: tokio::sync::Mutex<()>,
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "one call, and each is a thing of its own")]
    pub(crate) fn new(
        id: GroupId,
        node: NodeId,
        log: Log,
        mesh: Arc<Mesh>,
        machine: Arc<Machine>,
        timing: Timing,
        options: GroupOptions,
        standing: Standing,
        scope: Scope,
    ) -> Self {
        let head = log.head(id);
        // Who never voted and has no entries never followed a leader, so it promised nothing.
        let is_new = head.vote.is_none() && head.last.is_none();
        let promised_until = if is_new { Instant::ZERO } else { Instant::now() + with_drift(timing.election_max) };
        Self {
            id,
            node,
            log,
            mesh,
            machine,
            timing,
            options,
            standing,
            asked_in_vain: AskedInVain::default(),
            scope,
            status: watch::channel(GroupStatus::default()).0,
            offers: Arc::default(),
            pulling: Pulling::default(),
            running: RwLock::new(None),
            announced: AtomicU64::new(0),
            lease_given_up: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            promised_until: Mutex::new(promised_until),
            is_quarantined: AtomicBool::new(head.quarantined),
            vote_withdrawn: Mutex::new(None),
            order: Mutex::default(),
            ordered: Notify::new(),
            checkpointing: tokio::sync::Mutex::default(),
        }
    }

    // ---- the engine ----

    pub(crate) fn set_running(&self, running: Option<Running>) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
    }

    pub(crate) fn running(&self) -> Option<Running> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn raft(&self) -> Option<RaftHandle> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|r| r.raft.clone())
    }

    /// Looks at the engine's figures without a task switch or a copy.
    pub(crate) fn with_metrics<R>(&self, look: impl FnOnce(&Metrics) -> R) -> Option<R> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|r| look(&r.metrics.borrow_watched()))
    }

    // ---- promises ----

    /// Before this moment no vote is given: what was promised to a leader before the process started may still hold.
    pub(crate) fn promised_until(&self) -> Instant {
        *self.promised_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine starts anew, and forgets what it has promised.
    pub(crate) fn promise_again(&self) {
        let until = Instant::now() + with_drift(self.timing.election_max);
        *self.promised_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        self.is_quarantined.load(Ordering::Acquire)
    }

    pub(crate) fn set_quarantined(&self, on: bool) {
        self.is_quarantined.store(on, Ordering::Release);
    }

    pub(crate) fn vote_withdrawn(&self) -> Option<LogPos> {
        *self.vote_withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_vote_withdrawn(&self, at: LogPos) {
        let mut known = self.vote_withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (*known).max(Some(at));
    }

    /// Tells the steward, or takes the order back.
    pub(crate) fn set_order(&self, order: Option<Order>) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = order;
        self.ordered.notify_one();
    }

    pub(crate) fn take_order(&self) -> Option<Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn heard_from_leader(&self) {
        let now = Instant::now().saturating_duration_since(Instant::ZERO);
        self.heard_at.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When a leader was last heard.
    pub(crate) fn heard_at(&self) -> Instant {
        Instant::ZERO + Duration::from_micros(self.heard_at.load(Ordering::Relaxed))
    }

    /// Another member is about to learn that entries up to `index` are committed.
    pub(crate) fn announce(&self, index: Option<u64>) {
        if let Some(index) = index {
            self.announced.fetch_max(index + 1, Ordering::AcqRel);
        }
    }

    /// From now on others may lead although the lease still runs.
    pub(crate) fn give_up_lease(&self, term: u64) {
        self.lease_given_up.fetch_max(term, Ordering::AcqRel);
    }

    // ---- reads ----

    pub(crate) fn lease(&self) -> Result<LeaseRead, ReadError> {
        self.with_metrics(|m| self.lease_by(m)).ok_or_else(|| self.why_not_read())?
    }

    fn lease_by(&self, m: &Metrics) -> Result<LeaseRead, ReadError> {
        let not_leader = ReadError::NotLeader { leader: m.current_leader.map(NodeId) };
        let term = m.current_term;
        if !is_leading(m) || self.lease_given_up.load(Ordering::Acquire) >= term {
            return Err(not_leader);
        }
        let membership = m.membership_config.membership();
        let mut sets = membership.get_joint_config().iter();
        // A leader that is no voter is about to step down, and hands over when it likes.
        if !sets.clone().any(|set| set.contains(&self.node.0)) {
            return Err(not_leader);
        }
        let now = Instant::now();
        let is_alone = sets.all(|set| set.len() == 1);
        let until = if is_alone {
            now + self.timing.election_max
        } else {
            let acked = m.last_quorum_acked.map(|at| at.into_inner().0);
            acked.map_or(Instant::ZERO, |at| at + without_drift(self.timing.election_max))
        };
        let is_settled =
            self.machine.applied_now().is_some_and(|applied| applied.term.0 == term && applied.node == self.node);
        let is_over = now >= until && !rt::mutant!("raft.lease-for-ever");
        if is_over || !is_settled {
            return Err(not_leader);
        }
        let committed = m.local_committed.map_or(0, |id| id.index + 1);
        let next = committed.max(self.announced.load(Ordering::Acquire));
        Ok(LeaseRead { term: Term(term), index: LogIndex(next.saturating_sub(1)), until })
    }

    /// Whether this node leads and a majority says so again within a lease: it was elected a moment ago, or answers are late.
    /// A proposal that was refused for that is worth another try.
    pub(crate) async fn is_settling(&self) -> bool {
        let Some(Running { mut metrics, .. }) = self.running() else { return false };
        let lease = self.timing.election_max;
        let is_due =
            |m: &Metrics| !is_leading(m) || m.last_quorum_acked.is_some_and(|at| at.into_inner().0.elapsed() < lease);
        let settled = async { while !is_due(&metrics.borrow_watched()) && metrics.changed().await.is_ok() {} };
        let is_in_time = rt::time::timeout(lease, settled).await.is_ok();
        is_in_time && self.with_metrics(is_leading).unwrap_or(false)
    }

    pub(crate) async fn read_index(&self, deadline: Instant) -> Result<LogIndex, ReadError> {
        let mut why: Arc<str> = "no leader is known".into();
        while Instant::now() < deadline {
            let raft = self.raft().ok_or_else(|| self.why_not_read())?;
            let leader = self.with_metrics(|m| m.current_leader).flatten().map(NodeId);
            let left = deadline.saturating_duration_since(Instant::now());
            match leader {
                None => {}
                Some(leader) if leader == self.node => {
                    match rt::time::timeout(left, raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
                        Ok(Ok(linearizer)) => return Ok(LogIndex(linearizer.read_log_id().index())),
                        Ok(Err(error)) if error.fatal().is_some() => return Err(self.why_not_read()),
                        Ok(Err(error)) => why = error.to_string().into(),
                        Err(_) => why = "no majority answered".into(),
                    }
                }
                Some(leader) => {
                    // A leader that has just died is noticed by its connection, or here.
                    let patience = left.min(Duration::from_secs(1));
                    let body = wire::bare(self.id);
                    let call =
                        self.mesh.call(leader, Service::Raft, method::READ_INDEX, body, patience, Class::Control);
                    match call.await.map(|answer| wire::take_index(&answer)) {
                        Ok(Ok(index)) => return Ok(LogIndex(index)),
                        Ok(Err(error)) => why = error.to_string().into(),
                        Err(error) => why = error.to_string().into(),
                    }
                }
            }
            let mut status = self.status.subscribe();
            let pause = Duration::from_millis(30).min(deadline.saturating_duration_since(Instant::now()));
            drop(rt::time::timeout(pause, status.changed()).await);
        }
        Err(ReadError::NoLeader { why })
    }

    // ---- members ----

    /// Whether the committed members have `node` without a vote.
    pub(crate) fn is_learner(&self, node: NodeId) -> bool {
        self.with_metrics(|m| {
            let membership = m.committed_membership_config.membership();
            membership.get_node(&node.0).is_some() && !membership.voter_ids().any(|n| n == node.0)
        })
        .unwrap_or(false)
    }

    /// The entry that made the committed members, if `node` has no vote by them, and a majority has said since the call that this node
    /// leads: so there are no newer ones. None if it has a vote, or a change is under way.
    pub(crate) async fn confirm_no_vote(
        &self,
        node: NodeId,
        patience: Duration,
    ) -> Result<Option<LogPos>, ChangeError> {
        let raft = self.raft().ok_or_else(|| self.why_stopped())?;
        let since = self.with_metrics(|m| {
            let (committed, newest) = (&m.committed_membership_config, &m.membership_config);
            let has_vote = newest.membership().voter_ids().any(|n| n == node.0);
            committed.log_id().as_ref().map(pos).filter(|_| committed.log_id() == newest.log_id() && !has_vote)
        });
        let Some(since) = since.flatten() else { return Ok(None) };
        match rt::time::timeout(patience, raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
            Ok(Ok(_)) => Ok(Some(since)),
            Ok(Err(error)) if error.fatal().is_some() => Err(self.why_stopped()),
            Ok(Err(_)) => {
                let leader = self.with_metrics(|m| m.current_leader).flatten().map(NodeId);
                Err(ChangeError::NotLeader { leader })
            }
            Err(_) => Err(ChangeError::Unknown { why: "no majority answered".to_owned() }),
        }
    }

    /// The group's members know where a node is. A group that follows another one leaves that to it.
    pub(crate) fn learn_address(&self, node: NodeId, address: &str) {
        let known = self.mesh.address(node);
        let is_wanted = known.is_none() || (self.options.follow.is_none() && known.as_deref() != Some(address));
        if node != self.node && !address.is_empty() && is_wanted {
            self.mesh.set_address(node, address);
        }
    }

    pub(crate) fn learn_addresses(&self, members: &StoredMembership) {
        for (node, at) in members.nodes() {
            self.learn_address(NodeId(*node), &at.addr);
        }
    }

    pub(crate) async fn transfer(&self, to: Option<NodeId>, deadline: Duration) -> Result<(), ChangeError> {
        let raft = self.raft().ok_or_else(|| self.why_stopped())?;
        let target = self.with_metrics(|m| {
            if !is_leading(m) {
                return Err(ChangeError::NotLeader { leader: m.current_leader.map(NodeId) });
            }
            let is_heir = |n: &u64| *n != self.node.0 && self.may_lead(NodeId(*n));
            let voters = m.membership_config.voter_ids().filter(is_heir);
            let matched = |n: &u64| m.replication.as_ref().and_then(|r| r.get(n).copied().flatten());
            let best = match to {
                Some(to) if to == self.node => return Ok(None),
                Some(to) => voters.into_iter().find(|n| *n == to.0),
                None => voters.into_iter().max_by_key(matched),
            };
            let refused = || ChangeError::Refused { why: "there is no other voter to hand over to".to_owned() };
            best.map(|n| Some((n, m.current_term))).ok_or_else(refused)
        });
        let Some((to, term)) = target.unwrap_or_else(|| Err(self.why_stopped()))? else { return Ok(()) };
        self.give_up_lease(term);
        raft.trigger().transfer_leader(to).await.map_err(|_| self.why_stopped())?;
        let mut status = self.status.subscribe();
        let moved = status.wait_for(|s| s.term.0 > term && s.leader.is_some() && s.leader != Some(self.node));
        match rt::time::timeout(deadline, moved).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.why_stopped()),
            Err(_) => Err(ChangeError::Unknown { why: "no other node took over in time".to_owned() }),
        }
    }

    // ---- checkpoints ----

    /// Makes what is applied durable and purges the log. Under pressure nothing is kept that holds the oldest segment.
    pub(crate) async fn checkpoint(&self, is_pressed: bool) -> Result<(), ChangeError> {
        let _one_at_a_time = self.checkpointing.lock().await;
        let checkpointer = self.machine.lock().checkpointer();
        let state = checkpointer.run().await.map_err(ChangeError::Machine)?;
        rt::sim_point!("raft.checkpoint.durable");
        let last = state.last;
        self.machine.set_checkpointed(state);
        let Some(upto) = last else { return Ok(()) };
        let kept = self.log.index_before(self.id, upto.index, self.log.limits().keep_bytes);
        let pressed = if is_pressed { self.log.last_in_oldest(self.id) } else { None };
        let Some(purge) = kept.max(pressed).map(|i| i.min(upto.index)) else { return Ok(()) };
        let Some(Running { raft, mut metrics }) = self.running() else { return Ok(()) };
        raft.trigger().snapshot().await.map_err(|_| self.why_stopped())?;
        let marked = async {
            while metrics.borrow_watched().snapshot.map(|s| s.index) < Some(upto.index.0) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        if rt::time::timeout(Duration::from_secs(5), marked).await.is_ok() {
            raft.trigger().purge_log(purge.0).await.map_err(|_| self.why_stopped())?;
        }
        Ok(())
    }

    // ---- status ----

    pub(crate) fn why_stopped(&self) -> ChangeError {
        match &self.status.borrow().state {
            GroupState::Suspended(why) => ChangeError::Full { why: Arc::clone(why) },
            _ => ChangeError::Stopped,
        }
    }

    pub(crate) fn why_not_proposed(&self) -> ProposeError {
        match &self.status.borrow().state {
            GroupState::Suspended(why) => ProposeError::Full { why: Arc::clone(why) },
            _ => ProposeError::Stopped,
        }
    }

    /// Why there is no engine to ask for a position to read at.
    fn why_not_read(&self) -> ReadError {
        match &self.status.borrow().state {
            GroupState::Suspended(why) => ReadError::Full { why: Arc::clone(why) },
            _ => ReadError::Stopped,
        }
    }

    /// Tells those who watch, if the state, the leader, the term or the members changed.
    pub(crate) fn publish(&self, down: Option<GroupState>) {
        let mut now = self.with_metrics(|m| self.status_by(m)).unwrap_or_else(|| self.status.borrow().clone());
        if let Some(down) = down {
            now.state = down;
            now.leader = None;
        }
        if now.membership.since != self.status.borrow().membership.since {
            self.with_metrics(|m| self.learn_addresses(&m.membership_config));
        }
        self.status.send_if_modified(|status| {
            let is_new = (&status.state, status.leader, status.term, &status.membership)
                != (&now.state, now.leader, now.term, &now.membership);
            *status = now;
            is_new
        });
    }

    pub(crate) fn status_now(&self) -> GroupStatus {
        let last = self.status.borrow().clone();
        if !crate::engine::serve::is_running(&last.state) {
            return GroupStatus { applied: self.machine.applied_now(), log_bytes: self.log.bytes_of(self.id), ..last };
        }
        self.with_metrics(|m| self.status_by(m)).unwrap_or(last)
    }

    fn status_by(&self, m: &Metrics) -> GroupStatus {
        let state = match m.state {
            ServerState::Learner if m.membership_config.log_id().is_none() => GroupState::Empty,
            ServerState::Learner => GroupState::Learner,
            ServerState::Follower => GroupState::Follower,
            ServerState::Candidate => GroupState::Candidate,
            ServerState::Leader => GroupState::Leader,
            ServerState::Shutdown => GroupState::Stopped,
        };
        let matched = m.replication.iter().flatten();
        GroupStatus {
            state,
            leader: m.current_leader.map(NodeId),
            term: Term(m.current_term),
            last_log: m.last_log_index.map(LogIndex),
            committed: m.local_committed.map(|id| LogIndex(id.index)),
            applied: self.machine.applied_now(),
            membership: self.members_by(m),
            log_bytes: self.log.bytes_of(self.id),
            matched: matched.filter_map(|(n, at)| at.map(|id| (NodeId(*n), LogIndex(id.index)))).collect(),
            is_quarantined: self.is_quarantined(),
            quorum_acked: m.last_quorum_acked.map(|at| at.into_inner().0),
        }
    }

    /// The members, shared with the last status if they are the same.
    fn members_by(&self, m: &Metrics) -> Arc<MembershipView> {
        let last = Arc::clone(&self.status.borrow().membership);
        let since = m.membership_config.log_id().as_ref().map(pos);
        if since.is_some() && last.since == since { last } else { Arc::new(view(&m.membership_config)) }
    }

    /// Stops the steward, which stops the engine, and waits for it.
    pub(crate) async fn stop(&self) {
        let report = self.scope.stop(Duration::from_secs(10)).await;
        if !report.stragglers.is_empty() {
            tracing::warn!(group = %self.id, ?report, "a group did not stop in time");
        }
    }
}

pub(crate) fn is_leading(metrics: &Metrics) -> bool {
    metrics.state == ServerState::Leader && metrics.running_state.is_ok()
}

/// A tenth more: a follower's clock may be slow.
fn with_drift(d: Duration) -> Duration {
    d + d / 10
}

/// A tenth less: this node's clock may be slow.
fn without_drift(d: Duration) -> Duration {
    d * 9 / 10
}
