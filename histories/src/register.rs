//! Linearizability of registers, key by key, by Wing and Gong's search with Lowe's memory of configurations ("Testing for
//! linearizability", 2017).

use crate::Anomaly;
use crate::history::{End, Entry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What can be asked of a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterOp {
    /// Its value.
    Read,
    /// To hold a value from now on.
    Write(u64),
    /// To hold the second value if it holds the first.
    Swap(Option<u64>, u64),
}

/// What a register answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterRet {
    /// The value; none if it was never written.
    Value(Option<u64>),
    /// Done.
    Done,
    /// The swap did not find what it expected.
    Mismatch,
}

/// Whether each key behaves as one register that changes at some moment between each call and its answer.
pub fn check_registers(history: &[Entry<RegisterOp, RegisterRet>]) -> Result<(), Anomaly> {
    let mut keys: BTreeMap<u64, Vec<&Entry<RegisterOp, RegisterRet>>> = BTreeMap::new();
    for entry in history {
        let pointless = matches!((&entry.end, &entry.op), (End::Refused, _) | (End::Unknown, RegisterOp::Read));
        if !pointless {
            keys.entry(entry.key).or_default().push(entry);
        }
    }
    keys.into_iter().try_for_each(|(key, calls)| check_key(key, &calls))
}

/// The value after `op`, if the answer can be true; an unknown answer always can.
#[expect(
    clippy::option_option,
    reason = "the outer says whether the step is possible, the inner is the register's value"
)]
fn step(value: Option<u64>, op: &RegisterOp, ret: Option<&RegisterRet>) -> Option<Option<u64>> {
    match (op, ret) {
        (RegisterOp::Read, Some(RegisterRet::Value(seen))) => (*seen == value).then_some(value),
        (RegisterOp::Write(new), Some(RegisterRet::Done) | None) => Some(Some(*new)),
        (RegisterOp::Swap(old, new), Some(RegisterRet::Done)) => (*old == value).then_some(Some(*new)),
        (RegisterOp::Swap(old, _), Some(RegisterRet::Mismatch)) => (*old != value).then_some(value),
        (RegisterOp::Swap(old, new), None) => Some(if *old == value { Some(*new) } else { value }),
        _ => None,
    }
}

/// Whether an answer says that the register was only looked at.
fn is_quiet(call: &Entry<RegisterOp, RegisterRet>) -> bool {
    matches!(call.end, End::Answered(_, RegisterRet::Value(_) | RegisterRet::Mismatch))
}

/// A set of small numbers that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }
    fn flip(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word ^= 1 << (i % 64);
        }
    }
    fn has(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }
}

/// Depth-first: among the calls that began before the first pending answer, take one that fits, until all answered calls are
/// taken. A configuration (which calls are taken, and the value) that was seen before leads nowhere new.
fn check_key(key: u64, calls: &[&Entry<RegisterOp, RegisterRet>]) -> Result<(), Anomaly> {
    let returned = |i: usize| match calls.get(i).map(|c| &c.end) {
        Some(End::Answered(at, _)) => *at,
        _ => u64::MAX,
    };
    let answered = calls.iter().filter(|c| matches!(c.end, End::Answered(..))).count();
    let mut taken = Bits::new(calls.len());
    let mut taken_answered = 0;
    let mut value = None;
    let mut seen = BTreeSet::new();
    // What was taken, with the value before it, to go back to.
    let mut path: Vec<(usize, Option<u64>)> = Vec::new();
    let mut deepest = 0;
    let mut next = 0;
    loop {
        if taken_answered == answered {
            return Ok(());
        }
        // No call may be taken that began after an untaken one was answered.
        let horizon = (0..calls.len()).filter(|i| !taken.has(*i)).map(returned).min().unwrap_or(u64::MAX);
        let fits = |i: usize| {
            let call = calls.get(i).filter(|c| !taken.has(i) && c.called < horizon)?;
            let ret = if let End::Answered(_, ret) = &call.end { Some(ret) } else { None };
            step(value, &call.op, ret)
        };
        // An answer that fits and changes nothing is taken at once: later it could only fit less, and nothing waits for it.
        let quiet = (0..calls.len()).find(|i| calls.get(*i).is_some_and(|c| is_quiet(c)) && fits(*i).is_some());
        if let Some(i) = quiet.filter(|_| next == 0) {
            path.push((i, value));
            taken.flip(i);
            taken_answered += 1;
            deepest = deepest.max(taken_answered);
            continue;
        }
        let candidate = (next..calls.len()).filter(|_| quiet.is_none()).find_map(|i| {
            let after = fits(i)?;
            let mut config = taken.clone();
            config.flip(i);
            seen.insert((config, after)).then_some((i, after))
        });
        if let Some((i, after)) = candidate {
            path.push((i, value));
            taken.flip(i);
            taken_answered += usize::from(returned(i) != u64::MAX);
            deepest = deepest.max(taken_answered);
            value = after;
            next = 0;
            continue;
        }
        let Some((i, before)) = path.pop() else {
            return Err(Anomaly(format!(
                "key {key}: {deepest} of {answered} answers can be put in an order\n{}",
                describe(calls)
            )));
        };
        taken.flip(i);
        taken_answered -= usize::from(returned(i) != u64::MAX);
        value = before;
        next = i + 1;
    }
}

fn describe(calls: &[&Entry<RegisterOp, RegisterRet>]) -> String {
    let line = |c: &&Entry<RegisterOp, RegisterRet>| {
        format!("  [{} .. ] client {} at {:?}: {:?} -> {:?}", c.called, c.client, c.called_at, c.op, c.end)
    };
    calls.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::RegisterOp::{Read, Swap, Write};
    use super::RegisterRet::{Done, Mismatch, Value};
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    type Line = (u64, RegisterOp, End<RegisterRet>);

    fn history(lines: &[Line]) -> Vec<Entry<RegisterOp, RegisterRet>> {
        let entry = |(called, op, end): &Line| Entry {
            client: 0,
            key: 1,
            op: op.clone(),
            called: *called,
            called_at: Duration::ZERO,
            end: end.clone(),
        };
        lines.iter().map(entry).collect()
    }

    fn is_fine(lines: &[Line]) -> bool {
        check_registers(&history(lines)).is_ok()
    }

    #[test]
    fn concurrent_calls_may_take_effect_in_either_order() {
        let write = |ret| (1, Write(7), End::Answered(ret, Done));
        assert!(is_fine(&[write(4), (2, Read, End::Answered(3, Value(None)))]));
        assert!(is_fine(&[write(4), (2, Read, End::Answered(3, Value(Some(7))))]));
    }

    #[test]
    fn a_stale_read_is_an_anomaly() {
        let write = (1, Write(7), End::Answered(2, Done));
        assert!(!is_fine(&[write.clone(), (3, Read, End::Answered(4, Value(None)))]));
        assert!(!is_fine(&[write, (3, Write(8), End::Answered(4, Done)), (5, Read, End::Answered(6, Value(Some(7))))]));
    }

    #[test]
    fn a_value_that_was_seen_does_not_go_away_again() {
        let lines = [
            (1, Write(7), End::Unknown),
            (2, Read, End::Answered(3, Value(Some(7)))),
            (4, Read, End::Answered(5, Value(None))),
        ];
        assert!(!is_fine(&lines));
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let unknown = (1, Write(7), End::Unknown);
        assert!(is_fine(&[
            unknown.clone(),
            (2, Read, End::Answered(3, Value(None))),
            (8, Read, End::Answered(9, Value(Some(7))))
        ]));
        assert!(is_fine(&[unknown, (2, Read, End::Answered(3, Value(None)))]));
    }

    #[test]
    fn a_refused_write_must_not_be_seen() {
        assert!(!is_fine(&[(1, Write(7), End::Refused), (2, Read, End::Answered(3, Value(Some(7))))]));
    }

    #[test]
    fn a_lost_update_is_an_anomaly() {
        let swap = |called, ret| (called, Swap(None, called), End::Answered(ret, Done));
        assert!(!is_fine(&[swap(1, 3), swap(2, 4)]));
        assert!(is_fine(&[swap(1, 3), (2, Swap(None, 9), End::Answered(4, Mismatch))]));
    }

    /// Four clients call a real register at random; each call takes effect in the middle between call and answer.
    fn honest(rolls: &[(u8, u8, u8)]) -> Vec<Line> {
        let mut events: Vec<(u64, usize, bool)> = Vec::new();
        let mut lines: Vec<Line> = Vec::new();
        let mut free = [0_u64; 4];
        for (n, (kind, pause, length)) in rolls.iter().enumerate() {
            // No two moments are the same: the last digits are the call's own.
            let begin = free[n % 4] + u64::from(*pause) * 10_000 + 2 * n as u64;
            let end = begin + 10_001 + u64::from(*length) * 10_000;
            free[n % 4] = end / 10_000 * 10_000 + 10_000;
            let op = if kind % 2 == 0 { Read } else { Write(n as u64) };
            events.push((begin + (end - begin) / 2, n, kind % 7 == 3));
            lines.push((begin, op, End::Answered(end, Done)));
        }
        events.sort_unstable();
        let mut value = None;
        for (_, n, lost) in events {
            let (_, op, end) = &mut lines[n];
            match op {
                Write(new) => {
                    value = Some(*new);
                    if lost {
                        *end = End::Unknown;
                    }
                }
                _ => {
                    if let End::Answered(_, ret) = end {
                        *ret = Value(value);
                    }
                }
            }
        }
        lines
    }

    proptest! {
        #[test]
        fn every_history_of_a_real_register_is_accepted(rolls in prop::collection::vec(any::<(u8, u8, u8)>(), 0..60)) {
            prop_assert!(is_fine(&honest(&rolls)));
        }

        #[test]
        fn a_read_of_what_nobody_wrote_is_caught(rolls in prop::collection::vec(any::<(u8, u8, u8)>(), 1..40), at in 0_usize..40) {
            let mut lines = honest(&rolls);
            let n = at % lines.len();
            lines[n] = (lines[n].0, Read, End::Answered(lines[n].0 + 1, Value(Some(u64::MAX))));
            prop_assert!(!is_fine(&lines));
        }
    }
}
