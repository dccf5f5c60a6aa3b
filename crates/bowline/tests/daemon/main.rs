//! The command line against real daemons: what people type, what it prints, how it ends, and what is still there after a crash.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests start and watch real processes: files, clocks and sockets are the machine's"
)]

mod alive;
mod audit;
mod certificates;
mod clocks;
mod crowds;
mod damage;
mod databases;
mod guide;
mod hostile;
mod https;
mod leaving;
mod lifetime;
mod machine;
mod membership;
mod microcluster;
mod recovery;
mod resources;
mod roles;
mod rotation;
mod served_before_ready;
mod service_manager;
mod spares;
mod sql_from_afar;
mod sql_over_http;
mod stops;
mod transcript;
mod watchers;
mod witness;
