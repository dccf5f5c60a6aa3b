//! The way in for connections that came another way: over HTTPS, upgraded. From here on they are the door's, and end with it.

use super::backend::Backend;
use super::connection::Rights;
use super::listener::{DoorOptions, Guest, Trust};
use super::passage::{Unframed, pass_on};
use lifecycle::{Ready, Scope};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a session can be spoken on.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, of whatever kind.
pub type AnyStream = Box<dyn Duplex>;

/// A place at the side door, taken before the connection is there.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A door without a socket.
pub struct SideDoor<B> {
    guest: Arc<Guest<B>>,
    clients: Scope,
    free: Arc<Semaphore>,
}

impl<B> Clone for SideDoor<B> {
    fn clone(&self) -> Self {
        Self { guest: Arc::clone(&self.guest), clients: self.clients.clone(), free: Arc::clone(&self.free) }
    }
}

impl<B: Backend> SideDoor<B> {
    /// A side door whose sessions live in `scope` and end as those of a [`Door`](super::Door) do.
    pub fn new(options: DoorOptions, backend: &Ready<B>, scope: &Scope) -> Self {
        let clients = scope.child("side door");
        // The scope of the clients lives until its last handle goes, and this door goes before they do: so wait for them.
        let (kept, stopping) = (clients.clone(), scope.cancelled());
        scope.spawn("side door", async move {
            stopping.wait().await;
            kept.idle().await;
        });
        Self {
            // Who comes in here is known already.
            guest: Arc::new(Guest::new(backend.share(), Trust::Local, options)),
            clients,
            free: Arc::new(Semaphore::new(options.connections_max)),
        }
    }

    /// A place for one connection; none if the door is full or closed.
    pub fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        (!self.clients.cancelled().is_cancelled()).then_some(Place { _permit: permit })
    }

    /// Serves a client of this node.
    pub fn serve(&self, place: Place, stream: AnyStream, rights: Rights) {
        let (guest, stopping) = (Arc::clone(&self.guest), self.clients.cancelled());
        self.clients.spawn("client", async move {
            guest.welcome(stream, rights, stopping.wait()).await;
            drop(place);
        });
    }

    /// Serves a client that comes through another member, in frames: the session ends as well when that member stops.
    pub fn serve_framed(&self, place: Place, stream: AnyStream, rights: Rights) {
        let (guest, stopping) = (Arc::clone(&self.guest), self.clients.cancelled());
        self.clients.spawn("passed-on client", async move {
            let (stream, told) = Unframed::new(stream);
            let stop = async {
                tokio::select! {
                    biased;
                    () = stopping.wait() => {}
                    () = told.wait() => {}
                }
            };
            guest.welcome(stream, rights, stop).await;
            drop(place);
        });
    }

    /// Passes a client's bytes on to the member that serves it, over `there`.
    pub fn pass_on(&self, place: Place, client: AnyStream, there: AnyStream) {
        let stopping = self.clients.cancelled();
        self.clients.spawn("passage", async move {
            pass_on(client, there, stopping.wait()).await;
            drop(place);
        });
    }
}
