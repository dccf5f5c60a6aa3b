//! What writers see: group commit, transactions, the queue, loss of the leader, numbered writes.

use crate::harness::{Cluster, Node, eventually, one, run};
use base::DbName;
use std::time::Duration;
use store::{Command, Statement, StoreError, Value, WriteId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_at_once_all_commit_and_every_member_has_all_rows() {
    let cluster = Cluster::with_database(3, "shop").await;
    let leader = cluster.leader("shop").await;
    let mut session = leader.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)").await.unwrap();
    let writers = (0..64).map(|writer: i64| {
        let mut session = leader.session("shop").unwrap();
        async move {
            for i in 0..10 {
                let id = writer * 10 + i;
                let sql = format!("INSERT INTO t VALUES({id}, 'x')");
                let outcome = session.execute(Statement::Sql(&sql), &[]).await.unwrap();
                assert_eq!((outcome.last_insert_rowid, outcome.rows_affected), (id, 1));
            }
        }
    });
    futures::future::join_all(writers).await;
    for node in &cluster.nodes {
        let mut session = node.session("shop").unwrap();
        assert_eq!(one(&mut session, "SELECT count(*) FROM t").await.unwrap(), "640");
    }
    let shop = DbName::new("shop").unwrap();
    let hashes: Vec<_> = cluster
        .nodes
        .iter()
        .map(|n| n.store.database(&shop).unwrap().pages().pin_committed().database_hash().unwrap())
        .collect();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_seen_whole_or_not_at_all_and_rolls_back() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let (mut a, mut b) = (node.session("shop").unwrap(), node.session("shop").unwrap());
    run(&mut a, "CREATE TABLE t(x)").await.unwrap();
    run(&mut a, "BEGIN; INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)").await.unwrap();
    assert_eq!(one(&mut a, "SELECT count(*) FROM t").await.unwrap(), "2");
    assert_eq!(one(&mut b, "SELECT count(*) FROM t").await.unwrap(), "0");
    run(&mut a, "COMMIT").await.unwrap();
    assert_eq!(one(&mut b, "SELECT count(*) FROM t").await.unwrap(), "2");
    run(&mut a, "BEGIN; DELETE FROM t").await.unwrap();
    run(&mut a, "ROLLBACK").await.unwrap();
    assert_eq!(one(&mut b, "SELECT count(*) FROM t").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_waits_for_its_turn_and_is_told_when_it_does_not_come() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let mut a = node.session("shop").unwrap();
    run(&mut a, "CREATE TABLE t(x)").await.unwrap();
    run(&mut a, "BEGIN IMMEDIATE").await.unwrap();
    let mut hasty = node.session("shop?busy=50ms").unwrap();
    let refused = run(&mut hasty, "INSERT INTO t VALUES(1)").await;
    assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
    let mut patient = node.session("shop").unwrap();
    let waiting = tokio::spawn(async move { run(&mut patient, "INSERT INTO t VALUES(2)").await });
    run(&mut a, "INSERT INTO t VALUES(3)").await.unwrap();
    run(&mut a, "COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(one(&mut a, "SELECT group_concat(x) FROM (SELECT x FROM t ORDER BY rowid)").await.unwrap(), "3,2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_transaction_is_rolled_back_and_its_client_is_told_once() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let mut a = node.session("shop?idle=10ms").unwrap();
    run(&mut a, "CREATE TABLE t(x)").await.unwrap();
    run(&mut a, "BEGIN; INSERT INTO t VALUES(1)").await.unwrap();
    assert!(a.idle_deadline().is_some());
    a.expire();
    let told = run(&mut a, "INSERT INTO t VALUES(2)").await;
    assert!(matches!(told, Err(StoreError::TransactionIdle { .. })), "{told:?}");
    run(&mut a, "INSERT INTO t VALUES(3)").await.unwrap();
    assert_eq!(one(&mut a, "SELECT group_concat(x) FROM t").await.unwrap(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_turns_writer_after_others_have_written_must_begin_again() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let (mut a, mut b) = (node.session("shop").unwrap(), node.session("shop").unwrap());
    run(&mut a, "CREATE TABLE t(x)").await.unwrap();
    run(&mut a, "BEGIN").await.unwrap();
    assert_eq!(one(&mut a, "SELECT count(*) FROM t").await.unwrap(), "0");
    run(&mut b, "INSERT INTO t VALUES(1)").await.unwrap();
    let refused = run(&mut a, "INSERT INTO t VALUES(2)").await;
    assert!(matches!(&refused, Err(StoreError::Sql(e)) if e.extended() == 517), "{refused:?}");
    run(&mut a, "ROLLBACK").await.unwrap();
    run(&mut a, "INSERT INTO t VALUES(2)").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_numbered_write_runs_once_however_often_it_is_sent() {
    let cluster = Cluster::with_database(3, "shop").await;
    let shop = DbName::new("shop").unwrap();
    let store = &cluster.nodes[0].store;
    store.transact(&shop, vec![Command::new("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", [])]).await.unwrap();
    let insert = Command::new("INSERT INTO t(x) VALUES(?)", [Value::from("a")]);
    let id = WriteId { client: 7, sequence: 1 };
    let first = store.write_once(&shop, id, insert.clone()).await.unwrap();
    for node in &cluster.nodes {
        assert_eq!(node.store.write_once(&shop, id, insert.clone()).await.unwrap(), first);
    }
    let second = WriteId { client: 7, sequence: 2 };
    let second = store.write_once(&shop, second, insert.clone()).await.unwrap();
    assert_eq!(second.last_insert_rowid, first.last_insert_rowid + 1);
    let late = store.write_once(&shop, id, insert).await;
    assert!(matches!(late, Err(StoreError::SequenceOvertaken { latest: 2, .. } | StoreError::Call(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_death_of_the_leader() {
    let mut cluster = Cluster::with_database(3, "shop").await;
    let leader = cluster.leader("shop").await;
    let mut session = leader.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x); INSERT INTO t VALUES(1)").await.unwrap();
    drop(session);
    let dead = leader.id;
    let at = cluster.nodes.iter().position(|n| n.id == dead).unwrap();
    cluster.nodes.remove(at).cut().await;
    let next = cluster.leader("shop").await;
    assert_ne!(next.id, dead);
    let mut session = next.session("shop").unwrap();
    assert_eq!(one(&mut session, "SELECT group_concat(x) FROM t").await.unwrap(), "1");
    run(&mut session, "INSERT INTO t VALUES(2)").await.unwrap();
    // The dead one comes back and catches up.
    let address = "127.0.0.1:0";
    let back = Node::start(dead.0, &cluster.dir.path().join(dead.0.to_string()), address).await;
    for peer in &cluster.nodes {
        back.mesh.set_address(peer.id, &peer.address);
        peer.mesh.set_address(back.id, &back.address);
    }
    let shop = DbName::new("shop").unwrap();
    let want = next.store.database(&shop).unwrap().pages().committed();
    eventually("the returned node to catch up", || {
        back.store.database(&shop).filter(|d| d.pages().committed() >= want)
    })
    .await;
    let mut session = back.session("shop?read=local").unwrap();
    assert_eq!(one(&mut session, "SELECT group_concat(x) FROM t").await.unwrap(), "1,2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_survives_a_stop_in_order_and_its_file_is_plain_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let shop = DbName::new("shop").unwrap();
    let node = Node::alone(dir.path(), "CREATE TABLE t(x); INSERT INTO t VALUES('kept')").await;
    node.stop().await;
    let node = Node::start(1, dir.path(), "127.0.0.1:0").await;
    let database = eventually("the database", || node.store.database(&shop)).await;
    eventually("a leader", || database.leadership().borrow().leading).await;
    let mut session = node.session("shop").unwrap();
    assert_eq!(one(&mut session, "SELECT x FROM t").await.unwrap(), "kept");
    drop(session);
    node.stop().await;
    tokio::time::sleep(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_database_is_gone_on_every_member_and_its_name_is_free() {
    let cluster = Cluster::with_database(3, "shop").await;
    let shop = DbName::new("shop").unwrap();
    let leader = cluster.leader("shop").await;
    let mut session = leader.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x)").await.unwrap();
    cluster.nodes[2].store.drop_database(&shop).await.unwrap();
    for node in &cluster.nodes {
        eventually("the database to go", || node.store.database(&shop).is_none().then_some(())).await;
    }
    cluster.nodes[1].store.create(&shop).await.unwrap();
    let leader = cluster.leader("shop").await;
    let mut session = leader.session("shop").unwrap();
    assert_eq!(one(&mut session, "SELECT count(*) FROM sqlite_schema").await.unwrap(), "0");
}
