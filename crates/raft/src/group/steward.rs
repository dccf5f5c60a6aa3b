//! The one task that looks after a group on its node: starts the engine, says when it may campaign, restarts it after a
//! failing disk, and tells those who watch.
//!
//! ```text
//!            +--- the disk takes writes again ----+
//!            v                                    |
//!   start -> Running --the engine failed--> why? -+- the log cannot be written: Suspended
//!              |                              |
//!              |                              +- the state machine failed, or lacks an entry that the disk lost: Failed (for good)
//!              |                              +- anything else, and a machine that asks for it: start again after a while
//!              +--told to go on alone--> the log is given a last entry that makes it so, and the engine starts again
//!              +--told to stop--> Stopped
//! ```

use super::core::{Core, Running};
use super::heartbeat::beat;
use crate::engine::machine::MachineAdapter;
use crate::engine::network::Network;
use crate::engine::store::LogStore;
use crate::engine::wire::{self, method};
use crate::engine::{RaftHandle, ServerMetricsReceiver, config, pos};
use crate::error::CORRUPT;
use crate::log::Head;
use crate::{GroupState, GroupStatus, OpenError};
use base::{Disposition, NodeId};
use futures::FutureExt as _;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use rpc::{Class, PeerView, Service};
use rt::sync::watch;
use rt::time::Instant;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long an engine that failed for no known reason waits before it starts again, and how often it may.
const RESTART_AFTER: Duration = Duration::from_millis(500);
const RESTARTS_MAX: u32 = 20;
/// How often a campaign that was refused is tried again.
pub(super) const CAMPAIGN_EVERY: Duration = Duration::from_millis(25);
/// How long the steward sleeps at most when nothing happens.
pub(super) const ROUND: Duration = Duration::from_secs(1);
/// How far apart the members start when they notice together that the leader is gone.
const STAGGER: Duration = Duration::from_millis(30);

/// Starts an engine on the log and the state machine.
pub(crate) async fn start(core: &Arc<Core>) -> Result<Running, OpenError> {
    let failed = |why: String| OpenError::Engine { group: core.id, why };
    if core.log.head(core.id) != Head::default() {
        // The engine takes what it finds for durable. After a failing disk it may not be yet.
        core.log.barrier(core.id).await.map_err(|e| failed(e.to_string()))?;
    }
    let config = config(core.id, &core.timing).map_err(|e| failed(e.to_string()))?;
    let store = LogStore { log: core.log.clone(), group: core.id };
    let machine = MachineAdapter(Arc::clone(&core.machine));
    let raft = RaftHandle::new(core.node.0, Arc::new(config), Network(Arc::clone(core)), store, machine).await;
    let raft = raft.map_err(|e| failed(e.to_string()))?;
    let metrics = raft.metrics();
    Ok(Running { raft, metrics })
}

/// Why the engine is left alone.
enum End {
    Told,
    GoesOnAlone,
    Failed(String),
}

/// Looks after the group until its scope is cancelled. `leader_group` is the status of the group that this one follows.
pub(crate) async fn run(core: Arc<Core>, first: Running, leader_group: Option<watch::Receiver<GroupStatus>>) {
    let mut next = Some(first);
    let mut restarts = 0;
    loop {
        let running = match next.take() {
            Some(running) => running,
            None => match start(&core).await {
                Ok(running) => running,
                Err(error) => {
                    if step_over_damage(&core).await == Damage::Lost {
                        return;
                    }
                    restarts += 1;
                    if !recover(&core, &error.to_string(), false, restarts).await {
                        return;
                    }
                    continue;
                }
            },
        };
        let (raft, up_since) = (running.raft.clone(), Instant::now());
        core.set_running(Some(running.clone()));
        core.publish(None);
        let leader_group = leader_group.clone();
        let tending = Care { core: &core, running, leader_group, campaigned_at: None, began: Instant::now() };
        let end = tending.look_after().await;
        core.set_running(None);
        drop(raft.shutdown().await);
        match end {
            End::Told => {
                core.publish(Some(GroupState::Stopped));
                return;
            }
            End::GoesOnAlone => {
                if let Some(order) = core.take_order() {
                    order.carry_out(&core).await;
                }
            }
            End::Failed(why) => {
                if step_over_damage(&core).await == Damage::Lost {
                    return;
                }
                let machine = core.machine.take_failure();
                if let Some(error) = &machine
                    && !matches!(error.disposition, Disposition::Retry { .. })
                {
                    tracing::error!(group = %core.id, %error, "a state machine failed; the group stays down on this node");
                    core.publish(Some(GroupState::Failed(error.to_string().into())));
                    return;
                }
                let is_retry = machine.is_some();
                let why = machine.map_or(why, |error| error.to_string());
                let is_due = up_since.elapsed() > Duration::from_mins(1) || core.log.failure().borrow().is_some();
                restarts = if is_due { 0 } else { restarts + 1 };
                if !recover(&core, &why, is_retry, restarts).await {
                    return;
                }
            }
        }
        // What the engine had promised its leader is forgotten with it.
        core.promise_again();
    }
}

/// What became of an entry that the disk has damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// The engine met none.
    None,
    /// A checkpoint takes its place, or is to be tried again when the next engine meets it.
    SteppedOver,
    /// The state machine has not applied it: it is lost here, and the group has failed.
    Lost,
}

/// If the engine met an entry that the disk has damaged: a checkpoint takes the place of all entries up to there, for those who
/// restart and those who lag.
pub(crate) async fn step_over_damage(core: &Core) -> Damage {
    let Some(damaged) = core.log.take_damaged(core.id) else { return Damage::None };
    let checkpointer = core.machine.lock().checkpointer();
    let state = match checkpointer.run().await {
        Ok(state) => state,
        Err(error) => {
            // The next engine meets the entry again.
            tracing::warn!(group = %core.id, entry = %damaged, %error, "no checkpoint to replace a damaged entry of the Raft log");
            return Damage::SteppedOver;
        }
    };
    let last = state.last;
    core.machine.set_checkpointed(state);
    if let Some(upto) = last.filter(|last| last.index >= damaged.index) {
        rt::sometimes!("raft: a damaged entry was replaced by a checkpoint");
        tracing::warn!(group = %core.id, entry = %damaged, "a damaged entry of the Raft log was replaced by a checkpoint");
        core.log.purge(core.id, upto);
        return Damage::SteppedOver;
    }
    let why = format!("{CORRUPT}: entry {damaged} of the Raft log is damaged and was not applied yet");
    tracing::error!(group = %core.id, why, "the log of a group is damaged; the group stays down on this node");
    core.publish(Some(GroupState::Failed(why.into())));
    Damage::Lost
}

/// Waits until it makes sense to start again. False if it never does.
async fn recover(core: &Core, why: &str, is_retry: bool, restarts: u32) -> bool {
    let cancelled = core.scope.cancelled();
    let mut failure = core.log.failure();
    let reason = failure.borrow_and_update().clone();
    if let Some(reason) = reason {
        rt::sometimes!("raft: group suspended by its disk");
        tracing::warn!(group = %core.id, %reason, "a group is suspended: its log cannot be written");
        core.publish(Some(GroupState::Suspended(reason)));
    } else if restarts > RESTARTS_MAX && !is_retry {
        tracing::error!(group = %core.id, why, "the engine of a group fails again and again");
        core.publish(Some(GroupState::Failed(why.into())));
        return false;
    } else {
        tracing::warn!(group = %core.id, why, "the engine of a group failed; starting it again");
        core.publish(Some(GroupState::Suspended(why.into())));
        tokio::select! {
            biased;
            () = cancelled.wait() => {}
            () = rt::time::sleep(RESTART_AFTER) => {}
        }
    }
    let is_well = tokio::select! {
        biased;
        () = cancelled.wait() => false,
        well = failure.wait_for(Option::is_none) => well.is_ok(),
    };
    if !is_well {
        core.publish(Some(GroupState::Stopped));
    }
    is_well
}

/// The care for one engine.
pub(super) struct Care<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) running: Running,
    pub(super) leader_group: Option<watch::Receiver<GroupStatus>>,
    pub(super) campaigned_at: Option<Instant>,
    pub(super) began: Instant,
}

impl Care<'_> {
    async fn look_after(mut self) -> End {
        let cancelled = self.core.scope.cancelled();
        let mut heart = pin!(beat(self.running.clone(), self.core.timing.heartbeat).fuse());
        let mut server = self.running.raft.server_metrics();
        let mut peer: Option<Peer> = None;
        let mut lost: Option<Lost> = None;
        let mut leaderless_since: Option<Instant> = Some(Instant::now());
        loop {
            self.core.publish(None);
            let (leader, state) = {
                let m = self.running.metrics.borrow_watched();
                if let Err(error) = &m.running_state {
                    return End::Failed(error.to_string());
                }
                (m.current_leader.map(NodeId), m.state)
            };
            // Its connection broke, but it was heard again, or another one leads.
            lost = lost.filter(|l| Some(l.leader) == leader && self.core.heard_at() <= l.at);
            if leader.is_some() && lost.is_none() {
                leaderless_since = self.silent_since(leader);
            } else {
                leaderless_since.get_or_insert_with(Instant::now);
            }
            let watched = leader.filter(|l| *l != self.core.node);
            if peer.as_ref().map(|p| p.node) != watched {
                peer = watched.map(|node| Peer::new(node, self.core.mesh.watch(node)));
            }
            self.leave_quarantine().await;
            let wait = self.campaign(leader, lost, state, leaderless_since).await.min(self.wind_clock(leader));
            tokio::select! {
                biased;
                () = cancelled.wait() => return End::Told,
                // Ends with the engine only, and that is seen below.
                () = &mut heart => {}
                () = self.core.ordered.notified() => return End::GoesOnAlone,
                changed = server.changed() => {
                    if changed.is_err() || !self.caught_up(&server).await {
                        return self.ended();
                    }
                }
                () = changed(&mut self.leader_group) => {}
                () = self.core.asked_in_vain.told.notified() => {}
                leader = lost_connection(&mut peer) => {
                    rt::sometimes!("raft: leader lost by its connection");
                    lost = Some(Lost { leader, at: Instant::now() });
                }
                () = rt::time::sleep(wait) => {}
            }
        }
    }

    /// Lets the engine look at its clock only while its leader's lease may have ended: it has nothing else to look for, and looks dozens
    /// of times in a second. Returns when to look again whether it has.
    fn wind_clock(&self, leader: Option<NodeId>) -> Duration {
        let lease = self.core.timing.election_max;
        let left = match leader {
            Some(leader) if leader == self.core.node => ROUND,
            Some(_) => lease.saturating_sub(self.core.heard_at().elapsed()),
            None => Duration::ZERO,
        };
        self.running.raft.runtime_config().tick(left.is_zero());
        if left.is_zero() { ROUND } else { left.min(ROUND) }
    }

    /// Since when a leader that has not gone away says nothing. Its engine does so while it hands over, and stays so if whom it hands
    /// over to has fallen meanwhile.
    fn silent_since(&self, leader: Option<NodeId>) -> Option<Instant> {
        let heard = self.core.heard_at().max(self.began);
        let is_silent = leader != Some(self.core.node) && heard.elapsed() >= self.core.timing.follow_patience;
        (is_silent && !rt::mutant!("raft.wait-for-the-silent")).then(|| {
            rt::sometimes!("raft: a leader that was there said nothing");
            heard
        })
    }

    /// The engine tells its server figures a moment before the others. Waits until those tell the same. False if it ended.
    async fn caught_up(&self, server: &ServerMetricsReceiver) -> bool {
        let mut all = self.running.metrics.clone();
        loop {
            {
                // Marked as seen before it is looked at, so that no change after it is missed.
                let m = all.borrow_and_update();
                let s = server.borrow_watched();
                let is_same = s.state == m.state
                    && s.current_leader == m.current_leader
                    && s.vote == m.vote
                    && s.membership_config.log_id() == m.membership_config.log_id();
                if is_same {
                    return true;
                }
            }
            if all.changed().await.is_err() {
                return false;
            }
        }
    }

    /// The engine has ended by itself.
    fn ended(&self) -> End {
        match &self.running.metrics.borrow_watched().running_state {
            Err(error) => End::Failed(error.to_string()),
            Ok(()) => End::Failed("the engine ended".to_owned()),
        }
    }

    /// A group whose log was damaged is whole again once it follows as a learner, by members of whom a leader has said since the damage
    /// that they are the newest. What the log itself says of the members may be from before this node had a vote.
    async fn leave_quarantine(&self) {
        if !self.core.is_quarantined() {
            return;
        }
        let Some(withdrawn) = self.core.vote_withdrawn() else { return };
        let has_followed =
            self.core.with_metrics(|m| m.membership_config.log_id().as_ref().map(pos) >= Some(withdrawn));
        if has_followed != Some(true) {
            return;
        }
        let (done, saved) = tokio::sync::oneshot::channel();
        self.core.log.set_quarantined(self.core.id, false, Box::new(move |result| drop(done.send(result))));
        if matches!(saved.await, Ok(Ok(()))) {
            rt::sometimes!("raft: a damaged log became whole");
            tracing::info!(group = %self.core.id, "the log of a group is whole again");
            self.core.set_quarantined(false);
        }
    }

    /// Campaigns if it is this node's turn. Returns when to look again.
    async fn campaign(
        &mut self,
        leader: Option<NodeId>,
        lost: Option<Lost>,
        state: ServerState,
        leaderless_since: Option<Instant>,
    ) -> Duration {
        let core = self.core;
        let raft = self.running.raft.clone();
        let elect = |on| raft.runtime_config().elect(on);
        if core.is_quarantined() || state == ServerState::Learner {
            elect(false);
            return ROUND;
        }
        let voters = core.with_metrics(|m| m.membership_config.voter_ids().collect::<Vec<_>>()).unwrap_or_default();
        if voters == [core.node.0] {
            // Nobody else could have been promised anything.
            elect(true);
            return ROUND;
        }
        let promised = core.promised_until().saturating_duration_since(Instant::now());
        if !promised.is_zero() {
            elect(false);
            return promised;
        }
        if core.is_witness() {
            elect(false);
            return if state == ServerState::Leader { self.hand_back().await } else { self.stand_in().await };
        }
        if state == ServerState::Leader {
            elect(true);
            return ROUND;
        }
        match self.guide() {
            None => {
                elect(true);
                self.campaign_for(lost, &voters).await
            }
            Some(guide) if guide == core.node => self.take_over(leader, lost).await,
            Some(_) => {
                let patience = core.timing.follow_patience;
                let waited = leaderless_since.map_or(Duration::ZERO, Instant::elapsed);
                elect(waited >= patience);
                if leaderless_since.is_some() { patience.saturating_sub(waited).max(CAMPAIGN_EVERY) } else { ROUND }
            }
        }
    }

    /// Who leads the group that this one follows. None if it follows no group; this group is then on its own.
    pub(super) fn guide(&self) -> Option<NodeId> {
        let status = self.leader_group.as_ref()?;
        // While nobody leads there, nobody is waited for less long than the patience allows: zero is nobody's id.
        Some(status.borrow().leader.unwrap_or(NodeId(0)))
    }

    /// The leader's connection broke: its lease is waited for, but not the engine's longer patience after it.
    async fn campaign_for(&mut self, lost: Option<Lost>, voters: &[u64]) -> Duration {
        let Some(lost) = lost else { return ROUND };
        let core = self.core;
        let rank = voters.iter().filter(|n| **n != lost.leader.0 && **n < core.node.0).count();
        let stagger = STAGGER * u32::try_from(rank).unwrap_or(0);
        let at = core.heard_at() + core.timing.election_max + Duration::from_millis(2) + stagger;
        let left = at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return left;
        }
        if core.heard_at().elapsed() > core.timing.election_max * 4 {
            // Not a matter of milliseconds any more: the engine's own timers go on with it.
            return ROUND;
        }
        self.campaign_now().await
    }

    /// Campaigns, unless it has just done so: every campaign is a change of metrics, which brings the steward here again.
    async fn campaign_now(&mut self) -> Duration {
        self.campaign_again(CAMPAIGN_EVERY).await
    }

    /// As [`campaign_now`](Self::campaign_now), with so long a pause after the last one.
    pub(super) async fn campaign_again(&mut self, pause: Duration) -> Duration {
        let since = self.campaigned_at.map_or(pause, Instant::elapsed);
        if since < pause {
            return pause.saturating_sub(since);
        }
        self.campaigned_at = Some(Instant::now());
        drop(self.running.raft.trigger().elect(true).await);
        pause
    }

    /// This node leads the group that this one follows, so it should lead this one too.
    async fn take_over(&mut self, leader: Option<NodeId>, lost: Option<Lost>) -> Duration {
        match leader.filter(|_| lost.is_none()) {
            Some(leader) if leader == self.core.node => ROUND,
            Some(leader) => {
                let (core, body) = (self.core, wire::bare(self.core.id));
                let patience = Duration::from_millis(300);
                let call = core.mesh.call(leader, Service::Raft, method::LEAD, body, patience, Class::Control);
                match call.await {
                    Ok(_) => {
                        rt::sim_point!("lead.asked");
                        Duration::from_millis(200)
                    }
                    Err(error) => {
                        tracing::debug!(group = %core.id, %error, "the leader does not hand over yet");
                        self.campaign_now().await;
                        Duration::from_millis(100)
                    }
                }
            }
            None => self.campaign_now().await,
        }
    }
}

async fn changed(status: &mut Option<watch::Receiver<GroupStatus>>) {
    let gone = match status {
        Some(status) => status.changed().await.is_err(),
        None => true,
    };
    if gone {
        *status = None;
        std::future::pending::<()>().await;
    }
}

/// The leader's connection broke then.
#[derive(Debug, Clone, Copy)]
struct Lost {
    leader: NodeId,
    at: Instant,
}

/// A peer, and how many of its connections had ended when it was last looked at.
struct Peer {
    node: NodeId,
    view: watch::Receiver<PeerView>,
    seen: u64,
}

impl Peer {
    fn new(node: NodeId, view: watch::Receiver<PeerView>) -> Self {
        let seen = view.borrow().lost;
        Self { node, view, seen }
    }
}

/// Waits until one more connection with the peer has ended; says which peer.
async fn lost_connection(peer: &mut Option<Peer>) -> NodeId {
    let Some(peer) = peer else { return std::future::pending().await };
    let seen = peer.seen;
    let now = peer.view.wait_for(|v| v.lost > seen).await.map(|v| v.lost);
    match now {
        Ok(now) => peer.seen = now,
        Err(_) => std::future::pending().await,
    }
    peer.node
}
