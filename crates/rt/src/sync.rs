//! Channels whose wake-ups have an order of their own, so that a seed decides them.

pub mod watch;
