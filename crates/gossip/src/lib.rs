//! A member of a gossip group on a socket: the driver of [`swim::Swim`], and the handle on it.
//!
//! The driver has a thread, timers and a socket of its own, so that a process that is busy with other things does not look dead to others. It
//! alone owns the member's state and the socket; a [`Gossip`] is a way to ask it, and a board on which it notes what it knows.
//!
//! ```text
//!   Gossip --asks--> driver --datagrams--> others
//!     '---reads--> board <--notes--'
//! ```
//!
//! How a member ends, in whatever order its parts go: by [`Gossip::quit`], by its scope being cancelled (both tell the others, and say when they
//! have), when the last handle is dropped, or with the runtime (both silently, as a fall of the machine). The socket is closed once, by the driver,
//! and nobody is called back after that: docs/incidents/INC-3.md.

mod board;
mod driver;
mod error;
mod handle;

pub use board::{Counters, Known, Told};
pub use driver::{End, OnEvent};
pub use error::{GossipError, PAGES};
pub use handle::Gossip;
