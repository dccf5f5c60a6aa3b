//! A set that only grows: every read has all that was acknowledged before it was called and all that an earlier read had, and
//! nothing that nobody tried to add before it was answered.

use crate::Anomaly;
use crate::history::{End, Entry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What can be asked of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetOp {
    /// To add an element that nobody else ever adds.
    Add(u64),
    /// All elements.
    Read,
}

/// What a set answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetRet {
    /// Done.
    Done,
    /// All elements, in any order.
    Elements(Vec<u64>),
}

/// Every read that cannot be true.
pub fn check_set(history: &[Entry<SetOp, SetRet>]) -> Vec<Anomaly> {
    let mut adds = BTreeMap::new();
    let mut reads = Vec::new();
    for entry in history {
        match (&entry.op, &entry.end) {
            (SetOp::Add(element), end) => {
                adds.insert(*element, (entry.called, end));
            }
            (SetOp::Read, End::Answered(answered, SetRet::Elements(elements))) => {
                reads.push((entry.called, *answered, elements));
            }
            (SetOp::Read, _) => {}
        }
    }
    // From when on every read must have an element: when its addition, or a read that had it, was answered.
    let mut since: BTreeMap<u64, u64> = BTreeMap::new();
    let answers = adds.iter().filter_map(|(element, (_, end))| match end {
        End::Answered(at, _) => Some((*element, *at)),
        _ => None,
    });
    let seen = reads.iter().flat_map(|(_, answered, elements)| elements.iter().map(|element| (*element, *answered)));
    for (element, at) in answers.chain(seen) {
        let first = since.entry(element).or_insert(at);
        *first = (*first).min(at);
    }
    let mut found = Vec::new();
    for (called, answered, elements) in &reads {
        let mut fail = |text: String| found.push(Anomaly(format!("the read called at {called}: {text}")));
        let distinct: BTreeSet<u64> = elements.iter().copied().collect();
        if distinct.len() != elements.len() {
            fail("an element is there twice".to_owned());
        }
        for element in &distinct {
            match adds.get(element) {
                Some((_, End::Refused)) => fail(format!("{element} was refused and is there")),
                Some((tried, _)) if tried < answered => {}
                _ => fail(format!("{element} came from nowhere")),
            }
        }
        let lost: Vec<u64> =
            since.iter().filter(|(e, at)| *at < called && !distinct.contains(e)).map(|(e, _)| *e).collect();
        if !lost.is_empty() {
            fail(format!("{} elements are lost that were acknowledged or read before: {lost:?}", lost.len()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(called: u64, op: SetOp, end: End<SetRet>) -> Entry<SetOp, SetRet> {
        Entry { client: 0, key: 0, op, called, called_at: Duration::ZERO, end }
    }

    fn add(called: u64, element: u64) -> Entry<SetOp, SetRet> {
        entry(called, SetOp::Add(element), End::Answered(called + 1, SetRet::Done))
    }

    fn read(called: u64, elements: &[u64]) -> Entry<SetOp, SetRet> {
        entry(called, SetOp::Read, End::Answered(called + 1, SetRet::Elements(elements.to_vec())))
    }

    #[test]
    fn what_a_set_does_is_accepted() {
        let unknown = entry(3, SetOp::Add(8), End::Unknown);
        let late = entry(1, SetOp::Add(9), End::Answered(99, SetRet::Done));
        let history =
            [add(1, 7), unknown, late, read(5, &[7]), read(7, &[7, 8]), read(9, &[9, 8, 7]), read(100, &[7, 8, 9])];
        assert_eq!(check_set(&history), []);
    }

    #[test]
    fn each_planted_anomaly_is_named() {
        for (name, history) in [
            ("lost", vec![add(1, 7), read(3, &[])]),
            ("lost", vec![entry(1, SetOp::Add(7), End::Unknown), read(3, &[7]), read(5, &[])]),
            ("from nowhere", vec![read(3, &[7])]),
            ("from nowhere", vec![read(3, &[7]), add(5, 7)]),
            ("refused", vec![entry(1, SetOp::Add(7), End::Refused), read(3, &[7])]),
            ("twice", vec![add(1, 7), read(3, &[7, 7])]),
        ] {
            let found = check_set(&history);
            assert!(found.iter().any(|anomaly| anomaly.0.contains(name)), "{name}: {found:?}");
        }
    }
}
