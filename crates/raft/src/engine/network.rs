//! How a group's engine reaches the other members: calls over the node's mesh.

use super::machine::{SnapshotData, state_of};
use super::wire::{self, OfferAnswer, method};
use super::{Types, Vote};
use crate::SnapshotSource;
use crate::group::Core;
use base::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use openraft::alias::SnapshotOf;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend};
use rpc::{CallError, Class, Service};
use rt::time::Instant;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long entries may take to a member and onto its disk. A broken connection is noticed without it.
const APPEND_DEADLINE: Duration = Duration::from_secs(2);
/// How long one question about an offered snapshot may take; the receiver answers sooner, see [`super::serve`].
const OFFER_DEADLINE: Duration = Duration::from_secs(10);
/// How long the word that an entry is committed waits for further entries to carry it.
const COMMIT_LINGER: Duration = Duration::from_millis(2);
/// Waits between attempts to reach a member; the first ones matter when it starts.
const BACKOFF_MS: [u64; 6] = [10, 20, 50, 100, 200, 300];

/// Makes clients for the members.
pub(crate) struct Network(pub(crate) Arc<Core>);

/// Calls one member.
pub(crate) struct Client {
    core: Arc<Core>,
    to: NodeId,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, to: u64, node: &BasicNode) -> Client {
        let to = NodeId(to);
        self.0.learn_address(to, &node.addr);
        Client { core: Arc::clone(&self.0), to }
    }
}

impl Client {
    async fn call(&self, method: u16, body: Bytes, deadline: Duration) -> Result<Bytes, RPCError<Types>> {
        let mesh = &self.core.mesh;
        mesh.call(self.to, Service::Raft, method, body, deadline, Class::Control).await.map_err(|e| unreached(&e))
    }

    async fn ask(
        &self,
        method: u16,
        request: &VoteRequest<Types>,
        ttl: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.call(method, wire::put_vote_request(self.core.id, request), ttl).await?;
        wire::take_vote_response(&answer).map_err(|e| NetworkError::new(&e).into())
    }
}

/// What the engine makes of a failed call: to try again after a while, or at once.
fn unreached(error: &CallError) -> RPCError<Types> {
    match error {
        CallError::Lost { .. } | CallError::Deadline { .. } => NetworkError::new(error).into(),
        _ => Unreachable::new(error).into(),
    }
}

type Request = AppendEntriesRequest<Types>;
type Answers<'s> = Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>;

/// The engine's requests, without those that only tell a commit position that the next entries tell as well.
///
/// The engine sends such a request after each commit and waits for its answer before it sends on. With one client that is
/// a second round trip for each write, in the way of the next one (measured: a third of the work of an insert). Nobody waits
/// for it: a read by index asks the leader, whose heartbeat tells the position.
fn linger<S>(requests: S) -> BoxStream<'static, Request>
where
    S: Stream<Item = Request> + Send + Unpin + 'static,
{
    let next = |mut requests: stream::Fuse<S>| async move {
        let mut request = requests.next().await?;
        let until = Instant::now() + COMMIT_LINGER;
        while request.entries.is_empty()
            && let Ok(Some(newer)) = rt::time::timeout_at(until, requests.next()).await
        {
            request = newer;
        }
        Some((request, requests))
    };
    stream::unfold(requests.fuse(), next).boxed()
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // Before anybody can know that something is committed, readers here do.
        self.core.announce(request.leader_commit.as_ref().map(|id| id.index));
        let deadline = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_DEADLINE };
        let body = wire::put_append(self.core.id, self.core.is_learner(self.to), &request);
        let answer = self.call(method::APPEND, body, deadline).await?;
        wire::take_append_response(&answer).map_err(|e| NetworkError::new(&e).into())
    }

    fn stream_append<S>(&mut self, requests: S, option: RPCOption) -> BoxFuture<'_, Answers<'_>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        stream_append_sequential(self, linger(requests), option)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(method::VOTE, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(method::PRE_VOTE, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Source(source) = snapshot.snapshot else {
            return Err(ReplicationClosed::new("not a snapshot to send").into());
        };
        if !source.is_there() {
            // Tried again, with pauses: what this member needs may come back with another one.
            rt::sometimes!("witness: a member lacks more than the log of a witness has");
            return Err(Unreachable::from_string("a witness keeps no pages to send").into());
        }
        let mut offer = wire::Offer {
            to_learner: self.core.is_learner(self.to),
            vote,
            number: rt::entropy::u64(),
            state: state_of(&snapshot.meta),
        };
        // Pinned until this returns or is dropped.
        let _pinned = self.core.offers.pin(offer.number, source);
        tracing::info!(group = %self.core.id, to = %self.to, at = ?offer.state.last, "offering a snapshot");
        let mut cancel = Box::pin(cancel);
        loop {
            offer.to_learner = self.core.is_learner(self.to);
            let body = wire::put_offer(self.core.id, &offer);
            let answer = tokio::select! {
                biased;
                closed = &mut cancel => return Err(closed.into()),
                answer = self.call(method::OFFER, body, OFFER_DEADLINE) => answer?,
            };
            match wire::take_offer_answer(&answer).map_err(|e| NetworkError::new(&e))? {
                OfferAnswer::Pulling => {}
                OfferAnswer::Done(vote) => return Ok(SnapshotResponse { vote }),
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        // From here on others may elect a leader while the lease still runs.
        self.core.give_up_lease(request.from_leader().leader_id.term);
        self.call(method::TRANSFER, wire::put_transfer(self.core.id, &request), option.hard_ttl()).await?;
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS.last().copied().unwrap_or(300);
        let waits = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(waits.map(Duration::from_millis)))
    }
}

/// Snapshots that others may pull from here.
#[derive(Default)]
pub(crate) struct Offers(std::sync::Mutex<std::collections::BTreeMap<u64, Arc<dyn SnapshotSource>>>);

impl Offers {
    /// Keeps `source` until the pin is dropped.
    pub(crate) fn pin(self: &Arc<Self>, number: u64, source: Arc<dyn SnapshotSource>) -> Pin {
        self.lock().insert(number, source);
        Pin { offers: Arc::clone(self), number }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<dyn SnapshotSource>> {
        self.lock().get(&number).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<u64, Arc<dyn SnapshotSource>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Holds an offer.
pub(crate) struct Pin {
    offers: Arc<Offers>,
    number: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        drop(self.offers.lock().remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogPos;
    use crate::engine::{Entry, EntryPayload, LeaderId, id};
    use base::{LogIndex, Term};
    use tokio::sync::mpsc;

    fn request(commit: u64, entries: impl IntoIterator<Item = u64>) -> Request {
        let id = |index| id(LogPos { term: Term(1), node: NodeId(1), index: LogIndex(index) });
        let leader_id = LeaderId { term: 1, node_id: 1 };
        let entries = entries.into_iter().map(|index| Entry { log_id: id(index), payload: EntryPayload::Blank });
        Request {
            vote: Vote { leader_id, committed: true },
            prev_log_id: None,
            leader_commit: Some(id(commit)),
            entries: entries.collect(),
        }
    }

    fn engine() -> (mpsc::UnboundedSender<Request>, BoxStream<'static, Request>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let requests = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        (sender, linger(requests.boxed()))
    }

    /// The commit position that a request tells, and how many entries go with it.
    fn told(request: Option<Request>) -> Option<(u64, usize)> {
        request.map(|r| (r.leader_commit.map_or(0, |id| id.index), r.entries.len()))
    }

    #[tokio::test]
    async fn a_commit_position_goes_with_the_entries_that_follow_at_once() {
        let (sender, mut requests) = engine();
        for next in [request(5, []), request(6, []), request(6, [7])] {
            sender.send(next).unwrap();
        }
        assert_eq!(told(requests.next().await), Some((6, 1)));
    }

    #[tokio::test]
    async fn a_commit_position_goes_alone_when_nothing_follows() {
        let (sender, mut requests) = engine();
        sender.send(request(5, [])).unwrap();
        let alone = rt::time::timeout(Duration::from_secs(10), requests.next()).await;
        assert_eq!(alone.map(told), Ok(Some((5, 0))));
        sender.send(request(6, [])).unwrap();
        drop(sender);
        assert_eq!(told(requests.next().await), Some((6, 0)));
        assert_eq!(told(requests.next().await), None);
    }
}
