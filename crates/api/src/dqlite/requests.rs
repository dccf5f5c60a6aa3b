//! What each request of the protocol asks of the backend.

use super::backend::{Backend, Change, Dump, Fetch, Opening, Prepared, Refusal, Session, Statement};
use super::connection::{Connection, Rights};
use super::sink::RowsSink;
use super::wire::End;
use ::dqlite::{DumpHead, FailureCode, Frame, Params, Request, Response, ServerInfo, Tail};
use base::{NodeId, Role};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// What WELCOME promises; clients of today send no heartbeats.
const HEARTBEAT_TIMEOUT_MS: u64 = 15_000;

impl<B: Backend, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<B, IO> {
    /// Serves one request. An error ends the connection; a refusal does not.
    pub(super) async fn request(&mut self, frame: &Frame) -> Result<(), End> {
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => {
                self.refuse(&Refusal::new(FailureCode::PARSE, error.to_string()));
                return Ok(());
            }
        };
        match request {
            Request::Query { db: _, stmt, params } => self.query(Statement::Prepared(stmt), params).await,
            Request::QuerySql { db: _, sql, params } => self.query(Statement::Sql(sql), params).await,
            Request::Dump { name } => self.dump(name).await,
            Request::Connect { .. } => {
                self.refuse(&Refusal::new(FailureCode::PROTO, "this server does not take dqlite's Raft peers"));
                self.wire.flush().await?;
                Err(End::Refused("a Raft peer of dqlite called"))
            }
            request => {
                if let Err(refusal) = self.simple(request).await {
                    self.refuse(&refusal);
                }
                Ok(())
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.wire.answer(&Response::failure(refusal.code, &refusal.message));
    }

    /// The requests whose answer is one short message.
    async fn simple(&mut self, request: Request<'_>) -> Result<(), Refusal> {
        match request {
            Request::Leader => {
                let leader = self.backend.leader();
                let (id, address) = leader.as_ref().map_or((0, ""), |(id, address)| (id.0, address.as_str()));
                self.wire.answer(&Response::Server { id, address });
            }
            Request::Client { id } => {
                self.client = id;
                self.wire.answer(&Response::Welcome { heartbeat_timeout_ms: HEARTBEAT_TIMEOUT_MS });
            }
            Request::Open { name, flags, vfs: _ } => self.open(name, flags).await?,
            Request::Prepare { db: _, sql, tail } => self.prepare(sql, tail)?,
            Request::Exec { db: _, stmt, params } => self.execute(Statement::Prepared(stmt), params).await?,
            Request::ExecSql { db: _, sql, params } => self.execute(Statement::Sql(sql), params).await?,
            Request::Finalize { db: _, stmt } => {
                session(&mut self.session)?.finalize(stmt)?;
                self.wire.answer(&Response::Empty);
            }
            Request::Cluster { .. } => {
                let members = self.backend.members();
                let servers = members
                    .iter()
                    .map(|m| ServerInfo { id: m.id.0, address: &m.address, role: m.role.dqlite_code() })
                    .collect();
                self.wire.answer(&Response::Servers(servers));
            }
            Request::Describe { format: 0 } => {
                let (failure_domain, weight) = self.backend.describe();
                self.wire.answer(&Response::Metadata { failure_domain, weight });
            }
            Request::Describe { .. } => return Err(Refusal::new(FailureCode::PARSE, "bad format version")),
            Request::Add { id, address } => {
                self.change(Change::Add { id: NodeId(id), address: address.to_owned() }).await?;
            }
            Request::Promote { id } => self.change(Change::Assign { id: NodeId(id), role: Role::Voter }).await?,
            Request::Assign { id, role } => {
                let role = Role::from_dqlite_code(role)
                    .ok_or_else(|| Refusal::new(FailureCode::ERROR, format!("no role has the number {role}")))?;
                self.change(Change::Assign { id: NodeId(id), role }).await?;
            }
            Request::Remove { id } => self.change(Change::Remove { id: NodeId(id) }).await?,
            Request::Transfer { id } => {
                self.change(Change::Transfer { to: (id != 0).then_some(NodeId(id)) }).await?;
            }
            Request::Weight { weight } => self.change(Change::Weight { weight }).await?,
            // Kept apart above, or never given out as a request; HEARTBEAT has no answer in any server.
            Request::Heartbeat { .. }
            | Request::Query { .. }
            | Request::QuerySql { .. }
            | Request::Dump { .. }
            | Request::Connect { .. }
            | Request::Interrupt { .. } => {
                return Err(Refusal::new(FailureCode::PARSE, "unrecognized request type"));
            }
        }
        Ok(())
    }

    async fn open(&mut self, name: &str, flags: u64) -> Result<(), Refusal> {
        if self.session.is_some() {
            return Err(Refusal::new(FailureCode::BUSY, "a database for this connection is already open"));
        }
        let backend = Arc::clone(&self.backend);
        let opening = Opening { name, flags, client: self.client, rights: self.rights };
        // There is nothing to stop: a half-opened database is no harm.
        self.session = Some(self.wire.watching(|| {}, backend.open(opening)).await?);
        self.wire.answer(&Response::Db { id: 0 });
        Ok(())
    }

    fn prepare(&mut self, sql: &str, tail: Tail) -> Result<(), Refusal> {
        let session = session(&mut self.session)?;
        let Prepared { id, params, tail: taken } = session.prepare(sql)?;
        let id = id.ok_or_else(|| Refusal::new(FailureCode::NONE, "empty statement"))?;
        let rest = sql.get(taken..).unwrap_or_default();
        if tail == Tail::Refused && !rest.trim().is_empty() {
            // White space and comments may follow, another statement may not.
            let more = session.prepare(rest);
            let more = more.map(|more| more.id.map(|more| session.finalize(more)).is_some());
            if !matches!(more, Ok(false)) {
                session.finalize(id)?;
                return Err(Refusal::new(FailureCode::ERROR, "nonempty statement tail"));
            }
        }
        let tail = (tail == Tail::Reported).then_some(taken as u64);
        self.wire.answer(&Response::Statement { db: 0, id, params: params as u64, tail });
        Ok(())
    }

    async fn execute(&mut self, statement: Statement<'_>, params: Params<'_>) -> Result<(), Refusal> {
        let session = session(&mut self.session)?;
        let stop = session.interrupt();
        let done = self.wire.watching(stop, session.execute(statement, params)).await?;
        // Rowids are signed, the protocol's word is not: clients turn it back.
        let last_insert_id = done.last_insert_rowid.cast_unsigned();
        self.wire.answer(&Response::Result { last_insert_id, rows_affected: done.rows_affected });
        Ok(())
    }

    async fn query(&mut self, statement: Statement<'_>, params: Params<'_>) -> Result<(), End> {
        let Ok(session) = session(&mut self.session) else {
            self.refuse(&no_database());
            return Ok(());
        };
        let stop = session.interrupt();
        let wire = &mut self.wire;
        let sink = RowsSink::new(std::mem::take(&mut wire.out));
        let (mut sink, mut result) = wire.watching(&stop, session.query(statement, params, sink)).await;
        while result == Ok(Fetch::More) && !sink.is_too_large() {
            wire.out = sink.pause();
            if !wire.protocol.part() {
                // Interrupted. The parts that are ready may go out or not; without them the client is free sooner.
                break;
            }
            wire.flush().await?;
            wire.look().await;
            if wire.is_stopping() {
                break;
            }
            sink.resume(std::mem::take(&mut wire.out));
            (sink, result) = wire.watching(&stop, session.fetch(sink)).await;
        }
        if sink.is_too_large() {
            result = Err(Refusal::new(FailureCode::ERROR, ::dqlite::RowTooLarge.to_string()));
        }
        match result {
            Ok(Fetch::Done) if !wire.is_stopping() => {
                let (out, mut rows) = sink.finish();
                wire.out = out;
                wire.protocol.settle(&mut wire.out, |out, _| rows.done(out));
            }
            Ok(_) => {
                session.close_query();
                if wire.out.is_empty() {
                    wire.out = sink.abandon();
                }
                wire.answer(&Response::Empty);
            }
            Err(refusal) => {
                session.close_query();
                wire.out = sink.abandon();
                self.refuse(&refusal);
            }
        }
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<(), Refusal> {
        self.must_be_admin()?;
        let backend = Arc::clone(&self.backend);
        // A change that is on its way is not taken back; an interrupt only takes the place of its answer.
        self.wire.watching(|| {}, backend.change(change)).await?;
        self.wire.answer(&Response::Empty);
        Ok(())
    }

    fn must_be_admin(&self) -> Result<(), Refusal> {
        match self.rights {
            Rights::Admin => Ok(()),
            Rights::Reader | Rights::Client => Err(Refusal::new(
                FailureCode::AUTH,
                "not authorized: only a member's certificate, or a client on the same machine, may do this",
            )),
        }
    }

    async fn dump(&mut self, name: &str) -> Result<(), End> {
        let backend = Arc::clone(&self.backend);
        let dump = match self.must_be_admin() {
            Ok(()) => self.wire.watching(|| {}, backend.dump(name)).await,
            Err(refusal) => Err(refusal),
        };
        let mut dump = match dump {
            Ok(dump) => dump,
            Err(refusal) => {
                self.refuse(&refusal);
                return Ok(());
            }
        };
        let head = DumpHead { name, main_len: dump.len() };
        if !head.encode(&mut self.wire.out) {
            self.refuse(&Refusal::new(FailureCode::ERROR, "the database is too large for this answer (4 GiB)"));
            return Ok(());
        }
        let mut sent = 0;
        while let Some(piece) = dump.next().await.map_err(|_| End::Refused("a dump failed half-way"))? {
            sent += piece.len() as u64;
            self.wire.out.extend_from_slice(&piece);
            self.wire.flush().await?;
        }
        if sent != head.main_len {
            return Err(End::Refused("a dump ended early"));
        }
        // An INTERRUPT that came meanwhile is answered after the message, which is one and cannot be cut.
        self.wire.protocol.settle(&mut self.wire.out, |out, _| head.encode_tail(out));
        Ok(())
    }
}

fn session<S>(session: &mut Option<S>) -> Result<&mut S, Refusal> {
    session.as_mut().ok_or_else(no_database)
}

fn no_database() -> Refusal {
    Refusal::new(FailureCode::NOT_FOUND, "no database opened")
}
