//! Stopping in order: what is under way is finished, what comes is refused.

use crate::support::*;
use base::NodeId;
use bytes::Bytes;
use rpc::{CallError, Class, Service};
use std::time::Duration;

#[tokio::test]
async fn a_stop_finishes_the_calls_that_others_made_and_refuses_new_ones() {
    let (a, b) = pair().await;
    let under_way = a.call(&b, WAIT, "finished");
    let stop = async {
        b.handler.started.take().await;
        let stop = b.mesh.stop(SOON);
        let new = async {
            rt::time::sleep(Duration::from_millis(50)).await;
            // Either on the connection that says goodbye or on the closed listener.
            let error = rt::time::timeout(Duration::from_millis(300), a.call(&b, ECHO, "")).await;
            assert!(!matches!(error, Ok(Ok(_))), "{error:?}");
            b.handler.go.add(1);
        };
        let (report, ()) = tokio::join!(stop, new);
        assert!(report.is_clean(), "{report:?}");
    };
    let (answer, ()) = tokio::join!(under_way, stop);
    assert_eq!(answer.unwrap(), "finished");
}

#[tokio::test]
async fn a_stop_waits_for_the_answers_to_calls_that_were_sent() {
    let (a, b) = pair().await;
    let under_way = a.call(&b, WAIT, "answered");
    let stop = async {
        b.handler.started.take().await;
        let release = async {
            rt::time::sleep(Duration::from_millis(50)).await;
            let new = a.mesh.call(NodeId(2), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control).await;
            assert_eq!(new, Err(CallError::Stopped));
            b.handler.go.add(1);
        };
        let (report, ()) = tokio::join!(a.mesh.stop(SOON), release);
        assert!(report.is_clean(), "{report:?}");
    };
    let (answer, ()) = tokio::join!(under_way, stop);
    assert_eq!(answer.unwrap(), "answered");
}

#[tokio::test]
async fn a_stop_with_nothing_under_way_is_quick_and_a_second_one_is_harmless() {
    let (a, b) = pair().await;
    a.call(&b, ECHO, "").await.unwrap();
    b.call(&a, ECHO, "").await.unwrap();
    let started = rt::time::Instant::now();
    for mesh in [&a.mesh, &b.mesh, &a.mesh] {
        assert!(mesh.stop(SOON).await.is_clean());
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(a.call(&b, ECHO, "").await, Err(CallError::Stopped));
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_off_at_the_deadline() {
    let (a, b) = pair().await;
    let under_way = a.call(&b, WAIT, "");
    let stop = async {
        b.handler.started.take().await;
        let report = b.mesh.stop(Duration::from_millis(100)).await;
        assert_eq!(report.stragglers.len(), 1);
        b.handler.dropped.take().await;
    };
    let (answer, ()) = tokio::join!(under_way, stop);
    assert!(matches!(answer, Err(CallError::Lost { .. })), "{answer:?}");
}
