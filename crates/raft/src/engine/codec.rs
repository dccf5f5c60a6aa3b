//! Members as bytes, in the log and beside a checkpoint. The layout is in docs/formats/raft-log.md.

use super::{LeaderId, Membership, StoredMembership};
use base::Reader;
use bytes::{BufMut, Bytes, BytesMut};
use openraft::LogId;
use openraft::impls::BasicNode;
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;

/// Bytes that should be members are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded membership")]
pub(crate) struct BadMembership;

/// Encodes members, and the entry that made them so.
pub(crate) fn encode_membership(stored: &StoredMembership) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_u8(VERSION);
    put_position(&mut out, stored.log_id().as_ref());
    let membership = stored.membership();
    let sets = membership.get_joint_config();
    out.put_u8(u8::try_from(sets.len()).unwrap_or(u8::MAX));
    for set in sets {
        out.put_u16_le(u16::try_from(set.len()).unwrap_or(u16::MAX));
        for node in set {
            out.put_u64_le(*node);
        }
    }
    out.put_u16_le(u16::try_from(membership.nodes().count()).unwrap_or(u16::MAX));
    for (node, at) in membership.nodes() {
        out.put_u64_le(*node);
        out.put_u16_le(u16::try_from(at.addr.len()).unwrap_or(u16::MAX));
        out.put_slice(at.addr.as_bytes());
    }
    out.freeze()
}

/// Decodes members. Empty bytes are no members.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Option<StoredMembership>, BadMembership> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut from = Reader::new(bytes);
    let stored = decode(&mut from).ok_or(BadMembership)?;
    if from.is_empty() { Ok(Some(stored)) } else { Err(BadMembership) }
}

fn decode(from: &mut Reader<'_>) -> Option<StoredMembership> {
    if from.u8().ok()? != VERSION {
        return None;
    }
    let since = take_position(from)?;
    let mut sets = Vec::new();
    for _ in 0..from.u8().ok()? {
        let mut set = BTreeSet::new();
        for _ in 0..from.u16().ok()? {
            set.insert(from.u64().ok()?);
        }
        sets.push(set);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..from.u16().ok()? {
        let node = from.u64().ok()?;
        let len = usize::from(from.u16().ok()?);
        nodes.insert(node, BasicNode { addr: std::str::from_utf8(from.take(len).ok()?).ok()?.to_owned() });
    }
    let membership = Membership::new(sets, nodes).ok()?;
    Some(StoredMembership::new(since, membership))
}

pub(crate) fn put_position(out: &mut impl BufMut, id: Option<&LogId<LeaderId>>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        out.put_u64_le(id.leader_id.term);
        out.put_u64_le(id.leader_id.node_id);
        out.put_u64_le(id.index);
    }
}

/// The outer none is "not a position", the inner one "no position".
#[expect(clippy::option_option, reason = "the two nones mean different things, and `?` reads well with both")]
pub(crate) fn take_position(from: &mut Reader<'_>) -> Option<Option<LogId<LeaderId>>> {
    match from.u8().ok()? {
        0 => Some(None),
        1 => {
            let leader_id = LeaderId { term: from.u64().ok()?, node_id: from.u64().ok()? };
            Some(Some(LogId { leader_id, index: from.u64().ok()? }))
        }
        _ => None,
    }
}
