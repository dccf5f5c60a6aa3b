//! What the door asks of the node behind it.

use super::connection::Rights;
use super::sink::RowsSink;
use ::dqlite::{FailureCode, Params};
use base::{NodeId, Role};
use bytes::Bytes;
use rt::time::Instant;
use std::future::Future;

/// A refusal as it goes to the client: FAILURE with this code and text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct Refusal {
    /// What clients act on.
    pub code: FailureCode,
    /// What people read.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// "not leader": the client looks for the leader and asks there.
    pub fn not_leader() -> Self {
        Self::new(FailureCode::NOT_LEADER, "not leader")
    }

    /// "leadership lost": the outcome is unknown.
    pub fn leadership_lost() -> Self {
        Self::new(FailureCode::LEADERSHIP_LOST, "leadership lost")
    }
}

/// A member of the cluster as CLUSTER lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// The address that dqlite clients dial.
    pub address: String,
    /// Its role.
    pub role: Role,
}

/// What a client asks for when it opens a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The name, perhaps with options after a question mark.
    pub name: &'a str,
    /// The flags word; dqlite's own clients send 0.
    pub flags: u64,
    /// The id the client gave itself with CLIENT; dqlite's own send 0.
    pub client: u64,
    /// What the client may do.
    pub rights: Rights,
}

/// A change of the membership or of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes a node in, as spare.
    Add {
        /// Its id.
        id: NodeId,
        /// Its address.
        address: String,
    },
    /// Gives a member a role; done when it is committed.
    Assign {
        /// The member.
        id: NodeId,
        /// Its new role.
        role: Role,
    },
    /// Takes a member out.
    Remove {
        /// The member.
        id: NodeId,
    },
    /// Moves leadership, to any voter if none is named.
    Transfer {
        /// The new leader.
        to: Option<NodeId>,
    },
    /// Sets this node's weight.
    Weight {
        /// Lower is preferred for roles.
        weight: u64,
    },
}

/// The statement a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement<'a> {
    /// One that was prepared on this session.
    Prepared(u32),
    /// SQL text.
    Sql(&'a str),
}

/// What preparing gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The statement; none if the text holds only white space and comments.
    pub id: Option<u32>,
    /// How many parameters it has.
    pub params: usize,
    /// How many bytes of the text it took.
    pub tail: usize,
}

/// What executing gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executed {
    /// The rowid of the last insert on the session.
    pub last_insert_rowid: i64,
    /// The rows that the statement changed.
    pub rows_affected: u64,
}

/// How far a query got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// The sink had enough for now; there may be more rows.
    More,
    /// All rows were given.
    Done,
}

/// The node behind the door.
pub trait Backend: Send + Sync + 'static {
    /// One client's work on one database.
    type Session: Session;
    /// A database's content on its way out.
    type Dump: Dump;

    /// Who leads and the address that dqlite clients dial there, if this node is a voter and knows.
    fn leader(&self) -> Option<(NodeId, String)>;

    /// The members, as this node knows them.
    fn members(&self) -> Vec<Member>;

    /// This node's failure domain and weight.
    fn describe(&self) -> (u64, u64);

    /// Opens a database, and creates it if it is absent.
    fn open(&self, opening: Opening<'_>) -> impl Future<Output = Result<Self::Session, Refusal>> + Send;

    /// Changes the membership; answers when the change is committed.
    fn change(&self, change: Change) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A consistent image of a database, as this node has it.
    fn dump(&self, name: &str) -> impl Future<Output = Result<Self::Dump, Refusal>> + Send;
}

/// A database's file, piece by piece.
pub trait Dump: Send {
    /// Length of the whole in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` after [`Self::len`] bytes.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Refusal>> + Send;
}

/// One client's work on one database. Dropping it rolls back what is open.
pub trait Session: Send + 'static {
    /// Stops what the session runs, from elsewhere.
    type Interrupt: Fn() + Send + Sync + 'static;

    /// The handle that stops what runs. It may find nothing running, and is then called again.
    fn interrupt(&self) -> Self::Interrupt;

    /// Prepares the first statement of `sql`.
    fn prepare(&mut self, sql: &str) -> Result<Prepared, Refusal>;

    /// Forgets a prepared statement.
    fn finalize(&mut self, statement: u32) -> Result<(), Refusal>;

    /// Runs statements for their effect; the last one's outcome is the answer, given when it is durable. The future is
    /// never dropped before it is done: it is interrupted, and waited for.
    fn execute(
        &mut self,
        statement: Statement<'_>,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Executed, Refusal>> + Send;

    /// Starts a query and gathers rows until the sink has enough. The sink comes back in any case. The future is never
    /// dropped before it is done.
    fn query(
        &mut self,
        statement: Statement<'_>,
        params: Params<'_>,
        sink: RowsSink,
    ) -> impl Future<Output = (RowsSink, Result<Fetch, Refusal>)> + Send;

    /// Gathers more rows of the query that is open. The future is never dropped before it is done.
    fn fetch(&mut self, sink: RowsSink) -> impl Future<Output = (RowsSink, Result<Fetch, Refusal>)> + Send;

    /// Ends the open query, if there is one.
    fn close_query(&mut self);

    /// Whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// When an open transaction has waited long enough for its client; [`Self::expire`] is called then.
    fn idle_deadline(&self) -> Option<Instant>;

    /// Ends the transaction that was idle for too long.
    fn expire(&mut self);
}
