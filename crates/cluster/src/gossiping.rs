//! Who is alive, as this node's gossip tells: its member of the cluster's gossip group, and what that believes of the others.
//!
//! The group's members are the nodes of `sys.nodes`, by ids that follow from theirs (`ids`). Its packets are signed with keys that follow from the
//! cluster's CA (`keys`), and go to the address at which nodes call each other, over UDP. Who belongs to it, the rows say (`follow`); who
//! of them is alive, the group. Nothing of that is written to `sys` but that a member died or is back (`report`).

mod follow;
mod ids;
mod keys;
mod report;
mod words;

pub(crate) use follow::{Peers, follow};
pub use ids::{member_of, node_of};
pub(crate) use keys::follow_keys;
pub(crate) use report::report;
pub use words::why;

use crate::{ClusterError, ClusterId, Keyring};
use base::NodeId;
use gossip::{Gossip, GossipError, Told};
use lifecycle::Scope;
use rt::net::BoundUdp;
use rt::sync::watch;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use swim::{Changes, Config, Label, Reason, Status, Timing, Trust};

/// From one probe to the next. All that a member waits for is in proportion to it.
pub const PERIOD: Duration = Duration::from_secs(1);

/// What this node believes of another, since when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it believes.
    pub status: Status,
    /// Since when, as time since the Unix epoch by this machine's clock.
    pub since: Duration,
    /// Why.
    pub why: Reason,
}

impl Verdict {
    /// Whether it was heard, and is not silent: who was only added has been heard by nobody.
    pub fn is_heard(&self) -> bool {
        self.status.is_present() && self.why != Reason::Asked
    }
}

/// This node's member of the cluster's gossip group. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Gossiping {
    gossip: Gossip,
    cluster: ClusterId,
    verdicts: Arc<Verdicts>,
}

/// What is believed of each node. Kept also of those that the group has forgotten because they were dead for so long.
#[derive(Debug, Default)]
struct Verdicts {
    of: Mutex<BTreeMap<NodeId, Verdict>>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

impl Verdicts {
    fn note(&self, cluster: &ClusterId, told: &Told) {
        let event = &told.event;
        let Some(node) = node_of(cluster, &event.id) else { return };
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if event.changes.has(Changes::DROP) {
            // Of whom nothing was heard for long the last word stands; who was taken out on request is nobody any more.
            if event.reason != Reason::Asked {
                return;
            }
            of.remove(&node);
        } else {
            // That somebody has just been added says nothing about whether it is there.
            let is_only_added = event.reason == Reason::Asked;
            let is_news = of
                .get(&node)
                .is_none_or(|known| !is_only_added && (known.status != event.status || known.why == Reason::Asked));
            if !is_news {
                return;
            }
            of.insert(node, Verdict { status: event.status, since: told.at, why: event.reason.clone() });
        }
        drop(of);
        self.changed.send_modify(|changes| *changes += 1);
    }
}

impl Gossiping {
    /// Joins the gossip group of the cluster on this socket, in `scope`. `addr` is where others reach it.
    pub fn start(keys: &Arc<Keyring>, addr: SocketAddr, socket: BoundUdp, scope: &Scope) -> Result<Self, ClusterError> {
        let record = keys.identity().record.clone();
        let cluster = record.cluster;
        // Greater at each start, unless the clock was set back: then the others tell it the number that it has to exceed.
        let generation = u64::try_from(rt::time::wall().as_micros()).unwrap_or(u64::MAX).min(1 << 62);
        let mut signing = keys::of(&keys.identity())?;
        if signing.is_empty() {
            // Until another member tells the keys: see `keys`.
            signing.push(keys::of_nobody());
        }
        let config = Config {
            label: Some(Label::of(cluster.as_str())),
            trust: Trust::Signed(signing),
            timing: Timing::of(PERIOD),
            ..Config::new(member_of(&cluster, record.node), addr, generation)
        };
        let verdicts = Arc::new(Verdicts::default());
        let (noted, of) = (Arc::clone(&verdicts), cluster.clone());
        let on_event = Box::new(move |told: &Told| noted.note(&of, told));
        let gossip = Gossip::start(config, socket, Some(on_event), scope).map_err(ClusterError::Gossip)?;
        Ok(Self { gossip, cluster, verdicts })
    }

    /// The member itself.
    pub fn member(&self) -> &Gossip {
        &self.gossip
    }

    /// What is believed of a node; none of one of which nothing was heard.
    pub fn verdict(&self, node: NodeId) -> Option<Verdict> {
        self.verdicts.of.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// What is believed of all nodes.
    pub fn verdicts(&self) -> BTreeMap<NodeId, Verdict> {
        self.verdicts.of.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of every change of a verdict.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.verdicts.changed.subscribe()
    }

    /// Which node a member of the group is.
    pub fn node_of(&self, member: &swim::MemberId) -> Option<NodeId> {
        node_of(&self.cluster, member)
    }

    /// Leaves the group; returns once all who are there were told.
    pub async fn quit(&self, within: Duration) -> Result<(), GossipError> {
        self.gossip.quit(within).await
    }
}

impl std::fmt::Debug for Gossiping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gossiping({})", self.cluster)
    }
}
