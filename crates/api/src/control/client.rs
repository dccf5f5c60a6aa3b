//! The other end of the API: one connection a request, over the node's Unix socket or over HTTPS.

mod remote;
mod resources;
mod session;

pub use remote::Remote;
pub use session::SqlStream;

use super::access::Grant;
use super::audit::AuditInfo;
use super::authority::{Authority, RotateRequest};
use super::members::{MemberEvent, MemberInfo, PayloadRequest, ProbeRequest, Probed};
use super::ops::ByteStream;
use super::problem::{PAGES, Problem, ProblemKind};
use super::recovery::{Recovery, RecoveryRequest};
use super::types::{
    AccessInfo, AccessIssued, AccessRequest, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest,
    Dropped, Formed, InitRequest, JoinRequest, NodeInfo, NodeRequest, Parted, Readiness, RoleTargets, Status,
    TokenInfo, TokenIssued, TokenRequest,
};
use base::{Code, DbName, Disposition, ErrorPage, Fault};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest JSON answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no Bowline daemon answers on {}", socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The socket is there, but this user may not open it.
    #[error("this user may not open {}", socket.display())]
    Forbidden {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// None of the members could be reached, or none is of the cluster that is meant.
    #[error("no member of the cluster answers: {}", tried.join("; "))]
    NoHost {
        /// Each address with what happened there.
        tried: Vec<String>,
    },
    /// The conversation broke off: the daemon stopped, or it is not ours.
    #[error("the daemon broke the conversation off: {what}")]
    Broken {
        /// What was seen.
        what: String,
    },
    /// No answer by the deadline. Whether the request was carried out is unknown.
    #[error("no answer within {} s", after.as_secs())]
    Deadline {
        /// How long was waited.
        after: Duration,
    },
    /// The node answered with a problem.
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl ClientError {
    /// The one shape for people.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Deadline { .. } => Problem::from_fault(&self, PAGES).kind(ProblemKind::TimedOut),
            other => Problem::from_fault(&other, PAGES),
        }
    }
}

impl Fault for ClientError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => UNREACHABLE.code,
            Self::Forbidden { .. } => FORBIDDEN.code,
            Self::NoHost { .. } => NO_HOST.code,
            Self::Broken { .. } => BROKEN.code,
            Self::Deadline { .. } => DEADLINE.code,
            // A problem brings its own code as text; here only its family is known.
            Self::Problem(_) => super::problem::MALFORMED.code,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. } | Self::NoHost { .. } | Self::Broken { .. } | Self::Deadline { .. } => {
                Disposition::Retry { after: Duration::from_secs(1) }
            }
            Self::Forbidden { .. } | Self::Problem(_) => Disposition::Refuse,
        }
    }
}

pub(super) const UNREACHABLE: ErrorPage = ErrorPage {
    code: Code("BL-API-005"),
    title: "No daemon answers on the control socket",
    cause: "The daemon of this machine does not run, or it runs with another --state-dir or --socket.",
    next: "`bowline start` runs the daemon; or name its socket with --socket",
};
pub(super) const FORBIDDEN: ErrorPage = ErrorPage {
    code: Code("BL-API-006"),
    title: "This user may not open the control socket",
    cause: "Who may open the socket is an operator of the node. It belongs to the user who runs the daemon.",
    next: "`sudo bowline ...` runs the command as that user",
};
/// No member of a cluster answers over HTTPS.
pub const NO_HOST: ErrorPage = ErrorPage {
    code: Code("BL-API-012"),
    title: "No member of the cluster answers over HTTPS",
    cause: "Each address was tried in turn: the machine is off, a firewall drops the port, or who answers there is of another cluster.",
    next: "name a member that runs with --host HOST:PORT; `bowline context list` shows which addresses are known",
};
pub(super) const BROKEN: ErrorPage = ErrorPage {
    code: Code("BL-API-007"),
    title: "The conversation with the daemon broke off",
    cause: "The daemon stopped or crashed in the middle of an answer, or what listens there is not Bowline.",
    next: "`bowline status` shows whether it is back; its log says what happened",
};
pub(super) const DEADLINE: ErrorPage = ErrorPage {
    code: Code("BL-API-008"),
    title: "The daemon did not answer in time",
    cause: "It may wait for a leader or for a slow disk. Whether the request was carried out is unknown.",
    next: "`bowline status` shows what it waits for; --timeout SECONDS waits longer",
};

type RequestBody = UnsyncBoxBody<Bytes, Problem>;

/// Asks a node over its control socket, or any member of a cluster over HTTPS. Cheap; holds no connection.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Target {
    Socket(PathBuf),
    Remote(Remote),
}

impl Client {
    /// A client of the daemon behind `socket` (a path, or `@name` for an abstract socket) that waits `timeout` for an answer.
    pub fn new(socket: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self { target: Target::Socket(socket.into()), timeout }
    }

    /// A client of a cluster that waits `timeout` for an answer.
    pub fn remote(remote: Remote, timeout: Duration) -> Self {
        Self { target: Target::Remote(remote), timeout }
    }

    /// The socket it asks, if it is not a cluster elsewhere.
    pub fn socket(&self) -> Option<&Path> {
        match &self.target {
            Target::Socket(socket) => Some(socket),
            Target::Remote(_) => None,
        }
    }

    /// Where the node is in its life.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        let request = request(Method::GET, "/readyz", empty())?;
        self.exchange(request, async |response| match response.status() {
            // Not ready is an answer here, not a problem.
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => parse(&collect(response).await?),
            _ => json(response).await,
        })
        .await
    }

    /// See [`Control::status`](super::Control::status).
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// See [`Control::nodes`](super::Control::nodes).
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// See [`Control::node_remove`](super::Control::node_remove). Calling this is the confirmation.
    pub async fn node_remove(&self, name: &str, force: bool) -> Result<Parted, ClientError> {
        let name = escape(name);
        self.send(Method::DELETE, &format!("/v1/nodes/{name}?confirm={name}&force={force}"), empty()).await
    }

    /// See [`Control::node_set`](super::Control::node_set).
    pub async fn node_set(&self, name: &str, request: &NodeRequest) -> Result<NodeInfo, ClientError> {
        let body = serde_json::to_vec(request).map_err(|e| broken(&e))?;
        self.send(Method::PATCH, &format!("/v1/nodes/{}", escape(name)), full(body.into())).await
    }

    /// See [`Control::members`](super::Control::members).
    pub async fn members(&self) -> Result<Vec<MemberInfo>, ClientError> {
        self.get("/v1/members").await
    }

    /// See [`Control::member_events`](super::Control::member_events).
    pub async fn member_events(&self, after: u64, limit: usize, wait_s: u64) -> Result<Vec<MemberEvent>, ClientError> {
        self.get(&format!("/v1/members/events?after={after}&limit={limit}&wait_s={wait_s}")).await
    }

    /// See [`Control::member_payload`](super::Control::member_payload).
    pub async fn member_payload(&self, payload: &[u8]) -> Result<MemberInfo, ClientError> {
        let request = PayloadRequest { payload: STANDARD.encode(payload) };
        let body = serde_json::to_vec(&request).map_err(|e| broken(&e))?;
        self.send(Method::PUT, "/v1/members/self/payload", full(body.into())).await
    }

    /// See [`Control::member_probe`](super::Control::member_probe).
    pub async fn member_probe(&self, request: &ProbeRequest) -> Result<Probed, ClientError> {
        let body = serde_json::to_vec(request).map_err(|e| broken(&e))?;
        self.send(Method::POST, "/v1/members/probe", full(body.into())).await
    }

    /// See [`Control::roles`](super::Control::roles).
    pub async fn roles(&self) -> Result<RoleTargets, ClientError> {
        self.get("/v1/roles").await
    }

    /// See [`Control::roles_set`](super::Control::roles_set).
    pub async fn roles_set(&self, targets: &RoleTargets) -> Result<RoleTargets, ClientError> {
        let body = serde_json::to_vec(targets).map_err(|e| broken(&e))?;
        self.send(Method::PUT, "/v1/roles", full(body.into())).await
    }

    /// See [`Control::authority`](super::Control::authority).
    pub async fn authority(&self) -> Result<Authority, ClientError> {
        self.get("/v1/authority").await
    }

    /// See [`Control::authority_rotate`](super::Control::authority_rotate).
    pub async fn authority_rotate(&self, request: &RotateRequest) -> Result<Authority, ClientError> {
        self.post("/v1/authority/rotate", request).await
    }

    /// See [`Control::audit`](super::Control::audit).
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditInfo>, ClientError> {
        let before = before.map_or_else(String::new, |before| format!("&before={before}"));
        self.get(&format!("/v1/audit?limit={limit}{before}")).await
    }

    /// See [`Control::recovery`](super::Control::recovery).
    pub async fn recovery(&self) -> Result<Recovery, ClientError> {
        self.get("/v1/recovery").await
    }

    /// See [`Control::recover`](super::Control::recover).
    pub async fn recover(&self, request: &RecoveryRequest) -> Result<Recovery, ClientError> {
        self.post("/v1/recovery", request).await
    }

    /// See [`Control::init`](super::Control::init).
    pub async fn init(&self, request: &InitRequest) -> Result<Formed, ClientError> {
        self.post("/v1/init", request).await
    }

    /// See [`Control::join`](super::Control::join).
    pub async fn join(&self, request: &JoinRequest) -> Result<Formed, ClientError> {
        self.post("/v1/join", request).await
    }

    /// See [`Control::stop`](super::Control::stop).
    pub async fn stop(&self) -> Result<Readiness, ClientError> {
        self.send(Method::POST, "/v1/stop", empty()).await
    }

    /// See [`Control::token_add`](super::Control::token_add).
    pub async fn token_add(&self, request: &TokenRequest) -> Result<TokenIssued, ClientError> {
        self.post("/v1/tokens", request).await
    }

    /// See [`Control::token_list`](super::Control::token_list).
    pub async fn token_list(&self) -> Result<Vec<TokenInfo>, ClientError> {
        self.get("/v1/tokens").await
    }

    /// See [`Control::token_revoke`](super::Control::token_revoke).
    pub async fn token_revoke(&self, id: &str) -> Result<TokenInfo, ClientError> {
        self.send(Method::DELETE, &format!("/v1/tokens/{}", escape(id)), empty()).await
    }

    /// Who this client is to the node, and what it may do.
    pub async fn whoami(&self) -> Result<Grant, ClientError> {
        self.get("/v1/whoami").await
    }

    /// See [`Control::access_add`](super::Control::access_add).
    pub async fn access_add(&self, request: &AccessRequest) -> Result<AccessIssued, ClientError> {
        self.post("/v1/access", request).await
    }

    /// See [`Control::access_list`](super::Control::access_list).
    pub async fn access_list(&self) -> Result<Vec<AccessInfo>, ClientError> {
        self.get("/v1/access").await
    }

    /// See [`Control::access_revoke`](super::Control::access_revoke).
    pub async fn access_revoke(&self, name: &str) -> Result<AccessInfo, ClientError> {
        self.send(Method::DELETE, &format!("/v1/access/{}", escape(name)), empty()).await
    }

    /// See [`Control::databases`](super::Control::databases).
    pub async fn databases(&self) -> Result<Vec<DatabaseInfo>, ClientError> {
        self.get("/v1/databases").await
    }

    /// See [`Control::db_create`](super::Control::db_create).
    pub async fn db_create(&self, name: &DbName) -> Result<Created, ClientError> {
        self.post("/v1/databases", &DatabaseRequest { name: name.clone() }).await
    }

    /// See [`Control::db_contents`](super::Control::db_contents).
    pub async fn db_contents(&self, name: &DbName) -> Result<DatabaseContents, ClientError> {
        self.get(&format!("/v1/databases/{name}")).await
    }

    /// See [`Control::db_check`](super::Control::db_check).
    pub async fn db_check(&self, name: &DbName) -> Result<DatabaseCheck, ClientError> {
        self.get(&format!("/v1/databases/{name}/check")).await
    }

    /// See [`Control::db_drop`](super::Control::db_drop). Calling this is the confirmation.
    pub async fn db_drop(&self, name: &DbName) -> Result<Dropped, ClientError> {
        self.send(Method::DELETE, &format!("/v1/databases/{name}?confirm={name}"), empty()).await
    }

    /// Sends a database file to `sink`, which is told the bytes in all and the next chunk. Returns how many bytes came.
    ///
    /// No deadline as a whole; each chunk has one. What `sink` has seen is a whole file only if this returns `Ok`.
    pub async fn db_export(
        &self,
        name: &DbName,
        mut sink: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
    ) -> Result<u64, ClientError> {
        let request = request(Method::GET, &format!("/v1/databases/{name}/file"), empty())?;
        let timeout = self.timeout;
        self.converse(request, async |mut response| {
            if !response.status().is_success() {
                return json(response).await;
            }
            let total = response.body().size_hint().exact().unwrap_or_default();
            let mut seen = 0;
            loop {
                let frame = rt::time::timeout(timeout, response.frame()).await;
                let Some(frame) = frame.map_err(|_| ClientError::Deadline { after: timeout })? else { break };
                if let Ok(chunk) = frame.map_err(|e| broken(&e))?.into_data() {
                    seen += chunk.len() as u64;
                    sink(total, &chunk).map_err(|e| broken(&e))?;
                }
            }
            if seen == total {
                Ok(seen)
            } else {
                Err(ClientError::Broken { what: format!("{seen} of {total} bytes came") })
            }
        })
        .await
    }

    /// Creates a database from a plain SQLite file. No deadline: the file may be large.
    pub async fn db_import(&self, name: &DbName, bytes: u64, file: ByteStream) -> Result<DatabaseInfo, ClientError> {
        let body = StreamBody::new(file.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
        let mut request = request(Method::PUT, &format!("/v1/databases/{name}/file"), body)?;
        request.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
        self.converse(request, json).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, empty()).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| broken(&e))?;
        self.send(Method::POST, path, full(body.into())).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: RequestBody) -> Result<T, ClientError> {
        let request = request(method, path, body)?;
        self.exchange(request, json).await
    }

    async fn exchange<T>(
        &self,
        request: Request<RequestBody>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        rt::time::timeout(self.timeout, self.converse(request, read))
            .await
            .unwrap_or(Err(ClientError::Deadline { after: self.timeout }))
    }

    /// Connects, sends, reads; the connection is driven by this same future and closed at its end.
    async fn converse<T>(
        &self,
        request: Request<RequestBody>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match &self.target {
            Target::Socket(socket) => converse_over(connect(socket).await?, request, read).await,
            // Boxed: a TLS stream is large, and would stand in every future that asks anything.
            Target::Remote(remote) => {
                let (stream, request) = Box::pin(remote.connect(request)).await?;
                Box::pin(converse_over(stream, request, read)).await
            }
        }
    }
}

async fn connect(socket: &Path) -> Result<rt::net::Stream, ClientError> {
    rt::net::Stream::connect_unix(socket).await.map_err(|source| {
        let socket = socket.to_owned();
        match source.kind() {
            std::io::ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
            _ => ClientError::Unreachable { socket, source },
        }
    })
}

async fn converse_over<S, T>(
    stream: S,
    request: Request<RequestBody>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ClientError>,
) -> Result<T, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let connection = connection.with_upgrades();
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        read(response).await
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = answer.as_mut() => return answer,
        // The connection may end before the last bytes are read: they are buffered, or the reader finds the end.
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "the connection to the API ended early");
        },
    }
    answer.await
}

fn request(method: Method, path: &str, body: RequestBody) -> Result<Request<RequestBody>, ClientError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "bowline")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|e| broken(&e))
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let success = response.status().is_success();
    let body = collect(response).await?;
    if success { parse(&body) } else { Err(ClientError::Problem(parse(&body)?)) }
}

async fn collect(mut response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    while let Some(frame) = response.frame().await {
        if let Ok(chunk) = frame.map_err(|e| broken(&e))?.into_data() {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::Broken { what: format!("an answer of over {ANSWER_BYTES_MAX} bytes") });
            }
            body.extend_from_slice(&chunk);
        }
    }
    Ok(body.freeze())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|e| broken(&e))
}

fn broken(error: &dyn std::error::Error) -> ClientError {
    ClientError::Broken { what: error.to_string() }
}

fn full(body: Bytes) -> RequestBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> RequestBody {
    full(Bytes::new())
}

/// Percent-encodes what may not stand in a path segment.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
