//! Members on real sockets: what they see of each other, and every order in which their parts can end.

#![cfg(test)]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets, threads and clocks")]

mod conversations;
mod kit;
mod teardown;
