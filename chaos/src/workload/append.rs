//! Transactions on lists: over the dqlite protocol they read and append, over HTTP they only append or only read, on any node.

use super::{Workload, call, end, lines};
use crate::client::{Client, Kind, Statement};
use crate::http::Trouble;
use dqlite::ValueRef;
use histories::{Anomaly, History, TxnOp, TxnRet, TxnStep, check_transactions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lists at a time, and how long they are used.
const KEYS: u64 = 5;
const WINDOW_MS: u64 = 10_000;

const APPEND: &str =
    "INSERT INTO lists VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = value || ',' || excluded.value";
const READ: &str = "SELECT value FROM lists WHERE key = ?";

#[derive(Default)]
pub(super) struct Append {
    history: History<TxnOp, TxnRet>,
    fresh: AtomicU64,
    used: Mutex<BTreeSet<u64>>,
}

impl Append {
    fn key(&self, client: &mut Client) -> u64 {
        let key = client.field.now_ms() / WINDOW_MS * KEYS + client.dice.below(KEYS);
        if let Ok(mut used) = self.used.lock() {
            used.insert(key);
        }
        key
    }

    fn append(&self, client: &mut Client) -> TxnStep {
        TxnStep::Append { key: self.key(client), value: self.fresh.fetch_add(1, Ordering::Relaxed) }
    }

    /// Reads and appends, as one transaction at the leader.
    fn mixed(&self, client: &mut Client) {
        let steps: TxnOp = (0..=client.dice.below(4))
            .map(|_| {
                let is_read = client.dice.below(2) == 0;
                if is_read { TxnStep::Read { key: self.key(client) } } else { self.append(client) }
            })
            .collect();
        let writes = steps.iter().any(|step| matches!(step, TxnStep::Append { .. }));
        // A deferred transaction that reads first may lose to a writer, and is told so.
        let begin = if client.dice.below(3) == 0 { "BEGIN" } else { "BEGIN IMMEDIATE" };
        let call = call(&self.history, client, 0, steps.clone());
        let ended = client.timed(if writes { Kind::Write } else { Kind::Read }, |client| {
            client.transact(begin, |wire| {
                let mut lists = Vec::new();
                for step in &steps {
                    match step {
                        TxnStep::Append { key, value } => {
                            let text = value.to_string();
                            wire.execute(
                                APPEND,
                                &[ValueRef::Integer(key.cast_signed()), ValueRef::Text(text.as_bytes())],
                            )?;
                        }
                        TxnStep::Read { key } => {
                            let rows = wire.query(READ, &[ValueRef::Integer(key.cast_signed())])?;
                            lists.push(match rows.first().and_then(|row| row.first()) {
                                Some(dqlite::Value::Text(text)) => parse(&String::from_utf8_lossy(text))?,
                                _ => Vec::new(),
                            });
                        }
                    }
                }
                Ok(lists)
            })
        });
        end(call, ended);
    }

    /// Appends to several lists, as one request to any node.
    fn only_appends(&self, client: &mut Client) {
        let steps: TxnOp = (0..=client.dice.below(3)).map(|_| self.append(client)).collect();
        let statements: Vec<Statement> = steps
            .iter()
            .filter_map(|step| match step {
                TxnStep::Append { key, value } => Some((APPEND, vec![json!(key), json!(value.to_string())])),
                TxnStep::Read { .. } => None,
            })
            .collect();
        let call = call(&self.history, client, 0, steps);
        let ended = client.timed(Kind::Write, |client| client.write(&statements));
        end(call, ended.map(|_| Vec::new()));
    }

    /// Reads several lists in one statement, on any node.
    fn only_reads(&self, client: &mut Client, keys: &BTreeSet<u64>) -> bool {
        let steps = keys.iter().map(|key| TxnStep::Read { key: *key }).collect();
        let call = call(&self.history, client, 0, steps);
        let places = vec!["?"; keys.len()].join(", ");
        let sql = format!("SELECT key, value FROM lists WHERE key IN ({places})");
        let params: Vec<Value> = keys.iter().map(|key| json!(key)).collect();
        let ended = client.timed(Kind::Read, |client| client.read(&sql, &params)).and_then(|rows| {
            let mut lists = BTreeMap::new();
            for row in rows {
                if let (Some(key), Some(text)) =
                    (row.first().and_then(Value::as_u64), row.get(1).and_then(Value::as_str))
                {
                    lists.insert(key, parse(text)?);
                }
            }
            Ok(keys.iter().map(|key| lists.remove(key).unwrap_or_default()).collect())
        });
        end(call, ended).is_some()
    }
}

impl Workload for Append {
    fn tables(&self) -> Vec<String> {
        vec!["CREATE TABLE lists (key INTEGER PRIMARY KEY, value TEXT NOT NULL)".to_owned()]
    }

    fn step(&self, client: &mut Client) {
        match client.dice.below(10) {
            0..4 => self.mixed(client),
            4..6 => self.only_appends(client),
            _ => {
                let keys = (0..=client.dice.below(4)).map(|_| self.key(client)).collect();
                self.only_reads(client, &keys);
            }
        }
    }

    fn finish(&self, client: &mut Client) -> bool {
        let used = self.used.lock().map(|used| used.clone()).unwrap_or_default();
        self.only_reads(client, &used)
    }

    fn check(&self) -> Vec<Anomaly> {
        check_transactions(&self.history.entries())
    }

    fn lines(&self) -> String {
        lines(&self.history.entries())
    }
}

fn parse(text: &str) -> Result<Vec<u64>, Trouble> {
    let wrong = |_| Trouble::Unknown(format!("not a list: {text}"));
    text.split(',').map(|word| word.parse().map_err(wrong)).collect()
}
