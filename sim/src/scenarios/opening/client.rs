//! A client over HTTP: a connection for each request.

use super::door::{Door, Moment};
use crate::scenarios::http::{Answer, exchange};
use api::control::{DatabaseInfo, Problem};
use rt::sim::Dice;
use rt::time::{sleep, timeout};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Databases that are opened one after another.
const DATABASES: [&str; 5] = ["inn", "knots", "shop", "tern", "weir"];
/// The one with the rows.
const ROWS: &str = "shop";
/// How many rows a page has.
const PAGE_ROWS: u64 = 7;

pub(super) struct Client {
    door: Door,
    dice: Dice,
}

/// A page of rows: writer and number.
#[derive(Deserialize)]
struct Page {
    rows: Vec<(i64, i64)>,
}

impl Client {
    pub(super) fn new(door: Door) -> Self {
        Self { door, dice: Dice::new(rt::entropy::u64()) }
    }

    /// Adds row after row, each when the one before is acknowledged, until the world is healed, and then one more.
    pub(super) async fn write(mut self, writer: usize) {
        if writer == 0 {
            self.prepare().await;
        }
        let mut is_last = false;
        loop {
            let (was_healed, is_prepared) = (self.door.is_healed(), self.door.is_prepared());
            let row = self.door.next_row(writer);
            let insert = json!({"sql": "INSERT INTO items VALUES (?, ?)", "params": [writer, row]});
            // The number makes a repeated request safe.
            let request = json!({"statements": [insert], "id": {"client": writer + 1, "sequence": row + 1}});
            match self.ask(&format!("POST /v1/databases/{ROWS}/execute"), &request).await {
                Some((200, _)) => {
                    self.door.acknowledge(writer, row);
                    if is_last {
                        return;
                    }
                    is_last = was_healed;
                }
                Some((status, problem)) if is_prepared => {
                    self.door.breaks(format!("a write was answered {status} {problem}"));
                }
                _ => {}
            }
            self.rest().await;
        }
    }

    /// Makes the databases and the table.
    async fn prepare(&mut self) {
        for name in DATABASES {
            while !matches!(self.ask("POST /v1/databases", &json!({"name": name})).await, Some((200, _))) {
                self.rest().await;
            }
        }
        let table =
            "CREATE TABLE IF NOT EXISTS items(writer INTEGER, n INTEGER, PRIMARY KEY (writer, n)) WITHOUT ROWID";
        let table = json!({"statements": [{"sql": table}]});
        while !matches!(self.ask(&format!("POST /v1/databases/{ROWS}/execute"), &table).await, Some((200, _))) {
            self.rest().await;
        }
        self.door.prepared();
    }

    /// Lists rows and databases until the world is healed, and then once more.
    pub(super) async fn list(mut self) {
        let mut is_last = false;
        loop {
            let was_healed = self.door.is_healed();
            let is_prepared = self.door.is_prepared();
            let seen = if self.dice.chance(1, 4) { self.databases().await } else { self.rows().await };
            if let (Some(Err(wrong)), true) = (&seen, is_prepared) {
                self.door.breaks(wrong.clone());
            }
            if matches!(seen, Some(Ok(()))) {
                if is_last {
                    return;
                }
                is_last = was_healed;
            }
            self.rest().await;
        }
    }

    /// No database is left out.
    async fn databases(&self) -> Option<Result<(), String>> {
        let (status, list) = self.ask("GET /v1/databases", &Value::Null).await?;
        let databases: Vec<DatabaseInfo> = serde_json::from_str(&list).unwrap_or_default();
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        let is_whole = status == 200 && names.first() == Some(&"sys") && names.get(1..) == Some(&DATABASES[..]);
        Some(if is_whole { Ok(()) } else { Err(format!("the databases are {status} {list}")) })
    }

    /// Each writer's rows are there from the first on without a gap: those that were acknowledged before, and none that was not sent.
    /// Then a query that must fail, and costs nobody else anything.
    async fn rows(&self) -> Option<Result<(), String>> {
        let acknowledged = self.door.acknowledged();
        let mut seen = vec![0_u64; acknowledged.len()];
        let (mut last, mut is_last_page) = ((-1_i64, -1_i64), false);
        while !is_last_page {
            let sql = "SELECT writer, n FROM items WHERE (writer, n) > (?, ?) ORDER BY writer, n LIMIT ?";
            let query = json!({"sql": sql, "params": [last.0, last.1, PAGE_ROWS]});
            let (status, page) = self.ask(&format!("POST /v1/databases/{ROWS}/query"), &query).await?;
            let Ok(Page { rows }) = serde_json::from_str(&page) else {
                return Some(Err(format!("a list was answered {status} {page}")));
            };
            is_last_page = (rows.len() as u64) < PAGE_ROWS;
            for (writer, n) in rows {
                let count = usize::try_from(writer).ok().and_then(|writer| seen.get_mut(writer));
                match count {
                    Some(count) if i64::try_from(*count) == Ok(n) => *count += 1,
                    _ => return Some(Err(format!("row {n} of writer {writer} has no place in the list"))),
                }
                last = (writer, n);
            }
        }
        let sent = self.door.sent();
        for (writer, (rows, (least, most))) in seen.iter().zip(acknowledged.iter().zip(&sent)).enumerate() {
            if rows < least || rows > most {
                return Some(Err(format!("writer {writer} has {rows} rows, and must have {least} to {most}")));
            }
        }
        let wrong = json!({"sql": "SELECT * FROM knotz"});
        let (status, problem) = self.ask(&format!("POST /v1/databases/{ROWS}/query"), &wrong).await?;
        let says = serde_json::from_str::<Problem>(&problem).map(|problem| problem.message);
        let is_its_own = status == 400 && says.is_ok_and(|says| says == "no such table: knotz");
        Some(if is_its_own { Ok(()) } else { Err(format!("a query that fails was answered {status} {problem}")) })
    }

    async fn rest(&mut self) {
        sleep(self.dice.between(Duration::from_millis(1), Duration::from_millis(80))).await;
    }

    /// The answer; none while the node is not ready, or not there.
    async fn ask(&self, request: &str, body: &Value) -> Option<(u16, String)> {
        let since = self.door.moment();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = timeout(PATIENCE, exchange(1, request, &body)).await.ok()?.ok()?;
        self.judge(since, &answer);
        if answer.status >= 500 {
            self.door.refused();
            return None;
        }
        if answer.status == 200 {
            self.door.served(since);
        }
        Some((answer.status, answer.body))
    }

    /// INC-1, to the letter.
    fn judge(&self, since: Moment, Answer { status, says_when, body }: &Answer) {
        if *status < 500 || !self.door.lives_on(since) {
            return;
        }
        if *status != 503 || !says_when {
            self.door.breaks(format!("a node that is not ready answered {status} {body}"));
        }
        if Door::had_served(since) {
            self.door.breaks(format!("a node that had served answered {status} {body}"));
        }
        rt::sometimes!("opening: a request was told to come again");
    }
}
