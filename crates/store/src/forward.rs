//! Requests that members pass on to each other: what must run on the leader runs there, whoever was asked.

use crate::answers::{Outcome, WriteId};
use crate::import;
use crate::inner::Inner;
use crate::rows::{Command, Rows};
use crate::session::{Session, SessionOptions};
use crate::{StoreError, Value, mend};
use base::{DbName, GroupId, NodeId, PageNo, Version};
use bytes::Bytes;
use rpc::{Answer, Caller, Class, Handler, Mesh, Refusal, Service};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a forwarded request may take.
pub(crate) const FORWARD_MAX: Duration = Duration::from_secs(10);

/// How long a large request may take: the import of a file that is there already.
const BULK_MAX: Duration = Duration::from_mins(10);

/// The one method of [`Service::Store`]: the body says what is asked.
const METHOD: u16 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a transaction.
    Transact { database: DbName, commands: Vec<Command> },
    /// Run one numbered write.
    Once { database: DbName, id: WriteId, command: Command },
    /// Read.
    Query { database: DbName, command: Command },
    /// Answer when this database is open here, so that its group can start at once.
    Opened { database: DbName, group: GroupId },
    /// Keep a piece of a file that will be imported.
    Piece { id: u64, offset: u64, bytes: Bytes },
    /// Fill a new database from the file that was carried here. The name may have another group by now.
    Fill { database: DbName, group: GroupId, id: u64 },
    /// Give a page that the asking member's disk has changed.
    Page { database: DbName, group: GroupId, wanted: Wanted },
}

/// A page as it should be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) page: PageNo,
    pub(crate) hash: [u8; 16],
    /// What page 1 says of the asking member's last checkpoint.
    pub(crate) checkpoint: (Version, u32),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Outcome(Outcome),
    Rows(Rows),
    Done,
    /// None: it is another one here.
    Page(Option<Bytes>),
    /// One for each statement of a transaction.
    Outcomes(Vec<Outcome>),
}

/// Sends a request to another member.
pub(crate) async fn call(store: &Inner, to: NodeId, request: &Request) -> Result<Reply, StoreError> {
    ask(store.mesh(), to, request).await
}

/// Like [`call`], for those who have no store yet.
pub(crate) async fn ask(mesh: &Mesh, to: NodeId, request: &Request) -> Result<Reply, StoreError> {
    call_within(mesh, to, request, Class::Control, FORWARD_MAX).await
}

/// Like [`call`], for large and patient things.
pub(crate) async fn call_bulk(store: &Inner, to: NodeId, request: &Request) -> Result<Reply, StoreError> {
    call_within(store.mesh(), to, request, Class::Bulk, BULK_MAX).await
}

async fn call_within(
    mesh: &Mesh,
    to: NodeId,
    request: &Request,
    class: Class,
    deadline: Duration,
) -> Result<Reply, StoreError> {
    let body = Bytes::from(postcard::to_stdvec(request)?);
    let answer = mesh.call(to, Service::Store, METHOD, body, deadline, class).await?;
    Ok(postcard::from_bytes(&answer)?)
}

/// Answers the requests of other members.
#[derive(Debug)]
pub(crate) struct Forwarded(pub(crate) Weak<Inner>);

impl Handler for Forwarded {
    fn handle(&self, _caller: &Caller, _method: u16, body: Bytes) -> futures::future::BoxFuture<'static, Answer> {
        let store = self.0.clone();
        Box::pin(async move {
            let answer = async {
                let store = store.upgrade().ok_or(StoreError::NotOpen { state: "closing" })?;
                let reply = serve(&store, &postcard::from_bytes(&body)?).await?;
                Ok::<_, StoreError>(Bytes::from(postcard::to_stdvec(&reply)?))
            };
            answer.await.map_err(|error| Refusal::of(&error))
        })
    }
}

/// Runs a request on this node.
pub(crate) async fn serve(store: &Arc<Inner>, request: &Request) -> Result<Reply, StoreError> {
    // Longer than that nobody waits for the answer.
    let options = SessionOptions { statement_max: Some(FORWARD_MAX), ..SessionOptions::default() };
    let found = |name: &DbName| store.database(name).ok_or_else(|| store.not_found(name));
    Ok(match request {
        Request::Transact { database, commands } => {
            let mut session = Session::open_kept(found(database)?, options)?;
            let outcomes = session.transact(commands).await?;
            // A temporary table would outlive the request.
            if !commands.iter().any(Command::is_definition) {
                session.give_back();
            }
            Reply::Outcomes(outcomes)
        }
        Request::Once { database, id, command } => {
            let params: Vec<_> = command.params.iter().map(Value::as_ref).collect();
            let mut session = Session::open(found(database)?, options)?;
            Reply::Outcome(session.execute_once(*id, &command.sql, &params).await?)
        }
        Request::Query { database, command } => {
            let mut session = Session::open_kept(found(database)?, options)?;
            let rows = session.rows(&command.sql, &command.params).await?;
            session.give_back();
            Reply::Rows(rows)
        }
        Request::Opened { database, group } => {
            let opened = rt::time::timeout(FORWARD_MAX, store.await_group(database, *group)).await;
            opened.map_err(|_elapsed| StoreError::ReadTimeout { waited: FORWARD_MAX })?;
            Reply::Done
        }
        Request::Piece { id, offset, bytes } => {
            import::keep(store, *id, *offset, bytes.clone()).await?;
            Reply::Done
        }
        Request::Fill { database, group, id } => {
            let filled = import::fill_named(store, database, *group, import::carried(store, *id)).await;
            import::forget(store, *id).await;
            filled?;
            Reply::Done
        }
        Request::Page { database, group, wanted } => {
            let here = store.database(database).filter(|here| here.group_id() == *group);
            let here = here.ok_or_else(|| store.not_found(database))?;
            Reply::Page(mend::page(&here, *wanted).await?)
        }
    })
}
