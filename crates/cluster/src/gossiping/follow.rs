//! Lets the gossip group have the members that `sys.nodes` has.

use super::{Gossiping, member_of};
use crate::node_rows::NodeRowState;
use base::NodeId;
use rt::sync::watch;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Members that are not heard are looked up and asked again after so long: they may have moved, or the name could not be looked up.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long one name may take.
const LOOK_UP_MAX: Duration = Duration::from_secs(2);

/// Where nodes are, by their rows, and whether they are to be in the group.
pub(crate) type Peers = BTreeMap<NodeId, (String, NodeRowState)>;

/// Runs until it is dropped, or the member has ended.
pub(crate) async fn follow(gossiping: Gossiping, node: NodeId, mut peers: watch::Receiver<Arc<Peers>>) {
    // Who was added, and where it was then: where it is now, the group knows better.
    let mut added = BTreeMap::<NodeId, String>::new();
    let mut verdicts = gossiping.watch();
    while gossiping.gossip.ended().is_none() {
        let now = Arc::clone(&peers.borrow_and_update());
        verdicts.borrow_and_update();
        let mut is_complete = true;
        for (peer, (address, state)) in now.iter().filter(|(peer, _)| **peer != node) {
            if *state == NodeRowState::Removed {
                if added.remove(peer).is_some() {
                    // If it was none, that is as it should be.
                    drop(gossiping.gossip.remove_member(member_of(&gossiping.cluster, *peer)).await);
                }
                continue;
            }
            let is_heard = gossiping.verdict(*peer).is_some_and(|verdict| verdict.is_heard());
            if is_heard && added.get(peer) == Some(address) {
                continue;
            }
            let is_greeted = greet(&gossiping, *peer, address).await;
            is_complete &= is_heard && is_greeted;
            added.insert(*peer, address.clone());
        }
        tokio::select! {
            biased;
            changed = peers.changed() => if changed.is_err() { return },
            // Who is silent now may have moved.
            changed = verdicts.changed() => if changed.is_err() { return },
            () = rt::time::sleep(LOOK_AGAIN), if !is_complete => {}
        }
    }
}

/// Asks at the address of the row, which may lead elsewhere by now; one of whom nothing is known is added, so that it is found dead if it is not there.
/// False if the address could not be looked up.
async fn greet(gossiping: &Gossiping, peer: NodeId, address: &str) -> bool {
    let Some(found) = look_up(address).await else { return false };
    let member = member_of(&gossiping.cluster, peer);
    if gossiping.verdict(peer).is_none() && gossiping.gossip.member(&member).is_none() {
        // Somebody may have been quicker: it is known then, and that is all that is wanted.
        drop(gossiping.gossip.add_member(member, found).await);
    }
    gossiping.gossip.probe(found).await.is_ok()
}

/// The first of a name's addresses.
async fn look_up(address: &str) -> Option<SocketAddr> {
    match rt::time::timeout(LOOK_UP_MAX, rt::net::resolve(address)).await {
        Ok(Ok(found)) => found.into_iter().min_by_key(SocketAddr::is_ipv6),
        Ok(Err(error)) => {
            tracing::debug!(%error, address, "a member's address could not be looked up; it is tried again");
            None
        }
        Err(_late) => None,
    }
}
