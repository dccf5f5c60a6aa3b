//! What clients of microcluster ask a node for: its paths under `/core`, in LXD's envelope, answered by the same [`Control`] as ours.
//!
//! So that a program that was written for microcluster (a snap's command line, an operator's script) can be pointed at a node. What has
//! a counterpart is answered, what has none is refused with the reason and the next step: ADR-13 has the list and why.
//!
//! [`Control`]: crate::control::Control

mod envelope;
mod pages;
mod routes;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use pages::{ADDRESS, CONFIG, NO_TOKEN, TOKEN_OPEN, TOKEN_TIME, UNANSWERED};
pub(crate) use routes::routes;
