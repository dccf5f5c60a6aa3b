//! Unit: a long-lived part of the process, and what it needs.

use crate::{Deadline, Ready, Scope, Slot};
use base::{Disposition, Fault};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A long-lived part with a start, a drain and a stop.
///
/// What it needs is given to [`start`](Self::start) as [`Ready`] values: it cannot start before its needs and is stopped
/// before them. What it provides exists for others from the moment `start` returned until it is drained.
///
/// The supervisor calls `start`, then `drain`, then `stop`; `stop` also after a `start` that failed or was dropped
/// half-way, so it must dispose of whatever is there. After `stop`, `start` may be called again (a restart): a unit
/// carries nothing over but its settings and what is durable. A panic in any of them is caught and is a typed failure.
pub trait Unit: Send + 'static {
    /// A tuple of [`Ready`] values; `()` if it needs nothing.
    type Needs: Send + 'static;
    /// What others get from it.
    type Provides: Send + Sync + 'static;

    /// Brings the unit up. Dropped at an await when the process stops meanwhile; `stop` follows then.
    fn start(
        &mut self,
        needs: Self::Needs,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Provides, UnitError>> + Send;

    /// Takes no new work and lets running work end, until `deadline`. Dropped when the deadline has passed.
    fn drain(&mut self, deadline: &Deadline) -> impl Future<Output = ()> + Send {
        let _ = deadline;
        std::future::ready(())
    }

    /// Lets everything go, until `deadline`. The unit's tasks (those in its context's scope) are cancelled and joined
    /// right after it.
    fn stop(&mut self, deadline: &Deadline) -> impl Future<Output = Result<(), UnitError>> + Send {
        let _ = deadline;
        std::future::ready(Ok(()))
    }
}

/// What a running unit gets from the supervisor: its name and the scope of its tasks.
#[derive(Debug, Clone)]
pub struct Context {
    /// The unit's name.
    pub name: &'static str,
    /// Where its tasks live, for this one start. A task that panics fails the unit, which is then restarted.
    pub scope: Scope,
    pub(crate) failure: tokio::sync::mpsc::Sender<UnitError>,
}

impl Context {
    /// Declares the running unit failed: it is stopped, with everything that needs it, and started again.
    pub fn fail(&self, error: UnitError) {
        // Only the first failure counts, and nobody listens once the unit is being stopped.
        drop(self.failure.try_send(error));
    }
}

/// Why a unit failed.
#[derive(Clone)]
pub enum UnitError {
    /// Something reported an error.
    Fault(Arc<dyn Fault + Send + Sync>),
    /// It, or one of its tasks, panicked.
    Panicked {
        /// Where.
        task: String,
        /// The panic's text.
        message: String,
    },
    /// A phase took longer than it may.
    TimedOut {
        /// Which phase.
        phase: &'static str,
        /// How long it was given.
        after: Duration,
    },
}

impl UnitError {
    /// Wraps an error of the product.
    pub fn new(fault: impl Fault + Send + Sync + 'static) -> Self {
        Self::Fault(Arc::new(fault))
    }

    /// Whether starting the unit again can help.
    pub fn is_worth_a_restart(&self) -> bool {
        match self {
            Self::Fault(fault) => !matches!(fault.disposition(), Disposition::Refuse | Disposition::Corrupt),
            Self::Panicked { .. } | Self::TimedOut { .. } => true,
        }
    }
}

impl<F: Fault + Send + Sync + 'static> From<F> for UnitError {
    fn from(fault: F) -> Self {
        Self::new(fault)
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "{}: {fault}", fault.code()),
            Self::Panicked { task, message } => write!(f, "{task} panicked: {message}"),
            Self::TimedOut { phase, after } => write!(f, "{phase} took longer than {after:?}"),
        }
    }
}

impl fmt::Debug for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a refusal of the unit means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Importance {
    /// The process is nothing without it: a refusal (an error that a restart cannot help) stops the process in order.
    #[default]
    Essential,
    /// The rest goes on; the unit is quarantined until the next start of the process.
    Optional,
}

/// How long a unit may take, and how much it matters.
#[derive(Debug, Clone, Copy)]
pub struct UnitOptions {
    /// For a start.
    pub start_max: Duration,
    /// For a drain. The deadline of the whole stop also holds.
    pub drain_max: Duration,
    /// For a stop.
    pub stop_max: Duration,
    /// What its refusal means.
    pub importance: Importance,
}

impl Default for UnitOptions {
    fn default() -> Self {
        Self {
            start_max: Duration::from_mins(1),
            drain_max: Duration::from_secs(10),
            stop_max: Duration::from_secs(5),
            importance: Importance::Essential,
        }
    }
}

/// The slots that a unit's needs come from: `()`, one slot, or a tuple of slots. A slot exists only after its unit was
/// added, so needs cannot form a circle.
pub trait Needs<V>: Send + 'static {
    /// The ready values, if all of them are.
    fn take(&self) -> Option<V>;
    /// The indices of the units they come from.
    fn units(&self) -> Vec<usize>;
}

impl Needs<()> for () {
    fn take(&self) -> Option<()> {
        Some(())
    }
    fn units(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<T: Send + Sync + 'static> Needs<Ready<T>> for Slot<T> {
    fn take(&self) -> Option<Ready<T>> {
        self.get()
    }
    fn units(&self) -> Vec<usize> {
        vec![self.unit()]
    }
}

macro_rules! needs_of_tuple {
    ($($slot:ident $index:tt),+) => {
        impl<$($slot: Send + Sync + 'static),+> Needs<($(Ready<$slot>,)+)> for ($(Slot<$slot>,)+) {
            fn take(&self) -> Option<($(Ready<$slot>,)+)> {
                Some(($(self.$index.get()?,)+))
            }
            fn units(&self) -> Vec<usize> {
                vec![$(self.$index.unit()),+]
            }
        }
    };
}

needs_of_tuple!(A 0);
needs_of_tuple!(A 0, B 1);
needs_of_tuple!(A 0, B 1, C 2);
needs_of_tuple!(A 0, B 1, C 2, D 3);
needs_of_tuple!(A 0, B 1, C 2, D 3, E 4);
needs_of_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
