//! Answering the other members of a group.

use super::machine::{SnapshotData, receiver, stored};
use super::wire::{self, OfferAnswer, method};
use super::{RaftHandle, Types, Vote, pos};
use crate::group::Core;
use crate::{GroupState, MachineError, SnapshotRemote};
use base::{Code, Disposition, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::ReadPolicy;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{VoteRequest, VoteResponse};
use rpc::{Answer, Class, Refusal, Service};
use rt::sync::watch;
use rt::time::Instant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a question about an offered snapshot is kept before the answer is "still pulling".
const OFFER_PATIENCE: Duration = Duration::from_secs(3);
/// How long one pull of a piece may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(15);

/// What a call for a group that does not run here is answered.
pub(crate) const NOT_RUNNING: Code = Code("BL-RAFT-018");
pub(crate) const QUARANTINED: Code = Code("BL-RAFT-019");

fn not_running(core: &Core) -> Refusal {
    let after = Disposition::Retry { after: Duration::from_millis(100) };
    Refusal::new(NOT_RUNNING, after, format!("group {} does not run on node {}", core.id, core.node))
}

fn quarantined(core: &Core) -> Refusal {
    let message =
        format!("the log of group {} was damaged on node {}: it may only come back as a learner", core.id, core.node);
    Refusal::new(QUARANTINED, Disposition::Retry { after: Duration::from_secs(1) }, message)
}

/// Answers one call. Everything in it may be dropped at any await.
pub(crate) async fn answer(core: Arc<Core>, from: NodeId, method: u16, body: Bytes) -> Answer {
    let raft = core.raft().ok_or_else(|| not_running(&core))?;
    match method {
        method::APPEND => append(&core, &raft, &body).await,
        method::VOTE => vote(&core, &raft, wire::take_vote_request(&body)?).await,
        method::PRE_VOTE => pre_vote(&core, &raft, wire::take_vote_request(&body)?).await,
        method::OFFER => offer(&core, &raft, from, wire::take_offer(&body)?).await,
        method::FETCH => fetch(&core, &body).await,
        method::TRANSFER => {
            let request = wire::take_transfer(&body)?;
            if core.is_quarantined() {
                return Err(quarantined(&core));
            }
            let answer = raft.handle_transfer_leader(request).await.map_err(|_| not_running(&core))?;
            answer.map(|()| Bytes::new()).map_err(|e| {
                Refusal::new(NOT_RUNNING, Disposition::Retry { after: Duration::from_millis(50) }, e.to_string())
            })
        }
        method::READ_INDEX => read_index(&core, &raft).await,
        method::LEAD => hand_over(&core, &raft, from).await,
        _ => Err(wire::BadMessage.into()),
    }
}

async fn append(core: &Core, raft: &RaftHandle, body: &Bytes) -> Answer {
    let (to_learner, request) = wire::take_append(body)?;
    if core.is_quarantined() && !to_learner {
        return Err(quarantined(core));
    }
    core.heard_from_leader();
    let response = raft.append_entries(request).await.map_err(|_| not_running(core))?;
    Ok(wire::put_append_response(&response))
}

async fn vote(core: &Core, raft: &RaftHandle, request: VoteRequest<Types>) -> Answer {
    if let Some(no) = refuse_to_vote(core, raft, &request)? {
        return Ok(no);
    }
    let request = heard(core, request);
    let response = raft.vote(request).await.map_err(|_| not_running(core))?;
    Ok(wire::put_vote_response(&response))
}

async fn pre_vote(core: &Core, raft: &RaftHandle, request: VoteRequest<Types>) -> Answer {
    if let Some(no) = refuse_to_vote(core, raft, &request)? {
        return Ok(no);
    }
    let request = heard(core, request);
    let response = raft.pre_vote(request).await.map_err(|_| not_running(core))?;
    Ok(wire::put_vote_response(&response))
}

/// Notes on a witness that somebody asks who lacks what is here: see [`crate::group`]'s `witness`.
fn heard(core: &Core, mut request: VoteRequest<Types>) -> VoteRequest<Types> {
    core.asked_for_vote(request.last_log_id.as_ref().map(pos));
    if core.is_witness() && rt::mutant!("raft.witness-votes-for-anybody") {
        // "It has no data, so whoever has some may lead."
        request.last_log_id = request.last_log_id.max(core.last_entry().map(super::id));
    }
    request
}

/// A leader's lease rests on promises that its followers keep in memory. One that has just started does not know what it has
/// promised, so it votes for nobody until any promise has run out. One whose log was damaged does not even know whom it
/// voted for.
fn refuse_to_vote(core: &Core, raft: &RaftHandle, request: &VoteRequest<Types>) -> Result<Option<Bytes>, Refusal> {
    if core.is_quarantined() {
        return Err(quarantined(core));
    }
    if request.leadership_transfer || Instant::now() >= core.promised_until() {
        return Ok(None);
    }
    rt::sometimes!("raft: vote refused after a restart");
    let vote = raft.metrics().borrow_watched().vote;
    Ok(Some(wire::put_vote_response(&VoteResponse::new(vote, None, false))))
}

async fn read_index(core: &Core, raft: &RaftHandle) -> Answer {
    let confirmed = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    let linearizer = confirmed.map_err(|e| {
        let after = Disposition::Retry { after: Duration::from_millis(50) };
        Refusal::new(NOT_RUNNING, after, format!("group {} on node {}: {e}", core.id, core.node))
    })?;
    Ok(wire::put_index(linearizer.read_log_id().index()))
}

/// The node that leads the group that this one follows wants to lead this one as well.
async fn hand_over(core: &Core, raft: &RaftHandle, to: NodeId) -> Answer {
    let is_ready = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|r| r.get(&to.0).copied().flatten());
        let lag = metrics.last_log_index.unwrap_or(0).saturating_sub(matched.map_or(0, |m| m.index));
        let is_voter = metrics.membership_config.voter_ids().any(|n| n == to.0);
        crate::group::is_leading(&metrics) && is_voter && matched.is_some() && lag < 100
    };
    if !is_ready {
        return Err(not_running(core));
    }
    core.give_up_lease(raft.metrics().borrow_watched().current_term);
    raft.trigger().transfer_leader(to.0).await.map_err(|_| not_running(core))?;
    Ok(Bytes::new())
}

async fn fetch(core: &Core, body: &Bytes) -> Answer {
    let (number, request) = wire::take_fetch(body)?;
    let source = core.offers.get(number).ok_or_else(|| not_running(core))?;
    let piece = rt::blocking::run(move || source.fetch(request)).await;
    let piece = piece.map_err(|end| Refusal::new(NOT_RUNNING, Disposition::Bug, end.to_string()))?;
    piece.map_err(|error| Refusal::of(&error))
}

/// The snapshot that is being pulled, if one is.
#[derive(Default)]
pub(crate) struct Pulling(Mutex<Option<Pull>>);

struct Pull {
    number: u64,
    task: lifecycle::Spawned<()>,
    outcome: watch::Receiver<Option<Result<Vote, MachineError>>>,
}

async fn offer(core: &Arc<Core>, raft: &RaftHandle, from: NodeId, offer: wire::Offer) -> Answer {
    if core.is_quarantined() && !offer.to_learner {
        return Err(quarantined(core));
    }
    core.heard_from_leader();
    let mut outcome = start_pull(core, raft, from, offer);
    let waited = rt::time::timeout(OFFER_PATIENCE, outcome.wait_for(Option::is_some)).await;
    let answer = match waited {
        Err(_) => OfferAnswer::Pulling,
        Ok(Err(_)) => return Err(not_running(core)),
        Ok(Ok(outcome)) => match &*outcome {
            Some(Ok(vote)) => OfferAnswer::Done(*vote),
            Some(Err(error)) => return Err(Refusal::of(error)),
            None => OfferAnswer::Pulling,
        },
    };
    Ok(wire::put_offer_answer(&answer))
}

/// Starts to pull, or finds the pull of the same offer. A new offer replaces an old one: what was received so far counts, since
/// the sink compares.
fn start_pull(
    core: &Arc<Core>,
    raft: &RaftHandle,
    from: NodeId,
    offer: wire::Offer,
) -> watch::Receiver<Option<Result<Vote, MachineError>>> {
    let mut pulling = core.pulling.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pull) = pulling.as_ref().filter(|p| p.number == offer.number) {
        let is_failed = matches!(&*pull.outcome.borrow(), Some(Err(_)));
        if !is_failed && (!pull.task.is_finished() || pull.outcome.borrow().is_some()) {
            return pull.outcome.clone();
        }
    }
    if let Some(old) = pulling.take() {
        old.task.abort();
    }
    let (done, outcome) = watch::channel(None);
    let number = offer.number;
    let (core_there, raft) = (Arc::clone(core), raft.clone());
    let task = core.scope.spawn("pull snapshot", async move {
        let result = pull(&core_there, &raft, from, offer).await;
        if let Err(error) = &result {
            tracing::info!(group = %core_there.id, %error, "a snapshot was not received; the leader offers it again");
        }
        done.send_replace(Some(result));
    });
    *pulling = Some(Pull { number, task, outcome: outcome.clone() });
    outcome
}

async fn pull(core: &Arc<Core>, raft: &RaftHandle, from: NodeId, offer: wire::Offer) -> Result<Vote, MachineError> {
    let bug = |what: String| MachineError::new(Disposition::Bug, what);
    let (last_log_id, last_membership) = stored(&offer.state).map_err(|e| bug(e.to_string()))?;
    // A new member knows nobody yet: the snapshot's own members say where its leader is.
    core.learn_addresses(&last_membership);
    let sink = receiver(&core.machine);
    let remote = Remote { core: Arc::clone(core), from, number: offer.number };
    let received = sink.receive(&offer.state, &remote).await?;
    rt::sim_point!("raft.snapshot.received");
    let snapshot = SnapshotOf::<Types, SnapshotData> {
        meta: SnapshotMetaOf::<Types> { last_log_id, last_membership },
        snapshot: SnapshotData::Received(received),
    };
    let gone = |why: String| MachineError::new(Disposition::Gone, why);
    let response = raft.install_full_snapshot(offer.vote, snapshot).await.map_err(|e| gone(e.to_string()))?;
    Ok(response.vote)
}

/// The pinned snapshot on the leader.
struct Remote {
    core: Arc<Core>,
    from: NodeId,
    number: u64,
}

impl SnapshotRemote for Remote {
    fn fetch(&self, request: Bytes) -> BoxFuture<'_, Result<Bytes, MachineError>> {
        Box::pin(async move {
            // A long transfer is the leader's word that it leads.
            self.core.heard_from_leader();
            let body = wire::put_fetch(self.core.id, self.number, &request);
            let call = self.core.mesh.call(self.from, Service::Raft, method::FETCH, body, FETCH_DEADLINE, Class::Bulk);
            call.await.map_err(|error| MachineError::of(&error))
        })
    }
}

/// Whether a group in that state has an engine.
pub(crate) fn is_running(state: &GroupState) -> bool {
    !matches!(state, GroupState::Suspended(_) | GroupState::Failed(_) | GroupState::Stopped)
}
