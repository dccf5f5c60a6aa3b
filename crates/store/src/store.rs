//! All databases of this node, by name.

use crate::answers::{Outcome, WriteId};
use crate::catalog;
use crate::database::Database;
use crate::forward::{Forwarded, Reply, Request, call, serve};
use crate::inner::Inner;
use crate::rows::{Command, Rows};
use crate::session::{Session, SessionOptions};
use crate::{ReadLevel, StoreError, Value};
use base::{DbName, NodeId};
use lifecycle::Scope;
use raft::RaftHost;
use rpc::{Handler, Mesh};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the creation of a database may take.
const CREATE_MAX: Duration = Duration::from_secs(10);

/// Where a store lives, and with what limits.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// This node.
    pub node: NodeId,
    /// The directory of the databases' files.
    pub dir: PathBuf,
    /// Limits of each database.
    pub pages: sqlite::PageStoreOptions,
}

/// The databases of this node. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

impl Store {
    /// Opens `sys` and every database that the list in it names, and follows the list from then on.
    pub async fn open(
        config: StoreConfig,
        host: RaftHost,
        mesh: Arc<Mesh>,
        scope: Scope,
    ) -> Result<Self, StoreError> {
        let inner = Inner::open(config, host, mesh, scope).await?;
        inner.scope().spawn_droppable("catalog", catalog::run(Arc::clone(&inner)));
        Ok(Self(inner))
    }

    /// Makes this node the first member of a new cluster: it alone starts `sys`. `address` is where other nodes reach it.
    pub async fn bootstrap(&self, address: &str) -> Result<(), StoreError> {
        let sys = self.0.sys();
        if sys.group().status().membership.since.is_none() {
            sys.group().initialize(BTreeMap::from([(self.node(), address.to_owned())])).await?;
        }
        self.await_leading(sys).await?;
        let mut session = Session::open(Arc::clone(sys), SessionOptions::default())?;
        session.execute(crate::Statement::Sql(catalog::SCHEMA), &[]).await?;
        // The list's numbers start after the group of `sys`.
        let reserve = "INSERT INTO sqlite_sequence(name, seq) SELECT 'databases', 1 \
                       WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'databases')";
        session.execute(crate::Statement::Sql(reserve), &[]).await?;
        Ok(())
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.node()
    }

    /// The cluster's own database.
    pub fn sys(&self) -> &Arc<Database> {
        self.0.sys()
    }

    /// What answers the requests that other members pass on.
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(Forwarded(Arc::downgrade(&self.0)))
    }

    /// A database that is open on this node.
    pub fn database(&self, name: &DbName) -> Option<Arc<Database>> {
        self.0.database(name)
    }

    /// All databases that are open on this node, `sys` among them, by name.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.0.open_databases()
    }

    /// Opens a session on a database.
    pub fn session(&self, name: &DbName, options: SessionOptions) -> Result<Session, StoreError> {
        let database = self.database(name).ok_or_else(|| StoreError::NoSuchDatabase { name: name.clone() })?;
        Session::open(database, options)
    }

    /// Creates a database, started by the present voters, and waits until it takes writes. On any member.
    pub async fn create(&self, name: &DbName) -> Result<(), StoreError> {
        let voters = self.sys().group().status().membership.all_voters();
        let sql = "INSERT INTO databases(name, voters, created) SELECT ?1, ?2, ?3 \
                   WHERE NOT EXISTS (SELECT 1 FROM databases WHERE name = ?1)";
        let now = i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX);
        let params =
            vec![name.to_string().into(), catalog::join_ids(&voters).into(), Value::Integer(now)];
        if name.is_sys() {
            return Err(StoreError::DatabaseExists { name: name.clone() });
        }
        let outcome = self.transact(&DbName::sys(), vec![Command::new(sql, params)]).await?;
        if outcome.rows_affected == 0 {
            return Err(StoreError::DatabaseExists { name: name.clone() });
        }
        let started = async {
            let database = self.0.await_open(name).await;
            self.await_leader(&database).await
        };
        rt::time::timeout(CREATE_MAX, started).await.map_err(|_| StoreError::ReadTimeout { waited: CREATE_MAX })??;
        let ready = Command::new("UPDATE databases SET state = 'ready' WHERE name = ?1", [name.to_string().into()]);
        self.transact(&DbName::sys(), vec![ready]).await?;
        Ok(())
    }

    /// Drops a database and all that is in it, on every member. On any member.
    pub async fn drop_database(&self, name: &DbName) -> Result<(), StoreError> {
        if name.is_sys() {
            return Err(StoreError::SysIsPermanent { name: name.clone() });
        }
        let delete = Command::new("DELETE FROM databases WHERE name = ?1", [name.to_string().into()]);
        let outcome = self.transact(&DbName::sys(), vec![delete]).await?;
        if outcome.rows_affected == 0 { Err(StoreError::NoSuchDatabase { name: name.clone() }) } else { Ok(()) }
    }

    /// Runs statements as one transaction where the database is led, whoever is asked.
    pub async fn transact(&self, database: &DbName, commands: Vec<Command>) -> Result<Outcome, StoreError> {
        match self.at_leader(database, Request::Transact { database: database.clone(), commands }).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs one numbered write where the database is led, whoever is asked; safe to repeat with the same number.
    pub async fn write_once(&self, database: &DbName, id: WriteId, command: Command) -> Result<Outcome, StoreError> {
        match self.at_leader(database, Request::Once { database: database.clone(), id, command }).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads a whole result: this node's own copy at any level but linearizable, which is read where the database is led
    /// if this node does not hold it.
    pub async fn query(&self, database: &DbName, level: ReadLevel, command: Command) -> Result<Rows, StoreError> {
        if self.database(database).is_some() {
            let mut session = self.session(database, SessionOptions { read: level, ..SessionOptions::default() })?;
            return session.rows(&command.sql, &command.params).await;
        }
        match self.at_leader(database, Request::Query { database: database.clone(), command }).await? {
            Reply::Rows(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    async fn at_leader(&self, database: &DbName, request: Request) -> Result<Reply, StoreError> {
        let local = self.database(database).ok_or_else(|| StoreError::NoSuchDatabase { name: database.clone() })?;
        let leadership = *local.leadership().borrow();
        match leadership.leader {
            Some(leader) if leader != self.node() => call(&self.0, leader, &request).await,
            _ => serve(&self.0, request).await,
        }
    }

    async fn await_leading(&self, database: &Database) -> Result<(), StoreError> {
        let mut leadership = database.leadership();
        let leading = leadership.wait_for(|now| now.leading.is_some());
        match rt::time::timeout(CREATE_MAX, leading).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_closed)) => Err(StoreError::NotOpen { state: "closing" }),
            Err(_elapsed) => Err(StoreError::ReadTimeout { waited: CREATE_MAX }),
        }
    }

    async fn await_leader(&self, database: &Database) -> Result<(), StoreError> {
        let mut leadership = database.leadership();
        let led = leadership.wait_for(|now| now.leading.is_some() || now.leader.is_some_and(|l| l != self.node()));
        led.await.map(|_| ()).map_err(|_| StoreError::NotOpen { state: "closing" })
    }

    /// Closes every database: writers finish, everything applied is made durable in the files, the groups stop.
    pub async fn close(&self) {
        self.0.close_all().await;
    }
}

fn unexpected(reply: &Reply) -> StoreError {
    StoreError::Internal(format!("an answer of another kind: {reply:?}"))
}
