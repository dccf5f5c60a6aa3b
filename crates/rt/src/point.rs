//! Names for faults and for coverage. Both cost nothing outside simulation.

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
