//! Gate: a shared thing that can be taken back.
//!
//! Everybody reaches the value through a guard. Closing refuses new guards, waits for those that are inside, and then
//! hands the value to its one owner, who disposes of it. So nobody can use it after it is gone, and nobody else can
//! dispose of it. (INC-2 and INC-4 are what happens without.)

use crate::sync::{Arc, Mutex, lock};
use rt::time::Instant;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::panic::Location;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The door to a shared value.
///
/// ```text
///   Open --close--> Closing --last guard leaves--> Closed
///     \--owner dropped--> Closed to new guards; the last guard that leaves drops the value
/// ```
///
/// Entering takes one short lock and never waits.
pub struct Gate<T>(Arc<Shared<T>>);

/// The one who may close the gate and gets the value back. Dropping it closes the gate without waiting.
pub struct Owner<T>(Arc<Shared<T>>);

/// A stay inside the gate. While it lives the value is not handed back. Do not keep it across an unbounded wait.
pub struct Guard<T> {
    // The order of the fields is the order of their drops: first the share is given up, then the visitor signs out. So
    // whoever sees the visitors' table empty is the only holder.
    value: Arc<T>,
    _visit: Visit<T>,
}

/// A line in the visitors' table; the drop signs out.
struct Visit<T> {
    shared: Arc<Shared<T>>,
    id: u64,
}

struct Shared<T> {
    name: &'static str,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    /// There while the gate is open; afterwards the closing owner has it.
    value: Option<Arc<T>>,
    inside: BTreeMap<u64, LateGuard>,
    next_visit: u64,
    closer: Option<Waker>,
}

/// The gate is closed: its owner is stopping, or has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} is closed")]
pub struct Closed {
    /// What is closed.
    pub name: &'static str,
}

/// Where a guard that is still inside was taken.
#[derive(Debug, Clone, Copy)]
pub struct LateGuard {
    /// The call of [`Gate::enter`].
    pub location: &'static Location<'static>,
    /// When.
    pub since: Instant,
}

/// The deadline passed while guards were inside. The gate stays closed; closing can be tried again with `owner`.
pub struct Late<T> {
    /// What was being closed.
    pub name: &'static str,
    /// Who was still inside.
    pub guards: Vec<LateGuard>,
    /// To wait longer.
    pub owner: Closing<T>,
}

/// A gate that is closed to newcomers and waits for its last guards.
pub struct Closing<T> {
    shared: Arc<Shared<T>>,
    value: Option<Arc<T>>,
}

impl<T> Gate<T> {
    /// Opens a gate around `value`.
    pub fn new(name: &'static str, value: T) -> (Self, Owner<T>) {
        let inner = Inner { value: Some(Arc::new(value)), inside: BTreeMap::new(), next_visit: 0, closer: None };
        let shared = Arc::new(Shared { name, inner: Mutex::new(inner) });
        (Self(Arc::clone(&shared)), Owner(shared))
    }

    /// Goes in, or is told that the gate is closed. The caller's place is kept for the report on late guards.
    #[track_caller]
    pub fn enter(&self) -> Result<Guard<T>, Closed> {
        let location = Location::caller();
        let mut inner = lock(&self.0.inner);
        let value = Arc::clone(inner.value.as_ref().ok_or(Closed { name: self.0.name })?);
        let visit = inner.next_visit;
        inner.next_visit += 1;
        inner.inside.insert(visit, LateGuard { location, since: now() });
        drop(inner);
        Ok(Guard { value, _visit: Visit { shared: Arc::clone(&self.0), id: visit } })
    }

    /// Whether entering would be refused now.
    pub fn is_closed(&self) -> bool {
        lock(&self.0.inner).value.is_none()
    }

    /// How many guards are inside.
    pub fn inside(&self) -> usize {
        lock(&self.0.inner).inside.len()
    }
}

impl<T> Owner<T> {
    /// Closes the gate: refuses new guards, waits for those inside until `deadline`, and hands the value back.
    /// When the future is dropped half-way the gate stays closed and the last guard drops the value.
    pub async fn close(self, deadline: Duration) -> Result<T, Late<T>> {
        self.refuse().finish(deadline).await
    }

    /// Only refuses new guards; [`Closing::finish`] waits for those inside.
    pub fn refuse(self) -> Closing<T> {
        let value = lock(&self.0.inner).value.take();
        Closing { shared: Arc::clone(&self.0), value }
    }
}

impl<T> Closing<T> {
    /// Waits for the guards inside until `deadline` passes, and hands the value back.
    pub async fn finish(mut self, deadline: Duration) -> Result<T, Late<T>> {
        if rt::time::timeout(deadline, self.emptied()).await.is_ok()
            && let Some(value) = self.value.take()
        {
            match Arc::try_unwrap(value) {
                Ok(value) => return Ok(value),
                // Cannot be: a guard gives its share up before it signs out.
                Err(shared) => self.value = Some(shared),
            }
        }
        let guards = lock(&self.shared.inner).inside.values().copied().collect();
        Err(Late { name: self.shared.name, guards, owner: self })
    }

    /// Resolves when no guard is inside. Only one task waits: `self` is borrowed mutably.
    async fn emptied(&mut self) {
        poll_fn(|cx| {
            let mut inner = lock(&self.shared.inner);
            if inner.inside.is_empty() {
                return Poll::Ready(());
            }
            inner.closer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// For the schedules of the shuttle test, where no clock runs.
    #[cfg(feature = "shuttle")]
    #[doc(hidden)]
    pub async fn finish_without_deadline(mut self) -> Option<T> {
        self.emptied().await;
        Arc::try_unwrap(self.value.take()?).ok()
    }
}

/// Shuttle runs without a clock.
fn now() -> Instant {
    #[cfg(feature = "shuttle")]
    return Instant::ZERO;
    #[cfg(not(feature = "shuttle"))]
    Instant::now()
}

impl<T> Drop for Visit<T> {
    fn drop(&mut self) {
        let mut inner = lock(&self.shared.inner);
        inner.inside.remove(&self.id);
        let waker = if inner.inside.is_empty() { inner.closer.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        let value = lock(&self.0.inner).value.take();
        // Outside the lock: the value's own drop may be long.
        drop(value);
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.0.name)
    }
}

impl<T> std::fmt::Debug for Owner<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owner({})", self.0.name)
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> std::fmt::Debug for Closing<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Closing({})", self.shared.name)
    }
}

impl<T> std::fmt::Debug for Late<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<T> std::fmt::Display for Late<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} could not be closed in time; still inside:", self.name)?;
        for guard in &self.guards {
            write!(f, " {}", guard.location)?;
        }
        Ok(())
    }
}

impl<T> std::error::Error for Late<T> {}
