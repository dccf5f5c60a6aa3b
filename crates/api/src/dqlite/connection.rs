//! One connection from its handshake to its end.

use super::backend::{Backend, Session};
use super::wire::{End, Wire};
use crate::intake::{Arriving, Intake};
use ::dqlite::{Event, Response};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// A client has this long to say which version it speaks.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// SQL that only reads, and the questions that any client asks to find the leader.
    Reader,
    /// SQL, but for changes of the cluster's own database, and the questions that any client asks to find the leader.
    Client,
    /// Also the requests that change the membership, and DUMP.
    Admin,
}

/// Serves one client.
pub(super) struct Connection<B: Backend, IO> {
    pub(super) backend: Arc<B>,
    pub(super) rights: Rights,
    pub(super) wire: Wire<IO>,
    pub(super) session: Option<B::Session>,
    pub(super) client: u64,
    intake: Intake,
    /// The request that is not whole yet, or is being done.
    arriving: Option<Arriving>,
}

impl<B: Backend, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<B, IO> {
    /// A connection that has said nothing yet.
    pub(super) fn new(backend: Arc<B>, rights: Rights, wire: Wire<IO>, intake: Intake) -> Self {
        Self { backend, rights, wire, session: None, client: 0, intake, arriving: None }
    }

    /// Serves requests until the client leaves or breaks the protocol, or until `stop` ends and no transaction is open.
    pub(super) async fn serve(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), End> {
        let mut stop = pin!(stop);
        let handshake = tokio::select! {
            biased;
            event = rt::time::timeout(HANDSHAKE_MAX, self.handshake()) => event,
            () = stop.as_mut() => return Ok(()),
        };
        match handshake.map_err(|_| End::Refused("the client did not say which version it speaks"))?? {
            Event::Violation(violation) => return Err(violation.into()),
            event => self.handle(event).await?,
        }
        loop {
            while let Some(event) = self.wire.poll() {
                self.handle(event).await?;
                // Once for each request of a client that waits for its answer; early ones must not pile answers up.
                self.wire.flush().await?;
                self.arriving = None;
            }
            self.wire.shrink();
            self.arrive().await?;
            if !self.next(stop.as_mut()).await? {
                return Ok(());
            }
        }
    }

    /// Takes memory for the request that has begun, if one has.
    async fn arrive(&mut self) -> Result<(), End> {
        let bytes = self.wire.unfinished();
        if bytes > 0 {
            self.arriving.get_or_insert_with(|| self.intake.begin()).grow(bytes).await?;
        }
        Ok(())
    }

    async fn handshake(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.wire.poll() {
                return Ok(event);
            }
            self.wire.fill().await?;
        }
    }

    /// Waits for bytes. `false`: the node stops, and this client has nothing open.
    async fn next(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Result<bool, End> {
        let idle = self.session.as_ref().and_then(Session::idle_deadline);
        let in_transaction = self.session.as_ref().is_some_and(Session::in_transaction);
        let whole_by = self.arriving.as_ref().map(Arriving::deadline);
        tokio::select! {
            // A request that has come is served before the node stops: its client cannot know.
            biased;
            filled = self.wire.fill() => filled.map(|()| true),
            () = stop, if !in_transaction => Ok(false),
            () = until(idle), if idle.is_some() => {
                if let Some(session) = &mut self.session {
                    session.expire();
                }
                Ok(true)
            }
            () = until(whole_by), if whole_by.is_some() => Err(End::Unfinished),
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Handshake(_) => Ok(()),
            Event::Request(frame) => self.request(&frame).await,
            // Nothing runs: what ran was watched, and answered.
            Event::Interrupt => {
                self.wire.answer(&Response::Empty);
                Ok(())
            }
            Event::Violation(violation) => {
                if let Some(code) = violation.failure() {
                    // The protocol is over, so the message goes past its state machine.
                    let message = violation.to_string();
                    Response::failure(code, &message).encode(&mut self.wire.out, ::dqlite::Dialect::default());
                    self.wire.flush().await?;
                }
                Err(violation.into())
            }
        }
    }
}

async fn until(deadline: Option<rt::time::Instant>) {
    match deadline {
        Some(deadline) => rt::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
