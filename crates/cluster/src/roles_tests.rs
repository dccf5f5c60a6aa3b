//! The rule of roles against tables and random clusters.

use super::*;
use proptest::prelude::*;

/// Members in one line: `1V* 2S! 3- 4V>`: id, role (Voter, Stand-by, - spare), then `*` leader, `!` not answering, `>` leaving,
/// `@n` failure domain, `/n` weight, `w` witness.
fn members(line: &str) -> (Vec<Member>, BTreeSet<NodeId>, NodeId) {
    let (mut all, mut alive, mut leader) = (Vec::new(), BTreeSet::new(), NodeId(0));
    for word in line.split_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap();
        let (digits, marks) = word.split_at(digits);
        let node = NodeId(digits.parse().unwrap());
        let number = |mark: char| marks.split_once(mark)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
        let role = match marks.chars().next().unwrap() {
            'V' => Role::Voter,
            'S' => Role::StandBy,
            '-' => Role::Spare,
            other => panic!("{other}"),
        };
        if !marks.contains('!') {
            alive.insert(node);
        }
        if marks.contains('*') {
            leader = node;
        }
        let (failure_domain, weight) = (number('@').unwrap_or(node.0), number('/').unwrap_or(0));
        let (leaving, witness) = (marks.contains('>'), marks.contains('w'));
        all.push(Member { node, role, leaving, failure_domain, weight, witness });
    }
    (all, alive, leader)
}

fn changes(line: &str, targets: Targets) -> String {
    let (members, alive, leader) = members(line);
    let words = plan(&members, &alive, leader, targets).into_iter().map(|change| match change {
        Change::Transfer { to } => format!("lead:{to}"),
        Change::Assign { node, role: Role::Voter } => format!("{node}V"),
        Change::Assign { node, role: Role::StandBy } => format!("{node}S"),
        Change::Assign { node, role: Role::Spare } => format!("{node}-"),
        Change::Dismiss { node } => format!("{node}out"),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_rules_are_dqlites() {
    let table = [
        // One and two members: one voter, and the other stands by.
        ("1V*", ""),
        ("1V* 2-", "2S"),
        ("1V* 2S", ""),
        ("1V* 2S!", ""),
        ("1V* 2V", "2S"),
        ("1V 2V*", "1S"),
        // The third member makes three voters in one step.
        ("1V* 2S 3-", "2V 3V"),
        ("1V* 2V 3V", ""),
        // Not before it answers: two voters would be worse than one.
        ("1V* 2S 3-!", "3S"),
        ("1V* 2S! 3-!", "3S"),
        // The fourth to sixth stand by, the seventh is spare.
        ("1V* 2V 3V 4-", "4S"),
        ("1V* 2V 3V 4S 5S 6-", "6S"),
        ("1V* 2V 3V 4S 5S 6S 7-", ""),
        // A voter that is gone keeps its vote as long as nobody can take it.
        ("1V* 2V 3V!", ""),
        ("1V* 2V! 3V!", ""),
        // Otherwise a stand-by takes it, or a spare.
        ("1V* 2V 3V! 4S", "3S 4V"),
        ("1V* 2V 3V! 4S! 5-", "3S 5V"),
        ("1V* 2V 3V! 4S 5S 6S 7-", "4V 7S 3-"),
        // When it is back it stands by.
        ("1V* 2V 4V 3-", "3S"),
        // A stand-by that is gone is replaced by a spare that is not.
        ("1V* 2V 3V 4S! 5S 6S 7-", "7S 4-"),
        ("1V* 2V 3V 4S! 5S 6S", ""),
        // Too many voters: one steps back, but not the leader.
        ("1V 2V 3V 4V*", "3S"),
        ("1V* 2V 3V 4V 5V", "4S 5S"),
        // Failure domains are spread, then weights decide, then ids.
        ("1V*@1 2V@2 3V!@3 4S@1 5S@3", "3S 5V"),
        ("1V*@1 2V@2 3V!@3 4S@1 5-@3", "3S 5V"),
        ("1V* 2V 3V! 4S@9/2 5S@9/1", "3S 5V"),
        ("1V@1 2V@2 3V@2 4V*@4", "3S"),
        ("1V* 2V/9 3V/1 4V/5", "2S"),
        // Leaving: a voter is replaced and let go; a leader hands over first.
        ("1V* 2V 3V> 4S", "4V 3out"),
        ("1V* 2V 3V>", "2S 3out"),
        ("1V*> 2V 3V", "lead:2"),
        ("1V*> 2S", "2V"),
        ("1V*> 2V", "lead:2"),
        ("1V*> 2V! 3V 4S", "lead:3"),
        ("1V* 2S>", "2out"),
        ("1V* 2->", "2out"),
        // Nobody is left to lead.
        ("1V*>", ""),
        ("1V*> 2S!", ""),
    ];
    for (line, expected) in table {
        assert_eq!(changes(line, Targets::default()), expected, "{line}");
    }
}

#[test]
fn a_witness_votes_where_that_helps() {
    let table = [
        // With one machine that keeps data it would only be one more to lose.
        ("1V* 2-w", ""),
        ("1V* 2Sw", "2-"),
        // Two machines and a witness vote, all at once and not before all answer.
        ("1V* 2S 3-w", "2V 3V"),
        ("1V* 2- 3-w", "2V 3V"),
        ("1V* 2V 3Vw", ""),
        ("1V* 2S 3-w!", ""),
        ("1V* 2S! 3-w", ""),
        // Any one of them may be away.
        ("1V* 2V 3Vw!", ""),
        ("1V* 2V! 3Vw", ""),
        // Three machines with data need no witness; it never stands by.
        ("1V* 2V 3V 4-w", ""),
        ("1V* 2V 3Vw 4-", "4V 3-"),
        ("1V* 2V 3Vw 4S", "4V 3-"),
        // When one of three is gone for long, it takes that one's place until it is back.
        ("1V* 2V 3V! 4-w", "3S 4V"),
        ("1V* 2V 3S! 4Vw", ""),
        ("1V* 2V 3S 4Vw", "3V 4-"),
        // A stand-by comes first.
        ("1V* 2V 3V! 4S 5-w", "3S 4V"),
        // One at most votes, and of two the one that answers.
        ("1V* 2S 3-w 4-w", "2V 3V"),
        ("1V* 2V 3Vw! 4-w", "4V 3-"),
        ("1V* 2V 3Vw 4Vw", "4-"),
        // Leaving: a witness, a machine beside it, the leader.
        ("1V* 2V 3Vw>", "2S 3out"),
        ("1V* 2V> 3Vw", "3- 2out"),
        ("1V*> 2V 3Vw", "lead:2"),
        ("1V*> 2V! 3Vw", ""),
        // It hands over what it leads.
        ("1V 2V 3V*w", "lead:1"),
        ("1V! 2V 3V*w", "lead:2"),
        ("1V! 2V! 3V*w", ""),
    ];
    for (line, expected) in table {
        assert_eq!(changes(line, Targets::default()), expected, "{line}");
    }
    let five = Targets { voters: 5, ..Targets::default() };
    assert_eq!(changes("1V* 2V 3V 4S 5-w", five), "4V 5V", "four and a witness survive two losses");
    assert_eq!(changes("1V* 2V 3V 4-w", five), "", "three and a witness survive no more than three");
    assert_eq!(changes("1V* 2V 3V 4V 5Vw 6S", five), "6V 5-");
}

#[test]
fn five_voters_can_be_asked_for_and_an_even_number_is_rounded_down() {
    let five = Targets { voters: 5, ..Targets::default() };
    assert_eq!(changes("1V* 2V 3V 4S 5-", five), "4V 5V");
    assert_eq!(changes("1V* 2V 3V 4-", five), "4S");
    assert_eq!(changes("1V* 2V 3V 4S 5S", Targets { voters: 4, ..Targets::default() }), "");
}

fn apply(members: &mut Vec<Member>, leader: &mut NodeId, changes: &[Change]) {
    for change in changes {
        match *change {
            Change::Transfer { to } => *leader = to,
            Change::Dismiss { node } => members.retain(|member| member.node != node),
            Change::Assign { node, role } => {
                members.iter_mut().find(|member| member.node == node).unwrap().role = role;
            }
        }
    }
}

fn cluster() -> impl Strategy<Value = (Vec<Member>, BTreeSet<NodeId>, NodeId)> {
    let seldom = proptest::bool::weighted(0.2);
    let member = (0..3_u8, any::<bool>(), seldom, 0..3_u64, 0..3_u64, seldom);
    (proptest::collection::vec(member, 1..9), 1..4_u64).prop_map(|(all, leader)| {
        let leader = NodeId(leader.min(u64::try_from(all.len()).unwrap()));
        let mut alive = BTreeSet::from([leader]);
        let members = all.into_iter().zip(1..).map(|((role, up, leaving, failure_domain, weight, witness), id)| {
            let node = NodeId(id);
            if up {
                alive.insert(node);
            }
            let role =
                if node == leader { Role::Voter } else { [Role::Voter, Role::StandBy, Role::Spare][usize::from(role)] };
            let witness = witness && node != leader;
            let role = if witness && role == Role::StandBy { Role::Spare } else { role };
            Member { node, role, leaving, failure_domain, weight, witness }
        });
        (members.collect(), alive, leader)
    })
}

proptest! {
    #[test]
    fn a_plan_that_was_done_leaves_nothing_to_do_and_never_loses_the_leader((mut members, alive, mut leader) in cluster()) {
        for round in 0.. {
            let changes = plan(&members, &alive, leader, Targets::default());
            if changes.is_empty() {
                break;
            }
            prop_assert!(round < 4, "no end: {changes:?} for {members:?}");
            apply(&mut members, &mut leader, &changes);
            let led = members.iter().find(|member| member.node == leader);
            prop_assert!(led.is_some_and(|member| member.role == Role::Voter), "{changes:?}");
        }
        let voters = members.iter().filter(|member| member.role == Role::Voter);
        let (up, down): (Vec<_>, Vec<_>) = voters.partition(|member| alive.contains(&member.node));
        prop_assert!(up.len() + down.len() <= 3 || members.iter().any(|member| member.leaving));
        let witnesses = members.iter().filter(|member| member.witness);
        let roles: Vec<Role> = witnesses.map(|member| member.role).collect();
        prop_assert!(!roles.contains(&Role::StandBy), "a witness stands by: {members:?}");
        let voting = roles.iter().filter(|role| **role == Role::Voter).count();
        if voting > 0 && !members.iter().any(|member| member.leaving) {
            let all = up.len() + down.len();
            prop_assert!(voting == 1 && all >= 3, "{voting} witnesses among {all} voters: {members:?}");
        }
    }
}
