//! The way in for tests of decoders from outside: bytes are read, and what was read is written again.

use crate::page_store::MetaFile;
use crate::transfer::{recode_answer, recode_plan, recode_request};
use bytes::Bytes;

/// What bytes are taken for. docs/formats/page-store.md has the layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The body of a `checkpoint.meta`.
    CheckpointMeta,
    /// The body of an `install.meta`.
    InstallPlan,
    /// A request for a part of a snapshot.
    SnapshotRequest,
    /// The answer to one.
    SnapshotAnswer,
}

impl Form {
    /// Reads `bytes` and writes what was read: none if they have another form.
    pub fn recode(self, bytes: &Bytes) -> Option<Bytes> {
        match self {
            Self::CheckpointMeta => MetaFile::recode(bytes),
            Self::InstallPlan => recode_plan(bytes),
            Self::SnapshotRequest => recode_request(bytes),
            Self::SnapshotAnswer => recode_answer(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_a_form_is_written_the_same() {
        let meta =
            [&7_u64.to_le_bytes()[..], &3_u32.to_le_bytes(), &[5; 16], &2_u32.to_le_bytes(), &1_u32.to_le_bytes()];
        let meta = [meta.concat(), b"ex".to_vec(), vec![4, 0, 0, 0, 3, 0], b"sum".to_vec()].concat();
        let plan =
            [&7_u64.to_le_bytes()[..], &1_u32.to_le_bytes(), &1_u32.to_le_bytes(), &[9; 16], &1_u32.to_le_bytes()];
        let plan = [plan.concat(), b"extra".to_vec()].concat();
        for (form, bytes) in [
            (Form::CheckpointMeta, meta),
            (Form::InstallPlan, plan),
            (Form::SnapshotRequest, vec![2, 1, 0, 0, 0, 9, 0, 0, 0]),
            (Form::SnapshotAnswer, vec![3, 1, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let bytes = Bytes::from(bytes);
            assert_eq!(form.recode(&bytes), Some(bytes.clone()), "{form:?}");
            assert_eq!(form.recode(&bytes.slice(..3)), None, "{form:?}");
        }
    }
}
