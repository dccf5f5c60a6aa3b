//! Moves a rotation on, on whichever member leads `sys`. Level-triggered, as the role controller is: each pass reads the rows, decides with
//! [`Rotation::moves_on`], and writes at most one step.

use super::{Rotation, RotationState, fingerprint, rows};
use crate::cluster::Inner;
use crate::controller::leads;
use crate::node_rows::{self, NodeRowState};
use crate::{ClusterError, certificate_rows};
use base::NodeId;
use std::sync::Arc;
use std::time::Duration;
use store::ReadLevel;

/// How often it is looked whether tokens have expired, and a pass that failed is done again.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// After something was written to `sys` it waits for more.
const SETTLE: Duration = Duration::from_millis(50);

/// Runs until it is dropped.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut applied = inner.sys_group.watch_applied();
    let mut status = inner.sys_group.watch();
    loop {
        applied.borrow_and_update();
        let is_leading = leads(&status.borrow_and_update());
        let pause = match pass(&inner, is_leading).await {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::info!(%error, "the rotation of the CA cannot go on yet; it is tried again");
                RETRY_AFTER
            }
        };
        let leadership = async {
            if status.wait_for(|status| leads(status) != is_leading).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = leadership => {}
            changed = applied.changed(), if is_leading => if changed.is_err() { return },
            () = rt::time::sleep(pause) => {}
        }
        // Writes come in bursts, and most are about other things.
        rt::time::sleep(SETTLE).await;
    }
}

async fn pass(inner: &Inner, is_leading: bool) -> Result<(), ClusterError> {
    let sys = inner.sys.as_ref();
    if !is_leading {
        return Ok(());
    }
    let Some(rotation) = rows::newest(sys, ReadLevel::Linearizable).await? else { return Ok(()) };
    if rotation.state == RotationState::Done {
        return Ok(());
    }
    let members = members(inner, ReadLevel::Linearizable).await?;
    let said = certificate_rows::all(sys, ReadLevel::Linearizable).await?;
    let waits_for = rotation.waits_for(&members, &said);
    let tokens = rows::tokens_on_old(sys, ReadLevel::Linearizable, &rotation.new).await?;
    if let Some(next) = rotation.moves_on(&waits_for, tokens.count()) {
        tracing::info!(
            from = rotation.state.as_str(),
            to = next.as_str(),
            ca = rotation.new,
            "the CA is being replaced"
        );
        rows::move_on(sys, &rotation, next).await?;
    } else if rotation.state == RotationState::Distributing && waits_for.contains(&inner.node()) {
        make_another_if_lost(inner, &rotation, &members).await?;
    }
    Ok(())
}

/// Who is waited for: all that may come back. A machine that is joining is none of them yet, and gets what is new then.
pub(crate) async fn members(inner: &Inner, level: ReadLevel) -> Result<Vec<NodeId>, ClusterError> {
    let rows = node_rows::all(inner.sys.as_ref(), level).await?.into_iter();
    let rows = rows.filter(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving));
    Ok(rows.map(|row| row.node).collect())
}

/// The member that made the new CA may be gone before anybody else had its key. Nothing was made by that CA yet: if every member says that it
/// has not got the key, another CA takes its place.
async fn make_another_if_lost(inner: &Inner, rotation: &Rotation, members: &[NodeId]) -> Result<(), ClusterError> {
    let new = fingerprint(&rotation.new)?;
    if !inner.keys().may_sign() || inner.keys().key_of(new).is_some() {
        return Ok(());
    }
    for member in members.iter().filter(|member| **member != inner.node() && !rotation.without.contains(member)) {
        if inner.ask_for_key(*member, new).await?.is_some() {
            // It comes by itself.
            return Ok(());
        }
    }
    tracing::warn!(ca = rotation.new, "nobody has the key of the new CA; another one is made");
    let by = inner.make_successor(&rotation.old).await?;
    rows::replace_new(inner.sys.as_ref(), rotation, &by).await
}
