//! What the reads say about each list: the order of its versions, who wrote them, and what is wrong without any cycle.

use super::{TxnOp, TxnRet, TxnStep};
use crate::Anomaly;
use crate::history::{End, Entry};
use std::collections::BTreeMap;

/// One read of an answered transaction that shows what others had done before.
pub(super) struct Seen {
    /// Which transaction, by its place in the history.
    pub(super) reader: usize,
    pub(super) key: u64,
    /// How many values it saw.
    pub(super) len: usize,
}

/// The lists of a history.
#[derive(Default)]
pub(super) struct Lists {
    /// By key: the longest list that was read.
    pub(super) orders: BTreeMap<u64, Vec<u64>>,
    /// Who appended a value to a key.
    pub(super) writers: BTreeMap<(u64, u64), usize>,
    /// By key: who certainly appended values that are in no list that was read. They stand after all others.
    pub(super) unread: BTreeMap<u64, Vec<usize>>,
    /// The reads before the reader's own appends to that key.
    pub(super) seen: Vec<Seen>,
    /// Whether a transaction took effect: it was answered, or something of it was read.
    pub(super) took_effect: Vec<bool>,
}

impl Lists {
    pub(super) fn read(history: &[Entry<TxnOp, TxnRet>]) -> (Self, Vec<Anomaly>) {
        let mut lists = Self { took_effect: vec![false; history.len()], ..Self::default() };
        let mut found = Vec::new();
        for (index, entry) in history.iter().enumerate() {
            for step in &entry.op {
                if let TxnStep::Append { key, value } = step
                    && lists.writers.insert((*key, *value), index).is_some()
                {
                    found.push(Anomaly(format!("bad test: {value} is appended to key {key} twice")));
                }
            }
        }
        for (index, entry) in history.iter().enumerate() {
            if let End::Answered(_, ret) = &entry.end {
                if let Some(effect) = lists.took_effect.get_mut(index) {
                    *effect = true;
                }
                lists.take_reads(index, entry, ret, history, &mut found);
            }
        }
        lists.find_effects(history, &mut found);
        (lists, found)
    }

    /// The reads of one transaction: as long as possible they continue the order, and they are true in themselves.
    fn take_reads(
        &mut self,
        index: usize,
        entry: &Entry<TxnOp, TxnRet>,
        ret: &TxnRet,
        history: &[Entry<TxnOp, TxnRet>],
        found: &mut Vec<Anomaly>,
    ) {
        let mut answers = ret.iter();
        // By key: what the transaction knows, and what it has appended.
        let mut known: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut own: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for step in &entry.op {
            let key = match step {
                TxnStep::Append { key, value } => {
                    own.entry(*key).or_default().push(*value);
                    if let Some(list) = known.get_mut(key) {
                        list.push(*value);
                    }
                    continue;
                }
                TxnStep::Read { key } => *key,
            };
            let Some(list) = answers.next() else {
                found.push(Anomaly(format!("{}: a read without an answer", name(index, entry))));
                continue;
            };
            let appended = own.get(&key).map_or(&[][..], Vec::as_slice);
            let is_true = known.get(&key).map_or_else(|| list.ends_with(appended), |known| known == list);
            if !is_true {
                let text = format!("internal: {} does not see what it did or saw on key {key}", name(index, entry));
                found.push(Anomaly(text));
            }
            known.insert(key, list.clone());
            if appended.is_empty() {
                self.seen.push(Seen { reader: index, key, len: list.len() });
                found.extend(self.intermediate(index, key, list, history));
            }
            let order = self.orders.entry(key).or_default();
            let (short, long) = if order.len() < list.len() { (&*order, list) } else { (list, &*order) };
            if !long.starts_with(short) {
                let text = format!("{}: two reads of key {key} disagree: {short:?} and {long:?}", name(index, entry));
                found.push(Anomaly(text));
            }
            if order.len() < list.len() {
                order.clone_from(list);
            }
        }
    }

    /// G1b: the list ends within what another transaction appended.
    fn intermediate(&self, reader: usize, key: u64, list: &[u64], history: &[Entry<TxnOp, TxnRet>]) -> Option<Anomaly> {
        let end = *list.last()?;
        let writer = *self.writers.get(&(key, end))?;
        let entry = history.get(writer).filter(|_| writer != reader)?;
        let newest = entry.op.iter().rev().find_map(|step| match step {
            TxnStep::Append { key: appended, value } if *appended == key => Some(*value),
            _ => None,
        })?;
        (newest != end).then(|| {
            let text = format!("G1b: a read of key {key} ends with {end}, in the middle of {}", name(writer, entry));
            Anomaly(text)
        })
    }

    /// Who of the unknown took effect, who appended what nobody read, and values that cannot be there.
    fn find_effects(&mut self, history: &[Entry<TxnOp, TxnRet>], found: &mut Vec<Anomaly>) {
        for (key, order) in &self.orders {
            let mut places = BTreeMap::new();
            for (place, value) in order.iter().enumerate() {
                if places.insert(*value, place).is_some() {
                    found.push(Anomaly(format!("key {key}: {value} is there twice: {order:?}")));
                }
                let Some(writer) = self.writers.get(&(*key, *value)) else {
                    found.push(Anomaly(format!("key {key}: {value} came from nowhere")));
                    continue;
                };
                if let Some(effect) = self.took_effect.get_mut(*writer) {
                    *effect = true;
                }
                if let Some(entry) = history.get(*writer).filter(|entry| entry.end == End::Refused) {
                    found.push(Anomaly(format!("G1a: {value} of key {key} was refused: {}", name(*writer, entry))));
                }
            }
        }
        for ((key, value), writer) in &self.writers {
            let is_read = self.orders.get(key).is_some_and(|order| order.contains(value));
            let unread = self.unread.entry(*key).or_default();
            if !is_read && self.took_effect.get(*writer) == Some(&true) && unread.last() != Some(writer) {
                unread.push(*writer);
            }
        }
    }
}

/// A transaction, as it is told of.
pub(super) fn name(index: usize, entry: &Entry<TxnOp, TxnRet>) -> String {
    let steps: Vec<String> = entry
        .op
        .iter()
        .scan(0, |reads, step| {
            Some(match step {
                TxnStep::Append { key, value } => format!("{key}+{value}"),
                TxnStep::Read { key } => {
                    *reads += 1;
                    match &entry.end {
                        End::Answered(_, ret) => {
                            let list = ret.get(*reads - 1).map_or(&[][..], Vec::as_slice);
                            let from = list.len().saturating_sub(3);
                            format!("{key}={} values ..{:?}", list.len(), list.get(from..).unwrap_or_default())
                        }
                        _ => format!("{key}=?"),
                    }
                }
            })
        })
        .collect();
    let end = match &entry.end {
        End::Answered(at, _) => format!("answered {at}"),
        End::Refused => "refused".to_owned(),
        End::Unknown => "unknown".to_owned(),
    };
    format!("T{index} (client {}, called {}, {end}: {})", entry.client, entry.called, steps.join(", "))
}
