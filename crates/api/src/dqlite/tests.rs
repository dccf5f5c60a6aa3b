//! Conversations with the door, over a backend without SQLite.
#![allow(clippy::string_slice, reason = "a fake of a backend, fed by its own tests")]

mod conversations;
mod doors;
mod fake;
mod tls;
