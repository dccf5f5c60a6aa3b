//! Leading: who may write, and what its commits become.

use super::{PageStore, Resigned};
use crate::record::Record;
use base::Term;

impl PageStore {
    /// From now on connections of this node may write. To be called when Raft has applied the first entry of the term, so
    /// that the committed version is the newest there is.
    pub fn lead(&self, term: Term) {
        self.shared.write_versions().lead(term);
    }

    /// No connection of this node may write from now on. What was not committed is dropped, and the connections that
    /// depended on it fail with `LeadershipLost`. Records in flight may still come back through [`apply`](Self::apply).
    pub fn resign(&self) -> Resigned {
        self.shared.write_versions().resign()
    }

    /// All commits that were not taken yet, as one record with an empty `extra`; `None` if there are none. Records may be
    /// taken while earlier ones are in flight: each one's base is the version of the one before.
    pub fn next_record(&self) -> Option<Record> {
        self.shared.write_versions().next_record()
    }
}
