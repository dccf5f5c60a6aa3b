//! Asking for resources, and watching them.

use super::{Client, ClientError, broken, empty, escape, full, json, parse, request};
use crate::control::resources::{KindInfo, ResourceInfo, ResourcePage, ResourcePatch, WatchLine};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::Method;
use std::time::Duration;

/// A node that watches for a client says at least every ten seconds that it is there.
const WATCH_SILENT_MAX: Duration = Duration::from_secs(30);
/// The longest line of a watch.
const LINE_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// The kinds of resources.
    pub async fn kinds(&self) -> Result<Vec<KindInfo>, ClientError> {
        self.get("/v1/kinds").await
    }

    /// See [`Control::resources`](super::super::Control::resources).
    pub async fn resources(&self, kind: &str, after: Option<&str>, limit: u32) -> Result<ResourcePage, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={}", escape(after)));
        self.get(&format!("/v1/resources/{}?limit={limit}{after}", escape(kind))).await
    }

    /// See [`Control::resource`](super::super::Control::resource).
    pub async fn resource(&self, kind: &str, name: &str) -> Result<ResourceInfo, ClientError> {
        self.get(&format!("/v1/resources/{}/{}", escape(kind), escape(name))).await
    }

    /// See [`Control::resource_update`](super::super::Control::resource_update).
    pub async fn resource_update(
        &self,
        kind: &str,
        name: &str,
        patch: &ResourcePatch,
    ) -> Result<ResourceInfo, ClientError> {
        let body = serde_json::to_vec(patch).map_err(|e| broken(&e))?;
        self.send(Method::PATCH, &format!("/v1/resources/{}/{}", escape(kind), escape(name)), full(body.into())).await
    }

    /// Shows `sink` the changes of some kinds, of all if none is named, until it has seen enough. See
    /// [`Control::watch`](super::super::Control::watch). No deadline as a whole: the node says now and then that it is there.
    pub async fn watch(
        &self,
        after: Option<u64>,
        kinds: &[String],
        mut sink: impl FnMut(WatchLine) -> std::ops::ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let after = after.map(|after| format!("after={after}"));
        let kinds = (!kinds.is_empty()).then(|| format!("kinds={}", escape(&kinds.join(","))));
        let query = after.into_iter().chain(kinds).collect::<Vec<_>>().join("&");
        let request = request(Method::GET, &format!("/v1/watch?{query}"), empty())?;
        self.converse(request, async |mut response| {
            if !response.status().is_success() {
                return json(response).await;
            }
            let mut rest = BytesMut::new();
            loop {
                let frame = rt::time::timeout(WATCH_SILENT_MAX, response.frame()).await;
                let frame = frame.map_err(|_| ClientError::Deadline { after: WATCH_SILENT_MAX })?;
                let Some(frame) = frame else { return Err(ClientError::Broken { what: "the watch ended".to_owned() }) };
                let Ok(chunk) = frame.map_err(|e| broken(&e))?.into_data() else { continue };
                rest.extend_from_slice(&chunk);
                if rest.len() > LINE_BYTES_MAX + chunk.len() {
                    return Err(ClientError::Broken { what: format!("a line of over {LINE_BYTES_MAX} bytes") });
                }
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    match parse(&rest.split_to(end + 1))? {
                        WatchLine::Ended { problem } => return Err(problem.into()),
                        line => {
                            if sink(line).is_break() {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        })
        .await
    }
}
