//! Notes in `sys` that a member died, or is back: on the leader, and only when something has changed.

use super::why;
use crate::ClusterError;
use crate::cluster::Inner;
use crate::controller::leads;
use crate::kinds;
use crate::node_rows::{self, NodeRowState};
use base::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::resources::Severity;
use store::{Command, ReadLevel, resources};
use swim::Status;

/// What a node's last event of these says is what the cluster has been told.
const DIED: &str = "Died";
const BACK: &str = "Back";
/// What could not be noted is noted after so long.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub(crate) async fn report(inner: Arc<Inner>) {
    let mut verdicts = inner.gossiping.watch();
    let mut group = inner.sys_group.watch();
    loop {
        verdicts.borrow_and_update();
        let leading = leads(&group.borrow_and_update());
        let done = if leading { pass(&inner).await } else { Ok(()) };
        if let Err(error) = &done {
            tracing::info!(%error, "who died or is back could not be noted; it is tried again");
        }
        let changes_lead = async {
            // A stopped group leads no more: there is nothing to note then.
            if group.wait_for(|status| leads(status) != leading).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            changed = verdicts.changed() => if changed.is_err() { return },
            () = changes_lead => {}
            () = rt::time::sleep(RETRY_AFTER), if done.is_err() => {}
        }
    }
}

async fn pass(inner: &Inner) -> Result<(), ClusterError> {
    let verdicts = inner.gossiping.verdicts();
    if verdicts.values().all(|verdict| verdict.status == Status::Alive && verdict.why == swim::Reason::Asked) {
        return Ok(());
    }
    let sys = inner.sys.as_ref();
    let rows = node_rows::all(sys, ReadLevel::Local).await?;
    let names: BTreeMap<NodeId, &str> = rows.iter().map(|row| (row.node, row.name.as_str())).collect();
    let name = |member: &swim::MemberId| {
        let node = inner.gossiping.node_of(member);
        node.and_then(|node| names.get(&node)).map_or_else(|| member.to_string(), |name| (*name).to_owned())
    };
    let told = told(inner).await?;
    let mut news = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving)) {
        let Some(verdict) = verdicts.get(&row.node).filter(|_| row.node != inner.node()) else { continue };
        let is_told_dead = told.get(&row.name).is_some_and(|reason| reason == DIED);
        let (severity, reason, message) = match verdict.status {
            Status::Dead if !is_told_dead => {
                (Severity::Warning, DIED, format!("it is dead: {}", why(verdict.status, &verdict.why, &name)))
            }
            Status::Alive if is_told_dead && verdict.why != swim::Reason::Asked => {
                (Severity::Normal, BACK, format!("it is back: {}", why(verdict.status, &verdict.why, &name)))
            }
            _ => continue,
        };
        news.push(resources::event(kinds::NODES.name, &row.name, severity, reason, message));
    }
    if !news.is_empty() {
        rt::sometimes!("gossip: a death or a return was noted");
        sys.transact(news).await?;
    }
    Ok(())
}

/// What the cluster was told last of each node, by its name.
async fn told(inner: &Inner) -> Result<BTreeMap<String, String>, ClusterError> {
    let last = Command::new(
        "SELECT name, reason FROM events WHERE id IN \
         (SELECT max(id) FROM events WHERE kind = ?1 AND reason IN (?2, ?3) GROUP BY name)",
        [kinds::NODES.name.into(), DIED.into(), BACK.into()],
    );
    let rows = inner.sys.query(ReadLevel::Local, last).await?.rows;
    let text = |row: &[store::Value], column: usize| row.get(column).and_then(|value| value.text()).map(str::to_owned);
    Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))).collect())
}
