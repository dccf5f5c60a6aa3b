//! Crash enumeration for storage code that needs a disk and nothing else: run it once to count its operations, then again
//! for each of them with the fault there, and look at what is left.

use super::disk::{Disk, Fault};
use super::node::Node;

/// Runs `work` on the calling thread as if on a machine with that disk: [`fs`](crate::fs), [`entropy`](crate::entropy) and
/// the clocks are simulated. No async runtime is needed.
pub fn run_blocking<R>(seed: u64, disk: &Disk, work: impl FnOnce() -> R) -> R {
    Node::with_disk("node", 1, seed, disk.clone()).enter(work)
}

/// Cuts the power at every operation of `work`, one after the other, and lets `check` look at the disk after the power is
/// back. `seeds` repeat the whole with other accidents (which sectors and names survive). Returns how many cuts were made.
///
/// `work` gets a fresh `S` in which it notes what was acknowledged; it may return or unwrap errors as it likes. `check`
/// gets the note and the number of the operation, and panics if a promise was broken. `prepare` runs before, without faults.
///
/// # Panics
/// When `check` does, after printing what repeats it; and when `work` does not touch the disk at all.
pub fn every_cut<S: Default>(
    seeds: std::ops::Range<u64>,
    prepare: impl Fn(),
    work: impl Fn(&mut S),
    check: impl Fn(&S, u64),
) -> u64 {
    every_fault(seeds, Fault::PowerCut, prepare, work, check)
}

/// Like [`every_cut`] with another fault. After the work the power is cut as well, since a process that met EIO or ENOSPC may
/// lose it later; `check` looks at the disk after that.
///
/// # Panics
/// When `check` does, after printing what repeats it; and when `work` does not touch the disk at all.
pub fn every_fault<S: Default>(
    seeds: std::ops::Range<u64>,
    fault: Fault,
    prepare: impl Fn(),
    work: impl Fn(&mut S),
    check: impl Fn(&S, u64),
) -> u64 {
    let mut made = 0;
    for seed in seeds {
        let prepared = Disk::new(seed);
        run_blocking(seed, &prepared, &prepare);
        let begin = prepared.operations();
        let trial = prepared.fork();
        run_blocking(seed, &trial, || work(&mut S::default()));
        let end = trial.operations();
        assert!(end > begin, "the work did not touch the disk, so there is nothing to cut");
        for operation in begin..end {
            let disk = prepared.fork();
            disk.reseed(seed ^ operation.rotate_left(32));
            disk.fail_at(operation, fault);
            let mut acknowledged = S::default();
            // Failing in any way is what a process on a dying disk does; the promise is about what is left.
            let attempt = std::panic::AssertUnwindSafe(|| run_blocking(seed, &disk, || work(&mut acknowledged)));
            drop(std::panic::catch_unwind(attempt));
            disk.forget_faults();
            disk.power_on();
            let looked = std::panic::AssertUnwindSafe(|| run_blocking(seed, &disk, || check(&acknowledged, operation)));
            if let Err(panic) = std::panic::catch_unwind(looked) {
                tracing::error!(seed, operation, ?fault, "broken promise; the last operations follow");
                for line in disk.recent() {
                    tracing::error!("{line}");
                }
                eprint_repro(seed, operation, fault, &disk);
                std::panic::resume_unwind(panic);
            }
            made += 1;
        }
    }
    made
}

#[expect(clippy::print_stderr, reason = "a failing test says how to repeat it")]
fn eprint_repro(seed: u64, operation: u64, fault: Fault, disk: &Disk) {
    eprintln!(
        "{fault:?} at operation {operation} with seed {seed}; the last operations:\n  {}",
        disk.recent().join("\n  ")
    );
}
