//! What the control API asks of gossip.

use super::membership::refused;
use super::{Names, Node, Phase, problem};
use api::control::metrics::GossipMetrics;
use api::control::{Health, MemberEvent, MemberInfo, NodeInfo, ProbeRequest, Probed, Problem, Warning};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster::{ClusterError, Gossiping, warning, why};
use gossip::{GossipError, Known, Told};
use jiff::Timestamp;
use rt::time::Instant;
use std::time::Duration;
use store::StoreError;
use swim::{MemberId, Status};

impl Node {
    /// The node's member of the gossip group, while it is one.
    fn gossiping(&self) -> Result<Gossiping, Problem> {
        let unit = self.units().and_then(|units| units.gossip.get());
        unit.map(|gossiping| (*gossiping).clone())
            .ok_or_else(|| problem(&StoreError::NotOpen { state: self.not_open() }))
    }
}

pub(super) async fn list(node: &Node) -> Result<Vec<MemberInfo>, Problem> {
    let (gossiping, names) = (node.gossiping()?, node.names().await);
    let this = node.units().map(|units| units.record.node);
    let info = |known: Known| {
        let of = gossiping.node_of(&known.id);
        MemberInfo {
            id: known.id.to_string(),
            node: of,
            name: name(&gossiping, &names, &known.id),
            status: known.status.to_string(),
            address: known.addr.to_string(),
            incarnation: known.incarnation.to_string(),
            since: time(known.since),
            why: why(known.status, &known.why, &|member| name(&gossiping, &names, member)),
            payload: known.payload.map(|payload| STANDARD.encode(payload)),
            is_self: of.is_some() && of == this,
        }
    };
    let mut members: Vec<MemberInfo> = gossiping.member().members().into_iter().map(info).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

/// What happened after event `after`; waits for something to happen, but no longer than `wait`.
pub(super) async fn events(node: &Node, after: u64, limit: usize, wait: Duration) -> Result<Vec<MemberEvent>, Problem> {
    let gossiping = node.gossiping()?;
    let until = Instant::now() + wait;
    let mut newest = gossiping.member().watch();
    let told = loop {
        newest.borrow_and_update();
        let told = gossiping.member().events(after, limit);
        if !told.is_empty() {
            break told;
        }
        tokio::select! {
            biased;
            // A node that stops waits for nobody who waits.
            _ = node.leaves(Phase::Ready) => break told,
            () = rt::time::sleep_until(until) => break told,
            changed = newest.changed() => if changed.is_err() { break told },
        }
    };
    let names = node.names().await;
    Ok(told.into_iter().map(|told| event(&gossiping, &names, told)).collect())
}

fn event(gossiping: &Gossiping, names: &Names, Told { number, at, event }: Told) -> MemberEvent {
    MemberEvent {
        number,
        at: time(at),
        id: event.id.to_string(),
        name: name(gossiping, names, &event.id),
        status: event.status.to_string(),
        changes: event.changes.names().map(str::to_owned).collect(),
        mask: event.changes.bits(),
        why: why(event.status, &event.reason, &|member| name(gossiping, names, member)),
    }
}

pub(super) async fn set_payload(node: &Node, payload: Vec<u8>) -> Result<MemberInfo, Problem> {
    let gossiping = node.gossiping()?;
    gossiping.member().set_payload(payload).await.map_err(|error| problem(&error))?;
    let own = list(node).await?.into_iter().find(|member| member.is_self);
    own.ok_or_else(|| refused(&ClusterError::NotMember { node: base::NodeId(0) }))
}

pub(super) async fn probe(node: &Node, request: ProbeRequest) -> Result<Probed, Problem> {
    let gossiping = node.gossiping()?;
    let to = match request.address.parse::<u16>() {
        Ok(port) => {
            let networks = rt::net::broadcast_addresses();
            let networks = networks.map_err(|error| problem(&GossipError::Socket(error)))?;
            networks.into_iter().map(|network| (network, port).into()).collect()
        }
        Err(_) => rt::net::resolve(&request.address)
            .await
            .map_err(|error| problem(&GossipError::Address { address: request.address.clone(), source: error }))?,
    };
    for address in &to {
        gossiping.member().probe(*address).await.map_err(|error| problem(&error))?;
    }
    Ok(Probed { sent_to: to.into_iter().map(|address| address.to_string()).collect() })
}

/// What `bowline status` says of members that gossip has found dead, or does not hear although they answer.
pub(super) fn warnings(node: &Node, nodes: &[NodeInfo]) -> Vec<Warning> {
    let Ok(gossiping) = node.gossiping() else { return Vec::new() };
    let names: Names = nodes.iter().map(|node| (node.id, node.name.clone())).collect();
    let this = node.units().map(|units| units.record.node);
    let of = |member: &NodeInfo| {
        let verdict = gossiping.verdict(member.id)?;
        let ago = crate::human::duration(rt::time::wall().saturating_sub(verdict.since));
        let because = why(verdict.status, &verdict.why, &|member| name(&gossiping, &names, member));
        let is_up = member.health == Health::Up;
        let (message, next) = match verdict.status {
            Status::Dead if is_up => (
                format!("{} answers calls, and gossip does not hear it: {because}", member.name),
                format!("let UDP through to {}, as TCP is", member.address),
            ),
            Status::Dead => (
                format!("{} is dead for {ago}: {because}", member.name),
                format!("start it, or take it out of the cluster: `bowline node remove {} --force`", member.name),
            ),
            Status::Left if !is_up => (
                format!("{} stopped {ago} ago: {because}", member.name),
                format!("start its daemon when it should be back: `systemctl start bowline` on {}", member.name),
            ),
            _ => return None,
        };
        Some(Warning { code: warning::MEMBER_DEAD.0.to_owned(), message, next })
    };
    nodes.iter().filter(|member| Some(member.id) != this).filter_map(of).collect()
}

/// What gossip counts.
pub(super) fn metrics(node: &Node) -> Option<GossipMetrics> {
    let gossiping = node.gossiping().ok()?;
    let members = gossiping.member().members();
    let of = |status: Status| members.iter().filter(|member| member.status == status).count() as u64;
    Some(GossipMetrics {
        members: Status::ALL.map(|status| (status.to_string(), of(status))).to_vec(),
        counters: gossiping.member().counters(),
    })
}

fn name(gossiping: &Gossiping, names: &Names, member: &MemberId) -> String {
    let name = gossiping.node_of(member).and_then(|node| names.get(&node).cloned());
    name.unwrap_or_else(|| member.to_string())
}

fn time(since_epoch: Duration) -> Timestamp {
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
