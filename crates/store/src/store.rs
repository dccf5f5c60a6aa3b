//! All databases of this node, by name.

use crate::answers::{Outcome, WriteId};
use crate::catalog::{self, DatabaseState};
use crate::database::{Database, Leadership, Phase};
use crate::forward::{FORWARD_MAX, Forwarded, Reply, Request, call, call_bulk, serve};
use crate::import;
use crate::inner::Inner;
use crate::resources;
use crate::rows::{Command, Rows};
use crate::session::{Session, SessionOptions};
use crate::{ReadLevel, StoreError, Witnessed};
use base::{DbName, GroupId, NodeId};
use futures::future::BoxFuture;
use lifecycle::Scope;
use raft::{Part, RaftHost};
use rpc::{Handler, Mesh};
use rt::time::Instant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a database that is on the list may take until it is open here.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// How often it is looked for.
const OPEN_LOOK: Duration = Duration::from_millis(10);
/// How long who asks for the list of databases waits for the newest one.
const LIST_MAX: Duration = Duration::from_secs(2);
/// How long the creation of a database may take.
const CREATE_MAX: Duration = Duration::from_secs(10);

/// How long the one who drops a database waits for it to be gone from this node.
const GONE_MAX: Duration = Duration::from_secs(5);

/// How soon a request is tried again when there was no leader.
const NOT_LEADER_RETRY: Duration = Duration::from_millis(50);

/// The largest transaction that a store may be told to allow, in bytes of changed pages: its record must fit an entry of the log.
pub const TRANSACTION_BYTES_MAX: u64 = 20 << 20;

const _: () = {
    // Beside the pages: the record's head, and some thousand answers of 40 bytes.
    const BESIDE_MAX: usize = 1 << 20;
    #[expect(clippy::cast_possible_truncation, reason = "20 MiB")]
    const PAGES_MAX: usize = TRANSACTION_BYTES_MAX as usize / sqlite::PAGE_SIZE;
    assert!(PAGES_MAX * sqlite::Record::PAGE_LEN_MAX + BESIDE_MAX <= raft::PAYLOAD_MAX);
};

/// Where a store lives, and with what limits.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// This node.
    pub node: NodeId,
    /// The directory of the databases' files.
    pub dir: PathBuf,
    /// Limits of each database; of a transaction, [`TRANSACTION_BYTES_MAX`] at most.
    pub pages: sqlite::PageStoreOptions,
}

/// The statements that make the tables of `sys` that belong to the store; running them again changes nothing.
pub fn tables() -> Vec<Command> {
    resources::BASE.iter().chain([&catalog::SCHEMA, &catalog::SPARES]).map(|sql| Command::new(*sql, [])).collect()
}

/// The databases of this node. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

impl Store {
    /// Opens `sys` and every database that the list in it names, and follows the list from then on.
    pub async fn open(config: StoreConfig, host: RaftHost, mesh: Arc<Mesh>, scope: Scope) -> Result<Self, StoreError> {
        if config.pages.transaction_bytes_max > TRANSACTION_BYTES_MAX {
            return Err(StoreError::TransactionLimit {
                asked: config.pages.transaction_bytes_max,
                max: TRANSACTION_BYTES_MAX,
            });
        }
        import::sweep(&config.dir).await?;
        let inner = Inner::open(config, host, mesh, scope).await?;
        inner.finish_giving_up().await?;
        inner.follow_list();
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
        // The list's numbers start after the group of `sys`.
        let reserve = "INSERT INTO sqlite_sequence(name, seq) SELECT 'databases', 1 \
                       WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'databases')";
        session.transact(&[tables(), vec![Command::new(reserve, [])]].concat()).await?;
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

    /// A database that is open on this node. One that is on the list and not open here yet, because the node has just started or the
    /// database was just created, is waited for; that there is none is only said by the newest list.
    ///
    /// On a witness or a spare it is an error that names the leader: see [`holds_copies`](Self::holds_copies).
    pub async fn opened(&self, name: &DbName) -> Result<Arc<Database>, StoreError> {
        let deadline = Instant::now() + OPEN_MAX;
        loop {
            if let Some(database) = self.database(name) {
                return Ok(database);
            }
            if self.0.is_elsewhere(name) {
                return Err(self.0.not_found(name));
            }
            if rt::mutant!("api.answer-before-ready") {
                return Err(StoreError::NoSuchDatabase { name: name.clone() });
            }
            self.sys().fresh(ReadLevel::Linearizable, false, OPEN_MAX).await?;
            let list = catalog::read(self.sys(), self.node()).await?;
            if !list.is_some_and(|list| list.rows.iter().any(|row| row.name == *name)) {
                return Err(StoreError::NoSuchDatabase { name: name.clone() });
            }
            if Instant::now() >= deadline {
                return Err(StoreError::NotOpen { state: "opening" });
            }
            rt::time::sleep(OPEN_LOOK).await;
        }
    }

    /// All databases on the list, `sys` among them, by name. Those that are not open here yet, because the node has just started, are
    /// waited for: no list is short. Without a majority it is the list as this node last knew it. Cancel-safe.
    pub async fn listed(&self) -> Result<Vec<Arc<Database>>, StoreError> {
        match self.sys().fresh(ReadLevel::Linearizable, false, LIST_MAX).await {
            Ok(()) | Err(StoreError::ReadTimeout { .. } | StoreError::NotLeader { .. }) => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + OPEN_MAX;
        loop {
            let list = catalog::read(self.sys(), self.node()).await?.unwrap_or_default();
            let open = self.databases();
            let is_open =
                |name: &DbName| open.iter().any(|database| database.name() == name) || self.0.is_elsewhere(name);
            if list.rows.iter().all(|row| is_open(&row.name)) {
                return Ok(open);
            }
            if Instant::now() >= deadline {
                return Err(StoreError::NotOpen { state: "opening" });
            }
            rt::time::sleep(OPEN_LOOK).await;
        }
    }

    /// Whether this node holds databases besides `sys`: a witness votes at most, and a spare waits for another role.
    pub fn holds_copies(&self) -> bool {
        self.0.part() == Part::Data && !self.0.is_spare()
    }

    /// Whether this node is a spare, as far as its own copy of `sys` says.
    pub fn is_spare(&self) -> bool {
        self.0.is_spare()
    }

    /// That this node holds no copy of a database, and who leads it.
    pub fn no_copy(&self, name: &DbName) -> StoreError {
        self.0.no_copy(name)
    }

    /// On a spare: the databases, by name.
    pub fn elsewhere(&self) -> Vec<DbName> {
        self.0.elsewhere()
    }

    /// The databases that this node votes for and does not hold, by name. Only a witness has any.
    pub fn witnessed(&self) -> Vec<Witnessed> {
        self.0.all_witnessed()
    }

    /// Who leads a database, as far as this node knows.
    pub fn leader_of(&self, name: &DbName) -> Option<NodeId> {
        match self.database(name) {
            Some(database) => database.leadership().borrow().leader,
            None => self.0.leader_elsewhere(name),
        }
    }

    /// All databases that are open on this node, `sys` among them, by name.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.0.open_databases()
    }

    /// Opens a session on a database.
    pub fn session(&self, name: &DbName, options: SessionOptions) -> Result<Session, StoreError> {
        let database = self.database(name).ok_or_else(|| self.0.not_found(name))?;
        Session::open(database, options)
    }

    /// Creates a database, started by the present voters, and waits until it takes writes. On any member.
    pub async fn create(&self, name: &DbName) -> Result<(), StoreError> {
        let group = self.list(name, DatabaseState::New).await?;
        if self.holds_copies() {
            drop(self.await_started(name, group).await?);
        } else {
            self.await_served(name, group).await?;
        }
        self.mark_ready(name, group).await
    }

    /// Creates a database with the contents of a plain SQLite file on this machine. On any member. If it fails, nothing of the
    /// database is left.
    ///
    /// Not where no copies are held: a file that it would have to carry may be larger than its disk.
    pub async fn import(&self, name: &DbName, file: &Path) -> Result<(), StoreError> {
        if !self.holds_copies() {
            return Err(self.no_copy(name));
        }
        let group = self.list(name, DatabaseState::Importing).await?;
        let filled = async {
            let database = self.await_started(name, group).await?;
            let leader = database.leadership().borrow().leader;
            match leader {
                Some(leader) if leader != self.node() => {
                    let id = import::carry(&self.0, leader, file.to_owned()).await?;
                    call_bulk(&self.0, leader, &Request::Fill { database: name.clone(), group, id }).await?;
                }
                _ => import::fill(&database, file.to_owned()).await?,
            }
            self.mark_ready(name, group).await
        };
        let Err(error) = filled.await else { return Ok(()) };
        // Only as long as nobody could open it: the answer to what made it ready may have been lost.
        let delete = "DELETE FROM databases WHERE group_id = ?1 AND state = 'importing'";
        let delete = Command::new(delete, [catalog::group_value(group)]);
        match self.transact(&DbName::sys(), vec![delete]).await {
            Ok(Outcome { rows_affected: 0, .. }) if self.is_ready(group).await? => Ok(()),
            Ok(_) => {
                self.await_gone(name, group).await;
                Err(error)
            }
            Err(left) => {
                tracing::warn!(database = %name, %left, "what a failed import left could not be dropped");
                Err(error)
            }
        }
    }

    async fn is_ready(&self, group: GroupId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM databases WHERE group_id = ?1 AND state = 'ready'";
        let command = Command::new(sql, [catalog::group_value(group)]);
        Ok(!self.query(&DbName::sys(), ReadLevel::Linearizable, command).await?.rows.is_empty())
    }

    /// Puts a new database on the list; gives its group.
    async fn list(&self, name: &DbName, state: DatabaseState) -> Result<GroupId, StoreError> {
        if name.is_sys() {
            return Err(StoreError::DatabaseExists { name: name.clone() });
        }
        let voters = self.sys().group().status().membership.all_voters();
        let sql = "INSERT INTO databases(name, voters, state, created) SELECT ?1, ?2, ?3, ?4 \
                   WHERE NOT EXISTS (SELECT 1 FROM databases WHERE name = ?1)";
        let now = i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX);
        let params = [name.to_string().into(), catalog::join_ids(&voters).into(), state.as_str().into(), now.into()];
        let outcome = self.transact(&DbName::sys(), vec![Command::new(sql, params)]).await?;
        if outcome.rows_affected == 0 {
            return Err(StoreError::DatabaseExists { name: name.clone() });
        }
        Ok(GroupId(outcome.last_insert_rowid.cast_unsigned()))
    }

    /// Waits until a listed database is open here and led somewhere.
    async fn await_started(&self, name: &DbName, group: GroupId) -> Result<Arc<Database>, StoreError> {
        let started = async {
            let database = self.0.await_open(name, group).await;
            let mut leadership = database.leadership();
            let led = |now: &Leadership| now.leading.is_some() || now.leader.is_some_and(|l| l != self.node());
            leadership.wait_for(led).await.map_err(|_| StoreError::NotOpen { state: "closing" })?;
            Ok(database)
        };
        rt::time::timeout(CREATE_MAX, started).await.map_err(|_| StoreError::ReadTimeout { waited: CREATE_MAX })?
    }

    /// Waits until a listed database, which this node does not hold, serves where it is led.
    async fn await_served(&self, name: &DbName, group: GroupId) -> Result<(), StoreError> {
        let served = async {
            self.0.await_group(name, group).await;
            loop {
                if let Some(leader) = self.0.leader_elsewhere(name) {
                    let is_open =
                        call(&self.0, leader, &Request::Opened { database: name.clone(), group }).await.is_ok();
                    let reads = Command::new("SELECT 1", []);
                    if is_open && self.query(name, ReadLevel::Linearizable, reads).await.is_ok() {
                        return;
                    }
                }
                rt::time::sleep(NOT_LEADER_RETRY).await;
            }
        };
        rt::time::timeout(CREATE_MAX, served).await.map_err(|_| StoreError::ReadTimeout { waited: CREATE_MAX })
    }

    async fn mark_ready(&self, name: &DbName, group: GroupId) -> Result<(), StoreError> {
        let sql = "UPDATE databases SET state = 'ready' WHERE group_id = ?1";
        let ready = Command::new(sql, [catalog::group_value(group)]);
        let outcome = self.transact(&DbName::sys(), vec![ready]).await?;
        if outcome.rows_affected == 0 {
            // Dropped meanwhile.
            return Err(StoreError::NoSuchDatabase { name: name.clone() });
        }
        // The one who made it must be able to open it at once.
        if let Some(database) = self.database(name).filter(|database| database.group_id() == group) {
            database.set_phase(Phase::Open);
        }
        Ok(())
    }

    /// Drops a database and all that is in it, on every member. On any member. As a rule this node has removed its copy when this
    /// returns; the others follow.
    pub async fn drop_database(&self, name: &DbName) -> Result<(), StoreError> {
        if name.is_sys() {
            return Err(StoreError::SysIsPermanent { name: name.clone() });
        }
        let open = self.database(name);
        let delete = Command::new("DELETE FROM databases WHERE name = ?1", [name.to_string().into()]);
        let outcome = self.transact(&DbName::sys(), vec![delete]).await?;
        if outcome.rows_affected == 0 {
            return Err(StoreError::NoSuchDatabase { name: name.clone() });
        }
        if let Some(database) = open {
            self.await_gone(name, database.group_id()).await;
        }
        Ok(())
    }

    /// Who has dropped a database must not find it on the list. If that takes long, it is dropped nevertheless.
    async fn await_gone(&self, name: &DbName, group: GroupId) {
        if rt::time::timeout(GONE_MAX, self.0.await_gone(name, group)).await.is_err() {
            tracing::info!(database = %name, "it is dropped, but this node's copy is not removed yet");
        }
    }

    /// Runs statements as one transaction where the database is led, whoever is asked. Answers what the last one did.
    pub async fn transact(&self, database: &DbName, commands: Vec<Command>) -> Result<Outcome, StoreError> {
        Ok(self.transact_each(database, commands).await?.pop().unwrap_or_default())
    }

    /// Like [`transact`](Self::transact), and answers what each statement did.
    pub async fn transact_each(&self, database: &DbName, commands: Vec<Command>) -> Result<Vec<Outcome>, StoreError> {
        match self.at_leader(database, Request::Transact { database: database.clone(), commands }).await? {
            Reply::Outcomes(outcomes) => Ok(outcomes),
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
    /// if this node does not hold it; a witness or a spare has every level read there.
    pub async fn query(&self, database: &DbName, level: ReadLevel, command: Command) -> Result<Rows, StoreError> {
        if let Some(database) = self.database(database) {
            let options = SessionOptions { read: level, ..SessionOptions::default() };
            let mut session = Session::open_kept(database, options)?;
            let rows = session.rows(&command.sql, &command.params).await?;
            session.give_back();
            return Ok(rows);
        }
        match self.at_leader(database, Request::Query { database: database.clone(), command }).await? {
            Reply::Rows(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a request where the database is led. While no leader is known, or the one asked says it is none, it is tried
    /// again: nothing was done then.
    async fn at_leader(&self, name: &DbName, request: Request) -> Result<Reply, StoreError> {
        let database = match self.opened(name).await {
            Err(StoreError::NoCopy { .. }) => return self.at_leader_elsewhere(name, request).await,
            database => database?,
        };
        let mut leadership = database.leadership();
        let deadline = Instant::now() + FORWARD_MAX;
        loop {
            let leader = leadership.borrow_and_update().leader;
            // Boxed: what serves a request is deep, and it stands in every future above it.
            let done: BoxFuture<'_, _> = match leader {
                Some(leader) if leader != self.node() => Box::pin(call(&self.0, leader, &request)),
                _ => Box::pin(serve(&self.0, &request)),
            };
            let done = done.await;
            match done {
                Err(error) if error.is_not_leader() && Instant::now() < deadline => {
                    rt::sometimes!("a request was sent again after its leader had changed");
                    let changed = rt::time::timeout(NOT_LEADER_RETRY, leadership.changed()).await;
                    if matches!(changed, Ok(Err(_closed))) {
                        return Err(StoreError::NotOpen { state: "closing" });
                    }
                }
                done => return done,
            }
        }
    }

    /// As [`at_leader`](Self::at_leader), where no copy is held. The leader may be known a moment before it opens the database, or before it may write.
    async fn at_leader_elsewhere(&self, name: &DbName, request: Request) -> Result<Reply, StoreError> {
        let deadline = Instant::now() + FORWARD_MAX;
        loop {
            let done = match self.0.leader_elsewhere(name) {
                Some(leader) => call(&self.0, leader, &request).await,
                None => Err(StoreError::NotLeader { leader: None }),
            };
            match done {
                Err(error) if error.is_not_leader() && Instant::now() < deadline => {
                    rt::sometimes!("witness: a request was sent to the leader again");
                    rt::time::sleep(NOT_LEADER_RETRY).await;
                }
                done => return done,
            }
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

    /// Closes every database: writers finish, everything applied is made durable in the files, the groups stop.
    pub async fn close(&self) {
        self.0.close_all().await;
    }
}

fn unexpected(reply: &Reply) -> StoreError {
    StoreError::Internal(format!("an answer of another kind: {reply:?}"))
}
