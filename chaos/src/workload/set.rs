//! A set: elements are added, and now and then all are read.

use super::{Workload, call, end, lines};
use crate::client::{Client, Kind};
use histories::{Anomaly, History, SetOp, SetRet, check_set};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Set {
    history: History<SetOp, SetRet>,
    fresh: AtomicU64,
}

impl Set {
    fn read(&self, client: &mut Client) -> bool {
        let call = call(&self.history, client, 0, SetOp::Read);
        let ended = client.timed(Kind::Read, |client| client.read("SELECT element FROM elements", &[]));
        let elements =
            |rows: Vec<Vec<Value>>| rows.iter().filter_map(|row| row.first().and_then(Value::as_u64)).collect();
        end(call, ended.map(|rows| SetRet::Elements(elements(rows)))).is_some()
    }
}

impl Workload for Set {
    fn tables(&self) -> Vec<String> {
        // Without uniqueness: what is carried out twice shall be seen.
        vec!["CREATE TABLE elements (element INTEGER NOT NULL)".to_owned()]
    }

    fn step(&self, client: &mut Client) {
        if client.dice.below(6) == 0 {
            self.read(client);
            return;
        }
        let element = self.fresh.fetch_add(1, Ordering::Relaxed);
        let call = call(&self.history, client, 0, SetOp::Add(element));
        let statement = ("INSERT INTO elements VALUES (?)", vec![json!(element)]);
        let is_numbered = client.dice.below(2) == 0;
        let ended = client.timed(Kind::Write, |client| {
            if is_numbered { client.write_once(&statement).map(drop) } else { client.write(&[statement]).map(drop) }
        });
        end(call, ended.map(|()| SetRet::Done));
    }

    fn finish(&self, client: &mut Client) -> bool {
        self.read(client)
    }

    fn check(&self) -> Vec<Anomaly> {
        check_set(&self.history.entries())
    }

    fn lines(&self) -> String {
        lines(&self.history.entries())
    }
}
