//! Transactions on lists that only grow: strict serializability by the cycles of their dependencies, as Elle finds them
//! (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020).
//!
//! Every value is appended once by one transaction, so the longest list that was read gives the order of all versions of a key,
//! and with it who must stand before whom:
//!
//! - `ww`: who appended stands before who appended next;
//! - `wr`: who appended the last value that another read stands before the reader;
//! - `rw`: who read a version stands before who appended the next one;
//! - `rt`: who was answered stands before who was called later.
//!
//! A cycle means that no order of the transactions explains what was seen. Its name, after Adya, says what kinds of edges it
//! takes: G0 `ww`; G1c also `wr`; G-single also one `rw`; G2 more of them. With `-realtime` it also takes `rt`: serializable, but
//! not strictly. Beside cycles: what was refused and is read (G1a), a state in the middle of another transaction (G1b), reads
//! that disagree, values that are there twice or came from nowhere, and transactions that do not see their own appends.

mod cycles;
mod lists;

use crate::Anomaly;
use crate::history::Entry;
use cycles::Graph;
use lists::Lists;
use serde::Serialize;

/// One step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TxnStep {
    /// To append to the list of a key a value that nobody else ever appends to it.
    Append {
        /// Which list.
        key: u64,
        /// What is appended.
        value: u64,
    },
    /// To read the list of a key.
    Read {
        /// Which list.
        key: u64,
    },
}

/// The steps of a transaction, in order.
pub type TxnOp = Vec<TxnStep>;

/// What a transaction answers: a list for each [`TxnStep::Read`], in order.
pub type TxnRet = Vec<Vec<u64>>;

/// Everything that no order of the transactions explains; of cycles that share transactions only the plainest.
pub fn check_transactions(history: &[Entry<TxnOp, TxnRet>]) -> Vec<Anomaly> {
    let (lists, mut found) = Lists::read(history);
    found.extend(Graph::new(history, &lists).anomalies());
    found
}

#[cfg(test)]
mod tests;
