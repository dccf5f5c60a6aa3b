//! Small histories of transactions, true and planted.

use super::TxnStep::{Append, Read};
use super::*;
use crate::history::End;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

type Line = Entry<TxnOp, TxnRet>;

fn line(called: u64, op: &[TxnStep], end: End<TxnRet>) -> Line {
    Entry { client: 0, key: 0, op: op.to_vec(), called, called_at: Duration::ZERO, end }
}

/// Called and answered at these moments.
fn done(called: u64, answered: u64, op: &[TxnStep], lists: &[&[u64]]) -> Line {
    line(called, op, End::Answered(answered, lists.iter().map(|list| list.to_vec()).collect()))
}

fn add(key: u64, value: u64) -> TxnStep {
    Append { key, value }
}

fn read(key: u64) -> TxnStep {
    Read { key }
}

fn names(history: &[Line]) -> Vec<String> {
    check_transactions(history).into_iter().map(|anomaly| anomaly.0).collect()
}

#[test]
fn what_serial_transactions_do_is_accepted() {
    let history = [
        done(1, 2, &[read(1), add(1, 7), add(2, 8), read(1)], &[&[], &[7]]),
        line(3, &[add(1, 9), add(2, 9)], End::Unknown),
        line(4, &[add(1, 5)], End::Refused),
        done(5, 6, &[read(1), read(2)], &[&[7], &[8]]),
        done(7, 8, &[read(2), read(1)], &[&[8, 9], &[7, 9]]),
        // Two at the same time, in either order.
        done(10, 20, &[add(1, 10), add(1, 11)], &[]),
        done(11, 19, &[add(1, 12), read(1)], &[&[7, 9, 12]]),
        done(21, 22, &[read(1)], &[&[7, 9, 12, 10, 11]]),
    ];
    assert_eq!(names(&history), Vec::<String>::new());
}

#[test]
fn each_planted_anomaly_has_its_name() {
    let cases: Vec<(&str, Vec<Line>)> = vec![
        // Two transactions write over each other, in different orders.
        (
            "G0:",
            vec![
                done(1, 9, &[add(1, 1), add(2, 1)], &[]),
                done(2, 8, &[add(1, 2), add(2, 2)], &[]),
                done(10, 11, &[read(1), read(2)], &[&[1, 2], &[2, 1]]),
            ],
        ),
        ("G1a:", vec![line(1, &[add(1, 1)], End::Refused), done(2, 3, &[read(1)], &[&[1]])]),
        ("G1b:", vec![done(1, 9, &[add(1, 1), add(1, 2)], &[]), done(2, 8, &[read(1)], &[&[1]])]),
        // Each sees what the other did.
        ("G1c:", vec![done(1, 9, &[add(1, 1), read(2)], &[&[2]]), done(2, 8, &[add(2, 2), read(1)], &[&[1]])]),
        // A lost update: both read nothing and then append.
        (
            "G-single:",
            vec![
                done(1, 9, &[read(1), add(1, 1)], &[&[]]),
                done(2, 8, &[read(1), add(1, 2)], &[&[]]),
                done(10, 11, &[read(1)], &[&[1, 2]]),
            ],
        ),
        // A read sees half of another transaction.
        (
            "G-single:",
            vec![
                done(1, 9, &[add(1, 1), add(2, 1)], &[]),
                done(2, 8, &[read(1), read(2)], &[&[1], &[]]),
                done(10, 11, &[read(2)], &[&[1]]),
            ],
        ),
        // Half of a transaction of unknown outcome is there.
        (
            "G-single:",
            vec![line(1, &[add(1, 1), add(2, 1)], End::Unknown), done(2, 3, &[read(1), read(2)], &[&[1], &[]])],
        ),
        // Write skew: each reads what the other is about to change.
        (
            "G2:",
            vec![
                done(1, 9, &[read(1), add(2, 2)], &[&[]]),
                done(2, 8, &[read(2), add(1, 1)], &[&[]]),
                done(10, 11, &[read(1), read(2)], &[&[1], &[2]]),
            ],
        ),
        // The order of the versions is not that of the answers.
        (
            "G0-realtime:",
            vec![done(1, 2, &[add(1, 1)], &[]), done(3, 4, &[add(1, 2)], &[]), done(5, 6, &[read(1)], &[&[2, 1]])],
        ),
        // Something is read before anybody asked for it.
        ("G1c-realtime:", vec![done(1, 2, &[read(1)], &[&[1]]), done(3, 4, &[add(1, 1)], &[])]),
        // A stale read; a lost write looks the same.
        ("G-single-realtime:", vec![done(1, 2, &[add(1, 1)], &[]), done(3, 4, &[read(1)], &[&[]])]),
        // A long fork, seen by two readers.
        (
            "G2:",
            vec![
                done(1, 20, &[add(1, 1)], &[]),
                done(2, 20, &[add(2, 2)], &[]),
                done(3, 4, &[read(1), read(2)], &[&[1], &[]]),
                done(5, 6, &[read(1), read(2)], &[&[], &[2]]),
                done(21, 22, &[read(1), read(2)], &[&[1], &[2]]),
            ],
        ),
        // Each of two readers may come before a writer, but not both: the one writer was answered before the other reader called.
        (
            "G2-realtime:",
            vec![
                done(1, 20, &[read(1), read(2)], &[&[], &[2]]),
                done(2, 3, &[add(1, 1)], &[]),
                done(4, 5, &[read(2)], &[&[]]),
                done(1, 20, &[add(2, 2)], &[]),
            ],
        ),
        (
            "disagree",
            vec![
                done(1, 2, &[add(1, 1)], &[]),
                done(1, 2, &[add(1, 2)], &[]),
                done(3, 4, &[read(1)], &[&[1, 2]]),
                done(3, 4, &[read(1)], &[&[2]]),
            ],
        ),
        ("twice", vec![done(1, 2, &[add(1, 1)], &[]), done(3, 4, &[read(1)], &[&[1, 1]])]),
        ("from nowhere", vec![done(3, 4, &[read(1)], &[&[1]])]),
        ("internal", vec![done(1, 2, &[add(1, 1), read(1)], &[&[]])]),
        ("internal", vec![done(1, 9, &[add(1, 1)], &[]), done(2, 8, &[read(1), read(1)], &[&[], &[1]])]),
    ];
    for (wanted, history) in cases {
        let found = names(&history);
        assert!(found.iter().any(|text| text.contains(wanted)), "{wanted} {found:?}");
    }
}

/// Four clients work on real lists at random; each transaction takes effect in the middle between its call and its answer.
fn honest(rolls: &[(u16, u8, u8)]) -> Vec<Line> {
    let mut free = [0_u64; 4];
    let mut moments = Vec::new();
    let mut history: Vec<Line> = Vec::new();
    for (n, (shape, pause, length)) in rolls.iter().enumerate() {
        // No two moments are the same: the last digits are the transaction's own.
        let called = free[n % 4] + u64::from(*pause) * 10_000 + 2 * n as u64;
        let answered = called + 10_001 + u64::from(*length) * 10_000;
        free[n % 4] = answered / 10_000 * 10_000 + 10_000;
        let step = |at: u16| {
            let bits = shape >> (at * 4);
            let key = u64::from(bits & 1);
            if bits & 2 == 0 { read(key) } else { add(key, n as u64 * 8 + u64::from(at)) }
        };
        let op: Vec<TxnStep> = (0..=(shape % 4)).map(step).collect();
        history.push(done(called, answered, &op, &[]));
        moments.push((called + (answered - called) / 2, n, shape % 11 == 3));
    }
    moments.sort_unstable();
    let mut lists: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (_, n, is_lost) in moments {
        let mut ret = Vec::new();
        for step in &history[n].op {
            match step {
                Append { key, value } => lists.entry(*key).or_default().push(*value),
                Read { key } => ret.push(lists.get(key).cloned().unwrap_or_default()),
            }
        }
        if let End::Answered(_, answer) = &mut history[n].end {
            *answer = ret;
        }
        if is_lost {
            history[n].end = End::Unknown;
        }
    }
    history
}

proptest! {
    #[test]
    fn every_history_of_real_lists_is_accepted(rolls in prop::collection::vec(any::<(u16, u8, u8)>(), 0..80)) {
        prop_assert_eq!(names(&honest(&rolls)), Vec::<String>::new());
    }

    #[test]
    fn an_acknowledged_append_that_is_taken_out_again_is_caught(
        rolls in prop::collection::vec(any::<(u16, u8, u8)>(), 1..60),
        at in 0_usize..60,
    ) {
        let mut history = honest(&rolls);
        let end = 1 << 40;
        let n = at % history.len();
        history[n].op.push(add(0, u64::MAX));
        if history[n].end == End::Unknown {
            history[n].end = End::Answered(history[n].called + 1, Vec::new());
            history[n].op.retain(|step| matches!(step, Append { .. }));
        }
        // As if it had never been there.
        let last: Vec<u64> = history.iter().enumerate().filter(|(i, _)| *i != n).flat_map(|(_, line)| match &line.end {
            End::Answered(_, ret) => {
                let reads = line.op.iter().filter_map(|s| if let Read { key } = s { Some(*key) } else { None });
                reads.zip(ret.clone()).filter(|(key, _)| *key == 0).map(|(_, list)| list).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        }).max_by_key(Vec::len).unwrap_or_default();
        history.push(done(end, end + 1, &[read(0)], &[&last]));
        prop_assert!(!names(&history).is_empty());
    }
}
