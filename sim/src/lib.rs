//! Worlds in which the product is put under load and under faults, in virtual time, from one seed.
//!
//! A [`Scenario`] builds a [`World`] of nodes and clients, lets things go wrong (safety), repairs everything (heal), expects
//! it to serve again (liveness), and lets oracles judge what the clients saw and what is on the disks. A failing seed prints
//! the one line that repeats it, and joins the corpus.
//!
//! Deliberately absent: sleeps in real time, threads, and any source of chance but the seed.

pub mod check;
pub mod run;
pub mod scenarios;
pub mod world;

pub use run::{Broken, Outcome, Run, Scenario};
pub use world::{Fault, FaultMix, Process, Shape, Software, World};
