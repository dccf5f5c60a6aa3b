//! What clients do, and how it is judged.

mod append;
mod bank;
mod register;
mod set;

use crate::client::Client;
use clap::ValueEnum;
use histories::{Anomaly, Call, Entry, History};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

use crate::http::Trouble;

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Registers: read, write, compare and swap. Linearizability, by search
    Register,
    /// Transactions on lists: strict serializability, by cycles
    Append,
    /// Money between accounts: totals and bounds
    Bank,
    /// A set that grows: nothing acknowledged is lost
    Set,
}

impl Name {
    /// As on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Append => "append",
            Self::Bank => "bank",
            Self::Set => "set",
        }
    }

    pub(crate) fn make(self) -> Box<dyn Workload> {
        match self {
            Self::Register => Box::new(register::Register::default()),
            Self::Append => Box::new(append::Append::default()),
            Self::Bank => Box::new(bank::Accounts::default()),
            Self::Set => Box::new(set::Set::default()),
        }
    }
}

/// One workload with its history. Many clients work on it at the same time.
pub(crate) trait Workload: Send + Sync {
    /// The statements that make its tables.
    fn tables(&self) -> Vec<String>;
    /// One call, of whatever kind the client's dice say.
    fn step(&self, client: &mut Client);
    /// Reads everything once more; whether that was answered.
    fn finish(&self, client: &mut Client) -> bool;
    /// What cannot be true.
    fn check(&self) -> Vec<Anomaly>;
    /// The history, as lines of JSON.
    fn lines(&self) -> String;
}

/// Notes how a call ended.
fn end<Op, Ret: Clone>(call: Call<Op, Ret>, ended: Result<Ret, Trouble>) -> Option<Ret> {
    match ended {
        Ok(ret) => {
            call.answered(ret.clone());
            Some(ret)
        }
        Err(Trouble::Refused(_)) => {
            call.refused();
            None
        }
        Err(Trouble::Unknown(_)) => {
            call.unknown();
            None
        }
    }
}

/// A client calls, now.
fn call<Op, Ret>(history: &History<Op, Ret>, client: &Client, key: u64, op: Op) -> Call<Op, Ret> {
    history.call(client.number, key, op, Duration::from_millis(client.field.now_ms()))
}

fn lines<Op: Serialize, Ret: Serialize>(entries: &[Entry<Op, Ret>]) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        let line = serde_json::to_string(entry).unwrap_or_else(|error| format!("\"{error}\""));
        // To write to a string does not fail.
        writeln!(text, "{line}").ok();
        text
    })
}
