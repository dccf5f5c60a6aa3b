//! The graph of who stands before whom, and its cycles.

use super::lists::{Lists, name};
use super::{TxnOp, TxnRet};
use crate::Anomaly;
use crate::history::{End, Entry};
use std::collections::{BTreeSet, VecDeque};

/// Why one stands before another. A set of kinds is the sum of their bits.
type Kinds = u8;
const WW: Kinds = 1;
const WR: Kinds = 2;
const RW: Kinds = 4;
const RT: Kinds = 8;

/// One stands before another.
#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    kind: Kinds,
    key: u64,
}

/// How a cycle may be made.
struct Level {
    name: &'static str,
    kinds: Kinds,
    /// Whether it has exactly one `rw` beside them.
    takes_one_rw: bool,
}

/// From the plainest on: a cycle of a level is no cycle of those before it.
const LEVELS: [Level; 8] = [
    Level { name: "G0", kinds: WW, takes_one_rw: false },
    Level { name: "G1c", kinds: WW | WR, takes_one_rw: false },
    Level { name: "G-single", kinds: WW | WR, takes_one_rw: true },
    Level { name: "G2", kinds: WW | WR | RW, takes_one_rw: false },
    Level { name: "G0-realtime", kinds: WW | RT, takes_one_rw: false },
    Level { name: "G1c-realtime", kinds: WW | WR | RT, takes_one_rw: false },
    Level { name: "G-single-realtime", kinds: WW | WR | RT, takes_one_rw: true },
    Level { name: "G2-realtime", kinds: WW | WR | RW | RT, takes_one_rw: false },
];

/// The transactions by their place in the history, and after them a moment for each answer, each before the next: so that
/// real time takes an edge or two for each transaction, not one for each pair.
pub(super) struct Graph<'a> {
    history: &'a [Entry<TxnOp, TxnRet>],
    edges: Vec<Vec<Edge>>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(history: &'a [Entry<TxnOp, TxnRet>], lists: &Lists) -> Self {
        let mut graph = Self { history, edges: vec![Vec::new(); history.len()] };
        graph.add_versions(lists);
        graph.add_real_time(lists);
        graph
    }

    fn add(&mut self, from: usize, to: usize, kind: Kinds, key: u64) {
        if from != to
            && let Some(edges) = self.edges.get_mut(from)
        {
            edges.push(Edge { to, kind, key });
        }
    }

    fn add_versions(&mut self, lists: &Lists) {
        let writer = |key: u64, order: &[u64], at: usize| lists.writers.get(&(key, *order.get(at)?)).copied();
        let empty = Vec::new();
        for (key, unread) in &lists.unread {
            let order = lists.orders.get(key).unwrap_or(&empty);
            for place in 1..order.len() {
                if let (Some(before), Some(after)) = (writer(*key, order, place - 1), writer(*key, order, place)) {
                    self.add(before, after, WW, *key);
                }
            }
            if let Some(last) = order.len().checked_sub(1).and_then(|last| writer(*key, order, last)) {
                for after in unread {
                    self.add(last, *after, WW, *key);
                }
            }
        }
        for seen in &lists.seen {
            let order = lists.orders.get(&seen.key).unwrap_or(&empty);
            if let Some(last) = seen.len.checked_sub(1).and_then(|last| writer(seen.key, order, last)) {
                self.add(last, seen.reader, WR, seen.key);
            }
            if let Some(next) = writer(seen.key, order, seen.len) {
                self.add(seen.reader, next, RW, seen.key);
            } else {
                let unread = lists.unread.get(&seen.key).unwrap_or(&NOBODY);
                for next in unread {
                    self.add(seen.reader, *next, RW, seen.key);
                }
            }
        }
    }

    fn add_real_time(&mut self, lists: &Lists) {
        let answer = |(index, entry): (usize, &Entry<TxnOp, TxnRet>)| match entry.end {
            End::Answered(at, _) => Some((at, index)),
            _ => None,
        };
        let mut answers: Vec<(u64, usize)> = self.history.iter().enumerate().filter_map(answer).collect();
        answers.sort_unstable();
        let first = self.history.len();
        self.edges.resize(first + answers.len(), Vec::new());
        for (moment, (_, index)) in answers.iter().enumerate() {
            self.add(*index, first + moment, RT, 0);
            if moment > 0 {
                self.add(first + moment - 1, first + moment, RT, 0);
            }
        }
        for (index, entry) in self.history.iter().enumerate().filter(|(i, _)| lists.took_effect.get(*i) == Some(&true))
        {
            let before = answers.partition_point(|(at, _)| *at < entry.called);
            if before > 0 {
                self.add(first + before - 1, index, RT, 0);
            }
        }
    }

    /// One for each knot of transactions that no order explains.
    pub(super) fn anomalies(&self) -> Vec<Anomaly> {
        let mut told: BTreeSet<usize> = BTreeSet::new();
        let mut found = Vec::new();
        for level in &LEVELS {
            let all = level.kinds | if level.takes_one_rw { RW } else { 0 };
            for knot in self.knots(all) {
                if knot.iter().any(|node| told.contains(node)) {
                    continue;
                }
                if let Some(cycle) = self.cycle(&knot, level) {
                    found.push(Anomaly(format!("{}: {}", level.name, self.tell(&cycle))));
                    told.extend(knot.iter().filter(|node| **node < self.history.len()));
                }
            }
        }
        found
    }

    fn edges(&self, from: usize, kinds: Kinds) -> impl Iterator<Item = &Edge> {
        self.edges.get(from).into_iter().flatten().filter(move |edge| edge.kind & kinds != 0)
    }

    /// The strongly connected components of more than one node (Tarjan's, without recursion).
    fn knots(&self, kinds: Kinds) -> Vec<BTreeSet<usize>> {
        const UNSEEN: usize = usize::MAX;
        let mut index = vec![UNSEEN; self.edges.len()];
        let mut low = vec![UNSEEN; self.edges.len()];
        let mut is_open = vec![false; self.edges.len()];
        let (mut open, mut knots, mut next) = (Vec::new(), Vec::new(), 0);
        for root in 0..self.edges.len() {
            if index.get(root) != Some(&UNSEEN) {
                continue;
            }
            // Each with the number of its edges that were followed.
            let mut path = vec![(root, 0)];
            while let Some((node, followed)) = path.last_mut() {
                let node = *node;
                if *followed == 0 {
                    set(&mut index, node, next);
                    set(&mut low, node, next);
                    set(&mut is_open, node, true);
                    open.push(node);
                    next += 1;
                }
                let edge = self.edges(node, kinds).nth(*followed);
                *followed += 1;
                match edge.map(|edge| edge.to) {
                    Some(to) if get(&index, to) == Some(UNSEEN) => path.push((to, 0)),
                    Some(to) => {
                        if get(&is_open, to) == Some(true) {
                            lower(&mut low, node, get(&index, to));
                        }
                    }
                    None => {
                        path.pop();
                        if let Some((parent, _)) = path.last() {
                            let of_node = get(&low, node);
                            lower(&mut low, *parent, of_node);
                        }
                        if get(&low, node) == get(&index, node) {
                            let from = open.iter().rposition(|other| *other == node).unwrap_or_default();
                            let knot: BTreeSet<usize> = open.split_off(from).into_iter().collect();
                            for node in &knot {
                                set(&mut is_open, *node, false);
                            }
                            if knot.len() > 1 {
                                knots.push(knot);
                            }
                        }
                    }
                }
            }
        }
        knots
    }

    /// A short cycle of that level within a knot.
    fn cycle(&self, knot: &BTreeSet<usize>, level: &Level) -> Option<Vec<(usize, Edge)>> {
        let begins = || knot.iter().copied().filter(|node| *node < self.history.len());
        if level.takes_one_rw {
            let breaks = begins().flat_map(|from| self.edges(from, RW).map(move |edge| (from, *edge)));
            return breaks.filter(|(_, edge)| knot.contains(&edge.to)).find_map(|(from, edge)| {
                let mut cycle = vec![(from, edge)];
                cycle.extend(self.path(edge.to, from, knot, level.kinds)?);
                Some(cycle)
            });
        }
        // The shortest that goes through one of the first few: all are true, and short ones are read.
        let cycles = begins().take(64).filter_map(|from| {
            let edges = self.edges(from, level.kinds).filter(|edge| knot.contains(&edge.to));
            let back = edges.filter_map(|edge| {
                let mut cycle = vec![(from, *edge)];
                cycle.extend(self.path(edge.to, from, knot, level.kinds)?);
                Some(cycle)
            });
            back.min_by_key(Vec::len)
        });
        cycles.min_by_key(Vec::len)
    }

    /// The shortest way, breadth first.
    fn path(&self, from: usize, to: usize, knot: &BTreeSet<usize>, kinds: Kinds) -> Option<Vec<(usize, Edge)>> {
        let mut came: std::collections::BTreeMap<usize, (usize, Edge)> = std::collections::BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                let mut path = Vec::new();
                let mut at = to;
                while at != from {
                    let (before, edge) = *came.get(&at)?;
                    path.push((before, edge));
                    at = before;
                }
                path.reverse();
                return Some(path);
            }
            for edge in self.edges(node, kinds).filter(|edge| knot.contains(&edge.to)) {
                if edge.to != from && !came.contains_key(&edge.to) {
                    came.insert(edge.to, (node, *edge));
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }

    fn tell(&self, cycle: &[(usize, Edge)]) -> String {
        let mut lines = Vec::new();
        for (from, edge) in cycle {
            // A moment between two transactions is none itself.
            let Some(entry) = self.history.get(*from) else { continue };
            lines.push(format!("\n  {}", name(*from, entry)));
            lines.push(match edge.kind {
                WW => format!("\n    ww: appended to key {} before", edge.key),
                WR => format!("\n    wr: its append to key {} is read by", edge.key),
                RW => format!("\n    rw: reads key {} without what is appended by", edge.key),
                _ => "\n    rt: was answered before the call of".to_owned(),
            });
        }
        lines.concat() + "\n  the first again"
    }
}

static NOBODY: Vec<usize> = Vec::new();

fn set<T>(all: &mut [T], at: usize, value: T) {
    if let Some(place) = all.get_mut(at) {
        *place = value;
    }
}

fn get<T: Copy>(all: &[T], at: usize) -> Option<T> {
    all.get(at).copied()
}

fn lower(all: &mut [usize], at: usize, value: Option<usize>) {
    if let (Some(place), Some(value)) = (all.get_mut(at), value) {
        *place = (*place).min(value);
    }
}
