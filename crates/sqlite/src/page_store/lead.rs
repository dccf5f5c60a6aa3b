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

    /// Commits that were not taken yet, as one record with an empty `extra`; `None` if there are none. All of them, up to 4 MiB:
    /// those past that, unless one commit alone is larger, are for the next record. Also `None` while the next one is held
    /// (see [`Connection::hold_commits`](crate::Connection::hold_commits)). Records may be
    /// taken while earlier ones are in flight: each one's base is the version of the one before.
    pub fn next_record(&self) -> Option<Record> {
        self.shared.write_versions().next_record()
    }
}
