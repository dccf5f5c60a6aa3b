//! What is known outside the nodes: join tokens on their way, which nodes are members, and what checks of the copies found.

use crate::run::Broken;
use crate::world::{Oracle, World};
use api::control::DatabaseCheck;
use rt::sim::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones are the same board.
#[derive(Debug, Clone, Default)]
pub(in crate::scenarios) struct Board(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Nodes that want to join, and tokens for them.
    wanted: BTreeSet<u64>,
    tokens: BTreeMap<u64, String>,
    members: BTreeSet<u64>,
    is_healed: bool,
    /// The node that leaves once, as long as it has not.
    leaver: Option<u64>,
    /// Node 1 has founded the cluster.
    is_founded: bool,
    /// The node whose disk changes pages.
    rotten: Option<u64>,
    /// The node that joins as a witness.
    witness: Option<u64>,
    /// The hash of each version of each database, and who said so first.
    hashes: BTreeMap<(String, u64), (String, u64)>,
    /// The newest check of each copy: node and database.
    newest: BTreeMap<(u64, String), (u64, String)>,
    checks: u64,
    /// The clients pause.
    is_quiet: bool,
    loss: Loss,
    guests: Guests,
    roles: Roles,
    /// Nodes on which a database was last seen with two sets of voters.
    changing: BTreeSet<u64>,
    broken: Option<Broken>,
}

/// Machines that join later, all with one token, which is good for one of them.
#[derive(Debug, Default)]
struct Guests {
    machines: BTreeSet<u64>,
    is_open: bool,
    token: Option<String>,
    /// Who has tried it, and whom it has let in.
    tried: BTreeSet<u64>,
    let_in: BTreeSet<u64>,
}

/// More stand-bys than there are machines.
const ALL: usize = 5;

/// How many stand by, where that is changed again and again.
#[derive(Debug, Default)]
struct Roles {
    are_restless: bool,
    /// What was set last, as far as anybody knows.
    stand_bys: Option<usize>,
}

/// Machines that are gone for good.
#[derive(Debug, Default)]
struct Loss {
    machines: BTreeSet<u64>,
    /// The others go on without them.
    is_recovered: bool,
}

impl Board {
    /// `rotten` is the node whose disk changes pages, if any does; `leaver` the one that leaves the cluster and joins it again, if any
    /// does.
    pub(in crate::scenarios) fn new(rotten: Option<u64>, leaver: Option<u64>) -> Self {
        let board = Self::default();
        (board.known().rotten, board.known().leaver) = (rotten, leaver);
        board
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node joins as a witness.
    pub(in crate::scenarios) fn expect_witness(&self, node: u64) {
        self.known().witness = Some(node);
    }

    pub(super) fn is_witness(&self, node: u64) -> bool {
        self.known().witness == Some(node)
    }

    /// Whether these two nodes' copies of `sys` were last seen at the same version.
    pub(in crate::scenarios) fn has_same_sys(&self, one: u64, other: u64) -> bool {
        let known = self.known();
        let copy = |node| known.newest.get(&(node, "sys".to_owned()));
        copy(one).is_some() && copy(one) == copy(other)
    }

    /// Whether a node's disk changes what it keeps.
    pub(super) fn is_rotten(&self, node: u64) -> bool {
        self.known().rotten == Some(node)
    }

    /// A machine asks for a token.
    pub(super) fn want(&self, node: u64) {
        self.known().wanted.insert(node);
    }

    /// The machines that wait for a token.
    pub(super) fn wanted(&self) -> Vec<u64> {
        self.known().wanted.iter().copied().collect()
    }

    pub(super) fn put_token(&self, node: u64, token: String) {
        let mut known = self.known();
        known.wanted.remove(&node);
        known.tokens.insert(node, token);
    }

    pub(super) fn take_token(&self, node: u64) -> Option<String> {
        self.known().tokens.remove(&node)
    }

    pub(super) fn joined(&self, node: u64) {
        let mut known = self.known();
        known.members.insert(node);
        known.is_founded = true;
    }

    /// Whether somebody has been a member: who belongs to no cluster then needs a token.
    pub(super) fn is_founded(&self) -> bool {
        self.known().is_founded
    }

    /// Whether a node should leave now.
    pub(super) fn should_leave(&self, node: u64, nodes: u64) -> bool {
        let known = self.known();
        known.leaver == Some(node) && known.members.len() as u64 == nodes
    }

    /// A node has left: its copies are gone.
    pub(super) fn left(&self, node: u64) {
        let mut known = self.known();
        known.leaver = None;
        known.newest.retain(|(of, _), _| *of != node);
    }

    /// The clients pause, or go on.
    pub(in crate::scenarios) fn quiet(&self, quiet: bool) {
        self.known().is_quiet = quiet;
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.known().is_quiet
    }

    /// Machines are gone: whoever sits at another one goes on without them.
    pub(in crate::scenarios) fn lose(&self, lost: &BTreeSet<u64>) {
        let mut known = self.known();
        known.loss.machines.clone_from(lost);
        known.newest.retain(|(of, _), _| !lost.contains(of));
    }

    /// One of them was only switched off.
    pub(in crate::scenarios) fn find(&self, node: u64) {
        self.known().loss.machines.remove(&node);
    }

    /// Whether a machine is gone, as far as anybody knows.
    pub(super) fn is_lost(&self, node: u64) -> bool {
        self.known().loss.machines.contains(&node)
    }

    /// The machines that are to be given up, as long as nobody has done it.
    pub(super) fn to_give_up(&self) -> Option<BTreeSet<u64>> {
        let known = self.known();
        (!known.loss.is_recovered && !known.loss.machines.is_empty()).then(|| known.loss.machines.clone())
    }

    pub(super) fn recovered(&self) {
        self.known().loss.is_recovered = true;
    }

    pub(in crate::scenarios) fn is_recovered(&self) -> bool {
        self.known().loss.is_recovered
    }

    /// These machines join later.
    pub(in crate::scenarios) fn expect_guests(&self, guests: BTreeSet<u64>) {
        self.known().guests.machines = guests;
    }

    /// They may come.
    pub(in crate::scenarios) fn open(&self) {
        self.known().guests.is_open = true;
    }

    /// Whether somebody should make the token for the guests.
    pub(super) fn wants_invitation(&self) -> bool {
        let known = self.known();
        let guests = &known.guests;
        guests.is_open && guests.token.is_none()
    }

    pub(super) fn invite(&self, token: String) {
        self.known().guests.token.get_or_insert(token);
    }

    /// Whether a machine is a guest that has not tried the token yet.
    pub(super) fn is_guest(&self, node: u64) -> bool {
        let known = self.known();
        let guests = &known.guests;
        guests.machines.contains(&node) && !guests.tried.contains(&node)
    }

    /// The token, once it is there: the guest tries it now.
    pub(super) fn take_invitation(&self, node: u64) -> Option<String> {
        let mut known = self.known();
        let token = known.guests.token.clone()?;
        known.guests.tried.insert(node);
        Some(token)
    }

    /// The guests' token has let a machine in.
    pub(super) fn let_in(&self, node: u64) {
        let mut known = self.known();
        known.guests.let_in.insert(node);
        let let_in = known.guests.let_in.clone();
        drop(known);
        if let_in.len() > 1 {
            self.breaks("token", format!("one token has let in {let_in:?}"));
        }
    }

    /// From now on how many stand by is changed again and again.
    pub(in crate::scenarios) fn move_roles(&self) {
        self.known().roles.are_restless = true;
    }

    /// How many shall stand by, if that has to be set: some other number now and then, and everybody once all is repaired.
    pub(super) fn stand_bys_to_set(&self, dice: &mut Dice) -> Option<usize> {
        let known = self.known();
        if !known.roles.are_restless {
            return None;
        }
        let wanted = if known.is_healed { ALL } else { usize::try_from(dice.below(3)).unwrap_or_default() };
        ((known.is_healed || dice.chance(1, 4)) && known.roles.stand_bys != Some(wanted)).then_some(wanted)
    }

    /// So many stand by from now on: copies of those that do not may go.
    pub(super) fn set_stand_bys(&self, stand_bys: usize) {
        let mut known = self.known();
        known.roles.stand_bys = Some(stand_bys);
        known.newest.retain(|(_, name), _| name == "sys");
    }

    /// Whether a node was just seen with two sets of voters.
    pub(super) fn saw_change(&self, node: u64, changing: bool) {
        let mut known = self.known();
        if changing {
            known.changing.insert(node);
        } else {
            known.changing.remove(&node);
        }
    }

    pub(in crate::scenarios) fn is_changing(&self) -> bool {
        !self.known().changing.is_empty()
    }

    /// How many nodes were members once.
    pub(in crate::scenarios) fn members(&self) -> u64 {
        self.known().members.len() as u64
    }

    pub(in crate::scenarios) fn heal(&self) {
        self.known().is_healed = true;
    }

    /// Whether everything is repaired and the clients shall come to an end.
    pub(in crate::scenarios) fn is_healed(&self) -> bool {
        self.known().is_healed
    }

    /// A promise was broken at a node.
    pub(in crate::scenarios) fn breaks(&self, oracle: &'static str, what: String) {
        self.known().broken.get_or_insert(Broken::new(oracle, what));
    }

    /// A node has checked its copy.
    pub(super) fn checked(&self, node: u64, check: &DatabaseCheck) {
        let (name, version) = (check.name.to_string(), check.version);
        if !check.problems.is_empty() && self.is_rotten(node) {
            // It has to be gone in the end: then the copies must be equal.
            rt::sometimes!("rot: a check found a damaged page");
            self.known().newest.insert((node, name), (version, "damaged".to_owned()));
            return;
        }
        if !check.problems.is_empty() {
            self.breaks("integrity", format!("node {node}, {name} at {version}: {:?}", check.problems));
        }
        let mut known = self.known();
        known.checks += 1;
        known.newest.insert((node, name.clone()), (version, check.hash.clone()));
        let first = known.hashes.entry((name.clone(), version)).or_insert_with(|| (check.hash.clone(), node)).clone();
        drop(known);
        if first.0 != check.hash {
            let what = format!("{name} at {version} is {} on node {} and {} on {node}", first.0, first.1, check.hash);
            self.breaks("copies", what);
        }
    }

    /// How many copies were checked.
    pub(in crate::scenarios) fn checks(&self) -> u64 {
        self.known().checks
    }

    /// Whether each of these nodes' copy of each database was last seen at the same version.
    pub(in crate::scenarios) fn is_converged(&self, nodes: &BTreeSet<u64>) -> bool {
        let known = self.known();
        let names: BTreeSet<&String> = known.newest.keys().map(|(_, name)| name).collect();
        !names.is_empty()
            && names.into_iter().all(|name| {
                let copies: Vec<_> = nodes.iter().map(|node| known.newest.get(&(*node, name.clone()))).collect();
                copies.iter().all(|copy| copy.is_some() && *copy == copies.first().copied().flatten())
            })
    }

    /// The versions of all copies, for a report.
    pub(in crate::scenarios) fn copies(&self) -> String {
        let known = self.known();
        let copies = known.newest.iter().map(|((node, name), (version, _))| format!("{name} on {node}: {version}"));
        copies.collect::<Vec<_>>().join(", ")
    }
}

impl Oracle for Board {
    fn name(&self) -> &'static str {
        "board"
    }

    fn look(&mut self, _world: &mut World<'_>) -> Result<(), Broken> {
        self.known().broken.take().map_or(Ok(()), Err)
    }
}
