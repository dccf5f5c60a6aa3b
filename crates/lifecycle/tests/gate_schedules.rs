//! The gate under thousands of schedules of its threads: the owner gets the value exactly once and after the last guard,
//! nobody enters after the close, and the wake-up of the closer is never lost.
//!
//! `cargo test -p lifecycle --features shuttle --test gate_schedules`

use lifecycle::Gate;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::{check_pct, check_random, thread};

/// Notices a use after its disposal, and a second disposal.
struct Thing {
    disposed: Arc<AtomicBool>,
}

impl Thing {
    fn touch(&self) {
        assert!(!self.disposed.load(Ordering::SeqCst), "used after it was gone");
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        assert!(!self.disposed.swap(true, Ordering::SeqCst), "disposed of twice");
    }
}

fn visitors_and_a_close() {
    let disposed = Arc::new(AtomicBool::new(false));
    let (gate, owner) = Gate::new("thing", Thing { disposed: Arc::clone(&disposed) });
    let refused = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..3)
        .map(|_| {
            let (gate, refused) = (gate.clone(), Arc::clone(&refused));
            thread::spawn(move || {
                for _ in 0..2 {
                    match gate.enter() {
                        Ok(thing) => {
                            thread::yield_now();
                            thing.touch();
                        }
                        Err(_) => {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            })
        })
        .collect();
    let thing = shuttle::future::block_on(owner.refuse().finish_without_deadline());
    let thing = thing.expect("the last guard had left, and still held a share");
    assert!(gate.enter().is_err(), "entered after the close");
    drop(thing);
    for visitor in visitors {
        visitor.join().unwrap();
    }
    assert!(disposed.load(Ordering::SeqCst));
}

fn visitors_and_a_dropped_owner() {
    let disposed = Arc::new(AtomicBool::new(false));
    let (gate, owner) = Gate::new("thing", Thing { disposed: Arc::clone(&disposed) });
    let visitor = {
        let gate = gate.clone();
        thread::spawn(move || {
            if let Ok(thing) = gate.enter() {
                thread::yield_now();
                thing.touch();
            }
        })
    };
    drop(owner);
    assert!(gate.enter().is_err());
    visitor.join().unwrap();
    assert!(disposed.load(Ordering::SeqCst), "nobody disposed of it");
}

#[test]
fn the_value_comes_back_once_after_the_last_guard_on_every_schedule() {
    check_random(visitors_and_a_close, 3000);
    check_pct(visitors_and_a_close, 3000, 3);
}

#[test]
fn a_dropped_owner_leaves_the_disposal_to_the_last_guard_on_every_schedule() {
    check_random(visitors_and_a_dropped_owner, 2000);
}

/// The test can fail: the same visitors around a value that is disposed of without waiting are caught.
#[test]
#[should_panic(expected = "used after it was gone")]
fn a_close_that_does_not_wait_is_caught() {
    check_random(
        || {
            let disposed = Arc::new(AtomicBool::new(false));
            let thing = Arc::new(Thing { disposed: Arc::clone(&disposed) });
            let visitor = {
                let thing = Arc::clone(&thing);
                thread::spawn(move || {
                    thread::yield_now();
                    thing.touch();
                })
            };
            disposed.store(true, Ordering::SeqCst);
            visitor.join().unwrap();
            disposed.store(false, Ordering::SeqCst);
        },
        1000,
    );
}
