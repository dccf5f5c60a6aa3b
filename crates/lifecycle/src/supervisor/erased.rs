//! A unit with its types forgotten, so that units of all kinds stand in one list.

use crate::{Context, Deadline, Needs, Ready, Unit, UnitError};
use futures::future::BoxFuture;
use rt::sync::watch;

/// A unit, its needs and the slot of what it provides.
pub(crate) trait Erased: Send {
    /// Takes the needs, starts, and publishes the product. None: a need was withdrawn meanwhile.
    fn start<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Option<Result<(), UnitError>>>;
    /// Takes the product back: nobody gets it from now on.
    fn withdraw(&mut self);
    fn drain<'a>(&'a mut self, deadline: &'a Deadline) -> BoxFuture<'a, ()>;
    fn stop<'a>(&'a mut self, deadline: &'a Deadline) -> BoxFuture<'a, Result<(), UnitError>>;
}

pub(crate) struct Held<U: Unit, N> {
    pub(crate) name: &'static str,
    pub(crate) unit: U,
    pub(crate) needs: N,
    pub(crate) slot: watch::Sender<Option<Ready<U::Provides>>>,
}

impl<U: Unit, N: Needs<U::Needs> + Sync> Erased for Held<U, N> {
    fn start<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Option<Result<(), UnitError>>> {
        Box::pin(async move {
            let needs = self.needs.take()?;
            Some(match self.unit.start(needs, context).await {
                Ok(product) => {
                    self.slot.send_replace(Some(Ready::announce(self.name, product)));
                    Ok(())
                }
                Err(error) => Err(error),
            })
        })
    }

    fn withdraw(&mut self) {
        self.slot.send_replace(None);
    }

    fn drain<'a>(&'a mut self, deadline: &'a Deadline) -> BoxFuture<'a, ()> {
        Box::pin(self.unit.drain(deadline))
    }

    fn stop<'a>(&'a mut self, deadline: &'a Deadline) -> BoxFuture<'a, Result<(), UnitError>> {
        Box::pin(self.unit.stop(deadline))
    }
}
