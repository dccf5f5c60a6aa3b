//! What clients saw, and whether it can be true: records of calls, and the checkers that judge them.
//!
//! The simulator and the tests on real processes share it. Each checker is sound (what a correct system can produce passes) and
//! says on its module what it finds.
//!
//! Deliberately absent: clocks, IO, and any knowledge of the system that is judged.

mod append;
mod bank;
mod history;
mod register;
mod set;
mod transactions;

pub use append::{AppendOp, AppendRet, check_appends};
pub use bank::{Bank, BankOp, BankRet, check_bank};
pub use history::{Call, End, Entry, History};
pub use register::{RegisterOp, RegisterRet, check_registers};
pub use set::{SetOp, SetRet, check_set};
pub use transactions::{TxnOp, TxnRet, TxnStep, check_transactions};

/// A history that no correct system can produce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Anomaly(pub String);
