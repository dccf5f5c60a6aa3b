//! What starts, holds and lets go: scopes for tasks, gates for shared things, proofs of readiness, and the supervisor
//! that starts units in the order of their needs and stops them in the reverse.
//!
//! The class of mistake this crate makes unrepresentable is one: a thing used before it was ready, or after it was gone
//! (docs/incidents). A [`Ready`] value is the only way to hold a unit's product and exists only while the unit runs; a
//! [`Gate`] hands its value back to one owner after the last guard has left; a [`Scope`] ends with every task it started.
//!
//! What is deliberately absent: a global registry, a bare spawn, a stop by sleeping, and any way to start a unit whose
//! needs are not ready.

mod cancel;
mod deadline;
mod gate;
mod ready;
mod scope;
mod shutdown;
pub mod state;
mod supervisor;
mod sync;
mod unit;

pub use cancel::Cancelled;
pub use deadline::Deadline;
pub use gate::{Closed, Closing, Gate, Guard, Late, LateGuard, Owner};
pub use ready::{Ready, Slot, Withdrawn};
pub use scope::{Failure, Running, Scope, Spawned, StopReport};
pub use shutdown::Shutdown;
pub use state::Lane;
pub use supervisor::{Lanes, PhaseOutcome, RunReport, Settings, Supervisor, UnitReport, UnitStatus};
pub use unit::{Context, Importance, Needs, Unit, UnitError, UnitOptions};
