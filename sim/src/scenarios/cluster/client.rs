//! A client: appends to lists, changes registers, reads both; follows the leader; gives up after a while.

use super::board::Board;
use super::wire::{Trouble, Wire};
use crate::check::{AppendOp, AppendRet, Call, History, RegisterOp, RegisterRet};
use rt::sim::Dice;
use rt::time::{sleep, timeout};
use std::time::Duration;

const KEYS: u64 = 4;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS list (id INTEGER PRIMARY KEY, key INTEGER NOT NULL, value INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS register (key INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
];

/// What all clients saw.
#[derive(Clone, Default)]
pub(super) struct Histories {
    pub(super) registers: History<RegisterOp, RegisterRet>,
    pub(super) lists: History<AppendOp, AppendRet>,
}

impl Histories {
    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        (self.registers.len() + self.lists.len()) as u64
    }

    /// How many of them were answered.
    pub(super) fn answers(&self) -> u64 {
        (self.registers.answered() + self.lists.answered()) as u64
    }
}

pub(super) struct Plan {
    pub(super) nodes: u64,
    pub(super) board: Board,
    pub(super) histories: Histories,
}

struct Client {
    number: u64,
    plan: Plan,
    dice: Dice,
    /// The node that is asked, and the connection to it.
    node: u64,
    wire: Option<Wire>,
    has_tables: bool,
}

/// Calls until the world is healed, and then until an append and a read of each key were answered.
pub(super) async fn work(number: u64, plan: Plan) {
    let dice = Dice::new(rt::entropy::u64());
    let node = 1 + number % plan.nodes;
    let mut client = Client { number, plan, dice, node, wire: None, has_tables: false };
    let mut last = std::collections::BTreeMap::new();
    while !client.plan.board.is_healed() {
        let key = client.dice.below(KEYS);
        let fresh = client.fresh();
        match client.dice.below(8) {
            0..3 => {
                client.list(key, AppendOp::Append(fresh)).await;
            }
            3 | 4 => {
                client.list(key, AppendOp::Read).await;
            }
            5 => {
                client.register(key, RegisterOp::Write(fresh)).await;
            }
            6 => {
                if let Some(RegisterRet::Value(value)) = client.register(key, RegisterOp::Read).await {
                    last.insert(key, value);
                }
            }
            _ => {
                let old = last.get(&key).copied().flatten();
                client.register(key, RegisterOp::Swap(old, fresh)).await;
            }
        }
        let pause = client.dice.between(Duration::ZERO, Duration::from_millis(100));
        sleep(pause).await;
    }
    for key in 0..KEYS {
        let fresh = client.fresh();
        for op in [AppendOp::Append(fresh), AppendOp::Read] {
            // An append of unknown outcome is not repeated: another value is.
            let mut op = op;
            while client.list(key, op.clone()).await.is_none() {
                if let AppendOp::Append(value) = &mut op {
                    *value = client.fresh();
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        while client.register(key, RegisterOp::Read).await.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Client {
    /// A value that nobody else uses.
    fn fresh(&mut self) -> u64 {
        self.dice.roll() >> 1
    }

    /// The connection, with the tables there.
    async fn connected(&mut self) -> Option<&mut Wire> {
        if self.wire.is_none() {
            let opened = timeout(PATIENCE, async {
                let mut wire = Wire::open(self.node).await?;
                if !self.has_tables {
                    for sql in TABLES {
                        wire.execute(sql, &[]).await?;
                    }
                }
                Ok::<_, Trouble>(wire)
            });
            let Ok(Ok(wire)) = opened.await else {
                self.elsewhere();
                return None;
            };
            self.wire = Some(wire);
            self.has_tables = true;
        }
        self.wire.as_mut()
    }

    fn elsewhere(&mut self) {
        self.wire = None;
        self.node = 1 + self.dice.below(self.plan.nodes);
    }

    async fn list(&mut self, key: u64, op: AppendOp) -> Option<AppendRet> {
        let in_transaction = self.dice.chance(1, 4);
        let call = self.plan.histories.lists.call(self.number, key, op.clone());
        let Some(wire) = self.connected().await else {
            call.refused();
            return None;
        };
        let asked = timeout(PATIENCE, on_list(wire, key, &op, in_transaction)).await;
        self.end(call, asked)
    }

    async fn register(&mut self, key: u64, op: RegisterOp) -> Option<RegisterRet> {
        let call = self.plan.histories.registers.call(self.number, key, op.clone());
        let Some(wire) = self.connected().await else {
            call.refused();
            return None;
        };
        let asked = timeout(PATIENCE, on_register(wire, key, &op)).await;
        self.end(call, asked)
    }

    fn end<Op, Ret: Clone>(
        &mut self,
        call: Call<Op, Ret>,
        asked: Result<Result<Ret, Trouble>, rt::time::Elapsed>,
    ) -> Option<Ret> {
        match asked {
            Ok(Ok(ret)) => {
                call.answered(ret.clone());
                return Some(ret);
            }
            Ok(Err(trouble)) if trouble.is_without_effect() => call.refused(),
            _ => call.unknown(),
        }
        self.elsewhere();
        None
    }
}

async fn on_list(wire: &mut Wire, key: u64, op: &AppendOp, in_transaction: bool) -> Result<AppendRet, Trouble> {
    match op {
        AppendOp::Append(value) => {
            if in_transaction {
                wire.execute("BEGIN IMMEDIATE", &[]).await?;
            }
            wire.execute("INSERT INTO list (key, value) VALUES (?, ?)", &[number(key), number(*value)]).await?;
            if in_transaction {
                wire.execute("COMMIT", &[]).await?;
            }
            Ok(AppendRet::Done)
        }
        AppendOp::Read => {
            let values = wire.query("SELECT value FROM list WHERE key = ? ORDER BY id", &[number(key)]).await?;
            Ok(AppendRet::List(values.into_iter().flatten().map(i64::cast_unsigned).collect()))
        }
    }
}

async fn on_register(wire: &mut Wire, key: u64, op: &RegisterOp) -> Result<RegisterRet, Trouble> {
    let key = number(key);
    let changed = match op {
        RegisterOp::Read => {
            let values = wire.query("SELECT value FROM register WHERE key = ?", &[key]).await?;
            return Ok(RegisterRet::Value(values.first().copied().flatten().map(i64::cast_unsigned)));
        }
        RegisterOp::Write(new) => {
            let sql = "INSERT INTO register VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
            wire.execute(sql, &[key, number(*new)]).await?
        }
        RegisterOp::Swap(None, new) => {
            wire.execute("INSERT OR IGNORE INTO register VALUES (?, ?)", &[key, number(*new)]).await?
        }
        RegisterOp::Swap(Some(old), new) => {
            let sql = "UPDATE register SET value = ?3 WHERE key = ?1 AND value = ?2";
            wire.execute(sql, &[key, number(*old), number(*new)]).await?
        }
    };
    Ok(if changed == 1 { RegisterRet::Done } else { RegisterRet::Mismatch })
}

fn number(value: u64) -> i64 {
    value.cast_signed()
}
