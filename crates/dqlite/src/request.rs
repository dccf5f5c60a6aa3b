//! Requests: what a client asks.

use base::Reader;
use bytes::{BufMut, BytesMut};

use crate::frame::{Frame, put_message};
use crate::params::Params;
use crate::wire::{self, DecodeError};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $schemas:literal;)*) => {
        /// The type number of a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum RequestKind { $($(#[$doc])* $name = $number,)* }

        impl RequestKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind with that number.
            pub const fn from_number(number: u8) -> Option<Self> {
                Some(match number { $($number => Self::$name,)* _ => return None })
            }

            /// The newest revision of the kind's format.
            pub const fn schema_max(self) -> u8 {
                match self { $(Self::$name => $schemas,)* }
            }
        }
    };
}

kinds! {
    /// Who leads?
    Leader = 0, 0;
    /// Registers the client's id.
    Client = 1, 0;
    /// Reserved; no server answers it.
    Heartbeat = 2, 0;
    /// Opens a database.
    Open = 3, 0;
    /// Prepares a statement. Schema 1: more statements may follow the first.
    Prepare = 4, 1;
    /// Runs a prepared statement that gives no rows. Schema 1: wide parameter tuple.
    Exec = 5, 1;
    /// Runs a prepared statement that gives rows. Schema 1: wide parameter tuple.
    Query = 6, 1;
    /// Forgets a prepared statement.
    Finalize = 7, 0;
    /// Runs one or more statements that give no rows. Schema 1: wide parameter tuple.
    ExecSql = 8, 1;
    /// Runs one statement that gives rows. Schema 1: wide parameter tuple.
    QuerySql = 9, 1;
    /// Stops what runs.
    Interrupt = 10, 0;
    /// Turns the connection into a Raft link of dqlite's own.
    Connect = 11, 0;
    /// Adds a member, as spare.
    Add = 12, 0;
    /// Gives a member a role.
    Assign = 13, 0;
    /// Removes a member.
    Remove = 14, 0;
    /// The files of a database.
    Dump = 15, 0;
    /// The members.
    Cluster = 16, 0;
    /// Moves leadership.
    Transfer = 17, 0;
    /// A member's failure domain and weight.
    Describe = 18, 0;
    /// Sets this member's weight.
    Weight = 19, 0;
}

impl RequestKind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What PREPARE does with text after the first statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// It is an error (schema 0).
    Refused,
    /// The answer says where it starts (schema 1).
    Reported,
}

/// How CLUSTER lists members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterFormat {
    /// Id and address (format 0).
    Addresses,
    /// Id, address and role (format 1).
    #[default]
    Roles,
}

/// A request, borrowed from its message.
///
/// The database id is always 0, since a connection opens one database at most; it travels as 64 bits with SQL text and as
/// 32 bits beside a statement id.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the protocol's table and named as there")]
pub enum Request<'a> {
    /// Answer: SERVER. Any member.
    Leader,
    /// Answer: WELCOME.
    Client { id: u64 },
    /// No server answers it with anything but FAILURE.
    Heartbeat { timestamp: u64 },
    /// Answer: DB. Leader only, unless `flags` or `name` ask for another read level.
    Open { name: &'a str, flags: u64, vfs: &'a str },
    /// Answer: STMT.
    Prepare { db: u64, sql: &'a str, tail: Tail },
    /// Answer: RESULT.
    Exec { db: u32, stmt: u32, params: Params<'a> },
    /// Answer: ROWS, in parts.
    Query { db: u32, stmt: u32, params: Params<'a> },
    /// Answer: EMPTY.
    Finalize { db: u32, stmt: u32 },
    /// Answer: RESULT, of the last statement.
    ExecSql { db: u64, sql: &'a str, params: Params<'a> },
    /// Answer: ROWS, in parts.
    QuerySql { db: u64, sql: &'a str, params: Params<'a> },
    /// Answer: EMPTY, which also takes the place of what is left of the answer to the request it stops.
    Interrupt { db: u64 },
    /// No answer: dqlite's Raft peers speak on.
    Connect { id: u64, address: &'a str },
    /// Answer: EMPTY.
    Add { id: u64, address: &'a str },
    /// The one-word form of ASSIGN: make it a voter. Answer: EMPTY.
    Promote { id: u64 },
    /// `role`: 0 voter, 1 stand-by, 2 spare. Answer: EMPTY, when the change is committed.
    Assign { id: u64, role: u64 },
    /// Answer: EMPTY.
    Remove { id: u64 },
    /// Answer: FILES.
    Dump { name: &'a str },
    /// Answer: SERVERS.
    Cluster { format: ClusterFormat },
    /// `id` 0: any voter. Answer: EMPTY.
    Transfer { id: u64 },
    /// Answer: METADATA.
    Describe { format: u64 },
    /// Answer: EMPTY.
    Weight { weight: u64 },
}

impl<'a> Request<'a> {
    /// The kind of the request.
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Leader => RequestKind::Leader,
            Self::Client { .. } => RequestKind::Client,
            Self::Heartbeat { .. } => RequestKind::Heartbeat,
            Self::Open { .. } => RequestKind::Open,
            Self::Prepare { .. } => RequestKind::Prepare,
            Self::Exec { .. } => RequestKind::Exec,
            Self::Query { .. } => RequestKind::Query,
            Self::Finalize { .. } => RequestKind::Finalize,
            Self::ExecSql { .. } => RequestKind::ExecSql,
            Self::QuerySql { .. } => RequestKind::QuerySql,
            Self::Interrupt { .. } => RequestKind::Interrupt,
            Self::Connect { .. } => RequestKind::Connect,
            Self::Add { .. } => RequestKind::Add,
            Self::Promote { .. } | Self::Assign { .. } => RequestKind::Assign,
            Self::Remove { .. } => RequestKind::Remove,
            Self::Dump { .. } => RequestKind::Dump,
            Self::Cluster { .. } => RequestKind::Cluster,
            Self::Transfer { .. } => RequestKind::Transfer,
            Self::Describe { .. } => RequestKind::Describe,
            Self::Weight { .. } => RequestKind::Weight,
        }
    }

    /// The revision of the format that carries it: the oldest that can.
    fn schema(&self) -> u8 {
        match self {
            Self::Prepare { tail: Tail::Reported, .. } => 1,
            Self::Exec { params, .. }
            | Self::Query { params, .. }
            | Self::ExecSql { params, .. }
            | Self::QuerySql { params, .. } => params.schema(),
            _ => 0,
        }
    }

    /// Reads a request. Bytes after it are ignored, as dqlite does.
    pub fn decode(frame: &'a Frame) -> Result<Self, DecodeError> {
        let header = frame.header;
        let kind = RequestKind::from_number(header.kind).ok_or(DecodeError::UnknownRequest(header.kind))?;
        if header.schema > kind.schema_max() {
            return Err(DecodeError::UnknownSchema { kind: header.kind, schema: header.schema });
        }
        let mut r = Reader::new(&frame.body);
        Ok(match kind {
            RequestKind::Leader => {
                r.u64()?;
                Self::Leader
            }
            RequestKind::Client => Self::Client { id: r.u64()? },
            RequestKind::Heartbeat => Self::Heartbeat { timestamp: r.u64()? },
            RequestKind::Open => Self::Open { name: wire::text(&mut r)?, flags: r.u64()?, vfs: wire::text(&mut r)? },
            RequestKind::Prepare => Self::Prepare {
                db: r.u64()?,
                sql: wire::text(&mut r)?,
                tail: if header.schema == 0 { Tail::Refused } else { Tail::Reported },
            },
            RequestKind::Exec => {
                Self::Exec { db: r.u32()?, stmt: r.u32()?, params: Params::read(&mut r, header.schema)? }
            }
            RequestKind::Query => {
                Self::Query { db: r.u32()?, stmt: r.u32()?, params: Params::read(&mut r, header.schema)? }
            }
            RequestKind::Finalize => Self::Finalize { db: r.u32()?, stmt: r.u32()? },
            RequestKind::ExecSql => {
                Self::ExecSql { db: r.u64()?, sql: wire::text(&mut r)?, params: Params::read(&mut r, header.schema)? }
            }
            RequestKind::QuerySql => {
                Self::QuerySql { db: r.u64()?, sql: wire::text(&mut r)?, params: Params::read(&mut r, header.schema)? }
            }
            RequestKind::Interrupt => Self::Interrupt { db: r.u64()? },
            RequestKind::Connect => Self::Connect { id: r.u64()?, address: wire::text(&mut r)? },
            RequestKind::Add => Self::Add { id: r.u64()?, address: wire::text(&mut r)? },
            RequestKind::Assign => match (r.u64()?, r.is_empty()) {
                (id, true) => Self::Promote { id },
                (id, false) => Self::Assign { id, role: r.u64()? },
            },
            RequestKind::Remove => Self::Remove { id: r.u64()? },
            RequestKind::Dump => Self::Dump { name: wire::text(&mut r)? },
            RequestKind::Cluster => Self::Cluster {
                format: match r.u64()? {
                    0 => ClusterFormat::Addresses,
                    1 => ClusterFormat::Roles,
                    other => return Err(DecodeError::UnknownFormat(other)),
                },
            },
            RequestKind::Transfer => Self::Transfer { id: r.u64()? },
            RequestKind::Describe => Self::Describe { format: r.u64()? },
            RequestKind::Weight => Self::Weight { weight: r.u64()? },
        })
    }

    /// Appends the request, with its header, to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        put_message(out, self.kind().number(), self.schema(), |out| self.encode_body(out));
    }

    fn encode_body(&self, out: &mut BytesMut) {
        match *self {
            Self::Leader => out.put_u64_le(0),
            Self::Client { id: word }
            | Self::Heartbeat { timestamp: word }
            | Self::Interrupt { db: word }
            | Self::Promote { id: word }
            | Self::Remove { id: word }
            | Self::Transfer { id: word }
            | Self::Describe { format: word }
            | Self::Weight { weight: word } => out.put_u64_le(word),
            Self::Open { name, flags, vfs } => {
                wire::put_text(out, name.as_bytes());
                out.put_u64_le(flags);
                wire::put_text(out, vfs.as_bytes());
            }
            Self::Prepare { db, sql, tail: _ } => {
                out.put_u64_le(db);
                wire::put_text(out, sql.as_bytes());
            }
            Self::Exec { db, stmt, ref params } | Self::Query { db, stmt, ref params } => {
                out.put_u32_le(db);
                out.put_u32_le(stmt);
                params.put(out);
            }
            Self::Finalize { db, stmt } => {
                out.put_u32_le(db);
                out.put_u32_le(stmt);
            }
            Self::ExecSql { db, sql, ref params } | Self::QuerySql { db, sql, ref params } => {
                out.put_u64_le(db);
                wire::put_text(out, sql.as_bytes());
                params.put(out);
            }
            Self::Connect { id, address } | Self::Add { id, address } => {
                out.put_u64_le(id);
                wire::put_text(out, address.as_bytes());
            }
            Self::Assign { id, role } => {
                out.put_u64_le(id);
                out.put_u64_le(role);
            }
            Self::Dump { name } => wire::put_text(out, name.as_bytes()),
            Self::Cluster { format } => out.put_u64_le(match format {
                ClusterFormat::Addresses => 0,
                ClusterFormat::Roles => 1,
            }),
        }
    }
}
