//! What goes over the wire, field by field as microcluster's clients decode it. The order is that of their structs.

use crate::control::{Face, Faces, Health, NodeInfo, TokenInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What microcluster's own daemons can do, of which this one can what clients may ask it about: that it lists extensions, and that its
/// paths begin with `/core`.
pub(super) const EXTENSIONS: &[&str] = &["internal:runtime_extension_v1", "internal:rename_core_endpoints"];

/// When a member was heard of that does not answer now: Go's zero time, which its programs take for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The node that is asked.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    pub(super) name: String,
    /// `IP:port`, or nothing: clients take no names here.
    pub(super) address: String,
    pub(super) version: String,
    pub(super) ready: bool,
    pub(super) extensions: &'static [&'static str],
}

/// A member of the cluster.
#[derive(Debug, Serialize)]
pub(super) struct Member {
    name: String,
    /// `IP:port` of its API over HTTPS, or nothing.
    address: String,
    /// PEM. Clients refuse the whole list if one is missing.
    certificate: String,
    role: String,
    schema_internal_version: u64,
    schema_external_version: u64,
    last_heartbeat: String,
    status: &'static str,
    extensions: &'static [&'static str],
    /// For joining, between microcluster's daemons.
    secret: &'static str,
}

/// The members as clients are told of them, at the time `now`.
pub(super) fn members(nodes: Vec<NodeInfo>, faces: &Faces, now: Timestamp) -> Vec<Member> {
    let authority = faces.authority.as_ref().map(pem).unwrap_or_default();
    let mut members = Vec::with_capacity(nodes.len());
    for node in nodes {
        let face = faces.of(node.id);
        let is_up = node.health == Health::Up;
        members.push(Member {
            address: numbers(&node.https_address, face),
            certificate: face.and_then(|face| face.certificate.as_ref()).map_or_else(|| authority.clone(), pem),
            name: node.name,
            role: node.role.to_string(),
            schema_internal_version: 0,
            schema_external_version: 0,
            last_heartbeat: if is_up { now.to_string() } else { NEVER.to_owned() },
            status: if is_up { "ONLINE" } else { "UNREACHABLE" },
            extensions: EXTENSIONS,
            secret: "",
        });
    }
    members
}

/// An address as it is announced if it is numbers already; else what it was found to be; else nothing.
pub(super) fn numbers(announced: &str, face: Option<&Face>) -> String {
    let found = || face.and_then(|face| face.address);
    announced.parse().ok().or_else(found).map_or_else(String::new, |address| address.to_string())
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let encoded = STANDARD.encode(certificate);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.extend([line, "\n"]);
        rest = more;
    }
    text + "-----END CERTIFICATE-----\n"
}

/// Bootstrap a cluster, or join one.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Setup {
    pub(super) bootstrap: bool,
    /// For the hooks of a program that is built on microcluster.
    pub(super) config: Option<BTreeMap<String, String>>,
    pub(super) join_token: String,
    /// `IP:port` on which the program means to serve.
    pub(super) address: String,
    pub(super) name: String,
}

impl Default for Setup {
    fn default() -> Self {
        let nothing = String::new;
        Self { bootstrap: false, config: None, join_token: nothing(), address: nothing(), name: nothing() }
    }
}

/// Issue a join token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenRequest {
    pub(super) name: String,
    /// Nanoseconds.
    pub(super) expire_after: i64,
}

/// A token that can still be used.
#[derive(Debug, Serialize)]
pub(super) struct TokenRecord {
    pub(super) name: String,
    /// Its id: the secret is kept nowhere.
    token: String,
    expires_at: String,
}

impl TokenRecord {
    /// One that may be used under any name goes by its id.
    pub(super) fn of(token: TokenInfo) -> Self {
        Self {
            name: token.name.unwrap_or_else(|| token.id.clone()),
            token: token.id,
            expires_at: token.expires.to_string(),
        }
    }
}
