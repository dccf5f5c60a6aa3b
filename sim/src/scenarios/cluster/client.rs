//! A client: appends to lists, changes registers, reads both; some also count, and write large rows; asks one node after the
//! other; gives up after a while.

use super::board::Board;
use super::wire::{Trouble, Wire};
use crate::check::{self, AppendOp, AppendRet, Call, History, RegisterOp, RegisterRet};
use rt::sim::Dice;
use rt::time::{sleep, timeout};
use std::time::Duration;

const KEYS: u64 = 4;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest pause between two calls of a client that only reads.
const READS_EVERY: Duration = Duration::from_millis(60);

/// How long a client pauses before it looks whether it may go on.
const QUIET: Duration = Duration::from_millis(50);

/// Enough pages that a transfer of them takes several answers, and is cut short now and then.
const LARGE_ROWS: u64 = 8;
const LARGE_BYTES: u64 = 256 << 10;
const WRITE_LARGE: &str = "INSERT OR REPLACE INTO large VALUES (?, randomblob(?))";
/// One text whose cost depends on its parameter.
const COUNT: &str =
    "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < ?) SELECT count(*) FROM c";

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS list (id INTEGER PRIMARY KEY, key INTEGER NOT NULL, value INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS register (key INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS large (id INTEGER PRIMARY KEY, body BLOB)",
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
    /// The node beside this client, which it likes to ask.
    pub(super) home: Option<u64>,
    /// Whether it writes nothing before the world is healed.
    pub(super) only_reads: bool,
    /// The longest pause between two calls, if it writes.
    pub(super) pause_max: Duration,
    /// Whether it writes large rows as well.
    pub(super) is_heavy: bool,
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
    let node = plan.home.unwrap_or(1 + number % plan.nodes);
    let mut client = Client { number, plan, dice, node, wire: None, has_tables: false };
    let mut last = std::collections::BTreeMap::new();
    while !client.plan.board.is_healed() {
        if client.plan.board.is_quiet() {
            sleep(QUIET).await;
            continue;
        }
        let key = client.dice.below(KEYS);
        let fresh = client.fresh();
        let roll = client.dice.below(10);
        let roll = if client.plan.only_reads { 3 + roll % 2 * 3 } else { roll };
        match roll {
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
            7 => {
                let old = last.get(&key).copied().flatten();
                client.register(key, RegisterOp::Swap(old, fresh)).await;
            }
            8 if client.plan.is_heavy => client.write_large().await,
            _ => client.count().await,
        }
        let pause_max = if client.plan.only_reads { READS_EVERY } else { client.plan.pause_max };
        let pause = client.dice.between(Duration::ZERO, pause_max);
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
            let opened = opened.await;
            let Ok(Ok(wire)) = opened else {
                tracing::debug!(node = self.node, why = ?opened.map(Result::err), "not connected");
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
        let anywhere = 1 + self.dice.below(self.plan.nodes);
        let node = self.plan.home.filter(|_| self.dice.chance(1, 2)).unwrap_or(anywhere);
        let after = (0..self.plan.nodes).map(|n| 1 + (node - 1 + n) % self.plan.nodes);
        self.node = after.into_iter().find(|node| !self.plan.board.is_lost(*node)).unwrap_or(node);
    }

    /// Replaces one of the large rows. Nobody reads them: the copies are compared.
    async fn write_large(&mut self) {
        let id = self.dice.below(LARGE_ROWS);
        let Some(wire) = self.connected().await else { return };
        let asked = timeout(PATIENCE, wire.execute(WRITE_LARGE, &[number(id), number(LARGE_BYTES)])).await;
        if !matches!(asked, Ok(Ok(_))) {
            self.elsewhere();
        }
    }

    /// Lets the server count, seldom far.
    async fn count(&mut self) {
        let to = if self.dice.chance(1, 4) { 5000 } else { 2 };
        let Some(wire) = self.connected().await else { return };
        match timeout(PATIENCE, wire.query(COUNT, &[to])).await {
            Ok(Ok(counted)) if counted == [Some(to)] => {}
            Ok(Ok(counted)) => self.plan.board.breaks("count", format!("{counted:?} instead of {to}")),
            _ => self.elsewhere(),
        }
    }

    async fn list(&mut self, key: u64, op: AppendOp) -> Option<AppendRet> {
        let in_transaction = self.dice.chance(1, 4);
        let call = check::call(&self.plan.histories.lists, self.number, key, op.clone());
        let Some(wire) = self.connected().await else {
            call.refused();
            return None;
        };
        let asked = timeout(PATIENCE, on_list(wire, key, &op, in_transaction)).await;
        self.end(call, asked)
    }

    async fn register(&mut self, key: u64, op: RegisterOp) -> Option<RegisterRet> {
        let call = check::call(&self.plan.histories.registers, self.number, key, op.clone());
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
        tracing::debug!(node = self.node, answer = ?asked.as_ref().map(|asked| asked.as_ref().err()), "asked");
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
