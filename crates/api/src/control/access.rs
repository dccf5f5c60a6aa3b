//! Who may ask for what: the check that stands before every request.

use super::ops::Control;
use super::problem::{NOT_ALLOWED, Problem, ProblemKind, UNKNOWN_CLIENT};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a client may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessRole {
    /// Look at everything, the contents of the databases too.
    Viewer,
    /// Change what is in the databases, and which there are.
    Operator,
    /// Decide who belongs to the cluster and who has access to it.
    Admin,
}

impl fmt::Display for AccessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// With what a client proves who it is.
#[derive(Clone)]
pub enum Credential {
    /// A certificate that the cluster's CA vouches for, whose key the client has shown to hold.
    Certificate(CertificateDer<'static>),
    /// A bearer token.
    Token(String),
}

/// A client that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Who it is.
    pub name: String,
    /// What it may do.
    pub role: AccessRole,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) enum Peer {
    /// One whom the listener lets do everything.
    Trusted,
    /// Anybody, with the certificate that it showed.
    Stranger(Option<CertificateDer<'static>>),
}

/// What a group of routes asks for.
#[derive(Clone)]
pub(crate) struct Required {
    control: Arc<dyn Control>,
    role: AccessRole,
}

impl Required {
    pub(crate) fn new(control: &Arc<dyn Control>, role: AccessRole) -> Self {
        Self { control: Arc::clone(control), role }
    }

    /// Who asks, if that is enough.
    async fn grant(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Grant, Problem> {
        let shown = match peer {
            Some(Peer::Trusted) => return Ok(Grant { name: "local".to_owned(), role: AccessRole::Admin }),
            Some(Peer::Stranger(certificate)) => certificate.clone().map(Credential::Certificate),
            None => None,
        };
        let refused = |why: &str| {
            Problem::new(&UNKNOWN_CLIENT, ProblemKind::Unauthenticated, "this client is not known").because(why)
        };
        // Who sends a token means that, whatever certificate the connection has.
        let credential = match bearer(headers) {
            Some(token) => Credential::Token(token?),
            None => shown.ok_or_else(|| refused("it sent no access token and showed no certificate"))?,
        };
        let grant = self.control.who(credential).await?;
        let grant = grant.ok_or_else(|| refused("its access has expired or was revoked, or is another cluster's"))?;
        if grant.role < self.role {
            let message = format!("{} may not do this: it takes the role {}", grant.name, self.role);
            return Err(Problem::new(&NOT_ALLOWED, ProblemKind::Forbidden, message)
                .because(format!("{} has the role {}", grant.name, grant.role)));
        }
        Ok(grant)
    }
}

/// What a request brings along in `Authorization`, if it brings anything.
fn bearer(headers: &HeaderMap) -> Option<Result<String, Problem>> {
    let given = headers.get(header::AUTHORIZATION)?;
    let token = given.to_str().ok().and_then(|given| {
        let (scheme, token) = given.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    Some(token.ok_or_else(|| {
        Problem::new(&UNKNOWN_CLIENT, ProblemKind::Unauthenticated, "this client is not known")
            .because("the request's Authorization is not of the form `Bearer ba1....`")
    }))
}

/// Lets a request through whose client may ask for it; what the client is goes along with it.
pub(crate) async fn check(State(required): State<Required>, mut request: Request, next: Next) -> Response {
    match required.grant(request.extensions().get(), request.headers()).await {
        Ok(grant) => {
            request.extensions_mut().insert(grant);
            next.run(request).await
        }
        Err(problem) => {
            let is_unknown = problem.kind == ProblemKind::Unauthenticated;
            let mut response = problem.into_response();
            if is_unknown {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"bowline\""));
            }
            response
        }
    }
}
