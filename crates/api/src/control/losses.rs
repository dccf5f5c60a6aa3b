//! What the loss of a machine would mean, where that is not plain: with two machines that keep data, and with a witness.

use super::types::{Health, NodeInfo};
use base::Role;

/// What would be lost, and what to do about it; nothing where each of three machines or more keeps data, and nothing of a single machine.
///
/// Each is a sentence, the most urgent first.
pub fn losses(nodes: &[NodeInfo]) -> Vec<String> {
    let (witnesses, data): (Vec<&NodeInfo>, Vec<&NodeInfo>) = nodes.iter().partition(|node| node.witness);
    let witness = witnesses.iter().find(|node| node.role == Role::Voter).or_else(|| witnesses.first());
    match (data.as_slice(), witness) {
        ([one, two], None) => of_two(one, two),
        ([one, two], Some(witness)) if witness.role == Role::Voter => of_two_and_a_witness(one, two, witness),
        ([_, _], Some(witness)) => {
            vec![format!(
                "{} is a witness and does not vote yet: it gets its vote when all three machines answer.",
                witness.name
            )]
        }
        ([only], Some(witness)) => vec![format!(
            "Losing {0} loses its databases: it alone keeps data. The witness {1} votes once two machines do: `bowline token add` here, \
             then `bowline join TOKEN` on a second machine.",
            only.name, witness.name
        )],
        _ => Vec::new(),
    }
}

/// One of the two votes, as a rule: two voters would be worse than one.
fn of_two(one: &NodeInfo, two: &NodeInfo) -> Vec<String> {
    let (voter, other) = if two.role == Role::Voter { (two, one) } else { (one, two) };
    let meaning = if other.role == Role::Voter {
        format!("Losing {} or {} stops writes.", one.name, two.name)
    } else {
        format!(
            "Losing {0} stops writes until it is back; if it never is, what {1} has not copied yet is lost. Losing {1} stops nothing.",
            voter.name, other.name
        )
    };
    let way_out = "With a third machine the cluster survives the loss of any one. A small one is enough, as a witness, which votes and keeps no \
                   data: `bowline token add` here, then `bowline join TOKEN --witness` there.";
    vec![meaning, way_out.to_owned()]
}

fn of_two_and_a_witness(one: &NodeInfo, two: &NodeInfo, witness: &NodeInfo) -> Vec<String> {
    let is_down = |node: &NodeInfo| node.health == Health::Down;
    match (is_down(one), is_down(two), is_down(witness)) {
        (false, false, false) => vec![format!(
            "The cluster survives the loss of any one machine: {} and {} keep all data, {} is a witness.",
            one.name, two.name, witness.name
        )],
        (false, false, true) => vec![format!(
            "The witness {} is down: until it is back, losing {} or {} stops writes.",
            witness.name, one.name, two.name
        )],
        (true, false, false) => one_copy(two, one),
        (false, true, false) => one_copy(one, two),
        // Writes have stopped: the first line of the status says so.
        _ => Vec::new(),
    }
}

fn one_copy(left: &NodeInfo, down: &NodeInfo) -> Vec<String> {
    vec![format!(
        "{0} is down: what is written now is on {1} alone. Losing {1} stops writes, and what {0} has not copied yet is lost with it.",
        down.name, left.name
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;

    /// `1V 2S 3Vw!`: id, role, then `w` witness, `!` down.
    fn said(line: &str) -> String {
        let node = |word: &str| {
            let (id, marks) = word.split_at(1);
            NodeInfo {
                certificate_ends: None,
                clock_ahead_ms: None,
                id: NodeId(id.parse().unwrap()),
                name: format!("box{id}"),
                role: match marks.as_bytes()[0] {
                    b'V' => Role::Voter,
                    b'S' => Role::StandBy,
                    _ => Role::Spare,
                },
                witness: marks.contains('w'),
                health: if marks.contains('!') { Health::Down } else { Health::Up },
                leader: false,
                address: String::new(),
                dqlite_address: String::new(),
                https_address: String::new(),
                version: None,
                failure_domain: 0,
                weight: 0,
            }
        };
        losses(&line.split_whitespace().map(node).collect::<Vec<_>>()).join("\n")
    }

    #[test]
    fn what_the_loss_of_a_machine_would_mean() {
        assert_eq!(said("1V"), "");
        assert_eq!(said("1V 2V 3V"), "");
        assert_eq!(said("1V 2V 3V 4-w"), "");
        insta::assert_snapshot!(
            ["1V 2S", "1S 2V", "1V 2V", "1V 2-w", "1V 2V 3Vw", "1V 2V 3Vw!", "1V! 2V 3Vw", "1V 2V! 3Vw", "1V 2S 3-w"]
                .map(|line| format!("{line}\n{}\n", said(line)))
                .join("\n")
        );
    }
}
