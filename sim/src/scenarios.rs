//! The stories. One file each.

mod cluster;
mod forming;
mod http;
mod joining;
mod lost;
mod opening;
mod power;
mod registers;
mod rot;
mod spares;
mod teardown;
mod watching;
mod witness;

use crate::Scenario;

/// All of them.
pub const ALL: &[Scenario] = &[
    registers::SCENARIO,
    cluster::SCENARIO,
    forming::SCENARIO,
    joining::SCENARIO,
    lost::SCENARIO,
    opening::SCENARIO,
    power::SCENARIO,
    rot::SCENARIO,
    spares::SCENARIO,
    teardown::SCENARIO,
    watching::SCENARIO,
    witness::SCENARIO,
];

/// The one of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|s| s.name == name)
}
