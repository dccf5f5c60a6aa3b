//! Conversations with the door, over a backend without SQLite.

mod conversations;
mod doors;
mod fake;
mod tls;
