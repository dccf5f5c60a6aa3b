//! Messages between the members of a group, as bytes. docs/formats/raft-rpc.md has the layout.
//!
//! Every request starts with its group. Decoders are total; payloads are slices of the message, not copies.

use super::codec::{decode_membership, encode_membership, put_position, take_position};
use super::{Data, Entry, EntryPayload, Id, LeaderId, StoredMembership, Types, Vote};
use crate::AppliedState;
use base::{Code, Disposition, GroupId, Reader};
use bytes::{BufMut, Bytes, BytesMut};
use openraft::LogId;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use rpc::Refusal;

/// The numbers of the methods of [`rpc::Service::Raft`].
pub(crate) mod method {
    pub(crate) const APPEND: u16 = 1;
    pub(crate) const VOTE: u16 = 2;
    pub(crate) const PRE_VOTE: u16 = 3;
    pub(crate) const OFFER: u16 = 4;
    pub(crate) const FETCH: u16 = 5;
    pub(crate) const TRANSFER: u16 = 6;
    pub(crate) const READ_INDEX: u16 = 7;
    pub(crate) const LEAD: u16 = 8;
}

/// What does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the Raft service")]
pub(crate) struct BadMessage;

/// The code of [`BadMessage`] and of other refusals of this service.
pub(crate) const BAD_MESSAGE: Code = Code("BL-RAFT-017");

impl From<BadMessage> for Refusal {
    fn from(error: BadMessage) -> Self {
        Self::new(BAD_MESSAGE, Disposition::Bug, error.to_string())
    }
}

type Decoded<T> = Result<T, BadMessage>;

/// Takes the group off the front.
pub(crate) fn group_of(body: &Bytes) -> Decoded<(GroupId, Bytes)> {
    let group = Reader::new(body).u64().map_err(|_| BadMessage)?;
    Ok((GroupId(group), body.slice(8..)))
}

fn start(group: GroupId, room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(8 + room);
    out.put_u64_le(group.0);
    out
}

/// A message that is only its group.
pub(crate) fn bare(group: GroupId) -> Bytes {
    start(group, 0).freeze()
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.node_id);
    out.put_u8(u8::from(vote.committed));
}

fn take_vote(from: &mut Reader<'_>) -> Option<Vote> {
    let leader_id = LeaderId { term: from.u64().ok()?, node_id: from.u64().ok()? };
    Some(Vote { leader_id, committed: from.u8().ok()? != 0 })
}

/// Reads all of `body` with `take`.
fn whole<T>(body: &[u8], take: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Decoded<T> {
    let mut from = Reader::new(body);
    take(&mut from).filter(|_| from.is_empty()).ok_or(BadMessage)
}

/// The addressee is no voter by the leader's committed members: one whose log was damaged may follow then.
const TO_LEARNER: u8 = 1;

pub(crate) fn put_append(group: GroupId, to_learner: bool, request: &AppendEntriesRequest<Types>) -> Bytes {
    let payloads: usize = request.entries.iter().map(|e| 29 + payload_len(&e.payload)).sum();
    let mut out = start(group, 80 + payloads);
    out.put_u8(if to_learner { TO_LEARNER } else { 0 });
    put_vote(&mut out, &request.vote);
    put_position(&mut out, request.prev_log_id.as_ref());
    put_position(&mut out, request.leader_commit.as_ref());
    out.put_u32_le(u32::try_from(request.entries.len()).unwrap_or(u32::MAX));
    for entry in &request.entries {
        put_id(&mut out, &entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => put_bytes(&mut out, 0, &[]),
            EntryPayload::Normal(data) => put_bytes(&mut out, 1, &data.0),
            EntryPayload::Membership(m) => {
                let stored = StoredMembership::new(Some(entry.log_id), m.clone());
                put_bytes(&mut out, 2, &encode_membership(&stored));
            }
        }
    }
    out.freeze()
}

fn payload_len(payload: &EntryPayload) -> usize {
    match payload {
        EntryPayload::Normal(data) => data.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 64,
    }
}

fn put_id(out: &mut BytesMut, id: &Id) {
    out.put_u64_le(id.leader_id.term);
    out.put_u64_le(id.leader_id.node_id);
    out.put_u64_le(id.index);
}

fn take_id(from: &mut Reader<'_>) -> Option<Id> {
    let leader_id = LeaderId { term: from.u64().ok()?, node_id: from.u64().ok()? };
    Some(LogId { leader_id, index: from.u64().ok()? })
}

fn put_bytes(out: &mut BytesMut, kind: u8, bytes: &[u8]) {
    out.put_u8(kind);
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// The request, and whether it says that this node is a learner.
pub(crate) fn take_append(body: &Bytes) -> Decoded<(bool, AppendEntriesRequest<Types>)> {
    whole(body, |from| {
        let flags = from.u8().ok()?;
        let vote = take_vote(from)?;
        let prev_log_id = take_position(from)?;
        let leader_commit = take_position(from)?;
        let count = from.u32().ok()?;
        let mut entries = Vec::with_capacity(usize::try_from(count).ok()?.min(body.len() / 29));
        for _ in 0..count {
            entries.push(take_entry(body, from)?);
        }
        let request = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
        Some((flags & TO_LEARNER != 0, request))
    })
}

fn take_entry(body: &Bytes, from: &mut Reader<'_>) -> Option<Entry> {
    let log_id = take_id(from)?;
    let kind = from.u8().ok()?;
    let len = usize::try_from(from.u32().ok()?).ok()?;
    let at = from.offset();
    let bytes = from.take(len).ok()?;
    let payload = match kind {
        0 if bytes.is_empty() => EntryPayload::Blank,
        1 => EntryPayload::Normal(Data(body.slice(at..at + len))),
        2 => EntryPayload::Membership(decode_membership(bytes).ok()??.membership().clone()),
        _ => return None,
    };
    Some(Entry { log_id, payload })
}

pub(crate) fn put_append_response(response: &AppendEntriesResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match response {
        AppendEntriesResponse::Success => out.put_u8(0),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.put_u8(1);
            put_position(&mut out, upto.as_ref());
        }
        AppendEntriesResponse::Conflict => out.put_u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn take_append_response(body: &[u8]) -> Decoded<AppendEntriesResponse<Types>> {
    whole(body, |from| {
        Some(match from.u8().ok()? {
            0 => AppendEntriesResponse::Success,
            1 => AppendEntriesResponse::PartialSuccess(take_position(from)?),
            2 => AppendEntriesResponse::Conflict,
            3 => AppendEntriesResponse::HigherVote(take_vote(from)?),
            _ => return None,
        })
    })
}

pub(crate) fn put_vote_request(group: GroupId, request: &VoteRequest<Types>) -> Bytes {
    let mut out = start(group, 48);
    put_vote(&mut out, &request.vote);
    put_position(&mut out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(crate) fn take_vote_request(body: &[u8]) -> Decoded<VoteRequest<Types>> {
    whole(body, |from| {
        let mut request = VoteRequest::new(take_vote(from)?, take_position(from)?);
        request.leadership_transfer = from.u8().ok()? != 0;
        Some(request)
    })
}

pub(crate) fn put_vote_response(response: &VoteResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(48);
    put_vote(&mut out, &response.vote);
    out.put_u8(u8::from(response.vote_granted));
    put_position(&mut out, response.last_log_id.as_ref());
    out.freeze()
}

pub(crate) fn take_vote_response(body: &[u8]) -> Decoded<VoteResponse<Types>> {
    whole(body, |from| {
        let vote = take_vote(from)?;
        let granted = from.u8().ok()? != 0;
        Some(VoteResponse::new(vote, take_position(from)?, granted))
    })
}

/// "Take this snapshot": who leads, what it holds, and under which number it can be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) to_learner: bool,
    pub(crate) vote: Vote,
    pub(crate) number: u64,
    pub(crate) state: AppliedState,
}

pub(crate) fn put_offer(group: GroupId, offer: &Offer) -> Bytes {
    let mut out = start(group, 128 + offer.state.membership.len());
    out.put_u8(if offer.to_learner { TO_LEARNER } else { 0 });
    put_vote(&mut out, &offer.vote);
    out.put_u64_le(offer.number);
    put_position(&mut out, offer.state.last.map(super::id).as_ref());
    put_bytes(&mut out, 0, &offer.state.membership);
    out.freeze()
}

pub(crate) fn take_offer(body: &Bytes) -> Decoded<Offer> {
    whole(body, |from| {
        let flags = from.u8().ok()?;
        let vote = take_vote(from)?;
        let number = from.u64().ok()?;
        let last = take_position(from)?.as_ref().map(super::pos);
        from.u8().ok()?;
        let len = usize::try_from(from.u32().ok()?).ok()?;
        let membership = Bytes::copy_from_slice(from.take(len).ok()?);
        Some(Offer { to_learner: flags & TO_LEARNER != 0, vote, number, state: AppliedState { last, membership } })
    })
}

/// How far an offered snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfferAnswer {
    /// It is being pulled: ask again.
    Pulling,
    /// It is installed, or was not needed; the vote is the receiver's.
    Done(Vote),
}

pub(crate) fn put_offer_answer(answer: &OfferAnswer) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match answer {
        OfferAnswer::Pulling => out.put_u8(0),
        OfferAnswer::Done(vote) => {
            out.put_u8(1);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn take_offer_answer(body: &[u8]) -> Decoded<OfferAnswer> {
    whole(body, |from| match from.u8().ok()? {
        0 => Some(OfferAnswer::Pulling),
        1 => Some(OfferAnswer::Done(take_vote(from)?)),
        _ => None,
    })
}

pub(crate) fn put_fetch(group: GroupId, number: u64, request: &[u8]) -> Bytes {
    let mut out = start(group, 8 + request.len());
    out.put_u64_le(number);
    out.put_slice(request);
    out.freeze()
}

pub(crate) fn take_fetch(body: &Bytes) -> Decoded<(u64, Bytes)> {
    let number = Reader::new(body).u64().map_err(|_| BadMessage)?;
    Ok((number, body.slice(8..)))
}

pub(crate) fn put_transfer(group: GroupId, request: &TransferLeaderRequest<Types>) -> Bytes {
    let mut out = start(group, 64);
    put_vote(&mut out, request.from_leader());
    out.put_u64_le(*request.to_node_id());
    put_position(&mut out, request.last_log_id());
    out.freeze()
}

pub(crate) fn take_transfer(body: &[u8]) -> Decoded<TransferLeaderRequest<Types>> {
    whole(body, |from| Some(TransferLeaderRequest::new(take_vote(from)?, from.u64().ok()?, take_position(from)?)))
}

/// Reads a message and writes what was read: none if it is no such message. A `method` below 128 is a request to that
/// method, with its group; 128 and more is the answer of method `method - 128`. For tests of the decoders from outside.
pub fn recode_message(method: u8, body: &Bytes) -> Option<Bytes> {
    if let Some(answered) = method.checked_sub(128) {
        return match u16::from(answered) {
            method::APPEND => take_append_response(body).map(|answer| put_append_response(&answer)).ok(),
            method::VOTE | method::PRE_VOTE => take_vote_response(body).map(|answer| put_vote_response(&answer)).ok(),
            method::OFFER => take_offer_answer(body).map(|answer| put_offer_answer(&answer)).ok(),
            method::READ_INDEX => take_index(body).map(put_index).ok(),
            _ => None,
        };
    }
    let (group, body) = group_of(body).ok()?;
    match u16::from(method) {
        method::APPEND => take_append(&body).map(|(learner, request)| put_append(group, learner, &request)).ok(),
        method::VOTE | method::PRE_VOTE => {
            take_vote_request(&body).map(|request| put_vote_request(group, &request)).ok()
        }
        method::OFFER => take_offer(&body).map(|offer| put_offer(group, &offer)).ok(),
        method::FETCH => take_fetch(&body).map(|(number, request)| put_fetch(group, number, &request)).ok(),
        method::TRANSFER => take_transfer(&body).map(|request| put_transfer(group, &request)).ok(),
        method::READ_INDEX | method::LEAD => Some(bare(group)),
        _ => None,
    }
}

pub(crate) fn put_index(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_le_bytes())
}

pub(crate) fn take_index(body: &[u8]) -> Decoded<u64> {
    whole(body, |from| from.u64().ok())
}
