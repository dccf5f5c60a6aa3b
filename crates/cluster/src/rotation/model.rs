//! All histories of a rotation among three members: in whatever order the plan moves on, members hear of it, do what it asks and say so, with as
//! many falls and as much delay as there can be, everybody who is waited for can always prove who it is to everybody else.

use super::*;
use std::collections::{BTreeSet, VecDeque};

const OLD: &str = "old";
const NEW: &str = "new";

/// A member: what it has on its disk, how far its copy of the plan is, and what it last said. A fall leaves exactly that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    trusted: Vec<String>,
    issuer: String,
    heard: Option<RotationState>,
    said: Option<(Vec<String>, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    state: RotationState,
    tokens: bool,
    finish: bool,
    members: Vec<Member>,
}

type Decide = fn(&Rotation, &[NodeId], u64) -> Option<RotationState>;

fn plan(state: RotationState, finish: bool, without: &[NodeId]) -> Rotation {
    Rotation {
        id: 1,
        state,
        old: OLD.to_owned(),
        new: NEW.to_owned(),
        certificate: String::new(),
        cross: String::new(),
        is_finishing: finish,
        without: without.to_vec(),
        begun: 0,
        since: 0,
    }
}

fn id(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

impl World {
    fn begin() -> Self {
        let member = Member { trusted: vec![OLD.to_owned()], issuer: OLD.to_owned(), heard: None, said: None };
        Self { state: RotationState::Distributing, tokens: true, finish: false, members: vec![member; 3] }
    }

    /// Everything that may happen next.
    fn after(&self, decide: Decide, without: &[NodeId]) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut may = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            if next != *self {
                worlds.push(next);
            }
        };
        may(&|world| world.tokens = false);
        may(&|world| world.finish = true);
        let rotation = plan(self.state, self.finish, without);
        let ids: Vec<NodeId> = (0..self.members.len()).map(id).collect();
        let said: Vec<CertificateRow> = self
            .members
            .iter()
            .enumerate()
            .filter_map(|(index, member)| {
                let (trusted, issuer) = member.said.clone()?;
                Some(CertificateRow { node: id(index), ends: 0, issuer, trusted })
            })
            .collect();
        if let Some(next) = decide(&rotation, &rotation.waits_for(&ids, &said), u64::from(self.tokens)) {
            may(&|world| world.state = next);
        }
        for (index, member) in self.members.iter().enumerate() {
            let further = RotationState::ALL.into_iter().filter(|state| *state <= self.state);
            for state in further.filter(|state| member.heard.is_none_or(|heard| heard < *state)) {
                may(&|world| world.members[index].heard = Some(state));
            }
            may(&|world| world.members[index].said = Some((member.trusted.clone(), member.issuer.clone())));
            let asked = member.heard.and_then(|heard| plan(heard, false, &[]).asks(&member.trusted, &member.issuer));
            if let Some(step) = asked {
                may(&|world| {
                    let member = &mut world.members[index];
                    match step {
                        Step::Trust => member.trusted.push(NEW.to_owned()),
                        Step::Reissue => member.issuer = NEW.to_owned(),
                        Step::Retire => member.trusted = vec![NEW.to_owned()],
                    }
                });
            }
        }
        worlds
    }

    /// Whether the certificate of one is good for another: its CA is trusted there, or one that is trusted vouches for it.
    fn is_whole(&self, without: &[NodeId]) -> bool {
        let counted: Vec<&Member> = self
            .members
            .iter()
            .enumerate()
            .filter(|(index, _)| !without.contains(&id(*index)))
            .map(|(_, m)| m)
            .collect();
        let accepts = |one: &Member, other: &Member| {
            one.trusted.contains(&other.issuer) || (other.issuer == NEW && one.trusted.iter().any(|ca| ca == OLD))
        };
        counted.iter().all(|one| counted.iter().all(|other| accepts(one, other)))
    }
}

/// Whatever can be reached, and whether all of it is whole; the search ends with the first that is not.
fn explore(decide: Decide, without: &[NodeId]) -> (BTreeSet<World>, bool) {
    let mut seen = BTreeSet::from([World::begin()]);
    let mut open = VecDeque::from([World::begin()]);
    while let Some(world) = open.pop_front() {
        if !world.is_whole(without) {
            return (seen, false);
        }
        for next in world.after(decide, without) {
            if seen.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    (seen, true)
}

#[test]
fn in_no_order_of_steps_and_falls_does_a_member_lose_another_and_every_rotation_can_end() {
    let (seen, whole) = explore(Rotation::moves_on, &[]);
    assert!(whole);
    assert!(seen.len() > 1_000, "{}", seen.len());
    // From anywhere all members need only go on: what they do never takes the end out of reach.
    for world in seen.iter().step_by(17) {
        let mut world = world.clone();
        world.tokens = false;
        let mut steps = 0;
        while let Some(next) = world.after(Rotation::moves_on, &[]).into_iter().next_back() {
            world = next;
            steps += 1;
            assert!(steps < 200, "{world:?}");
        }
        assert_eq!(world.state, RotationState::Done);
        assert!(world.members.iter().all(|member| member.trusted == [NEW] && member.issuer == NEW), "{world:?}");
    }
}

#[test]
fn a_member_that_is_given_up_hinders_nobody() {
    let (seen, whole) = explore(Rotation::moves_on, &[id(2)]);
    assert!(whole);
    let stayed_away =
        seen.iter().find(|world| world.state == RotationState::Done && world.members[2] == World::begin().members[2]);
    assert!(stayed_away.is_some(), "the others come to the end without it");
}

/// The model can fail: a controller that does not wait for those who are to be waited for is caught.
#[test]
fn a_controller_that_does_not_wait_is_caught() {
    let hasty: Decide = |rotation, _waits_for, tokens| rotation.moves_on(&[], tokens);
    assert!(!explore(hasty, &[]).1);
}

#[test]
fn the_states_of_a_rotation() {
    let table: Vec<String> = RotationState::ALL
        .iter()
        .map(|state| {
            let rotation = plan(*state, false, &[]);
            let next = state.next().map_or("-", RotationState::as_str);
            format!("{} -> {next}; makes: {}; pins: {}", state.as_str(), rotation.issuing(), rotation.pinned())
        })
        .collect();
    assert_eq!(
        table,
        [
            "distributing -> reissuing; makes: old; pins: old",
            "reissuing -> waiting; makes: new; pins: old",
            "waiting -> retiring; makes: new; pins: new",
            "retiring -> done; makes: new; pins: new",
            "done -> -; makes: new; pins: new",
        ]
    );
    assert_eq!(plan(RotationState::Waiting, false, &[]).moves_on(&[], 1), None, "tokens hold it");
    assert_eq!(plan(RotationState::Waiting, true, &[]).moves_on(&[], 1), Some(RotationState::Retiring));
    assert_eq!(plan(RotationState::Waiting, true, &[]).moves_on(&[id(0)], 0), None, "a member holds it");
}
