//! The stories. One file each.

mod cluster;
mod power;
mod registers;

use crate::Scenario;

/// All of them.
pub const ALL: &[Scenario] = &[registers::SCENARIO, cluster::SCENARIO, power::SCENARIO];

/// The one of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|s| s.name == name)
}
