//! A simulator for gossip groups of 10 to 10,000 members: whole groups of real [`swim::Swim`]s in virtual time, on a network that loses, delays,
//! doubles, reorders, damages and cuts, with members that crash, freeze, restart and whose clocks jump.
//!
//! One seed is one history. Timers are those of production: each member is woken when its own `poll_timeout` says, and not before.

mod agenda;
mod detector;
mod figures;
mod network;
mod ours;
mod random;
mod scenario;
mod world;

pub use detector::{Belief, Detector, Sighting, Start, Transmit, Way};
pub use figures::{FalseDeath, Figures, percentile};
pub use network::{Fate, Network, Streams};
pub use random::Random;
pub use scenario::{Chaos, Detect, Freeze, Join, Outcome, Slow, Split, Storm};
pub use world::{Clock, World};
