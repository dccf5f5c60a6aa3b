//! Responses: what a server answers.

use base::Reader;
use bytes::{BufMut, BytesMut};

use crate::failure::FailureCode;
use crate::frame::{Frame, HEADER_LEN, Header, Version, put_message};
use crate::request::ClusterFormat;
use crate::rows::RowsPart;
use crate::wire::{self, DecodeError, WORD};

/// The type number of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "documented on the variants of `Response`")]
pub enum ResponseKind {
    Failure = 0,
    Server = 1,
    Welcome = 2,
    Servers = 3,
    Db = 4,
    Statement = 5,
    Result = 6,
    Rows = 7,
    Empty = 8,
    Files = 9,
    Metadata = 10,
}

impl ResponseKind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Failure,
            1 => Self::Server,
            2 => Self::Welcome,
            3 => Self::Servers,
            4 => Self::Db,
            5 => Self::Statement,
            6 => Self::Result,
            7 => Self::Rows,
            8 => Self::Empty,
            9 => Self::Files,
            10 => Self::Metadata,
            _ => return None,
        })
    }
}

/// What both ends know of an answer's form without its saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialect {
    /// Of the handshake: SERVER has no id in the legacy version.
    pub version: Version,
    /// Of the CLUSTER request: SERVERS has no roles in format 0.
    pub cluster: ClusterFormat,
}

/// A member as SERVERS lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo<'a> {
    /// Its id.
    pub id: u64,
    /// The address that clients dial.
    pub address: &'a str,
    /// 0 voter, 1 stand-by, 2 spare. Not sent, and read as 0, in format 0.
    pub role: u64,
}

/// A file as FILES carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its content; the length is a multiple of eight.
    pub content: &'a [u8],
}

/// An answer, borrowed from its message or from what it is made of.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the protocol's table and named as there")]
pub enum Response<'a> {
    /// The request was refused or failed.
    Failure { code: FailureCode, message: &'a str },
    /// Who leads; id 0 and no address if nobody is known to.
    Server { id: u64, address: &'a str },
    /// The answer to CLIENT.
    Welcome { heartbeat_timeout_ms: u64 },
    /// The members.
    Servers(Vec<ServerInfo<'a>>),
    /// The database is open.
    Db { id: u32 },
    /// The statement is prepared. `tail`: where the next statement starts, in bytes of the SQL text (schema 1).
    Statement { db: u32, id: u32, params: u64, tail: Option<u64> },
    /// The statement was executed.
    Result { last_insert_id: u64, rows_affected: u64 },
    /// A part of a result set. Servers write these with [`crate::RowsEncoder`].
    Rows(RowsPart<'a>),
    /// Done; there is nothing to tell.
    Empty,
    /// The files of a database. Servers write large ones with [`DumpHead`].
    Files(Vec<File<'a>>),
    /// A member's failure domain and weight.
    Metadata { failure_domain: u64, weight: u64 },
}

impl<'a> Response<'a> {
    /// A FAILURE.
    pub const fn failure(code: FailureCode, message: &'a str) -> Self {
        Self::Failure { code, message }
    }

    /// The kind of the response.
    pub const fn kind(&self) -> ResponseKind {
        match self {
            Self::Failure { .. } => ResponseKind::Failure,
            Self::Server { .. } => ResponseKind::Server,
            Self::Welcome { .. } => ResponseKind::Welcome,
            Self::Servers(_) => ResponseKind::Servers,
            Self::Db { .. } => ResponseKind::Db,
            Self::Statement { .. } => ResponseKind::Statement,
            Self::Result { .. } => ResponseKind::Result,
            Self::Rows(_) => ResponseKind::Rows,
            Self::Empty => ResponseKind::Empty,
            Self::Files(_) => ResponseKind::Files,
            Self::Metadata { .. } => ResponseKind::Metadata,
        }
    }

    /// Reads a response. Bytes after it are ignored.
    pub fn decode(frame: &'a Frame, dialect: Dialect) -> Result<Self, DecodeError> {
        let header = frame.header;
        let kind = ResponseKind::from_number(header.kind).ok_or(DecodeError::UnknownResponse(header.kind))?;
        let schema_max = u8::from(kind == ResponseKind::Statement);
        if header.schema > schema_max {
            return Err(DecodeError::UnknownSchema { kind: header.kind, schema: header.schema });
        }
        let mut r = Reader::new(&frame.body);
        Ok(match kind {
            ResponseKind::Failure => Self::Failure { code: FailureCode(r.u64()?), message: wire::text(&mut r)? },
            ResponseKind::Server => match dialect.version {
                Version::One => Self::Server { id: r.u64()?, address: wire::text(&mut r)? },
                Version::Legacy => Self::Server { id: 0, address: wire::text(&mut r)? },
            },
            ResponseKind::Welcome => Self::Welcome { heartbeat_timeout_ms: r.u64()? },
            ResponseKind::Servers => Self::Servers(read_servers(&mut r, dialect.cluster)?),
            ResponseKind::Db => Self::Db { id: r.u32()? },
            ResponseKind::Statement => Self::Statement {
                db: r.u32()?,
                id: r.u32()?,
                params: r.u64()?,
                tail: if header.schema == 0 { None } else { Some(r.u64()?) },
            },
            ResponseKind::Result => Self::Result { last_insert_id: r.u64()?, rows_affected: r.u64()? },
            ResponseKind::Rows => Self::Rows(RowsPart::read(&frame.body)?),
            ResponseKind::Empty => Self::Empty,
            ResponseKind::Files => Self::Files(read_files(&mut r)?),
            ResponseKind::Metadata => Self::Metadata { failure_domain: r.u64()?, weight: r.u64()? },
        })
    }

    /// Appends the response, with its header, to `out`.
    ///
    /// [`Self::Rows`] is repeated value by value as far as it is well-formed, and always ends in a marker.
    pub fn encode(&self, out: &mut BytesMut, dialect: Dialect) {
        let schema = u8::from(matches!(self, Self::Statement { tail: Some(_), .. }));
        put_message(out, self.kind().number(), schema, |out| self.encode_body(out, dialect));
    }

    fn encode_body(&self, out: &mut BytesMut, dialect: Dialect) {
        match self {
            Self::Failure { code, message } => {
                out.put_u64_le(code.0);
                wire::put_text(out, message.as_bytes());
            }
            Self::Server { id, address } => {
                if dialect.version == Version::One {
                    out.put_u64_le(*id);
                }
                wire::put_text(out, address.as_bytes());
            }
            Self::Welcome { heartbeat_timeout_ms } => out.put_u64_le(*heartbeat_timeout_ms),
            Self::Servers(servers) => {
                out.put_u64_le(servers.len() as u64);
                for server in servers {
                    out.put_u64_le(server.id);
                    wire::put_text(out, server.address.as_bytes());
                    if dialect.cluster == ClusterFormat::Roles {
                        out.put_u64_le(server.role);
                    }
                }
            }
            Self::Db { id } => {
                out.put_u32_le(*id);
                out.put_u32_le(0);
            }
            Self::Statement { db, id, params, tail } => {
                out.put_u32_le(*db);
                out.put_u32_le(*id);
                out.put_u64_le(*params);
                if let Some(tail) = tail {
                    out.put_u64_le(*tail);
                }
            }
            Self::Result { last_insert_id, rows_affected } => {
                out.put_u64_le(*last_insert_id);
                out.put_u64_le(*rows_affected);
            }
            Self::Rows(part) => part.put(out),
            Self::Empty => out.put_u64_le(0),
            Self::Files(files) => {
                out.put_u64_le(files.len() as u64);
                for file in files {
                    put_file_head(out, file.name, file.content.len() as u64);
                    out.put_slice(file.content);
                    out.put_bytes(0, wire::align(file.content.len()) - file.content.len());
                }
            }
            Self::Metadata { failure_domain, weight } => {
                out.put_u64_le(*failure_domain);
                out.put_u64_le(*weight);
            }
        }
    }
}

fn read_servers<'a>(r: &mut Reader<'a>, format: ClusterFormat) -> Result<Vec<ServerInfo<'a>>, DecodeError> {
    let announced = r.u64()?;
    let count = wire::list_len(r, announced, 2 * WORD)?;
    (0..count)
        .map(|_| {
            let id = r.u64()?;
            let address = wire::text(r)?;
            let role = if format == ClusterFormat::Roles { r.u64()? } else { 0 };
            Ok(ServerInfo { id, address, role })
        })
        .collect()
}

fn read_files<'a>(r: &mut Reader<'a>) -> Result<Vec<File<'a>>, DecodeError> {
    let announced = r.u64()?;
    let count = wire::list_len(r, announced, 2 * WORD)?;
    (0..count).map(|_| Ok(File { name: wire::text(r)?, content: wire::blob(r)? })).collect()
}

fn put_file_head(out: &mut BytesMut, name: &str, len: u64) {
    wire::put_text(out, name.as_bytes());
    out.put_u64_le(len);
}

/// The start and the end of a FILES answer whose main file is too large to be held: the writer sends [`Self::encode`]'s
/// bytes, then exactly `main_len` bytes of the database, then [`Self::encode_tail`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpHead<'a> {
    /// The database's name; the second file is called that and `-wal`, and is empty.
    pub name: &'a str,
    /// Length of the main file: a multiple of eight.
    pub main_len: u64,
}

impl DumpHead<'_> {
    fn wal_name(&self) -> String {
        format!("{}-wal", self.name)
    }

    /// Appends the message up to the content of the main file. `false`, and nothing is written, if the length is not a
    /// multiple of eight or the answer would be longer than the protocol can say (4 GiB).
    #[must_use]
    pub fn encode(&self, out: &mut BytesMut) -> bool {
        let start = out.len();
        out.put_bytes(0, HEADER_LEN);
        out.put_u64_le(2);
        put_file_head(out, self.name, self.main_len);
        let head = out.len() - start - HEADER_LEN;
        let mut tail = BytesMut::new();
        self.encode_tail(&mut tail);
        let body = (head as u64).checked_add(tail.len() as u64).and_then(|n| n.checked_add(self.main_len));
        let words = body.filter(|n| n % WORD as u64 == 0 && u32::try_from(*n).is_ok()).map(|n| n / WORD as u64);
        let (Some(words), Some(place)) =
            (words.and_then(|w| u32::try_from(w).ok()), out.get_mut(start..start + HEADER_LEN))
        else {
            out.truncate(start);
            return false;
        };
        place.copy_from_slice(&Header { words, kind: ResponseKind::Files.number(), schema: 0, extra: 0 }.to_bytes());
        true
    }

    /// Appends what follows the content of the main file.
    pub fn encode_tail(&self, out: &mut BytesMut) {
        put_file_head(out, &self.wal_name(), 0);
    }
}
