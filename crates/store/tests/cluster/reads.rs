//! What readers see, by level.

use crate::harness::{Cluster, eventually, one, run};
use base::DbName;
use store::{ReadLevel, SessionOptions, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_what_was_acknowledged_a_moment_before() {
    let cluster = Cluster::with_database(3, "shop").await;
    let (leader, follower) = (cluster.leader("shop").await, cluster.follower("shop").await);
    let mut writer = leader.session("shop").unwrap();
    run(&mut writer, "CREATE TABLE t(x)").await.unwrap();
    eventually("the database", || follower.store.database(&DbName::new("shop").unwrap())).await;
    let mut reader = follower.session("shop").unwrap();
    for i in 0..50 {
        run(&mut writer, &format!("INSERT INTO t VALUES({i})")).await.unwrap();
        assert_eq!(one(&mut reader, "SELECT max(x) FROM t").await.unwrap(), i.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_writes_and_leader_only_reads() {
    let cluster = Cluster::with_database(3, "shop").await;
    let follower = cluster.follower("shop").await;
    let shop = DbName::new("shop").unwrap();
    eventually("the database", || follower.store.database(&shop)).await;
    let mut session = follower.session("shop").unwrap();
    let refused = run(&mut session, "CREATE TABLE t(x)").await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    let options = SessionOptions { leader_only: true, ..SessionOptions::default() };
    let mut session = follower.store.session(&shop, options).unwrap();
    let refused = one(&mut session, "SELECT 1").await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_only_local_reads_are_served() {
    let mut cluster = Cluster::with_database(3, "shop").await;
    let leader = cluster.leader("shop").await;
    let mut writer = leader.session("shop").unwrap();
    run(&mut writer, "CREATE TABLE t(x); INSERT INTO t VALUES(1)").await.unwrap();
    let shop = DbName::new("shop").unwrap();
    let want = leader.store.database(&shop).unwrap().pages().committed();
    for node in &cluster.nodes {
        eventually("all to have it", || node.store.database(&shop).filter(|d| d.pages().committed() >= want)).await;
    }
    drop(writer);
    cluster.nodes.pop().unwrap().cut().await;
    cluster.nodes.pop().unwrap().cut().await;
    let alone = &cluster.nodes[0];
    let mut local = alone.session("shop?read=local").unwrap();
    assert_eq!(one(&mut local, "SELECT x FROM t").await.unwrap(), "1");
    rt::time::sleep(std::time::Duration::from_millis(600)).await;
    let mut bounded = alone.session("shop?read=bounded:100ms&busy=300ms").unwrap();
    let refused = one(&mut bounded, "SELECT x FROM t").await;
    assert!(matches!(refused, Err(StoreError::TooStale { .. })), "{refused:?}");
    let mut strict = alone.session("shop?busy=300ms").unwrap();
    assert_eq!(strict.options().read, ReadLevel::Linearizable);
    let refused = one(&mut strict, "SELECT x FROM t").await;
    assert!(matches!(refused, Err(StoreError::ReadTimeout { .. } | StoreError::NotLeader { .. })), "{refused:?}");
}
