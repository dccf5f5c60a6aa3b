//! Keeps a node's certificate good. With the key of the CA a node makes it itself and asks nobody; without it, it asks the members, one
//! after another, at the door for strangers: they know it by its key, whatever became of its certificate.

use super::Inner;
use crate::authority::NodeKey;
use crate::certificate::Stage;
use crate::error::code;
use crate::identity::certificates;
use crate::messages::{FORM, RENEW, RenewAnswer, RenewRequest, decode, encode};
use crate::node_rows::{self, NodeRow, NodeRowState};
use crate::{CertificateRow, ClusterError, Credentials, certificate_rows};
use base::Fault;
use bytes::Bytes;
use rpc::{Reach, StrangerConnection, StrangerIdentity};
use rt::time::Instant;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use store::ReadLevel;

/// How often the certificate is looked at: the clock may be set at any time.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A look that failed is repeated after so long.
const RETRY_AFTER: Duration = Duration::from_secs(3);
/// After something was written to `sys` it waits for more.
const SETTLE: Duration = Duration::from_millis(50);
/// The shortest wait between two looks.
const LOOK_MIN: Duration = Duration::from_millis(200);
/// How long one member may take to connect, and to answer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A node that is connected to nobody for so long asks whether it is its certificate.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// Runs until it is dropped.
pub(super) async fn keep(inner: Arc<Inner>) {
    let mut alone_since = None;
    let mut told = None;
    let mut applied = inner.sys_group.watch_applied();
    loop {
        applied.borrow_and_update();
        let done = pass(&inner, &mut alone_since).await;
        let trouble = done.as_ref().err().map(ToString::to_string);
        if trouble != told {
            if let Err(error) = &done {
                tracing::warn!(%error, code = %error.code(), "the node's certificate is not as it should be");
            }
            told.clone_from(&trouble);
        }
        inner.keys().note_trouble(trouble);
        if let Err(error) = report(&inner).await {
            // The first look of a node that has just joined finds a `sys` that is still empty.
            tracing::debug!(%error, "the cluster does not know this node's certificate yet");
        }
        let pause = done.unwrap_or(RETRY_AFTER);
        tokio::select! {
            biased;
            () = rt::time::sleep(pause) => {}
            changed = applied.changed() => if changed.is_err() { return },
        }
        // Writes come in bursts, and most are about other things.
        rt::time::sleep(SETTLE).await;
    }
}

/// Makes it so, and says when to look again.
async fn pass(inner: &Inner, alone_since: &mut Option<Instant>) -> Result<Duration, ClusterError> {
    // What hinders one of the two need not hinder the other.
    let followed = inner.follow_rotation().await;
    let keys = inner.keys();
    if keys.stage()? == Some(Stage::Good) && keys.has_its_names()? {
        if !is_alone(inner) {
            *alone_since = None;
        } else if alone_since.get_or_insert_with(Instant::now).elapsed() >= ALONE_MAX {
            // Most often the others are down, or the network is.
            if let Err(error) = ask_members(inner, Take::News).await {
                tracing::debug!(%error, "nobody can be asked whether this node's certificate is still good");
            }
        }
    } else {
        let issuer = keys.identity().issuer()?.ok_or(ClusterError::NoAuthority)?;
        if !keys.reissue(issuer, None).await? {
            ask_members(inner, Take::Whatever).await?;
        }
    }
    followed?;
    let validity = keys.identity().validity()?;
    let due_s = validity.map_or(i64::MAX, |validity| validity.due_at(inner.node())).saturating_sub(crate::sys::now());
    Ok(Duration::from_secs(u64::try_from(due_s).unwrap_or_default()).clamp(LOOK_MIN, LOOK_EVERY))
}

/// Tells the cluster what certificate this node has.
async fn report(inner: &Inner) -> Result<(), ClusterError> {
    let Some(state) = inner.keys().state()? else { return Ok(()) };
    let rows = node_rows::all(inner.sys.as_ref(), ReadLevel::Local).await?;
    let is_own =
        |row: &NodeRow| row.node == inner.node() && matches!(row.state, NodeRowState::Member | NodeRowState::Leaving);
    if !rows.iter().any(is_own) {
        return Ok(());
    }
    certificate_rows::report(inner.sys.as_ref(), &CertificateRow::of(inner.node(), &state)).await
}

/// Whether there are other members and none of them is connected with this node.
fn is_alone(inner: &Inner) -> bool {
    let mut others = inner.mesh.peers().into_iter().filter(|peer| *peer != inner.node()).peekable();
    let is_there = |peer| {
        let view = inner.mesh.watch(peer).borrow().clone();
        view.reach == Reach::Up || view.inbound > 0
    };
    others.peek().is_some() && !others.any(is_there)
}

/// What is taken of what is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Whatever,
    /// Other CAs than those that are trusted here.
    News,
}

/// Asks the members for a certificate until one gives it.
pub(super) async fn ask_members(inner: &Inner, take: Take) -> Result<(), ClusterError> {
    let keys = inner.keys();
    let identity = keys.identity();
    let Credentials::Tls { ca, ca_key, key, .. } = &identity.credentials else { return Ok(()) };
    let own = NodeKey::from_pem(key)?;
    let (certificate, private) = own.self_signed()?;
    let stranger = StrangerIdentity::Tls { certificate, key: private };
    let roots = certificates(ca)?;
    let body = encode(&RenewRequest { form: FORM, request: own.request(&identity.record.name)? })?;
    let mut tried = Vec::new();
    for peer in inner.mesh.peers().into_iter().filter(|peer| *peer != inner.node()) {
        let Some(address) = inner.mesh.address(peer) else { continue };
        match ask(&address, &stranger, &roots, body.clone()).await {
            Ok(answer) => {
                if take == Take::Whatever || answer.ca != *ca {
                    // Who did not hold the CA's key does not get it in passing.
                    let ca_key = ca_key.is_some().then_some(answer.ca_key).filter(|key| !key.is_empty());
                    keys.take(answer.ca, ca_key, answer.certificate).await?;
                }
                return Ok(());
            }
            Err(error) => {
                if error.code() == code::NOT_MEMBER {
                    inner.mesh.dismiss();
                    return Err(error);
                }
                tried.push(format!("{address}: {error}"));
            }
        }
    }
    Err(ClusterError::NotRenewed { tried })
}

async fn ask(
    address: &str,
    stranger: &StrangerIdentity,
    roots: &[CertificateDer<'static>],
    body: Bytes,
) -> Result<RenewAnswer, ClusterError> {
    let connection = StrangerConnection::open_trusting(address, stranger, roots, CONNECT_MAX).await;
    let mut connection = connection.map_err(|error| ClusterError::Connect { address: address.to_owned(), error })?;
    let answer = connection.call(RENEW, body, ANSWER_MAX).await.map_err(ClusterError::of_call)?;
    decode(&answer)
}
