//! Applying what Raft has committed.

use super::{Applied, PageStore};
use crate::error::RecordError;
use crate::record::Record;
use base::Term;
use bytes::Bytes;

impl PageStore {
    /// Takes a record into the committed version, or skips it as void. Memory only. Old versions that nobody needs go.
    pub fn apply(&self, record: &Record, entry_term: Term) -> Applied {
        let mut versions = self.shared.write_versions();
        let applied = versions.apply(record, entry_term);
        self.shared.publish_committed(&versions);
        applied
    }

    /// Decodes and applies; on the leader that made the record its pages are not decoded, as they are in memory already. The
    /// second value is the record's `extra`, a slice of `bytes`.
    pub fn apply_encoded(&self, bytes: &Bytes, entry_term: Term) -> Result<(Applied, Bytes), RecordError> {
        let (head, _, _) = Record::decode_head(bytes)?;
        if head.term == entry_term {
            let mut versions = self.shared.write_versions();
            if versions.apply_own(&head) {
                self.shared.publish_committed(&versions);
                return Ok((Applied::Confirmed(head.version), head.extra));
            }
        }
        if head.term != entry_term || head.base != self.committed() {
            return Ok((Applied::Void, head.extra));
        }
        let record = Record::decode(bytes)?;
        Ok((self.apply(&record, entry_term), record.extra))
    }
}
