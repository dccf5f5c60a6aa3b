//! Ready: the proof that a thing may be used, and the slot in which the proof appears.

use rt::sync::watch;
use std::ops::Deref;
use std::sync::Arc;

/// Proof that `T` is ready. A listener, a controller or a client is built from the `Ready` values it needs, so it cannot
/// exist before them.
pub struct Ready<T: ?Sized> {
    name: &'static str,
    value: Arc<T>,
}

impl<T> Ready<T> {
    /// Declares a thing ready. Whoever calls this vouches for it; in the product that is the supervisor, with what a
    /// unit's start returned.
    pub fn announce(name: &'static str, value: T) -> Self {
        tracing::debug!(name, "ready");
        Self { name, value: Arc::new(value) }
    }
}

impl<T: ?Sized> Ready<T> {
    /// What is ready.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The thing itself, shared.
    pub fn share(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }
}

impl<T: ?Sized> Clone for Ready<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, value: Arc::clone(&self.value) }
    }
}

impl<T: ?Sized> Deref for Ready<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> std::fmt::Debug for Ready<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ready({})", self.name)
    }
}

/// The place where a unit's proof appears when it is ready, and from which it is withdrawn before the unit stops.
///
/// A socket that was bound early holds a slot: while it is empty, every request is answered 503 with Retry-After.
pub struct Slot<T> {
    name: &'static str,
    unit: usize,
    receiver: watch::Receiver<Option<Ready<T>>>,
}

/// The unit stopped for good while somebody waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} has stopped")]
pub struct Withdrawn {
    /// What was waited for.
    pub name: &'static str,
}

impl<T> Slot<T> {
    pub(crate) fn new(name: &'static str, unit: usize) -> (watch::Sender<Option<Ready<T>>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self { name, unit, receiver })
    }

    /// The proof, if the unit is ready now.
    pub fn get(&self) -> Option<Ready<T>> {
        self.receiver.borrow().clone()
    }

    /// Waits until the unit is ready. Cancel-safe.
    pub async fn wait(&self) -> Result<Ready<T>, Withdrawn> {
        let mut receiver = self.receiver.clone();
        let withdrawn = Withdrawn { name: self.name };
        let ready = receiver.wait_for(Option::is_some).await.map_err(|_| withdrawn)?;
        ready.clone().ok_or(withdrawn)
    }

    /// Whose place this is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn unit(&self) -> usize {
        self.unit
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, unit: self.unit, receiver: self.receiver.clone() }
    }
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({})", self.name)
    }
}
