//! What clients saw, and whether it can be true.

mod append;
mod history;
mod register;

pub use append::{AppendOp, AppendRet, check_appends};
pub use history::{Call, End, Entry, History};
pub use register::{RegisterOp, RegisterRet, check_registers};

/// A history that no correct system can produce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Anomaly(pub String);
