//! The door's backend in the product: the node's databases, and what it knows of the members.

mod codes;

use super::backend::{Backend, Change, Dump, Executed, Fetch, Member, Opening, Prepared, Refusal, Session, Statement};
use super::connection::Rights;
use super::sink::{Flow, RowsSink};
use ::dqlite::{FailureCode, Params, ValueRef};
use base::{Code, DbName, ErrorPage, NodeId, PageNo, Role};
use bytes::{Bytes, BytesMut};
use rt::time::Instant;
use smallvec::SmallVec;
use sqlite::{PAGE_SIZE, View};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use store::{Columns, Database, ReadLevel, Row, RowSink, SessionOptions, StatementId, Store, StoreError};

/// The bit of OPEN's flags word that asks for this member's own copy, however old; dqlite's clients send no bits.
const FLAG_LOCAL: u64 = 1;
/// How long OPEN waits for a new database, or for a new leader to take its databases over.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// How soon OPEN looks again for a database that another client is creating.
const OPEN_AGAIN: Duration = Duration::from_millis(5);
/// Pages of a dump that are read at a time.
const DUMP_PAGES: u32 = 64;

/// The client may only read.
pub(crate) const READS_ONLY: ErrorPage = ErrorPage {
    code: Code("BL-API-035"),
    title: "The session only reads",
    cause: "The client came in with the role viewer, which looks at everything and changes nothing; or the database is sys, which only an admin \
            changes.",
    next: "ask an admin of the cluster for another role: `bowline access add NAME --role ROLE`",
};

/// What the door must know of the membership, and can ask of it.
pub trait Membership: Send + Sync + 'static {
    /// The members with the addresses that dqlite clients dial. Asked for every LEADER request: it answers from memory.
    fn members(&self) -> Vec<Member>;

    /// This node's failure domain and weight.
    fn describe(&self) -> (u64, u64);

    /// Changes the membership; answers when the change is committed. This node leads, except for a change of its weight.
    fn change(&self, change: Change) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// The node behind the door.
pub struct StoreBackend<M> {
    store: Store,
    membership: M,
}

impl<M: Membership> StoreBackend<M> {
    /// The door's view of a store.
    pub fn new(store: Store, membership: M) -> Self {
        Self { store, membership }
    }

    /// Waits until this node, which Raft says leads `sys`, writes to a database: after an election it first applies what is
    /// left of earlier terms, and leadership of the databases follows that of `sys`. go-dqlite does not repeat a refused
    /// OPEN, so a short wait here is an error less there.
    async fn await_leading(&self, database: &Database) -> Result<(), Refusal> {
        let mut here = database.leadership();
        let mut sys = self.store.sys().leadership();
        while here.borrow_and_update().leading.is_none() {
            if sys.borrow_and_update().leader != Some(self.store.node()) {
                return Err(Refusal::not_leader());
            }
            let changed = tokio::select! {
                biased;
                changed = here.changed() => changed,
                changed = sys.changed() => changed,
            };
            changed.map_err(|_closing| Refusal::not_leader())?;
        }
        Ok(())
    }

    /// The database's session, once it exists, and, where `options` say that it is wanted, once it is led here.
    async fn session(&self, name: &DbName, options: SessionOptions) -> Result<store::Session, Refusal> {
        if options.leader_only {
            self.await_leading(self.store.sys()).await?;
        }
        if self.store.database(name).is_none() {
            // A client that asks for this member's own copy; all others have been sent to the leader.
            if !self.store.holds_copies() {
                return Err(self.store.no_copy(name).into());
            }
            if options.read_only {
                return Err(StoreError::NoSuchDatabase { name: name.clone() }.into());
            }
            match self.store.create(name).await {
                Ok(()) | Err(StoreError::DatabaseExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let database = loop {
            match self.store.database(name) {
                Some(database) => break database,
                // Another client creates it at the same moment, or this member has not heard of it yet.
                None => rt::time::sleep(OPEN_AGAIN).await,
            }
        };
        if options.leader_only {
            self.await_leading(&database).await?;
        }
        Ok(store::Session::open(database, options)?)
    }
}

impl<M: Membership> Backend for StoreBackend<M> {
    type Session = StoreSession;
    type Dump = StoreDump;

    fn leader(&self) -> Option<(NodeId, String)> {
        let leader = self.store.sys().leadership().borrow().leader?;
        let members = self.membership.members();
        let own = self.store.node();
        members.iter().find(|m| m.id == own && m.role == Role::Voter)?;
        members.into_iter().find(|m| m.id == leader).map(|m| (m.id, m.address))
    }

    fn members(&self) -> Vec<Member> {
        self.membership.members()
    }

    fn describe(&self) -> (u64, u64) {
        self.membership.describe()
    }

    async fn open(&self, opening: Opening<'_>) -> Result<StoreSession, Refusal> {
        let strict = SessionOptions { leader_only: true, ..SessionOptions::default() };
        let (name, mut options) = strict.parse(opening.name).map_err(StoreError::from)?;
        if opening.flags & FLAG_LOCAL != 0 {
            options = SessionOptions { read: ReadLevel::Local, leader_only: false, ..options };
        }
        options.read_only = match opening.rights {
            Rights::Reader => true,
            // In its rows is who belongs to the cluster and who has access.
            Rights::Client => name.is_sys(),
            Rights::Admin => false,
        };
        match rt::time::timeout(OPEN_MAX, self.session(&name, options)).await {
            Ok(session) => session.map(StoreSession),
            Err(_elapsed) if options.leader_only => Err(Refusal::not_leader()),
            Err(_elapsed) => {
                Err(Refusal::new(FailureCode::BUSY, format!("database {name} could not be opened in time")))
            }
        }
    }

    async fn change(&self, change: Change) -> Result<(), Refusal> {
        if !matches!(change, Change::Weight { .. }) {
            let leading = rt::time::timeout(OPEN_MAX, self.await_leading(self.store.sys()));
            leading.await.map_err(|_elapsed| Refusal::not_leader())??;
        }
        self.membership.change(change).await
    }

    async fn dump(&self, name: &str) -> Result<StoreDump, Refusal> {
        let name = DbName::new(name).map_err(StoreError::from)?;
        let missing = || {
            if !self.store.holds_copies() {
                return self.store.no_copy(&name).into();
            }
            Refusal::new(FailureCode::NOT_FOUND, format!("no database named {name}"))
        };
        let database = self.store.database(&name).ok_or_else(missing)?;
        Ok(StoreDump { view: Arc::new(database.pages().pin_committed()), next: 1 })
    }
}

/// A committed version on its way out.
pub struct StoreDump {
    view: Arc<View>,
    next: u32,
}

impl Dump for StoreDump {
    fn len(&self) -> u64 {
        u64::from(self.view.pages()) * PAGE_SIZE as u64
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let last = self.view.pages().min(self.next.saturating_add(DUMP_PAGES - 1));
        if self.next > last {
            return Ok(None);
        }
        let pages = self.next..=last;
        self.next = last + 1;
        let view = Arc::clone(&self.view);
        let read = rt::blocking::run(move || {
            let mut out = BytesMut::with_capacity(DUMP_PAGES as usize * PAGE_SIZE);
            let mut page = [0; PAGE_SIZE];
            for number in pages {
                view.read(PageNo(number), &mut page)?;
                out.extend_from_slice(&page);
            }
            Ok::<_, sqlite::ReadError>(out.freeze())
        });
        match read.await {
            Ok(Ok(piece)) => Ok(Some(piece)),
            Ok(Err(error)) => Err(Refusal::new(FailureCode::ERROR, error.to_string())),
            Err(end) => Err(Refusal::new(FailureCode::ERROR, end.to_string())),
        }
    }
}

/// A session of the store, as the door uses it.
pub struct StoreSession(store::Session);

impl StoreSession {
    /// dqlite refuses to prepare where the database is not led.
    fn check_leading(&self) -> Result<(), Refusal> {
        let leads = || self.0.database().leadership().borrow().leading.is_some();
        if self.0.options().leader_only && !leads() { Err(Refusal::not_leader()) } else { Ok(()) }
    }
}

impl Session for StoreSession {
    type Interrupt = Box<dyn Fn() + Send + Sync>;

    fn interrupt(&self) -> Self::Interrupt {
        let handle = self.0.interrupt_handle();
        Box::new(move || handle.interrupt())
    }

    fn prepare(&mut self, sql: &str) -> Result<Prepared, Refusal> {
        self.check_leading()?;
        let prepared = self.0.prepare(sql)?;
        Ok(Prepared { id: prepared.statement.map(|id| id.0), params: prepared.params, tail: prepared.tail })
    }

    fn finalize(&mut self, statement: u32) -> Result<(), Refusal> {
        Ok(self.0.finalize(StatementId(statement))?)
    }

    async fn execute(&mut self, statement: Statement<'_>, params: Params<'_>) -> Result<Executed, Refusal> {
        let done = self.0.execute(meant(statement), &bound(params)).await.map_err(refused)?;
        Ok(Executed { last_insert_rowid: done.last_insert_rowid, rows_affected: done.rows_affected })
    }

    async fn query(
        &mut self,
        statement: Statement<'_>,
        params: Params<'_>,
        sink: RowsSink,
    ) -> (RowsSink, Result<Fetch, Refusal>) {
        let (sink, result) = self.0.query(meant(statement), &bound(params), sink).await;
        (sink, fetched(result))
    }

    async fn fetch(&mut self, sink: RowsSink) -> (RowsSink, Result<Fetch, Refusal>) {
        let (sink, result) = self.0.fetch(sink).await;
        (sink, fetched(result))
    }

    fn close_query(&mut self) {
        self.0.close_query();
    }

    fn in_transaction(&self) -> bool {
        self.0.in_transaction()
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.0.idle_deadline()
    }

    fn expire(&mut self) {
        self.0.expire();
    }
}

fn meant(statement: Statement<'_>) -> store::Statement<'_> {
    match statement {
        Statement::Prepared(id) => store::Statement::Prepared(StatementId(id)),
        Statement::Sql(sql) => store::Statement::Sql(sql),
    }
}

fn fetched(result: Result<store::Fetch, StoreError>) -> Result<Fetch, Refusal> {
    match result {
        Ok(store::Fetch::More) => Ok(Fetch::More),
        Ok(store::Fetch::Done) => Ok(Fetch::Done),
        Err(error) => Err(refused(error)),
    }
}

/// In a session of many statements the reason is who the client is, not what it asked for.
fn refused(error: StoreError) -> Refusal {
    match error {
        StoreError::ReadsOnly => {
            Refusal::new(FailureCode::AUTH, format!("this session only reads [{}]", READS_ONLY.code))
        }
        other => other.into(),
    }
}

/// Parameters as SQLite takes them: times and truth values have no type of their own there.
fn bound(params: Params<'_>) -> SmallVec<[sqlite::ValueRef<'_>; 8]> {
    params
        .iter()
        .map(|value| match value {
            ValueRef::Null => sqlite::ValueRef::Null,
            ValueRef::Integer(v) | ValueRef::UnixTime(v) => sqlite::ValueRef::Integer(v),
            ValueRef::Float(v) => sqlite::ValueRef::Real(v),
            ValueRef::Text(v) | ValueRef::Iso8601(v) => sqlite::ValueRef::Text(v),
            ValueRef::Blob(v) => sqlite::ValueRef::Blob(v),
            ValueRef::Boolean(v) => sqlite::ValueRef::Integer(v.into()),
        })
        .collect()
}

impl RowSink for RowsSink {
    fn begin(&mut self, columns: Columns<'_>) {
        Self::begin(self, (0..columns.len()).map(|i| (columns.name(i), columns.declared_type(i))));
    }

    fn row(&mut self, row: Row<'_>) -> store::Flow {
        let values = (0..self.columns()).map(|i| match row.value(i) {
            sqlite::ValueRef::Null => ValueRef::Null,
            sqlite::ValueRef::Integer(v) => ValueRef::Integer(v),
            sqlite::ValueRef::Real(v) => ValueRef::Float(v),
            sqlite::ValueRef::Text(v) => ValueRef::Text(v),
            sqlite::ValueRef::Blob(v) => ValueRef::Blob(v),
        });
        match Self::row(self, values) {
            Flow::Continue => store::Flow::Continue,
            Flow::Pause => store::Flow::Pause,
        }
    }
}
