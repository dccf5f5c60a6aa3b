//! Lists that only grow: nothing acknowledged is lost, nothing appears twice or from nowhere, and all agree on the order.
//!
//! For one key these rules are as strong as linearizability, and they need no search, so they hold for long histories.

use crate::Anomaly;
use crate::history::{End, Entry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What can be asked of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppendOp {
    /// To add a value that nobody else ever adds.
    Append(u64),
    /// Everything in it.
    Read,
}

/// What a list answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppendRet {
    /// Done.
    Done,
    /// Everything in it, in order.
    List(Vec<u64>),
}

type Calls<'a> = Vec<&'a Entry<AppendOp, AppendRet>>;

/// Whether each key behaves as one list.
pub fn check_appends(history: &[Entry<AppendOp, AppendRet>]) -> Result<(), Anomaly> {
    let mut keys: BTreeMap<u64, Calls<'_>> = BTreeMap::new();
    for entry in history {
        keys.entry(entry.key).or_default().push(entry);
    }
    keys.into_iter().try_for_each(|(key, calls)| check_key(key, &calls))
}

fn check_key(key: u64, calls: &Calls<'_>) -> Result<(), Anomaly> {
    let fail = |text: String| Err(Anomaly(format!("key {key}: {text}")));
    // Reads by their answer, shortest first: each must continue the one before.
    let mut reads: Vec<(&Vec<u64>, u64, u64)> = calls
        .iter()
        .filter_map(|c| match &c.end {
            End::Answered(at, AppendRet::List(list)) => Some((list, c.called, *at)),
            _ => None,
        })
        .collect();
    reads.sort_by_key(|(list, called, _)| (list.len(), *called));
    for pair in reads.windows(2) {
        if let [(short, ..), (long, ..)] = pair
            && !long.starts_with(short)
        {
            return fail(format!("two reads disagree: {short:?} and {long:?}"));
        }
    }
    let longest: &[u64] = reads.last().map_or(&[], |(list, ..)| list);
    let place: BTreeMap<u64, usize> = longest.iter().enumerate().map(|(i, v)| (*v, i)).collect();
    if place.len() != longest.len() {
        return fail(format!("a value is there twice: {longest:?}"));
    }
    let mut asked = BTreeSet::new();
    // For each answered append: where it is in the order, when it was called and when answered.
    let mut appends = Vec::new();
    for call in calls {
        let AppendOp::Append(value) = call.op else { continue };
        match call.end {
            End::Refused if place.contains_key(&value) => return fail(format!("{value} was refused and is there")),
            End::Refused => continue,
            End::Answered(at, _) => appends.push((value, call.called, at)),
            End::Unknown => {}
        }
        asked.insert(value);
    }
    if let Some(value) = longest.iter().find(|v| !asked.contains(v)) {
        return fail(format!("{value} came from nowhere"));
    }
    check_order(key, &reads, &appends, &place, calls)
}

fn check_order(
    key: u64,
    reads: &[(&Vec<u64>, u64, u64)],
    appends: &[(u64, u64, u64)],
    place: &BTreeMap<u64, usize>,
    calls: &Calls<'_>,
) -> Result<(), Anomaly> {
    let fail = |text: String| Err(Anomaly(format!("key {key}: {text}")));
    // What was read is there for every later read.
    let mut by_call = reads.to_vec();
    by_call.sort_by_key(|(_, called, _)| *called);
    let mut by_answer = reads.to_vec();
    by_answer.sort_by_key(|(_, _, at)| *at);
    let mut done = by_answer.iter().peekable();
    let mut least = 0;
    for (list, called, _) in &by_call {
        while let Some((earlier, ..)) = done.next_if(|(_, _, at)| at < called) {
            least = least.max(earlier.len());
        }
        if list.len() < least {
            return fail(format!("a read called at {called} saw {} values after another had seen {least}", list.len()));
        }
    }
    // What was acknowledged is there for every later read, in the order of the acknowledgements.
    for (value, _, acknowledged) in appends {
        let at = place.get(value).copied().unwrap_or(usize::MAX);
        if let Some((list, called, _)) =
            reads.iter().find(|(list, called, _)| called > acknowledged && list.len() <= at)
        {
            let seen = list.len();
            return fail(format!(
                "{value}, acknowledged at {acknowledged}, is lost: a read called at {called} saw {seen} values without it"
            ));
        }
    }
    let mut in_order: Vec<_> = calls
        .iter()
        .filter_map(|c| match c.op {
            AppendOp::Append(value) => place.get(&value).map(|at| (*at, value, c.called, c.end.clone())),
            AppendOp::Read => None,
        })
        .collect();
    in_order.sort_by_key(|(at, ..)| *at);
    // From the end: nothing may have been answered before something that stands earlier was called.
    let mut first_answer: Option<(u64, u64)> = None;
    for (_, value, called, end) in in_order.iter().rev() {
        if let Some((later, answered)) = first_answer.filter(|(_, answered)| answered < called) {
            return fail(format!("{later} was answered at {answered} and stands after {value}, called at {called}"));
        }
        if let End::Answered(at, _) = end
            && first_answer.is_none_or(|(_, answered)| at < &answered)
        {
            first_answer = Some((*value, *at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::AppendOp::{Append, Read};
    use super::*;
    use std::time::Duration;

    type Line = (u64, AppendOp, End<AppendRet>);

    fn verdict(lines: &[Line]) -> Result<(), Anomaly> {
        let entry = |(called, op, end): &Line| Entry {
            client: 0,
            key: 1,
            op: op.clone(),
            called: *called,
            called_at: Duration::ZERO,
            end: end.clone(),
        };
        check_appends(&lines.iter().map(entry).collect::<Vec<_>>())
    }

    fn add(called: u64, value: u64) -> Line {
        (called, Append(value), End::Answered(called + 1, AppendRet::Done))
    }

    fn read(called: u64, list: &[u64]) -> Line {
        (called, Read, End::Answered(called + 1, AppendRet::List(list.to_vec())))
    }

    #[test]
    fn what_a_list_does_is_accepted() {
        let unknown = (5, Append(9), End::Unknown);
        assert_eq!(
            verdict(&[
                add(1, 7),
                read(3, &[7]),
                unknown,
                read(7, &[7]),
                read(9, &[7, 9]),
                add(11, 8),
                read(13, &[7, 9, 8])
            ]),
            Ok(())
        );
    }

    #[test]
    fn each_planted_anomaly_is_named() {
        let cases: [(&str, Vec<Line>); 8] = [
            ("is lost", vec![add(1, 7), read(3, &[])]),
            ("is lost", vec![add(1, 7), add(3, 8), read(5, &[8]), read(7, &[8])]),
            ("disagree", vec![add(1, 7), add(3, 8), read(5, &[7, 8]), read(7, &[8])]),
            ("twice", vec![add(1, 7), read(3, &[7, 7])]),
            ("from nowhere", vec![read(3, &[7])]),
            ("was refused and is there", vec![(1, Append(7), End::Refused), read(3, &[7])]),
            ("after another had seen", vec![(1, Append(7), End::Unknown), read(3, &[7]), read(5, &[])]),
            ("stands after", vec![add(1, 7), add(3, 8), read(5, &[8, 7])]),
        ];
        for (name, lines) in cases {
            let text = verdict(&lines).unwrap_err().to_string();
            assert!(text.contains(name), "{name}: {text}");
        }
    }
}
