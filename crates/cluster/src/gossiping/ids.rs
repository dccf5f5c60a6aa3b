//! The ids of nodes as members of a gossip group, and back: both can be told from each other without asking anybody.

use crate::ClusterId;
use base::NodeId;
use swim::MemberId;

/// The first half follows from the cluster, the second is the node's id: in text `cccccccc-cccc-cccc-nnnn-nnnnnnnnnnnn`.
pub fn member_of(cluster: &ClusterId, node: NodeId) -> MemberId {
    let mut bytes = [0; 16];
    let halves = prefix(cluster).into_iter().chain(node.0.to_be_bytes());
    bytes.iter_mut().zip(halves).for_each(|(to, from)| *to = from);
    MemberId::from_text_order(bytes)
}

/// The node whose id this is; none if it belongs to nobody of this cluster, as that of a Tarantool.
pub fn node_of(cluster: &ClusterId, member: &MemberId) -> Option<NodeId> {
    let bytes = member.text_order();
    let (of_cluster, of_node) = bytes.split_at(8);
    let node = u64::from_be_bytes(of_node.try_into().ok()?);
    (of_cluster == prefix(cluster)).then_some(NodeId(node))
}

fn prefix(cluster: &ClusterId) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.iter_mut().zip(blake3::hash(cluster.as_str().as_bytes()).as_bytes()).for_each(|(to, from)| *to = *from);
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_node_of_its_own_cluster_only() {
        let (ours, theirs) = (ClusterId::random(), ClusterId::random());
        for node in [NodeId(1), NodeId(0x1234_5678_9abc_def0), NodeId(u64::MAX)] {
            let member = member_of(&ours, node);
            assert_eq!(node_of(&ours, &member), Some(node));
            assert_eq!(node_of(&theirs, &member), None);
        }
        assert!(member_of(&ours, NodeId(0xab)).to_string().ends_with("-0000-0000000000ab"));
    }
}
