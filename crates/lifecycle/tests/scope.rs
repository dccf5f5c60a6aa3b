//! Scopes end with every task they started.
#![cfg(not(feature = "shuttle"))]

use lifecycle::Scope;
use rt::task::TaskEnd;
use std::future::pending;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_tasks_that_watch_the_token() {
    let scope = Scope::new("store");
    let cancelled = scope.cancelled();
    let task = scope.spawn("checkpoint", async move {
        cancelled.wait().await;
        rt::time::sleep(3 * SECOND).await;
        "done"
    });
    let begin = rt::time::Instant::now();
    assert!(scope.stop(10 * SECOND).await.is_clean());
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!(task.await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn stragglers_are_named_with_their_scopes_and_aborted() {
    let scope = Scope::new("store");
    let inner = scope.child("sessions");
    inner.spawn("session", pending::<()>());
    scope.spawn("quick", async {});
    let report = scope.stop(2 * SECOND).await;
    let names: Vec<_> = report.stragglers.iter().map(|r| r.task.as_str()).collect();
    assert_eq!(names, ["store/sessions/session#0"]);
    assert!(report.stuck.is_empty());
    assert!(scope.running().is_empty());
}

#[tokio::test]
async fn a_panic_is_kept_as_a_failure_and_seen_by_every_scope_around_it() {
    let scope = Scope::new("store");
    let inner = scope.child("sessions");
    let task = inner.spawn("session", async { panic!("boo") });
    let failure = scope.failed().await;
    assert_eq!(failure.task, "store/sessions/session");
    assert_eq!(failure.message, "boo");
    assert_eq!(task.await, Err::<(), _>(TaskEnd::Panicked("boo".into())));
    assert_eq!(scope.stop(SECOND).await.failures, std::slice::from_ref(&failure));
    assert_eq!(inner.failed().await, failure);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_in_a_cancelled_scope() {
    let scope = Scope::new("store");
    let before = scope.child("before");
    scope.cancel();
    let after = scope.child("after");
    for scope in [&scope, &before, &after] {
        assert_eq!(scope.spawn("late", async { panic!("started") }).await, Err::<(), _>(TaskEnd::Cancelled));
        assert!(scope.cancelled().is_cancelled());
    }
    assert!(scope.stop(SECOND).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_droppable_task_ends_at_its_next_await() {
    let scope = Scope::new("store");
    let task = scope.spawn_droppable("accept", pending::<()>());
    tokio::task::yield_now().await;
    let report = scope.stop(SECOND).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(task.await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn tasks_do_not_outlive_the_last_handle_of_their_scope() {
    let scope = Scope::new("store");
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    scope.spawn("holder", async move {
        let _alive = alive;
        pending::<()>().await;
    });
    let inner = scope.child("inner");
    tokio::task::yield_now().await;
    drop(scope);
    assert!(gone.await.is_err(), "the task was dropped");
    assert!(inner.cancelled().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_dropped_can_be_tried_again() {
    let scope = Scope::new("store");
    scope.spawn("slow", rt::time::sleep(5 * SECOND));
    assert!(rt::time::timeout(SECOND, scope.stop(60 * SECOND)).await.is_err());
    assert!(scope.stop(60 * SECOND).await.is_clean());
}
