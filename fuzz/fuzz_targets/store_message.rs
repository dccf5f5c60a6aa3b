//! What members ask each other's stores, and what records and checkpoints carry beside pages: it is refused, or means the same
//! when it is passed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::Form;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let form = Form::ALL[usize::from(*choice) % Form::ALL.len()];
    let Some(once) = form.recode(bytes) else { return };
    assert!(once.len() <= bytes.len());
    assert_eq!(form.recode(&once), Some(once));
});
