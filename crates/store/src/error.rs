//! What can go wrong between a client and its database, with code, cause and next step.

use base::{Code, DbName, Disposition, ErrorPage, Fault, NodeId};
use std::time::Duration;

/// Why a request to a database has no result.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed the statement.
    #[error(transparent)]
    Sql(#[from] sqlite::SqlError),
    /// This node does not lead the database's group.
    #[error("not leader")]
    NotLeader {
        /// Who leads, if this node knows.
        leader: Option<NodeId>,
    },
    /// Leadership went away while a commit was on its way: it may or may not have happened.
    #[error("leadership lost")]
    OutcomeUnknown,
    /// The writer's slot did not become free in time.
    #[error("database is locked: another transaction held the writer's slot for {}", Seconds(*.waited))]
    Busy {
        /// How long this request waited.
        waited: Duration,
    },
    /// An interactive transaction waited too long for its client and was rolled back.
    #[error("the transaction was rolled back: it was idle for {}", Seconds(*.idle))]
    TransactionIdle {
        /// The limit it passed.
        idle: Duration,
    },
    /// The state asked for did not arrive at this node in time.
    #[error("the read could not be served within {}: this node has no contact to a majority", Seconds(*.waited))]
    ReadTimeout {
        /// How long the read waited.
        waited: Duration,
    },
    /// This node's copy is older than the bound the client set.
    #[error("this node's copy is older than {}", Seconds(*.bound))]
    TooStale {
        /// The client's bound.
        bound: Duration,
    },
    /// No database of that name.
    #[error("no database named {name}")]
    NoSuchDatabase {
        /// The name.
        name: DbName,
    },
    /// This node holds no copy of the database: it is a witness, which votes at most, or a spare.
    #[error("this node is a {} and holds no copy of {name}{}", if *.spare { "spare" } else { "witness" }, Elsewhere(*.leader))]
    NoCopy {
        /// The database.
        name: DbName,
        /// Who leads it, if this node knows.
        leader: Option<NodeId>,
        /// Whether it is a spare.
        spare: bool,
    },
    /// The database exists already.
    #[error("database {name} exists already")]
    DatabaseExists {
        /// The name.
        name: DbName,
    },
    /// The database is still being filled from a file.
    #[error("database {name} is being imported")]
    Importing {
        /// The name.
        name: DbName,
    },
    /// The file cannot become a database.
    #[error(transparent)]
    Import(#[from] sqlite::ImportError),
    /// The database cannot be dropped.
    #[error("{name} is the cluster's own database and cannot be dropped")]
    SysIsPermanent {
        /// The name.
        name: DbName,
    },
    /// The result has more rows than a whole result may have.
    #[error("the result has more than {limit} rows")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// The statement does something else than read rows, and was asked for where nothing else can be.
    #[error("only a statement that reads rows can be asked for here")]
    ReadsOnly,
    /// The statement reads rows, or begins or ends a transaction, and was asked for as a part of one.
    #[error("statement {number} of the transaction is none that writes")]
    WritesOnly {
        /// Counted from one.
        number: usize,
    },
    /// A text that is to be one statement holds more, or none.
    #[error("text {number} of the transaction is not one statement")]
    OneStatement {
        /// Counted from one.
        number: usize,
    },
    /// A row has more bytes than the door takes.
    #[error("a row of the result has more than {limit} bytes")]
    RowTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The options after the name cannot be read.
    #[error("{why}")]
    BadOption {
        /// What is wrong with them.
        why: String,
    },
    /// The name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] base::InvalidName),
    /// No prepared statement has this id.
    #[error("no statement with the given id")]
    NoSuchStatement,
    /// A retry came with an older sequence number than one already answered.
    #[error("write {sequence} of client {client} was overtaken by write {latest}")]
    SequenceOvertaken {
        /// The client's id.
        client: u64,
        /// The number it sent.
        sequence: u64,
        /// The newest number it has had an answer for.
        latest: u64,
    },
    /// The node is starting or stopping.
    #[error("the store is {state}")]
    NotOpen {
        /// `opening` or `closing`.
        state: &'static str,
    },
    /// The database's group could not be changed.
    #[error(transparent)]
    Change(#[from] raft::ChangeError),
    /// This node's disk takes no more, so that it can neither lead nor follow. Another member serves the database.
    #[error(transparent)]
    Suspended(raft::ReadError),
    /// The database's group could not be opened.
    #[error(transparent)]
    Group(#[from] raft::OpenError),
    /// The database's files could not be opened.
    #[error("database {name}: {error}")]
    Pages {
        /// The database.
        name: DbName,
        /// Why.
        error: sqlite::OpenError,
    },
    /// A transaction of the size that was configured would not fit the log.
    #[error("transactions may have {max} bytes at most, not {asked}")]
    TransactionLimit {
        /// What was configured.
        asked: u64,
        /// What is possible.
        max: u64,
    },
    /// Changes after the one that a watcher has seen last are not kept any more, or this cluster never came so far.
    #[error("the changes after revision {after} cannot be told")]
    WatchLost {
        /// The last revision that the watcher has seen.
        after: u64,
    },
    /// The product broke its own rule.
    #[error("internal error: {0}")]
    Internal(String),
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The call to another node had no answer, or the other node refused with a code of its own.
    #[error(transparent)]
    Call(#[from] rpc::CallError),
    /// A message between nodes could not be read: the nodes run versions that do not understand each other.
    #[error("a message between nodes could not be read: {0}")]
    Encoding(#[from] postcard::Error),
}

impl StoreError {
    /// Whether the one who was asked does not lead: nothing was done, and asking the leader is all it takes.
    pub fn is_not_leader(&self) -> bool {
        match self {
            Self::Call(rpc::CallError::Refused(refusal)) => {
                refusal.code == NOT_LEADER || refusal.code == sqlite::SqlError::NotLeader.code().0
            }
            Self::NotLeader { .. }
            | Self::Sql(sqlite::SqlError::NotLeader)
            | Self::Call(
                rpc::CallError::Unknown { .. }
                | rpc::CallError::Down { .. }
                | rpc::CallError::Busy { .. }
                | rpc::CallError::Deadline { sent: false, .. },
            ) => true,
            _ => false,
        }
    }
}

const NOT_LEADER: &str = "BL-STORE-001";

/// Prints a duration as a person would say it.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

/// Where else to ask.
struct Elsewhere(Option<NodeId>);

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |leader| write!(f, ": node {leader} leads it"))
    }
}

impl Fault for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Sql(e) => e.code(),
            Self::NotLeader { .. } => Code(NOT_LEADER),
            Self::OutcomeUnknown => Code("BL-STORE-002"),
            Self::Busy { .. } => Code("BL-STORE-003"),
            Self::TransactionIdle { .. } => Code("BL-STORE-004"),
            Self::ReadTimeout { .. } => Code("BL-STORE-005"),
            Self::TooStale { .. } => Code("BL-STORE-006"),
            Self::NoSuchDatabase { .. } => Code("BL-STORE-007"),
            Self::DatabaseExists { .. } => Code("BL-STORE-008"),
            Self::SysIsPermanent { .. } => Code("BL-STORE-009"),
            Self::Name(_) => Code("BL-STORE-010"),
            Self::NoSuchStatement => Code("BL-STORE-011"),
            Self::BadOption { .. } => Code("BL-STORE-017"),
            Self::TooManyRows { .. } => Code("BL-STORE-018"),
            Self::SequenceOvertaken { .. } => Code("BL-STORE-012"),
            Self::NotOpen { .. } => Code("BL-STORE-013"),
            Self::Importing { .. } => Code("BL-STORE-019"),
            Self::Import(e) => e.code(),
            Self::Change(e) => e.code(),
            Self::Suspended(e) => e.code(),
            Self::Group(e) => e.code(),
            Self::Pages { error, .. } => error.code(),
            Self::Internal(_) => Code("BL-STORE-014"),
            Self::Io { .. } => Code("BL-STORE-015"),
            // What another member says is said as if it had been found here.
            Self::Call(error) => match error {
                rpc::CallError::Refused(refusal) => {
                    let pages = [PAGES, sqlite::PAGES, raft::PAGES, rpc::PAGES];
                    refusal.code_among(&pages).unwrap_or_else(|| error.code())
                }
                _ => error.code(),
            },
            Self::Encoding(_) => Code("BL-STORE-016"),
            Self::TransactionLimit { .. } => Code("BL-STORE-020"),
            Self::ReadsOnly => Code("BL-STORE-021"),
            Self::RowTooLarge { .. } => Code("BL-STORE-023"),
            Self::WatchLost { .. } => Code("BL-STORE-024"),
            Self::WritesOnly { .. } | Self::OneStatement { .. } => Code("BL-STORE-022"),
            Self::NoCopy { .. } => Code("BL-STORE-030"),
        }
    }

    fn disposition(&self) -> Disposition {
        let soon = Disposition::Retry { after: Duration::from_millis(100) };
        match self {
            Self::Sql(e) => e.disposition(),
            Self::NotLeader { .. }
            | Self::Busy { .. }
            | Self::ReadTimeout { .. }
            | Self::TooStale { .. }
            | Self::NotOpen { .. }
            | Self::Io { .. } => soon,
            Self::Importing { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Import(e) => e.disposition(),
            Self::Change(e) => e.disposition(),
            Self::Suspended(e) => e.disposition(),
            Self::Group(e) => e.disposition(),
            Self::Pages { error, .. } => error.disposition(),
            Self::Call(e) => e.disposition(),
            Self::Internal(_) | Self::Encoding(_) => Disposition::Bug,
            Self::NoSuchDatabase { .. } | Self::NoSuchStatement | Self::WatchLost { .. } => Disposition::Gone,
            // A blind retry may do it twice: the client must look first.
            Self::OutcomeUnknown => Disposition::Unknown,
            Self::TransactionIdle { .. }
            | Self::DatabaseExists { .. }
            | Self::NoCopy { .. }
            | Self::SysIsPermanent { .. }
            | Self::Name(_)
            | Self::BadOption { .. }
            | Self::TransactionLimit { .. }
            | Self::TooManyRows { .. }
            | Self::ReadsOnly
            | Self::RowTooLarge { .. }
            | Self::WritesOnly { .. }
            | Self::OneStatement { .. }
            | Self::SequenceOvertaken { .. } => Disposition::Refuse,
        }
    }
}

/// The pages behind the codes.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage {
        code: Code("BL-STORE-001"),
        title: "This node does not lead the database",
        cause: "Writes, and reads through the dqlite protocol, are served by the node that leads the database's group. \
                Leadership moves when a node stops or cannot be reached.",
        next: "`bowline status` names the leader; clients that follow the leader (go-dqlite, bowline sql) find it by themselves.",
    },
    ErrorPage {
        code: Code("BL-STORE-002"),
        title: "The commit's outcome is unknown",
        cause: "The node lost leadership after it had sent your commit to the other members and before a majority had confirmed it. \
                The commit may have happened or not; the new leader knows.",
        next: "Look before you repeat: read the row back, then write again only if it is missing. \
               Writes that carry a client id and a sequence number are safe to repeat.",
    },
    ErrorPage {
        code: Code("BL-STORE-003"),
        title: "The writer's slot did not become free in time",
        cause: "One transaction writes at a time; others wait in a fair queue, by default for 5 s. \
                Some transaction kept the slot longer than that, usually an interactive one that waits for its client.",
        next: "Commit or roll back open transactions, keep them short, or raise the wait with `busy_timeout` in the database name, \
               as in `shop?busy=20s`.",
    },
    ErrorPage {
        code: Code("BL-STORE-004"),
        title: "An idle transaction was rolled back",
        cause: "A transaction that has written holds the writer's slot, and its client sent nothing for the idle limit (30 s by default), \
                so that everybody else waited.",
        next: "Start the transaction again and send its statements without pausing in between.",
    },
    ErrorPage {
        code: Code("BL-STORE-005"),
        title: "No majority could confirm the read",
        cause: "A linearizable read needs a leader that a majority of voters still follows. None confirmed in time: \
                voters are down, or this node is cut off from them.",
        next: "`bowline status` shows which voters are missing. To read this node's own copy meanwhile, open the database as `NAME?read=local`.",
    },
    ErrorPage {
        code: Code("BL-STORE-006"),
        title: "This node's copy is older than the bound",
        cause: "The database was opened with `?read=bounded:...`, and this node has not heard from the leader for longer than that.",
        next: "Read from another member, or open with a wider bound.",
    },
    ErrorPage {
        code: Code("BL-STORE-007"),
        title: "There is no database of that name",
        cause: "The name is not in the cluster's list, or the database was dropped.",
        next: "`bowline db list` shows the names; `bowline db create NAME` makes one.",
    },
    ErrorPage {
        code: Code("BL-STORE-008"),
        title: "The database exists already",
        cause: "Database names are unique in the cluster.",
        next: "Choose another name, or `bowline db drop NAME` first if its contents are not needed.",
    },
    ErrorPage {
        code: Code("BL-STORE-009"),
        title: "The cluster's own database cannot be dropped",
        cause: "`sys` holds the members, tokens and names that the cluster is made of.",
        next: "Nothing to do.",
    },
    ErrorPage {
        code: Code("BL-STORE-010"),
        title: "The database name is not allowed",
        cause: "Names have 1 to 128 characters out of letters, digits, dot, underscore and dash, and do not start with a dot or a dash.",
        next: "Choose a name that fits.",
    },
    ErrorPage {
        code: Code("BL-STORE-011"),
        title: "The prepared statement is not there",
        cause: "The statement id was never given out on this connection, was finalized, or died with a lost leadership.",
        next: "Prepare the statement again.",
    },
    ErrorPage {
        code: Code("BL-STORE-012"),
        title: "The write was overtaken",
        cause: "A client that numbers its writes sent a number lower than one it already had an answer for.",
        next: "Number writes upwards, one client id per sequence.",
    },
    ErrorPage {
        code: Code("BL-STORE-013"),
        title: "The store is not open",
        cause: "The node is starting, or it is stopping and takes no new work.",
        next: "Try again in a moment, or on another member.",
    },
    ErrorPage {
        code: Code("BL-STORE-014"),
        title: "The store broke its own rule",
        cause: "A mistake in Bowline: something happened that its authors held to be impossible. Nothing acknowledged is lost.",
        next: "Please report it with the node's log; the request can be tried again.",
    },
    ErrorPage {
        code: Code("BL-STORE-015"),
        title: "A file operation failed",
        cause: "The operating system refused to read or write one of the store's files.",
        next: "The message names the file; check the disk's space, health and permissions.",
    },
    ErrorPage {
        code: Code("BL-STORE-016"),
        title: "A message between nodes could not be read",
        cause: "The nodes run versions of Bowline that do not understand each other.",
        next: "Bring all nodes to the same version; `bowline node list -o wide` shows the versions.",
    },
    ErrorPage {
        code: Code("BL-STORE-017"),
        title: "The options after the database name cannot be read",
        cause: "Options follow the name as in `shop?read=local&busy=20s`: read is linearizable, local or bounded:DURATION; \
                busy, idle and deadline are durations such as 250ms, 5s or 2m.",
        next: "Correct the option the message names.",
    },
    ErrorPage {
        code: Code("BL-STORE-018"),
        title: "The result is too large to be answered in one piece",
        cause: "Results that are gathered before they are answered have a limit of rows.",
        next: "Add a LIMIT, or read the result through a door that streams, such as `bowline sql`.",
    },
    ErrorPage {
        code: Code("BL-STORE-019"),
        title: "The database is being imported",
        cause: "`bowline db import` is still filling it from a file. It is opened to everybody when it is whole.",
        next: "Wait for the import to end. If the machine that imported it was lost meanwhile, `bowline db drop NAME`, and import it again.",
    },
    ErrorPage {
        code: Code("BL-STORE-020"),
        title: "The limit of a transaction is too large",
        cause: "A transaction's changed pages go to the other members as one entry of the log, which has a limit of its own.",
        next: "Configure the limit that the message names, or a smaller one, and make large changes in several transactions.",
    },
    ErrorPage {
        code: Code("BL-STORE-021"),
        title: "A query only reads rows",
        cause: "Queries over HTTP run on the member that is asked, on its copy, each by itself. What writes is carried out by the database's leader; \
                transactions and settings that would end with the request mean nothing.",
        next: "Send a statement that writes to `/v1/databases/NAME/execute`, which finds the leader.",
    },
    ErrorPage {
        code: Code("BL-STORE-022"),
        title: "A transaction is made of statements that write, one in each text",
        cause: "Its statements are carried out between a BEGIN and a COMMIT of its own: nothing else may begin or end a transaction in it, \
                and it answers no rows.",
        next: "Leave BEGIN, COMMIT, ROLLBACK, SAVEPOINT and SELECT out, and give each statement a text of its own. \
               `/v1/databases/NAME/query` reads rows.",
    },
    ErrorPage {
        code: Code("BL-STORE-023"),
        title: "A row is too large to be answered",
        cause: "A row of a result stands in memory as a whole, as text, before it is sent.",
        next: "Read a large value in parts: `substr(column, 1, 1000000)`, and so on.",
    },
    ErrorPage {
        code: Code("BL-STORE-024"),
        title: "The changes cannot be told from there on",
        cause: "The newest 20,000 changes of resources are kept. Who watches asked for some that are older; or for later ones than there are, as after \
                `bowline recover`, when the last changes were lost with the machines that had them.",
        next: "List the resources again, and watch from the revision that the list names.",
    },
    ErrorPage {
        code: Code("BL-STORE-030"),
        title: "The machine holds no copy of the database",
        cause: "A witness votes, so that two machines survive the loss of either, and a spare waits until another machine is gone; both keep no data but the \
                cluster's own. Writes over HTTP they pass on to the leader; what reads or moves a whole database is for a machine that has it.",
        next: "`bowline node list` shows the others, and which of them leads: ask that one.",
    },
];
