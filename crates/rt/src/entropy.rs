//! Random numbers: the kernel's on a real machine, the node's seeded stream in simulation.

/// Fills `bytes` with unpredictable bytes, fit for keys and tokens.
pub fn fill(bytes: &mut [u8]) {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return node.fill(bytes);
    }
    if let Err(error) = getrandom::fill(bytes) {
        // The kernel's generator is ready from early boot on; without it nothing secret can be made.
        tracing::error!(%error, "the kernel gave no random bytes");
        bytes.fill(0);
    }
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
