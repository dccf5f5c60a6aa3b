//! A machine that is no member any more: what it has of the cluster is put aside, and it may join again as a new node.
//!
//! Everything goes to `left-ID` in the state directory. A mark is written first: a daemon that is killed half-way goes on with it at its next
//! start, before it takes a half-emptied directory for a damaged node.

use super::error::NodeError;
use super::known_members::KnownMembers;
use super::node::{blocking, identity_dir};
use crate::config::NodeConfig;
use base::NodeId;
use std::path::{Path, PathBuf};

/// Where the state of a node goes that has left.
fn aside(config: &NodeConfig, node: &str) -> PathBuf {
    config.state_dir.join(format!("left-{node}"))
}

fn mark(config: &NodeConfig) -> PathBuf {
    config.state_dir.join("leaving")
}

/// Puts aside what a node has that was removed from its cluster. Nothing of it runs any more.
pub(super) async fn put_aside(config: &NodeConfig, node: NodeId) -> Result<(), NodeError> {
    let mark = mark(config);
    blocking(move || {
        rt::fs::write_atomic(&mark, node.to_string().as_bytes())
            .map_err(|source| NodeError::State { path: mark.clone(), source })
    })
    .await?;
    rt::sim_point!("part.marked");
    finish(config).await
}

/// Ends what [`put_aside`] has begun, if anything.
pub(super) async fn finish(config: &NodeConfig) -> Result<(), NodeError> {
    let config = config.clone();
    blocking(move || {
        let mark = mark(&config);
        if !rt::fs::exists(&mark) {
            return Ok(());
        }
        let state = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::State { path, source }
        };
        let node = String::from_utf8_lossy(&rt::fs::read(&mark).map_err(state(&mark))?).into_owned();
        let aside = aside(&config, &node);
        rt::fs::create_dir_all(&aside).map_err(state(&aside))?;
        // The identity last: as long as it is there the rest is its own.
        let parts =
            [config.state_dir.join("log"), config.state_dir.join("databases"), KnownMembers::of(&config).path().to_owned()];
        for part in parts.into_iter().chain([identity_dir(&config)]) {
            if let Some(name) = part.file_name().filter(|_| rt::fs::exists(&part)) {
                rt::fs::rename(&part, &aside.join(name)).map_err(state(&part))?;
            }
        }
        for dir in [&aside, &config.state_dir] {
            rt::fs::sync_dir(dir).map_err(state(dir))?;
        }
        // On the disk, before the machine may join again: a mark that came back would put its new identity aside.
        rt::fs::remove_file(&mark).and_then(|()| rt::fs::sync_dir(&config.state_dir)).map_err(state(&mark))?;
        tracing::warn!(node, to = %aside.display(), "this machine is no member any more; what it had of the cluster was put aside");
        Ok(())
    })
    .await
}
