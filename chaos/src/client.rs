//! A client: asks nodes over their Unix sockets, as a program on the same machine does, and notes how long it took.

use crate::dice::Dice;
use crate::http::{Trouble, ask};
use crate::plant::Plant;
use crate::wire::Wire;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The database of all workloads.
pub(crate) const DATABASE: &str = "chaos";

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What kind of call it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It changes something.
    Write,
    /// It only looks.
    Read,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Answered,
    Refused,
    Unknown,
}

/// One call, for the plots.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) begun_ms: u64,
    pub(crate) took_us: u64,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) client: u64,
    /// Why, if it was not answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
}

/// What all clients of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// The state directories, by node.
    pub(crate) dirs: Arc<Vec<PathBuf>>,
    pub(crate) begun: Instant,
    pub(crate) plant: Option<Plant>,
}

impl Field {
    /// Milliseconds since the run began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) dice: Dice,
    pub(crate) field: Field,
    /// The node beside it, which it likes to ask.
    home: usize,
    /// Whether it asks no other.
    is_settled: bool,
    /// The last that led, and a connection to it.
    leader: usize,
    wire: Option<Wire>,
    /// Its number for numbered writes, and the last that it took.
    identity: u64,
    sequence: u64,
    pub(crate) samples: Vec<Sample>,
}

/// A statement with its parameters.
pub(crate) type Statement = (&'static str, Vec<Value>);

impl Client {
    pub(crate) fn new(number: u64, field: Field, dice: &Dice) -> Self {
        let mut dice = dice.fork(&format!("client {number}"));
        let nodes = u64::try_from(field.dirs.len()).unwrap_or(1);
        let home = usize::try_from(number % nodes).unwrap_or_default();
        let identity = dice.roll() >> 2;
        Self {
            number,
            dice,
            field,
            home,
            is_settled: false,
            leader: home,
            wire: None,
            identity,
            sequence: 0,
            samples: Vec::new(),
        }
    }

    /// It asks that node from now on, and no other.
    pub(crate) fn settle(&mut self, node: usize) {
        self.home = node;
        self.is_settled = true;
    }

    /// The node that it asks next: mostly its own.
    fn node(&mut self) -> usize {
        if !self.is_settled && self.dice.below(4) == 0 { self.dice.index(self.field.dirs.len()) } else { self.home }
    }

    /// Carries out a call, and notes how long it took.
    pub(crate) fn timed<T>(
        &mut self,
        kind: Kind,
        call: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let (begun_ms, begun) = (self.field.now_ms(), Instant::now());
        let ended = call(self);
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (outcome, why) = match &ended {
            Ok(_) => (Outcome::Answered, String::new()),
            Err(Trouble::Refused(why)) => (Outcome::Refused, why.clone()),
            Err(Trouble::Unknown(why)) => (Outcome::Unknown, why.clone()),
        };
        self.samples.push(Sample { begun_ms, took_us, kind, outcome, client: self.number, why });
        ended
    }

    /// One transaction over HTTP: how many rows each statement changed.
    pub(crate) fn write(&mut self, statements: &[Statement]) -> Result<Vec<u64>, Trouble> {
        let node = self.node();
        let plant = self.field.plant;
        if plant == Some(Plant::LostWrite) && self.dice.below(20) == 0 {
            return Ok(vec![1; statements.len()]);
        }
        let done = if plant == Some(Plant::TornTransaction) {
            statements.chunks(1).try_fold(Vec::new(), |mut all, one| {
                all.extend(self.execute(node, &transaction(one))?);
                Ok(all)
            })
        } else {
            self.execute(node, &transaction(statements))
        };
        if plant == Some(Plant::RefusedWrite) && done.is_ok() && self.dice.below(20) == 0 {
            return Err(Trouble::Refused("planted".to_owned()));
        }
        done
    }

    /// One statement over HTTP with a number: it is sent again, to other nodes, as long as its outcome is unknown.
    pub(crate) fn write_once(&mut self, statement: &Statement) -> Result<u64, Trouble> {
        self.sequence += 1;
        let mut body = transaction(std::slice::from_ref(statement));
        if let Some(body) = body.as_object_mut() {
            body.insert("id".to_owned(), json!({"client": self.identity, "sequence": self.sequence}));
        }
        let mut node = self.node();
        let mut doubt = None;
        for _ in 0..4 {
            match self.execute(node, &body) {
                Ok(changed) => return Ok(changed.first().copied().unwrap_or_default()),
                Err(Trouble::Refused(why)) => doubt = doubt.or(Some(Trouble::Refused(why))),
                // Whatever comes now but an answer: the first time it may have been done.
                Err(unknown) => doubt = Some(doubt.filter(|d| matches!(d, Trouble::Unknown(_))).unwrap_or(unknown)),
            }
            if matches!(doubt, Some(Trouble::Refused(_))) {
                break;
            }
            node = self.dice.index(self.field.dirs.len());
            let pause = self.dice.between(20, 200);
            std::thread::sleep(pause);
        }
        Err(doubt.unwrap_or_else(|| Trouble::Unknown("never sent".to_owned())))
    }

    /// Replaces one of a few large rows, which nobody reads: the copies are compared.
    pub(crate) fn write_large(&mut self) {
        let (node, id) = (self.node(), self.dice.below(8));
        let sql = "INSERT OR REPLACE INTO ballast VALUES (?, randomblob(300000))";
        // Whether it was done does not matter.
        drop(self.execute(node, &transaction(&[(sql, vec![json!(id)])])));
    }

    fn execute(&self, node: usize, body: &Value) -> Result<Vec<u64>, Trouble> {
        let answer = self.ask(node, &format!("POST /v1/databases/{DATABASE}/execute"), &body.to_string())?;
        let results = answer.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(results.iter().map(|one| one.get("rows_affected").and_then(Value::as_u64).unwrap_or_default()).collect())
    }

    /// A linearizable read over HTTP, of any node.
    pub(crate) fn read(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Trouble> {
        let node = self.node();
        let level = if self.field.plant == Some(Plant::StaleRead) { "local" } else { "linearizable" };
        let request = format!("POST /v1/databases/{DATABASE}/query?read={level}&busy=1s");
        let answer = self.ask(node, &request, &json!({"sql": sql, "params": params}).to_string())?;
        let rows = answer.get("rows").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(rows.into_iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect())
    }

    fn ask(&self, node: usize, request: &str, body: &str) -> Result<Value, Trouble> {
        let Some(dir) = self.field.dirs.get(node) else { return Err(Trouble::Refused("no such node".to_owned())) };
        ask(&dir.join("control.sock"), request, body, PATIENCE)
    }

    /// A transaction over the dqlite protocol, at the leader. What fails before COMMIT certainly has no effect.
    pub(crate) fn transact<T>(
        &mut self,
        begin: &str,
        steps: impl FnOnce(&mut Wire) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut wire = self.connected()?;
        let refused = |trouble| match trouble {
            Trouble::Refused(why) | Trouble::Unknown(why) => Trouble::Refused(why),
        };
        wire.execute(begin, &[]).map_err(refused)?;
        let done = steps(&mut wire).map_err(refused)?;
        wire.execute("COMMIT", &[])?;
        self.wire = Some(wire);
        Ok(done)
    }

    /// The connection to the leader, or a new one. Who is in trouble does not put it back.
    fn connected(&mut self) -> Result<Wire, Trouble> {
        if let Some(mut wire) = self.wire.take() {
            wire.give(PATIENCE);
            return Ok(wire);
        }
        let mut why = Trouble::Refused("no node".to_owned());
        for step in 0..self.field.dirs.len() {
            let node = (self.leader + step) % self.field.dirs.len();
            let Some(dir) = self.field.dirs.get(node) else { continue };
            match Wire::open(&dir.join("dqlite.sock"), DATABASE, PATIENCE / 3) {
                Ok(mut wire) => {
                    self.leader = node;
                    wire.give(PATIENCE);
                    return Ok(wire);
                }
                Err(trouble) => why = trouble,
            }
        }
        Err(why)
    }
}

fn transaction(statements: &[Statement]) -> Value {
    let all: Vec<Value> = statements.iter().map(|(sql, params)| json!({"sql": sql, "params": params})).collect();
    json!({"statements": all})
}
