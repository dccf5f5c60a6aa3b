//! Registers: each key is one for a few seconds only, so that the search for an order stays short.

use super::{Workload, call, end, lines};
use crate::client::{Client, Kind};
use dqlite::ValueRef;
use histories::{Anomaly, History, RegisterOp, RegisterRet, check_registers};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys at a time, and how long they are used.
const KEYS: u64 = 4;
const WINDOW_MS: u64 = 8000;

const READ: &str = "SELECT value FROM registers WHERE key = ?";
const WRITE: &str = "INSERT INTO registers VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
const SWAP: &str = "UPDATE registers SET value = ?3 WHERE key = ?1 AND value = ?2";
const FOUND: &str = "INSERT OR IGNORE INTO registers VALUES (?, ?)";

#[derive(Default)]
pub(super) struct Register {
    history: History<RegisterOp, RegisterRet>,
    fresh: AtomicU64,
    used: Mutex<BTreeSet<u64>>,
}

impl Register {
    fn read(&self, client: &mut Client, key: u64) -> Option<RegisterRet> {
        let call = call(&self.history, client, key, RegisterOp::Read);
        let roll = client.dice.below(8);
        let ended = client.timed(Kind::Read, |client| match roll {
            // With the writer's lock, and without: both at the leader.
            0 => client.transact("BEGIN IMMEDIATE", |wire| Ok(stored(&wire.query(READ, &[integer(key)])?))),
            1 => client.transact("BEGIN", |wire| Ok(stored(&wire.query(READ, &[integer(key)])?))),
            _ => {
                let rows = client.read(READ, &[json!(key)])?;
                Ok(rows.first().and_then(|row| row.first()?.as_u64()))
            }
        });
        end(call, ended.map(RegisterRet::Value))
    }

    fn change(&self, client: &mut Client, key: u64, op: &RegisterOp) {
        let call = call(&self.history, client, key, op.clone());
        let statement = match op {
            RegisterOp::Write(new) => (WRITE, vec![json!(key), json!(new)]),
            RegisterOp::Swap(None, new) => (FOUND, vec![json!(key), json!(new)]),
            RegisterOp::Swap(Some(old), new) => (SWAP, vec![json!(key), json!(old), json!(new)]),
            RegisterOp::Read => return,
        };
        let is_numbered = client.dice.below(2) == 0;
        let ended = client.timed(Kind::Write, |client| {
            if is_numbered {
                client.write_once(&statement)
            } else {
                client.write(&[statement]).map(|changed| changed.first().copied().unwrap_or_default())
            }
        });
        let told = |changed| if changed == 1 { RegisterRet::Done } else { RegisterRet::Mismatch };
        end(call, ended.map(told));
    }
}

impl Workload for Register {
    fn tables(&self) -> Vec<String> {
        vec!["CREATE TABLE registers (key INTEGER PRIMARY KEY, value INTEGER NOT NULL)".to_owned()]
    }

    fn step(&self, client: &mut Client) {
        let key = client.field.now_ms() / WINDOW_MS * KEYS + client.dice.below(KEYS);
        if let Ok(mut used) = self.used.lock() {
            used.insert(key);
        }
        let new = self.fresh.fetch_add(1, Ordering::Relaxed);
        match client.dice.below(10) {
            0..5 => drop(self.read(client, key)),
            5..8 => self.change(client, key, &RegisterOp::Write(new)),
            _ => {
                if let Some(RegisterRet::Value(old)) = self.read(client, key) {
                    self.change(client, key, &RegisterOp::Swap(old, new));
                }
            }
        }
    }

    fn finish(&self, client: &mut Client) -> bool {
        let used = self.used.lock().map(|used| used.clone()).unwrap_or_default();
        used.into_iter().all(|key| self.read(client, key).is_some())
    }

    fn check(&self) -> Vec<Anomaly> {
        check_registers(&self.history.entries()).err().into_iter().collect()
    }

    fn lines(&self) -> String {
        lines(&self.history.entries())
    }
}

fn integer(key: u64) -> ValueRef<'static> {
    ValueRef::Integer(key.cast_signed())
}

fn stored(rows: &[Vec<dqlite::Value>]) -> Option<u64> {
    match rows.first().and_then(|row| row.first()) {
        Some(dqlite::Value::Integer(value)) => Some(value.cast_unsigned()),
        _ => None,
    }
}
