//! A simulator for gossip groups of 10 to 10,000 members: whole groups of real [`swim::Swim`]s in virtual time, on a network that loses, delays,
//! doubles, reorders, damages and cuts, with members that crash, freeze, restart and whose clocks jump.
//!
//! One seed is one history. Timers are those of production: each member is woken when its own `poll_timeout` says, and not before.
//!
//! In the same worlds live members by the rules of [`Memberlist`] and of [`Foca`], for comparison: models of those rules, not the programs.

mod agenda;
mod compare;
mod detector;
mod figures;
mod foca;
mod memberlist;
mod network;
mod ours;
mod plot;
mod random;
mod rumours;
mod scenario;
mod world;

pub use compare::{Compare, Comparison, Rules};
pub use detector::{Belief, Detector, Sighting, Start, Transmit, Way};
pub use figures::{FalseDeath, Figures, percentile};
pub use foca::Foca;
pub use memberlist::Memberlist;
pub use network::{Fate, Network, Streams};
pub use random::Random;
pub use scenario::{Chaos, Detect, Freeze, Join, Outcome, Slow, Split, Storm};
pub use world::{Clock, World};
