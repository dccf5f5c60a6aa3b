//! A conversation with the leader of a database, wherever the leader is and goes.

use super::split::{self, Kind};
use super::trouble::Trouble;
use super::wire::{Endpoint, Wire};
use api::control::sql::SessionAt;
use base::Fault;
use dqlite::{ClientEvent, Params, Request, Response, RowsStep, ValueRef};
use futures::FutureExt;
use std::path::PathBuf;
use std::time::Duration;
use store::StoreError;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long to wait before the members are asked again who leads.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long one member has to answer who leads.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What takes a result set, part by part. Nothing in it may block for long: the server waits.
pub(super) trait Sink {
    /// The names of the columns; called once, before the rows.
    fn columns(&mut self, names: &[&str]) -> std::io::Result<()>;
    /// A row.
    fn row(&mut self, values: &[ValueRef<'_>]) -> std::io::Result<()>;
}

/// What a statement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// It gave that many rows.
    Rows(u64),
    /// It changed that many rows.
    Changed(u64),
}

/// A conversation.
pub(super) struct Session {
    home: Endpoint,
    identity: PathBuf,
    timeout: Duration,
    ctrl_c: Option<Signal>,
    database: Option<String>,
    wire: Option<Wire>,
    in_transaction: bool,
    /// A server that was taken for the leader said that it is none: ask before the next is taken for it.
    misled: bool,
}

impl Session {
    /// Nothing is connected yet. `home` is asked first; `identity` holds this node's certificate. From here on Ctrl-C
    /// interrupts the running statement and nothing else.
    pub(super) fn new(home: Endpoint, identity: PathBuf, timeout: Duration) -> Self {
        let ctrl_c = signal(SignalKind::interrupt())
            .inspect_err(|error| tracing::debug!(%error, "Ctrl-C will end the program, not the statement"))
            .ok();
        Self { home, identity, timeout, ctrl_c, database: None, wire: None, in_transaction: false, misled: false }
    }

    /// The open database.
    pub(super) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Whether a transaction was begun and not ended.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Opens a database at its leader.
    pub(super) async fn open(&mut self, database: &str) -> Result<(), Trouble> {
        self.wire = None;
        self.in_transaction = false;
        self.database = Some(database.to_owned());
        let connected = self.connect().await;
        if connected.is_err() {
            self.database = None;
        }
        connected
    }

    /// Which server is spoken to now.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.wire.as_ref().map(Wire::endpoint)
    }

    /// Connects if there is no connection: to the home server, and if that does not lead to whom it names, until the
    /// deadline.
    async fn connect(&mut self) -> Result<(), Trouble> {
        if self.wire.is_some() {
            return Ok(());
        }
        let database = self.database.clone().ok_or(Trouble::NotOpen)?;
        let deadline = rt::time::Instant::now() + self.timeout;
        if matches!(self.home, Endpoint::Cluster { .. }) {
            self.wire = Some(self.open_through(&database, deadline).await?);
            return Ok(());
        }
        if !self.misled {
            match self.open_at(&self.home, &database).await {
                Ok(wire) => {
                    self.wire = Some(wire);
                    return Ok(());
                }
                Err(trouble) if trouble.is_alone() => return Err(trouble),
                Err(trouble) if trouble.is_for_another_leader() => {}
                Err(trouble) => return Err(trouble),
            }
        }
        loop {
            if let Some(leader) = self.find_leader().await {
                match self.open_at(&leader, &database).await {
                    Ok(wire) => {
                        self.wire = Some(wire);
                        return Ok(());
                    }
                    Err(trouble) if trouble.is_for_another_leader() => {
                        tracing::debug!(%leader, %trouble, "does not lead");
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
            if rt::time::Instant::now() >= deadline {
                return Err(Trouble::NoLeader { after: self.timeout });
            }
            rt::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Opens the database at its leader, to which any member passes the session on, as soon as there is one.
    async fn open_through(&self, database: &str, deadline: rt::time::Instant) -> Result<Wire, Trouble> {
        // What a member says that knows of no leader.
        let not_leading = StoreError::NotLeader { leader: None }.code();
        loop {
            let trouble = match self.open_at(&self.home, database).await {
                Ok(wire) => return Ok(wire),
                // A member that has just been there may come back, or others answer.
                Err(trouble) if trouble.is_alone() && !self.misled => return Err(trouble),
                Err(trouble) if trouble.is_for_another_leader() => trouble,
                Err(trouble) => return Err(trouble),
            };
            if rt::time::Instant::now() >= deadline {
                return Err(match trouble {
                    Trouble::Refused { .. } => Trouble::NoLeader { after: self.timeout },
                    Trouble::Api(problem) if problem.code == not_leading.0 => Trouble::NoLeader { after: self.timeout },
                    other => other,
                });
            }
            tracing::debug!(%trouble, "no session yet");
            rt::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Where to ask what any member knows.
    fn any_member(&self) -> Endpoint {
        match &self.home {
            Endpoint::Cluster { client, .. } => {
                Endpoint::Cluster { client: client.clone(), at: SessionAt::Here, node: None }
            }
            home => home.clone(),
        }
    }

    /// Connects to a server and opens the database there.
    async fn open_at(&self, endpoint: &Endpoint, database: &str) -> Result<Wire, Trouble> {
        let opened = async {
            let mut wire = Wire::connect(endpoint, &self.identity).await?;
            ask(&mut wire, &Request::Open { name: database, flags: 0, vfs: "" }, |_| ()).await?;
            Ok(wire)
        };
        rt::time::timeout(self.timeout, opened).await.unwrap_or_else(|_| Err(silence(endpoint)))
    }

    /// Asks the home server who leads, and if it does not know, the voters it knows.
    async fn find_leader(&self) -> Option<Endpoint> {
        if let Ok(Some((id, address))) = self.leader_at(&self.home).await {
            return Some(Endpoint::Remote { address, id: Some(id) });
        }
        let members = rt::time::timeout(ANSWERS_WITHIN, self.members()).await;
        for member in members.ok().and_then(Result::ok).unwrap_or_default() {
            let voter = Endpoint::Remote { address: member.address, id: Some(member.id) };
            if member.role == Some(base::Role::Voter)
                && let Ok(Some((id, address))) = self.leader_at(&voter).await
            {
                return Some(Endpoint::Remote { address, id: Some(id) });
            }
        }
        None
    }

    async fn leader_at(&self, endpoint: &Endpoint) -> Result<Option<(u64, String)>, Trouble> {
        let asked = async {
            let mut wire = Wire::connect(endpoint, &self.identity).await?;
            ask(&mut wire, &Request::Leader, |response| match response {
                Response::Server { id, address } if !address.is_empty() => Some((*id, (*address).to_owned())),
                _ => None,
            })
            .await
        };
        rt::time::timeout(ANSWERS_WITHIN, asked).await.unwrap_or_else(|_| Err(silence(endpoint)))
    }

    /// Runs one statement and hands its rows to `sink`.
    ///
    /// A leader that is not one (any more) is followed, if that cannot run the statement twice: the server said that it
    /// did not run it, or it only reads, and no rows were handed over yet.
    pub(super) async fn run(
        &mut self,
        sql: &str,
        values: &[ValueRef<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Done, Trouble> {
        let kind = split::kind(sql);
        let was_in_transaction = self.in_transaction;
        let deadline = rt::time::Instant::now() + self.timeout;
        loop {
            self.connect().await?;
            let mut sent = Progress::Nothing;
            let outcome = self.run_once(kind, sql, values, sink, &mut sent).await;
            let Err(trouble) = outcome else {
                match kind {
                    Kind::Begin => self.in_transaction = true,
                    Kind::End => self.in_transaction = false,
                    Kind::Read | Kind::Rows | Kind::Change => {}
                }
                self.misled = false;
                return outcome;
            };
            if !trouble.ends_connection() {
                return Err(trouble);
            }
            self.wire = None;
            self.in_transaction = false;
            let not_run = trouble.is_for_another_leader() || (kind == Kind::Read && sent == Progress::Asked);
            if not_run && !was_in_transaction && rt::time::Instant::now() < deadline {
                tracing::debug!(%trouble, "following the leader");
                self.misled = true;
                rt::time::sleep(ASK_AGAIN).await;
                continue;
            }
            return Err(match trouble {
                trouble if not_run && !was_in_transaction && kind != Kind::Read => {
                    tracing::debug!(%trouble, "no leader until the deadline");
                    Trouble::NoLeader { after: self.timeout }
                }
                Trouble::Broken { what } if kind != Kind::Read || was_in_transaction => Trouble::Unknown { what },
                other => other,
            });
        }
    }

    async fn run_once(
        &mut self,
        kind: Kind,
        sql: &str,
        values: &[ValueRef<'_>],
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Done, Trouble> {
        let Some(wire) = self.wire.as_mut() else { return Err(Trouble::NotOpen) };
        // A press that came before the statement was not meant for it.
        while pressed(&mut self.ctrl_c).now_or_never().is_some() {}
        let params = Params::new(values);
        let request = match kind {
            Kind::Read | Kind::Rows => Request::QuerySql { db: 0, sql, params },
            Kind::Change | Kind::Begin | Kind::End => Request::ExecSql { db: 0, sql, params },
        };
        wire.send(&request).await?;
        *progress = Progress::Asked;
        let mut rows = 0;
        let mut closed = None;
        loop {
            // A press of Ctrl-C goes first: rows that stream without a pause must not hide it.
            let event = tokio::select! {
                biased;
                () = pressed(&mut self.ctrl_c) => None,
                event = wire.next() => Some(event?),
            };
            let Some(event) = event else {
                wire.interrupt().await?;
                continue;
            };
            let (frame, last) = match event {
                ClientEvent::Interrupted => return closed.map_or(Err(Trouble::Interrupted), Err),
                ClientEvent::Part(frame) => (frame, false),
                ClientEvent::Answer(frame) => (frame, true),
            };
            match Response::decode(&frame, wire.dialect()).map_err(|e| Trouble::broken(&e))? {
                Response::Failure { code, message } => return Err(refusal(code, message)),
                Response::Result { rows_affected, .. } => return Ok(Done::Changed(rows_affected)),
                Response::Rows(mut part) => {
                    let taken = take_part(&mut part, sink, *progress == Progress::Asked, &mut rows);
                    *progress = Progress::Rows;
                    match taken {
                        Ok(()) if last => return Ok(Done::Rows(rows)),
                        Ok(()) => {}
                        Err(trouble) if last => return Err(trouble),
                        // Nobody takes the rows any more: tell the server, and end when it has understood.
                        Err(trouble) => {
                            closed = Some(trouble);
                            wire.interrupt().await?;
                        }
                    }
                }
                _ if last => return Ok(Done::Changed(0)),
                other => return Err(Trouble::Broken { what: format!("an answer of kind {:?}", other.kind()) }),
            }
        }
    }

    /// The members as the home server knows them: id, address, role.
    pub(super) async fn members(&self) -> Result<Vec<Member>, Trouble> {
        let mut wire = Wire::connect(&self.any_member(), &self.identity).await?;
        let format = dqlite::ClusterFormat::Roles;
        ask(&mut wire, &Request::Cluster { format }, |response| match response {
            Response::Servers(servers) => servers
                .iter()
                .map(|s| Member { id: s.id, address: s.address.to_owned(), role: base::Role::from_dqlite_code(s.role) })
                .collect(),
            _ => Vec::new(),
        })
        .await
    }

    /// The leader as the home server knows it.
    pub(super) async fn leader(&self) -> Result<Option<(u64, String)>, Trouble> {
        self.leader_at(&self.any_member()).await
    }

    /// All rows of a query as texts, NULL as none. For the shell's own small questions.
    pub(super) async fn texts(
        &mut self,
        sql: &str,
        values: &[ValueRef<'_>],
    ) -> Result<Vec<Vec<Option<String>>>, Trouble> {
        let mut all = Collected(Vec::new());
        self.run(sql, values, &mut all).await?;
        Ok(all.0)
    }

    /// Whether a connection exists on which nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.as_ref().is_none_or(Wire::is_idle)
    }
}

fn silence(endpoint: &Endpoint) -> Trouble {
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer");
    Trouble::Unreachable { endpoint: endpoint.to_string(), source }
}

/// A member, by the dqlite protocol's own words.
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) address: String,
    pub(super) role: Option<base::Role>,
}

/// How far a statement has come on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Asked,
    Rows,
}

/// Waits for Ctrl-C. Cancel-safe.
async fn pressed(ctrl_c: &mut Option<Signal>) {
    if let Some(signal) = ctrl_c
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

struct Collected(Vec<Vec<Option<String>>>);

impl Sink for Collected {
    fn columns(&mut self, _names: &[&str]) -> std::io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> std::io::Result<()> {
        let text = |value: &ValueRef<'_>| match value {
            ValueRef::Null => None,
            value => Some(super::rows::plain(value)),
        };
        self.0.push(values.iter().map(text).collect());
        Ok(())
    }
}

fn refusal(code: dqlite::FailureCode, message: &str) -> Trouble {
    Trouble::Refused { code, message: message.to_owned() }
}

fn take_part(
    part: &mut dqlite::RowsPart<'_>,
    sink: &mut dyn Sink,
    is_first: bool,
    rows: &mut u64,
) -> Result<(), Trouble> {
    let refused = |error: std::io::Error| Trouble::Sink { source: error };
    if is_first {
        let names = part.columns().to_vec();
        sink.columns(&names).map_err(refused)?;
    }
    let mut row = Vec::new();
    while part.next(&mut row).map_err(|e| Trouble::broken(&e))? == RowsStep::Row {
        *rows += 1;
        sink.row(&row).map_err(refused)?;
    }
    Ok(())
}

/// Asks what has one answer, and reads it.
async fn ask<T>(wire: &mut Wire, request: &Request<'_>, read: impl FnOnce(&Response<'_>) -> T) -> Result<T, Trouble> {
    wire.send(request).await?;
    let ClientEvent::Answer(frame) = wire.next().await? else {
        return Err(Trouble::Broken { what: "rows came that nobody asked for".to_owned() });
    };
    match Response::decode(&frame, wire.dialect()).map_err(|e| Trouble::broken(&e))? {
        Response::Failure { code, message } => Err(refusal(code, message)),
        response => Ok(read(&response)),
    }
}
