//! The trace of a run as a hash: one seed, one history. A run that is repeated must end with the same hash.

use std::sync::{Arc, Mutex, PoisonError};

/// Everything observable that happened in a world, folded into a hash. Cheap to clone; clones share.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that also keeps its events as text, to find where two runs part.
    pub fn verbose() -> Self {
        Self(Arc::new(Mutex::new(Inner { lines: Some(Vec::new()), ..Inner::default() })))
    }

    /// Folds an event in. The text is made only if the trace is verbose.
    pub fn event(&self, kind: &'static str, parts: &[u64]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.events += 1;
        let mut hash = inner.hash;
        for byte in kind.bytes() {
            hash = mix(hash, u64::from(byte));
        }
        for part in parts {
            hash = mix(hash, *part);
        }
        inner.hash = hash;
        if let Some(lines) = &mut inner.lines {
            lines.push(format!("{kind} {parts:?}"));
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hash
    }

    /// How many events went in.
    pub fn events(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).events
    }

    /// The events as text, if the trace is verbose.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone().unwrap_or_default()
    }
}

fn mix(hash: u64, part: u64) -> u64 {
    let mixed = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// A short fingerprint of bytes, for events.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes)) << 32 | (bytes.len() as u64 & 0xffff_ffff)
}
