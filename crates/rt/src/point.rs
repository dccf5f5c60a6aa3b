//! Names for faults, for coverage and for old mistakes. They cost nothing outside simulation.

/// A place where the simulator may strike: `sim_point!("join.before_promote")`.
#[macro_export]
macro_rules! sim_point {
    ($name:literal) => {
        $crate::point::hit($name)
    };
}

/// A state that a sweep must reach at least once: `sometimes!("snapshot installed while draining")`.
#[macro_export]
macro_rules! sometimes {
    ($name:literal) => {
        $crate::point::reached($name)
    };
}

/// Whether an old mistake is switched on, so that a test can show that it would be caught: `if mutant!("inc-2") { .. }`.
/// Never true outside simulation.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::point::is_mutant($name)
    };
}

/// Called by [`mutant!`](crate::mutant).
#[inline]
pub fn is_mutant(name: &'static str) -> bool {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return node.is_mutant(name);
    }
    let _ = name;
    false
}

/// Called by [`sim_point!`](crate::sim_point).
#[inline]
pub fn hit(name: &'static str) {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        node.strike(name);
    }
    let _ = name;
}

/// Called by [`sometimes!`](crate::sometimes).
#[inline]
pub fn reached(name: &'static str) {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        node.reach(name);
    }
    let _ = name;
}
