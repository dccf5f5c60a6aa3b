//! A backend of a few words of "SQL", and a client to talk to it.

use crate::dqlite::backend::{
    Backend, Change, Dump, Executed, Fetch, Member, Opening, Prepared, Refusal, Session, Statement,
};
use crate::dqlite::connection::{Connection, Rights};
use crate::dqlite::sink::{Flow, RowsSink};
use crate::dqlite::wire::Wire;
use crate::intake::Intake;
use ::dqlite::{
    BodyLimit, ClientEvent, ClientSession, FailureCode, Frame, Params, Request, Response, ResponseKind, RowsStep,
    Value, ValueRef, Version,
};
use base::{NodeId, Role};
use bytes::{Bytes, BytesMut};
use lifecycle::Scope;
use rt::time::Instant;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What the backend was told.
#[derive(Default)]
pub(super) struct Log {
    pub(super) changes: Mutex<Vec<Change>>,
    pub(super) interrupts: AtomicUsize,
    pub(super) sessions: AtomicUsize,
    pub(super) opened: Mutex<Vec<(String, u64)>>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Arc<Log>);

/// Understands `rows N`, `params`, `write`, `hang`, `hang rows`, `fail N`, `begin`, `commit`, `panic`.
pub(super) struct FakeSession {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    prepared: Vec<Option<String>>,
    rows_left: u64,
    transaction: bool,
    pub(super) idle: Option<Instant>,
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.log.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) struct FakeDump(u64);

impl Dump for FakeDump {
    fn len(&self) -> u64 {
        8192
    }
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        self.0 += 1;
        Ok((self.0 <= 2).then(|| Bytes::from(vec![7; 4096])))
    }
}

impl Backend for Fake {
    type Session = FakeSession;
    type Dump = FakeDump;

    fn leader(&self) -> Option<(NodeId, String)> {
        Some((NodeId(7), "box1:9000".to_owned()))
    }
    fn members(&self) -> Vec<Member> {
        vec![Member { id: NodeId(7), address: "box1:9000".to_owned(), role: Role::StandBy }]
    }
    fn describe(&self) -> (u64, u64) {
        (1, 2)
    }
    async fn open(&self, opening: Opening<'_>) -> Result<FakeSession, Refusal> {
        if opening.name == "elsewhere" {
            return Err(Refusal::not_leader());
        }
        self.0.sessions.fetch_add(1, Ordering::SeqCst);
        self.0.opened.lock().unwrap().push((opening.name.to_owned(), opening.flags));
        Ok(FakeSession {
            log: Arc::clone(&self.0),
            stop: Arc::default(),
            prepared: Vec::new(),
            rows_left: 0,
            transaction: false,
            idle: None,
        })
    }
    async fn change(&self, change: Change) -> Result<(), Refusal> {
        self.0.changes.lock().unwrap().push(change);
        Ok(())
    }
    async fn dump(&self, name: &str) -> Result<FakeDump, Refusal> {
        if name == "none" { Err(Refusal::new(FailureCode::NOT_FOUND, "no such database")) } else { Ok(FakeDump(0)) }
    }
}

impl FakeSession {
    fn text(&self, statement: Statement<'_>) -> Result<String, Refusal> {
        match statement {
            Statement::Sql(sql) => Some(sql.to_owned()),
            Statement::Prepared(id) => self.prepared.get(id as usize).cloned().flatten(),
        }
        .ok_or_else(|| Refusal::new(FailureCode::NOT_FOUND, "no statement with the given id"))
    }

    async fn hang(&self) -> Refusal {
        while !self.stop.swap(false, Ordering::SeqCst) {
            rt::time::sleep(Duration::from_millis(1)).await;
        }
        Refusal::new(FailureCode::INTERRUPT, "interrupted")
    }

    fn give(&mut self, sink: &mut RowsSink) -> Fetch {
        while self.rows_left > 0 {
            self.rows_left -= 1;
            let n = i64::try_from(self.rows_left).unwrap();
            if sink.row([ValueRef::Integer(n), ValueRef::Text(b"row")]) == Flow::Pause {
                return Fetch::More;
            }
        }
        Fetch::Done
    }
}

impl Session for FakeSession {
    type Interrupt = Box<dyn Fn() + Send + Sync>;

    fn interrupt(&self) -> Self::Interrupt {
        let (stop, log) = (Arc::clone(&self.stop), Arc::clone(&self.log));
        Box::new(move || {
            stop.store(true, Ordering::SeqCst);
            log.interrupts.fetch_add(1, Ordering::SeqCst);
        })
    }
    fn prepare(&mut self, sql: &str) -> Result<Prepared, Refusal> {
        let (first, tail) = match sql.find(';') {
            Some(at) => (&sql[..at], at + 1),
            None => (sql, sql.len()),
        };
        if first.trim().is_empty() || first.trim_start().starts_with("--") {
            return Ok(Prepared { id: None, params: 0, tail });
        }
        self.prepared.push(Some(first.to_owned()));
        let id = u32::try_from(self.prepared.len() - 1).unwrap();
        Ok(Prepared { id: Some(id), params: first.matches('?').count(), tail })
    }
    fn finalize(&mut self, statement: u32) -> Result<(), Refusal> {
        self.text(Statement::Prepared(statement))?;
        self.prepared[statement as usize] = None;
        Ok(())
    }
    async fn execute(&mut self, statement: Statement<'_>, params: Params<'_>) -> Result<Executed, Refusal> {
        match self.text(statement)?.as_str() {
            "hang" => return Err(self.hang().await),
            "begin" => self.transaction = true,
            "begin idle" => {
                self.transaction = true;
                self.idle = Some(Instant::now() + Duration::from_millis(20));
            }
            "commit" => self.transaction = false,
            "panic" => panic!("as asked"),
            _ => {}
        }
        Ok(Executed { last_insert_rowid: -1, rows_affected: params.len() as u64 })
    }
    async fn query(
        &mut self,
        statement: Statement<'_>,
        params: Params<'_>,
        mut sink: RowsSink,
    ) -> (RowsSink, Result<Fetch, Refusal>) {
        let text = match self.text(statement) {
            Ok(text) => text,
            Err(refusal) => return (sink, Err(refusal)),
        };
        let (verb, count) = text.split_once(' ').unwrap_or((&text, "0"));
        if verb == "params" {
            sink.begin(params.iter().map(|_| ("p", None)));
            sink.row(params.iter());
            return (sink, Ok(Fetch::Done));
        }
        sink.begin([("n", None), ("t", None)]);
        match verb {
            "hang" => {
                let refusal = self.hang().await;
                (sink, Err(refusal))
            }
            "fail" => {
                self.rows_left = count.parse().unwrap();
                self.give(&mut sink);
                (sink, Err(Refusal::new(FailureCode::ERROR, "failed half-way")))
            }
            _ => {
                self.rows_left = count.parse().unwrap();
                let fetch = self.give(&mut sink);
                (sink, Ok(fetch))
            }
        }
    }
    async fn fetch(&mut self, mut sink: RowsSink) -> (RowsSink, Result<Fetch, Refusal>) {
        let fetch = self.give(&mut sink);
        (sink, Ok(fetch))
    }
    fn close_query(&mut self) {
        self.rows_left = 0;
    }
    fn in_transaction(&self) -> bool {
        self.transaction
    }
    fn idle_deadline(&self) -> Option<Instant> {
        self.idle
    }
    fn expire(&mut self) {
        self.idle = None;
        self.transaction = false;
    }
}

/// What came back for a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Failure(u64, String),
    Rows { columns: usize, rows: Vec<Vec<Value>>, parts: usize },
    Other(ResponseKind, Frame),
}

pub(super) struct Client<IO> {
    io: IO,
    session: ClientSession,
    input: BytesMut,
    pub(super) out: BytesMut,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(super) fn new(io: IO, version: Version) -> Self {
        let mut out = BytesMut::new();
        let session = ClientSession::new(version, BodyLimit::MAX, &mut out);
        Self { io, session, input: BytesMut::new(), out }
    }

    pub(super) async fn send(&mut self, request: &Request<'_>) {
        self.session.send(request, &mut self.out).unwrap();
        self.flush().await;
    }

    pub(super) async fn flush(&mut self) {
        self.io.write_all(&self.out).await.unwrap();
        self.out.clear();
    }

    /// The next event, or `None` when the server has closed.
    pub(super) async fn event(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.session.poll(&mut self.input).unwrap() {
                return Some(event);
            }
            if self.io.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(super) async fn ask(&mut self, request: &Request<'_>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    pub(super) async fn answer(&mut self) -> Answer {
        let (mut all, mut parts) = (Vec::new(), 0);
        loop {
            let (frame, last) = match self.event().await.expect("an answer") {
                ClientEvent::Part(frame) => (frame, false),
                ClientEvent::Answer(frame) => (frame, true),
                ClientEvent::Interrupted => panic!("nothing was interrupted"),
            };
            parts += 1;
            match Response::decode(&frame, self.session.dialect()).unwrap() {
                Response::Failure { code, message } => return Answer::Failure(code.0, message.to_owned()),
                Response::Rows(mut rows) => {
                    let columns = rows.columns().len();
                    let mut row = Vec::new();
                    while rows.next(&mut row).unwrap() == RowsStep::Row {
                        all.push(row.iter().map(|v| v.to_value()).collect());
                    }
                    if last {
                        return Answer::Rows { columns, rows: all, parts };
                    }
                }
                other => return Answer::Other(other.kind(), frame.clone()),
            }
        }
    }

    pub(super) async fn exec(&mut self, sql: &str) -> Answer {
        self.ask(&Request::ExecSql { db: 0, sql, params: Params::NONE }).await
    }

    pub(super) async fn query(&mut self, sql: &str) -> Answer {
        self.ask(&Request::QuerySql { db: 0, sql, params: Params::NONE }).await
    }

    pub(super) async fn open(&mut self) {
        assert!(matches!(self.ask(&OPEN).await, Answer::Other(ResponseKind::Db, _)));
    }
}

pub(super) const OPEN: Request<'static> = Request::Open { name: "t", flags: 0, vfs: "volatile" };

/// A connection in memory, served in `scope`.
pub(super) fn connect(backend: &Fake, rights: Rights, scope: &Scope) -> Client<tokio::io::DuplexStream> {
    let (here, there) = tokio::io::duplex(32 << 10);
    let wire = Wire::new(there, BytesMut::new(), BodyLimit(1 << 20));
    let connection = Connection::new(Arc::new(backend.clone()), rights, wire, Intake::default());
    let stopping = scope.cancelled();
    scope.spawn("client", async move {
        drop(connection.serve(stopping.wait()).await);
    });
    Client::new(here, Version::One)
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    /// Sends what the server may refuse before it has read it.
    pub(super) async fn send_ignoring_errors(&mut self, request: &Request<'_>) {
        self.session.send(request, &mut self.out).unwrap();
        drop(self.io.write_all(&self.out).await);
        self.out.clear();
    }

    /// Sends bytes as the body of a request, whatever they are, and reads the answer.
    pub(super) async fn ask_raw(&mut self, kind: u8, schema: u8, words: u32) -> Answer {
        self.session.send(&Request::Leader, &mut self.out).unwrap();
        self.out.clear();
        self.out.extend_from_slice(&words.to_le_bytes());
        self.out.extend_from_slice(&[kind, schema, 0, 0]);
        self.out.extend(std::iter::repeat_n(0u8, words as usize * 8));
        self.flush().await;
        self.answer().await
    }
}
