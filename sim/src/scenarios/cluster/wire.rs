//! A connection of the dqlite protocol, as a client has it.

use super::daemon::DQLITE_PORT;
use crate::world::host;
use bytes::BytesMut;
use dqlite::{
    BodyLimit, ClientEvent, ClientSession, FailureCode, Params, Request, Response, RowsStep, ValueRef, Version,
};
use rt::net::Stream;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The database of the scenario.
const DATABASE: &str = "shop";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server says so.
    Refused(FailureCode),
    /// The conversation broke off.
    Broken,
}

impl Trouble {
    /// Whether the server says that nothing was done.
    pub(super) fn is_without_effect(&self) -> bool {
        match self {
            Self::Refused(code) => matches!(*code, FailureCode::NOT_LEADER) || code.primary() == FailureCode::BUSY.0,
            Self::Broken => false,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// A connection.
pub(super) struct Wire {
    stream: Stream,
    session: ClientSession,
    input: BytesMut,
    output: BytesMut,
}

impl Wire {
    /// Connects to a node and opens the database there.
    pub(super) async fn open(node: u64) -> Result<Self, Trouble> {
        let stream = Stream::connect(&format!("{}:{DQLITE_PORT}", host(node))).await?;
        let mut output = BytesMut::new();
        let session = ClientSession::new(Version::One, BodyLimit::DEFAULT, &mut output);
        let mut wire = Self { stream, session, input: BytesMut::new(), output };
        wire.ask(&Request::Open { name: DATABASE, flags: 0, vfs: "" }, |_| ()).await?;
        Ok(wire)
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &str, params: &[i64]) -> Result<u64, Trouble> {
        let values: Vec<ValueRef<'_>> = params.iter().map(|v| ValueRef::Integer(*v)).collect();
        let request = Request::ExecSql { db: 0, sql, params: Params::new(&values) };
        self.ask(&request, |response| match response {
            Response::Result { rows_affected, .. } => rows_affected,
            _ => 0,
        })
        .await
    }

    /// Runs a query of one column of integers.
    pub(super) async fn query(&mut self, sql: &str, params: &[i64]) -> Result<Vec<Option<i64>>, Trouble> {
        let values: Vec<ValueRef<'_>> = params.iter().map(|v| ValueRef::Integer(*v)).collect();
        self.send(&Request::QuerySql { db: 0, sql, params: Params::new(&values) }).await?;
        let mut all = Vec::new();
        loop {
            let (frame, is_last) = match self.next().await? {
                ClientEvent::Answer(frame) => (frame, true),
                ClientEvent::Part(frame) => (frame, false),
                ClientEvent::Interrupted => return Err(Trouble::Broken),
            };
            match Response::decode(&frame, self.session.dialect()).map_err(|_| Trouble::Broken)? {
                Response::Failure { code, .. } => return Err(Trouble::Refused(code)),
                Response::Rows(mut part) => {
                    let mut row = Vec::new();
                    while part.next(&mut row).map_err(|_| Trouble::Broken)? == RowsStep::Row {
                        all.push(match row.first() {
                            Some(ValueRef::Integer(value)) => Some(*value),
                            _ => None,
                        });
                    }
                }
                _ => return Err(Trouble::Broken),
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn ask<T>(&mut self, request: &Request<'_>, read: impl FnOnce(Response<'_>) -> T) -> Result<T, Trouble> {
        self.send(request).await?;
        let ClientEvent::Answer(frame) = self.next().await? else { return Err(Trouble::Broken) };
        match Response::decode(&frame, self.session.dialect()).map_err(|_| Trouble::Broken)? {
            Response::Failure { code, .. } => Err(Trouble::Refused(code)),
            response => Ok(read(response)),
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<(), Trouble> {
        self.session.send(request, &mut self.output).map_err(|_| Trouble::Broken)?;
        self.stream.write_all_buf(&mut self.output).await?;
        Ok(())
    }

    async fn next(&mut self) -> Result<ClientEvent, Trouble> {
        loop {
            if let Some(event) = self.session.poll(&mut self.input).map_err(|_| Trouble::Broken)? {
                return Ok(event);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Trouble::Broken);
            }
        }
    }
}
