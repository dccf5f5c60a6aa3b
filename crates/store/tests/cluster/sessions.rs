//! What a session keeps to when things go on around it: other writers, other members, clients that go away.

use crate::harness::{Cluster, Node, eventually, one, run};
use base::DbName;
use std::sync::Arc;
use std::time::Duration;
use store::{Columns, Command, Fetch, Flow, ReadLevel, Row, RowSink, SessionOptions, Statement, StoreError, WriteId};

/// Takes one row at a time.
#[derive(Default)]
struct OneByOne {
    columns: Vec<String>,
    rows: usize,
}

impl RowSink for OneByOne {
    fn begin(&mut self, columns: Columns<'_>) {
        self.columns = (0..columns.len()).map(|i| columns.name(i).to_owned()).collect();
        self.rows = 0;
    }

    fn row(&mut self, _: Row<'_>) -> Flow {
        self.rows += 1;
        Flow::Pause
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_knows_a_table_that_was_made_a_moment_before() {
    let cluster = Cluster::with_database(3, "shop").await;
    let (leader, follower) = (cluster.leader("shop").await, cluster.follower("shop").await);
    eventually("the database", || follower.store.database(&DbName::new("shop").unwrap())).await;
    let mut writer = leader.session("shop").unwrap();
    for i in 0..20 {
        run(&mut writer, &format!("CREATE TABLE t{i}(x)")).await.unwrap();
        let mut reader = follower.session("shop").unwrap();
        assert_eq!(one(&mut reader, &format!("SELECT count(*) FROM t{i}")).await.unwrap(), "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_lead_says_so_before_it_looks_at_the_sql() {
    let cluster = Cluster::with_database(3, "shop").await;
    let follower = cluster.follower("shop").await;
    let shop = DbName::new("shop").unwrap();
    eventually("the database", || follower.store.database(&shop)).await;
    let options = SessionOptions { leader_only: true, ..SessionOptions::default() };
    let mut session = follower.store.session(&shop, options).unwrap();
    for sql in ["INSERT INTO nowhere VALUES(1)", "BEGIN"] {
        let refused = run(&mut session, sql).await;
        assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{sql}: {refused:?}");
    }
    let refused = one(&mut session, "SELECT * FROM nowhere").await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_has_pinned_nothing_yet_reads_what_was_acknowledged_before_its_first_read() {
    let cluster = Cluster::with_database(3, "shop").await;
    let (leader, follower) = (cluster.leader("shop").await, cluster.follower("shop").await);
    eventually("the database", || follower.store.database(&DbName::new("shop").unwrap())).await;
    let mut writer = leader.session("shop").unwrap();
    run(&mut writer, "CREATE TABLE t(x)").await.unwrap();
    for i in 0..20 {
        let mut reader = follower.session("shop").unwrap();
        run(&mut reader, "BEGIN").await.unwrap();
        assert_eq!(one(&mut reader, "SELECT 1").await.unwrap(), "1");
        run(&mut writer, &format!("INSERT INTO t VALUES({i})")).await.unwrap();
        assert_eq!(one(&mut reader, "SELECT max(x) FROM t").await.unwrap(), i.to_string());
        run(&mut writer, &format!("UPDATE t SET x = {i} WHERE x = {i}")).await.unwrap();
        run(&mut reader, "COMMIT").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_client_has_gone_is_answered_when_it_is_sent_again() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let mut session = node.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x)").await.unwrap();
    // Long enough to be dropped in the middle of its run, on a blocking thread.
    let sql =
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) SELECT i FROM n";
    let id = WriteId { client: 1, sequence: 1 };
    let mut going = node.session("shop").unwrap();
    let dropped = rt::time::timeout(Duration::from_millis(5), going.execute_once(id, sql, &[])).await;
    let mut again = node.session("shop?busy=20s").unwrap();
    let outcome = again.execute_once(id, sql, &[]).await.unwrap();
    assert_eq!((outcome.rows_affected, outcome.last_insert_rowid), (40_000, 40_000), "{dropped:?}");
    assert_eq!(one(&mut again, "SELECT count(*) FROM t").await.unwrap(), "40000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_numbered_write_that_changed_nothing_changes_nothing_when_it_is_sent_again() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let mut session = node.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x)").await.unwrap();
    let id = WriteId { client: 1, sequence: 1 };
    let update = "UPDATE t SET x = 'changed'";
    assert_eq!(session.execute_once(id, update, &[]).await.unwrap().rows_affected, 0);
    run(&mut session, "INSERT INTO t VALUES('new')").await.unwrap();
    assert_eq!(session.execute_once(id, update, &[]).await.unwrap().rows_affected, 0);
    assert_eq!(one(&mut session, "SELECT x FROM t").await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_numbered_write_is_refused_in_a_transaction_and_leaves_that_alone() {
    let cluster = Cluster::with_database(1, "shop").await;
    let mut session = cluster.nodes[0].session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES(1)").await.unwrap();
    let id = WriteId { client: 1, sequence: 1 };
    session.execute_once(id, "INSERT INTO t VALUES(2)", &[]).await.unwrap_err();
    run(&mut session, "COMMIT").await.unwrap();
    for sql in ["BEGIN", "INSERT INTO t VALUES(3); INSERT INTO t VALUES(4)", ""] {
        session.execute_once(id, sql, &[]).await.unwrap_err();
    }
    session.execute_once(id, "INSERT INTO t VALUES(5); -- done", &[]).await.unwrap();
    assert_eq!(one(&mut session, "SELECT group_concat(x) FROM t").await.unwrap(), "1,5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_could_not_become_the_writer_lets_the_next_one_in() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let (mut a, mut b) = (node.session("shop").unwrap(), node.session("shop?busy=200ms").unwrap());
    run(&mut a, "CREATE TABLE t(x); BEGIN").await.unwrap();
    assert_eq!(one(&mut a, "SELECT count(*) FROM t").await.unwrap(), "0");
    run(&mut b, "INSERT INTO t VALUES(1)").await.unwrap();
    run(&mut a, "INSERT INTO t VALUES(2)").await.unwrap_err();
    assert!(a.in_transaction() && a.idle_deadline().is_none());
    run(&mut b, "INSERT INTO t VALUES(3)").await.unwrap();
    assert_eq!(one(&mut a, "SELECT count(*) FROM t").await.unwrap(), "0", "it still reads what it read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_over_the_limit_is_refused_and_large_ones_are_replicated() {
    let cluster = Cluster::with_database(3, "shop").await;
    let leader = cluster.leader("shop").await;
    let mut session = leader.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x)").await.unwrap();
    let refused = run(&mut session, "INSERT INTO t VALUES(randomblob(30 << 20))").await;
    assert!(matches!(&refused, Err(StoreError::Sql(e)) if e.primary() == 13), "{refused:?}");
    let writers = (0..3).map(|_| {
        let mut session = leader.session("shop?busy=20s").unwrap();
        async move { run(&mut session, "INSERT INTO t VALUES(randomblob(12 << 20))").await.unwrap() }
    });
    futures::future::join_all(writers).await;
    let mut reader = cluster.follower("shop").await.session("shop").unwrap();
    assert_eq!(one(&mut reader, "SELECT sum(length(x)) >> 20 FROM t").await.unwrap(), "36");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_with_the_next_statement_and_its_columns_are_those_of_the_schema_it_met() {
    let cluster = Cluster::with_database(1, "shop").await;
    let node = &cluster.nodes[0];
    let (mut a, mut b) = (node.session("shop").unwrap(), node.session("shop").unwrap());
    run(&mut a, "CREATE TABLE t(x); INSERT INTO t VALUES(1), (2)").await.unwrap();
    let all = Statement::Sql("SELECT * FROM t; -- all");
    let (sink, fetch) = a.query(all, &[], OneByOne::default()).await;
    assert_eq!((fetch.unwrap(), sink.rows), (Fetch::More, 1));
    run(&mut a, "INSERT INTO t VALUES(3)").await.unwrap();
    assert_eq!(a.fetch(OneByOne::default()).await.1.unwrap(), Fetch::Done);
    run(&mut b, "ALTER TABLE t ADD COLUMN y").await.unwrap();
    let (sink, _) = a.query(all, &[], OneByOne::default()).await;
    assert_eq!(sink.columns, ["x", "y"]);
    let (_, refused) = a.query(Statement::Sql("SELECT 1; SELECT 2"), &[], OneByOne::default()).await;
    refused.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_fetched_after_the_transaction_expired_are_refused() {
    let cluster = Cluster::with_database(1, "shop").await;
    let mut a = cluster.nodes[0].session("shop").unwrap();
    run(&mut a, "CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES(1), (2)").await.unwrap();
    let (_, fetch) = a.query(Statement::Sql("SELECT x FROM t"), &[], OneByOne::default()).await;
    assert_eq!(fetch.unwrap(), Fetch::More);
    a.expire();
    let (_, refused) = a.fetch(OneByOne::default()).await;
    assert!(matches!(refused, Err(StoreError::TransactionIdle { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_fails_at_its_commit_leaves_nothing_open() {
    let cluster = Cluster::with_database(1, "shop").await;
    let mut session = cluster.nodes[0].session("shop").unwrap();
    let deferred = "CREATE TABLE a(x PRIMARY KEY); CREATE TABLE b(x REFERENCES a DEFERRABLE INITIALLY DEFERRED)";
    run(&mut session, deferred).await.unwrap();
    session.transact(&[Command::new("INSERT INTO b VALUES(1)", [])]).await.unwrap_err();
    assert!(!session.in_transaction() && session.idle_deadline().is_none());
    session.transact(&[Command::new("INSERT INTO a VALUES(1)", [])]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_wait_when_the_store_closes_are_served_or_refused_but_never_left_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let shop = DbName::new("shop").unwrap();
    let node = Node::alone(dir.path(), "CREATE TABLE t(x)").await;
    let store = Arc::new(node.store.clone());
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let (store, shop) = (Arc::clone(&store), shop.clone());
            tokio::spawn(async move {
                let mut done = 0;
                loop {
                    let Ok(mut session) = store.session(&shop, SessionOptions::default()) else { return done };
                    match run(&mut session, "INSERT INTO t VALUES(1)").await {
                        Ok(_) => done += 1,
                        Err(StoreError::NotOpen { .. } | StoreError::NotLeader { .. }) => return done,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    rt::time::sleep(Duration::from_millis(50)).await;
    node.store.close().await;
    let mut done = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    assert!(done > 0);
    drop(store);
    node.stop().await;
    let node = Node::start(1, dir.path(), "127.0.0.1:0").await;
    let database = eventually("the database", || node.store.database(&shop)).await;
    eventually("a leader", || database.leadership().borrow().leading).await;
    let mut session = node.session("shop").unwrap();
    assert_eq!(one(&mut session, "SELECT count(*) FROM t").await.unwrap(), done.to_string());
    drop((session, database));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_lets_go_of_its_files_and_opens_again_on_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let shop = DbName::new("shop").unwrap();
    let node = Node::alone(dir.path(), "CREATE TABLE t(x); INSERT INTO t VALUES(7)").await;
    let node = node.restart_store(dir.path()).await;
    let database = eventually("the database", || node.store.database(&shop)).await;
    eventually("a leader", || database.leadership().borrow().leading).await;
    let mut session = node.session("shop").unwrap();
    assert_eq!(one(&mut session, "SELECT x FROM t").await.unwrap(), "7");
    drop((session, database));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_imported_whole_or_not_at_all_and_never_over_another_database() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::with_database(3, "shop").await;
    let mut session = cluster.leader("shop").await.session("shop").unwrap();
    run(&mut session, "CREATE TABLE t(x); INSERT INTO t VALUES('mine')").await.unwrap();
    let plain = dir.path().join("plain.db");
    let leader = cluster.leader("shop").await;
    let database = leader.store.database(&DbName::new("shop").unwrap()).unwrap();
    database.group().checkpoint().await.unwrap();
    let group = database.group_id();
    let kept = cluster.dir.path().join(leader.id.to_string()).join(format!("databases/shop.{group}/data.db"));
    std::fs::copy(kept, &plain).unwrap();
    let store = &cluster.follower("shop").await.store;
    let copy = DbName::new("copy").unwrap();
    store.import(&copy, &plain).await.unwrap();
    let rows = store.query(&copy, ReadLevel::Linearizable, Command::new("SELECT x FROM t", [])).await.unwrap();
    assert_eq!(rows.rows, [["mine".into()]]);
    let over = store.import(&copy, &plain).await;
    assert!(matches!(over, Err(StoreError::DatabaseExists { .. } | StoreError::Call(_))), "{over:?}");
    store.query(&copy, ReadLevel::Linearizable, Command::new("SELECT x FROM t", [])).await.unwrap();
    let bad = dir.path().join("bad.db");
    std::fs::write(&bad, "no database").unwrap();
    let other = DbName::new("other").unwrap();
    store.import(&other, &bad).await.unwrap_err();
    store.create(&other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stop_in_the_middle_of_a_drop_has_left_is_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(1, dir.path(), "127.0.0.1:0").await;
    node.store.bootstrap(&node.address).await.unwrap();
    node.store.create(&DbName::new("shop").unwrap()).await.unwrap();
    node.stop().await;
    let databases = dir.path().join("databases");
    let (left, carried, foreign) =
        (databases.join("dead.99"), databases.join(".import-1"), databases.join("notes.txt"));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(&carried, "").unwrap();
    std::fs::write(&foreign, "").unwrap();
    let node = Node::start(1, dir.path(), "127.0.0.1:0").await;
    eventually("the rest to go", || (!left.exists() && !carried.exists()).then_some(())).await;
    assert!(foreign.exists() && databases.join("shop.2").exists() && databases.join("sys.1").exists());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founding_that_was_cut_off_is_repeated_and_definitions_that_are_there_already_are_a_part_of_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::alone(dir.path(), "CREATE TABLE t(x)").await;
    node.store.bootstrap(&node.address).await.unwrap();
    let shop = DbName::new("shop").unwrap();
    let trigger = "/* again */ CREATE TRIGGER IF NOT EXISTS twice AFTER INSERT ON t BEGIN SELECT 1; END";
    for _ in 0..2 {
        let commands = ["INSERT INTO t VALUES(1)", trigger, "DROP VIEW IF EXISTS none"];
        node.store.transact(&shop, commands.map(|sql| Command::new(sql, [])).to_vec()).await.unwrap();
    }
    for sql in ["COMMIT", "SELECT 1", "EXPLAIN CREATE TABLE u(x)"] {
        let refused = node.store.transact(&shop, vec![Command::new(sql, [])]).await;
        assert!(matches!(refused, Err(StoreError::WritesOnly { number: 1 })), "{sql}: {refused:?}");
    }
    node.stop().await;
}
