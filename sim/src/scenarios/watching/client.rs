//! Those who watch, and those who change something.

use super::ledger::Ledger;
use crate::scenarios::http::{Answer, begin, exchange};
use crate::world::host;
use api::control::resources::{ResourceInfo, ResourcePage, WatchLine};
use rt::sim::Dice;
use rt::time::{sleep, timeout};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a watcher waits for a line: a node that lives says so every ten seconds.
const SILENT_MAX: Duration = Duration::from_secs(15);

pub(super) struct Client {
    ledger: Ledger,
    nodes: u64,
    dice: Dice,
}

impl Client {
    pub(super) fn new(ledger: Ledger, nodes: u64) -> Self {
        Self { ledger, nodes, dice: Dice::new(rt::entropy::u64()) }
    }

    fn any_node(&mut self) -> u64 {
        1 + self.dice.below(self.nodes)
    }

    async fn rest(&mut self) {
        sleep(self.dice.between(Duration::from_millis(5), Duration::from_millis(150))).await;
    }

    /// Follows all changes until it was told the last one.
    pub(super) async fn watch(mut self) {
        let mut told = 0;
        while !self.ledger.is_complete(told) {
            let node = self.any_node();
            // It goes to another member now and then, as people do.
            let stay = self.dice.between(Duration::from_millis(100), Duration::from_secs(4));
            let before = told;
            let _moved_on = timeout(stay, self.follow(node, &mut told)).await;
            if told > before {
                rt::sometimes!("watching: a watch went on at another member");
            }
            self.rest().await;
        }
    }

    /// Follows the changes at one member until it says nothing any more.
    async fn follow(&self, node: u64, told: &mut u64) -> Option<()> {
        let request = format!("GET /v1/watch?after={told}");
        let mut begun = timeout(PATIENCE, begin(node, &request)).await.ok()?.ok()?;
        if begun.status != 200 {
            if !matches!(begun.status, 503 | 504) {
                self.ledger.breaks("watch", format!("a watch after change {told} was answered {}", begun.status));
            }
            return None;
        }
        loop {
            while let Some(end) = begun.said.iter().position(|byte| *byte == b'\n') {
                let rest = begun.said.split_off(end + 1);
                let line = std::mem::replace(&mut begun.said, rest);
                match serde_json::from_slice(&line) {
                    Ok(WatchLine::Change(change)) => {
                        let revision = change.revision;
                        self.ledger.tells(*told, &change);
                        *told = revision;
                        if self.ledger.is_complete(*told) {
                            return Some(());
                        }
                    }
                    Ok(WatchLine::Bookmark { bookmark }) if bookmark == *told => {}
                    Ok(WatchLine::Ended { .. }) => return None,
                    other => self.ledger.breaks("watch", format!("after change {told} came {other:?}")),
                }
            }
            if timeout(SILENT_MAX, begun.stream.read_buf(&mut begun.said)).await.ok()?.ok()? == 0 {
                return None;
            }
        }
    }

    /// Counts up one number together with the others, and makes and drops a database of its own, until the world is healed.
    pub(super) async fn write(mut self, writer: u64) {
        while !self.ledger.is_healed() {
            if self.dice.chance(1, 6) {
                self.come_and_go(writer).await;
            } else {
                self.count_up().await;
            }
            self.rest().await;
        }
        while self.count_up().await.is_none() {
            self.rest().await;
        }
        if self.ledger.is_last_writer() {
            while self.look().await.is_none() {
                self.rest().await;
            }
        }
    }

    async fn ask(&mut self, request: &str, body: &str) -> Option<Answer> {
        let node = self.any_node();
        timeout(PATIENCE, exchange(node, request, body)).await.ok()?.ok()
    }

    /// One more, if nobody else was quicker. Some if it was acknowledged.
    async fn count_up(&mut self) -> Option<()> {
        let path = format!("/v1/resources/nodes/{}", host(1));
        let seen = self.ask(&format!("GET {path}"), "").await.filter(|answer| answer.status == 200)?;
        let seen: ResourceInfo = serde_json::from_str(&seen.body).ok()?;
        let next = seen.spec.get("weight")?.as_u64()? + 1;
        let update = json!({"revision": seen.revision, "spec": {"weight": next}}).to_string();
        let answer = self.ask(&format!("PATCH {path}"), &update).await;
        match answer.map(|answer| answer.status) {
            Some(200) => {
                self.ledger.acknowledge();
                return Some(());
            }
            Some(409) => rt::sometimes!("watching: an update was refused because somebody was quicker"),
            _ => self.ledger.forget(),
        }
        None
    }

    async fn come_and_go(&mut self, writer: u64) {
        let name = format!("db{writer}");
        drop(self.ask("POST /v1/resources/databases", &json!({"name": name}).to_string()).await);
        self.rest().await;
        drop(self.ask(&format!("DELETE /v1/resources/databases/{name}?confirm={name}"), "").await);
    }

    /// What came of it, when nobody changes anything any more: the last change is one that is made for that.
    async fn look(&mut self) -> Option<()> {
        let page = self.ask("GET /v1/resources/nodes", "").await.filter(|answer| answer.status == 200)?;
        let page: ResourcePage = serde_json::from_str(&page.body).ok()?;
        let counted = page.items.iter().find(|item| item.name == host(1))?.spec.get("weight")?.as_u64()?;
        self.ledger.ends(counted, page.revision);
        Some(())
    }
}
