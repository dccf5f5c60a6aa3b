//! Checkpoint files and the messages of a snapshot: they are refused, or what was read is written to bytes that mean the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sqlite::Form;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let forms = [Form::CheckpointMeta, Form::InstallPlan, Form::SnapshotRequest, Form::SnapshotAnswer];
    let form = forms[usize::from(*choice) % forms.len()];
    let bytes = Bytes::copy_from_slice(rest);
    let Some(once) = form.recode(&bytes) else { return };
    // A page may get longer: it need not have come in the shortest of its encodings, but nothing else may change.
    assert_eq!(form.recode(&once), Some(once.clone()));
    if form == Form::InstallPlan || form == Form::SnapshotRequest {
        assert_eq!(once, bytes);
    }
});
