//! A connection of the dqlite protocol on a node's Unix socket: transactions that read and write, at the leader.

use crate::http::Trouble;
use bytes::BytesMut;
use dqlite::{
    BodyLimit, ClientEvent, ClientSession, FailureCode, Params, Request, Response, RowsStep, Value, ValueRef, Version,
};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A connection. After any trouble it is of no use: drop it, and what it had not committed is undone.
pub(crate) struct Wire {
    stream: UnixStream,
    session: ClientSession,
    input: BytesMut,
    output: BytesMut,
    until: Instant,
}

impl Wire {
    /// Connects, and opens a database, which only its leader grants.
    pub(crate) fn open(socket: &Path, database: &str, patience: Duration) -> Result<Self, Trouble> {
        let refused = |error: std::io::Error| Trouble::Refused(error.to_string());
        let stream = UnixStream::connect(socket).map_err(refused)?;
        let mut output = BytesMut::new();
        let session = ClientSession::new(Version::One, BodyLimit::DEFAULT, &mut output);
        let mut wire = Self { stream, session, input: BytesMut::new(), output, until: Instant::now() + patience };
        let opened = wire.rows(&Request::Open { name: database, flags: 0, vfs: "" });
        // To open changes nothing.
        opened.map_err(|trouble| match trouble {
            Trouble::Refused(text) | Trouble::Unknown(text) => Trouble::Refused(text),
        })?;
        Ok(wire)
    }

    /// What follows has so long altogether.
    pub(crate) fn give(&mut self, patience: Duration) {
        self.until = Instant::now() + patience;
    }

    /// Runs statements that give no rows.
    pub(crate) fn execute(&mut self, sql: &str, params: &[ValueRef<'_>]) -> Result<(), Trouble> {
        self.rows(&Request::ExecSql { db: 0, sql, params: Params::new(params) }).map(drop)
    }

    /// Runs a query.
    pub(crate) fn query(&mut self, sql: &str, params: &[ValueRef<'_>]) -> Result<Vec<Vec<Value>>, Trouble> {
        self.rows(&Request::QuerySql { db: 0, sql, params: Params::new(params) })
    }

    fn rows(&mut self, request: &Request<'_>) -> Result<Vec<Vec<Value>>, Trouble> {
        let broken = |error: &dyn std::fmt::Display| Trouble::Unknown(error.to_string());
        self.session.send(request, &mut self.output).map_err(|e| broken(&e))?;
        let left = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_write_timeout(Some(left)).map_err(|e| broken(&e))?;
        let sent = self.output.split();
        self.stream.write_all(&sent).map_err(|e| broken(&e))?;
        let mut all = Vec::new();
        loop {
            let (frame, is_last) = match self.next()? {
                ClientEvent::Answer(frame) => (frame, true),
                ClientEvent::Part(frame) => (frame, false),
                ClientEvent::Interrupted => return Err(broken(&"interrupted")),
            };
            match Response::decode(&frame, self.session.dialect()).map_err(|e| broken(&e))? {
                Response::Failure { code, message } => return Err(refusal(code, message)),
                Response::Rows(mut part) => {
                    let mut row = Vec::new();
                    while part.next(&mut row).map_err(|e| broken(&e))? == RowsStep::Row {
                        all.push(row.iter().map(|value| value.to_value()).collect());
                    }
                }
                _ => {}
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    fn next(&mut self) -> Result<ClientEvent, Trouble> {
        let mut part = [0; 1 << 14];
        loop {
            let broken = |error: &dyn std::fmt::Display| Trouble::Unknown(error.to_string());
            if let Some(event) = self.session.poll(&mut self.input).map_err(|e| broken(&e))? {
                return Ok(event);
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(broken(&"no answer in time"));
            }
            self.stream.set_read_timeout(Some(left)).map_err(|e| broken(&e))?;
            match self.stream.read(&mut part).map_err(|e| broken(&e))? {
                0 => return Err(broken(&"the server closed the connection")),
                count => self.input.extend_from_slice(part.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// What a server says that it did not do is refused; whatever a loss of leadership may have left behind is unknown.
fn refusal(code: FailureCode, message: &str) -> Trouble {
    const CONSTRAINT: u64 = 19;
    let text = format!("dqlite {code} {message}");
    let is_certain =
        code == FailureCode::NOT_LEADER || code.primary() == FailureCode::BUSY.0 || code.primary() == CONSTRAINT;
    if is_certain { Trouble::Refused(text) } else { Trouble::Unknown(text) }
}
