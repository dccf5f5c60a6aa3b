//! A simulated process: its tasks, its clocks, its threads, and the ways it dies.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use rt::blocking::{self, Worker};
use rt::sim::{Disk, Jitter, Node, Points, Strike, Trace, block_on};
use rt::task::{TaskEnd, spawn};
use rt::time::{Instant, sleep, timeout, wall};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn node(seed: u64) -> Node {
    Node::new("box1", 1, seed, Disk::new(seed), Trace::verbose(), Points::default())
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Starts ten tasks at once and says in which order they wrote their numbers.
fn order(seed: u64, jitter: Jitter) -> Vec<u64> {
    let node = node(seed);
    node.set_jitter(jitter);
    let order = Arc::new(Mutex::new(Vec::new()));
    node.enter(|| {
        block_on(async {
            let tasks: Vec<_> = (0..10)
                .map(|n| {
                    let order = Arc::clone(&order);
                    spawn("writer", async move { order.lock().unwrap().push(n) })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    Arc::try_unwrap(order).unwrap().into_inner().unwrap()
}

#[test]
fn naps_let_tasks_overtake_each_other_and_one_seed_has_one_order() {
    let orders: std::collections::BTreeSet<_> = (0..50).map(|seed| order(seed, Jitter::default())).collect();
    assert!(orders.len() > 20, "{} orders of 50", orders.len());
    for seed in 0..20 {
        assert_eq!(order(seed, Jitter::default()), order(seed, Jitter::default()));
    }
    assert_eq!(order(1, Jitter { one_in: 0 }), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_task_can_be_dropped_at_any_poll() {
    let node = node(1);
    node.drop_task_at("doomed", 2);
    node.enter(|| {
        block_on(async {
            let passed = Arc::new(Mutex::new(0));
            let counter = Arc::clone(&passed);
            let doomed = spawn("doomed", async move {
                for _ in 0..5 {
                    *counter.lock().unwrap() += 1;
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(doomed.await, Err(TaskEnd::Cancelled));
            assert_eq!(*passed.lock().unwrap(), 2);
        });
    });
}

#[test]
fn virtual_time_passes_without_real_time_and_goes_on_in_the_next_process() {
    let node = node(1);
    let real = real_now();
    let before = node.enter(|| {
        block_on(async {
            let begin = Instant::now();
            sleep(seconds(3000)).await;
            assert!(begin.elapsed() >= seconds(3000));
            Instant::now()
        })
    });
    node.enter(|| block_on(async { assert!(Instant::now() >= before) }));
    assert!(real.elapsed() < seconds(20));
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "compares virtual time with real time")]
fn real_now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn a_fast_clock_wakes_early_by_the_worlds_time_and_in_time_by_its_own() {
    let node = node(1);
    node.set_drift(Duration::ZERO, 100_000);
    node.enter(|| {
        block_on(async {
            let (world, local, shown) = (node.world_now(), Instant::now(), wall());
            sleep(seconds(110)).await;
            let passed = node.world_now().saturating_sub(world);
            assert!(passed > seconds(99) && passed < seconds(101), "{passed:?}");
            assert!(local.elapsed() >= seconds(110));
            node.jump_wall(-3_600_000);
            assert!(wall() < shown);
            assert!(local.elapsed() >= seconds(110));
            assert!(timeout(seconds(1), std::future::pending::<()>()).await.is_err());
        });
    });
}

#[test]
fn blocking_work_is_in_order_on_a_worker_and_a_panic_ends_it() {
    for seed in 0..20 {
        node(seed).enter(|| {
            block_on(async {
                assert_eq!(blocking::run(|| 7).await, Ok(7));
                assert_eq!(blocking::run(|| panic!("boo")).await, Err::<(), _>(TaskEnd::Panicked("boo".into())));
                let worker = Worker::start("list", Vec::new()).unwrap();
                let calls = (0..5).map(|n| {
                    let worker = worker.clone();
                    async move { worker.call(move |list: &mut Vec<u64>| list.push(n)).await.unwrap() }
                });
                futures_join(calls).await;
                assert_eq!(worker.clone().close().await.unwrap(), [0, 1, 2, 3, 4]);
                assert_eq!(worker.call(|_| ()).await, Err(TaskEnd::Cancelled));
                let worker = Worker::start("fragile", ()).unwrap();
                assert_eq!(worker.call(|()| panic!("boo")).await, Err::<(), _>(TaskEnd::Panicked("boo".into())));
                assert_eq!(worker.call(|()| ()).await, Err(TaskEnd::Cancelled));
            });
        });
    }
}

/// Polls the calls in turn, so that they queue in order.
async fn futures_join(calls: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn the_real_worker_keeps_order_and_hands_its_state_back() {
    let worker = Worker::start("list", Vec::new()).unwrap();
    for n in 0..100 {
        worker.call(move |list: &mut Vec<u64>| list.push(n)).await.unwrap();
    }
    assert_eq!(worker.close().await.unwrap(), (0..100).collect::<Vec<_>>());
    let worker = Worker::start("fragile", ()).unwrap();
    assert_eq!(worker.call(|()| panic!("boo")).await, Err::<(), _>(TaskEnd::Panicked("boo".into())));
    assert_eq!(worker.call(|()| ()).await, Err(TaskEnd::Cancelled));
}

#[test]
fn a_cut_while_work_waits_for_its_thread_kills_it_before_it_touches_the_disk() {
    let node = node(5);
    node.enter(|| {
        block_on(async {
            rt::fs::create_dir_all("/a".as_ref()).unwrap();
            node.disk().fail_at(node.disk().operations(), rt::sim::Fault::PowerCut);
            assert!(rt::fs::write_atomic("/a/b".as_ref(), b"x").is_err());
            assert!(node.disk().is_off());
        });
    });
    assert!(node.disk().is_off(), "the end of a runtime does not bring the power back");
    node.begin_process();
    assert!(!node.disk().is_off());
}

#[test]
fn a_point_strikes_where_its_name_is() {
    let node = node(1);
    node.points().handle(Box::new(|_, name, before| {
        if name == "middle" && before == 1 { Strike::Pause(seconds(5)) } else { Strike::Pass }
    }));
    node.enter(|| {
        block_on(async {
            for round in 0..3_u64 {
                let begin = node.world_now();
                rt::sim_point!("middle");
                rt::sometimes!("went round");
                // A pause holds the process back at its next poll, whatever it waits for.
                spawn("other", async {}).await.unwrap();
                let passed = node.world_now().saturating_sub(begin);
                assert_eq!(round == 1, passed >= seconds(5), "{passed:?}");
            }
        });
    });
    assert_eq!(node.points().hits()["middle"], 3);
    assert_eq!(node.points().reached()["went round"], 3);
    assert_eq!(node.take_strikes(), [Strike::Pause(seconds(5))]);
}
