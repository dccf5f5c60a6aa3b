//! The gate in time: deadlines, late guards, and closing again.
#![cfg(not(feature = "shuttle"))]

use lifecycle::Gate;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_late_guard_is_named_by_the_place_where_it_was_taken() {
    let (gate, owner) = Gate::new("store", 7);
    let guard = gate.enter().unwrap();
    let line = line!() - 1;
    let late = owner.close(SECOND).await.unwrap_err();
    assert_eq!(late.guards.len(), 1);
    assert_eq!(late.guards[0].location.line(), line);
    assert!(late.to_string().contains("gate.rs"));
    assert!(gate.enter().is_err(), "a gate that could not be emptied stays closed");
    assert_eq!(*guard, 7);
    drop(guard);
    assert_eq!(late.owner.finish(SECOND).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_guards_and_refuses_new_ones_meanwhile() {
    let (gate, owner) = Gate::new("store", 7);
    let guard = gate.enter().unwrap();
    let leave = async {
        rt::time::sleep(SECOND).await;
        assert_eq!(gate.enter().unwrap_err().to_string(), "store is closed");
        drop(guard);
    };
    let (value, ()) = tokio::join!(owner.close(10 * SECOND), leave);
    assert_eq!(value.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_half_way_leaves_the_gate_closed() {
    let (gate, owner) = Gate::new("store", std::sync::Arc::new(7));
    let guard = gate.enter().unwrap();
    let value = std::sync::Arc::downgrade(&guard);
    assert!(rt::time::timeout(SECOND, owner.close(10 * SECOND)).await.is_err());
    assert!(gate.is_closed());
    assert!(value.upgrade().is_some());
    drop(guard);
    assert!(value.upgrade().is_none(), "the last guard disposes of it");
}
