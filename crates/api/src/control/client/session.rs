//! The other end of `GET /v1/sql`.

use super::{Client, ClientError, broken, empty, json, request};
use crate::control::access::AccessRole;
use crate::control::sql::{PROTOCOL, Passage, SERVED_BY, SessionAt, SessionWanted};
use crate::dqlite::AnyStream;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;

/// A connection on which dqlite's protocol is spoken from the first byte on.
pub struct SqlStream {
    /// The name of the member that serves it.
    pub node: String,
    /// The connection. Closing it ends the session.
    pub stream: AnyStream,
}

impl Client {
    /// A session of dqlite's protocol; see [`Control::sql_session`](crate::control::Control::sql_session).
    pub async fn sql_session(&self, wanted: SessionWanted) -> Result<SqlStream, ClientError> {
        let SessionWanted { at, role, passage } = wanted;
        let at = match at {
            SessionAt::Leader => "leader",
            SessionAt::Here => "here",
        };
        let passed_on = passage == Passage::PassedOn;
        let path = format!("/v1/sql?at={at}&role={role}&passed_on={passed_on}");
        let mut request = request(Method::GET, &path, empty())?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, PROTOCOL);
        self.exchange(request, async |response| {
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {}
                status => {
                    let refused = json::<serde_json::Value>(response).await.err();
                    let what = format!("{status} where a session was asked for");
                    return Err(refused.unwrap_or(ClientError::Broken { what }));
                }
            }
            let node = response.headers().get(SERVED_BY).and_then(|node| node.to_str().ok()).unwrap_or("?").to_owned();
            let upgraded = hyper::upgrade::on(response).await.map_err(|e| broken(&e))?;
            let stream: AnyStream = Box::new(TokioIo::new(upgraded));
            Ok(SqlStream { node, stream })
        })
        .await
    }

    /// A session at the leader, with all that this client may do.
    pub async fn sql(&self) -> Result<SqlStream, ClientError> {
        let (at, role, passage) = (SessionAt::Leader, AccessRole::Admin, Passage::Straight);
        self.sql_session(SessionWanted { at, role, passage }).await
    }

    /// A session at the member that answers, wherever the databases are led.
    pub async fn sql_here(&self) -> Result<SqlStream, ClientError> {
        let (at, role, passage) = (SessionAt::Here, AccessRole::Admin, Passage::Straight);
        self.sql_session(SessionWanted { at, role, passage }).await
    }
}
