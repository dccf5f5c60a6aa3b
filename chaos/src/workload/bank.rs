//! Accounts: over HTTP the credit comes before the debit, which the table refuses if it is not covered, so that a half is undone;
//! over the dqlite protocol a client looks before it moves.

use super::{Workload, call, end, lines};
use crate::client::{Client, Kind};
use crate::http::Trouble;
use dqlite::ValueRef;
use histories::{Anomaly, Bank, BankOp, BankRet, History, check_bank};
use serde_json::{Value, json};

const ACCOUNTS: usize = 6;
const BEGIN: i64 = 50;

const MOVE: &str = "UPDATE accounts SET balance = balance + ?2 WHERE id = ?1";
const READ: &str = "SELECT balance FROM accounts ORDER BY id";
const HALVES: [&str; 2] =
    ["SELECT balance FROM accounts WHERE id < 3 ORDER BY id", "SELECT balance FROM accounts WHERE id >= 3 ORDER BY id"];

#[derive(Default)]
pub(super) struct Accounts {
    history: History<BankOp, BankRet>,
}

impl Accounts {
    fn transfer(&self, client: &mut Client) {
        let from = client.dice.index(ACCOUNTS);
        let to = (from + 1 + client.dice.index(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = 1 + i64::try_from(client.dice.below(20)).unwrap_or_default();
        let call = call(&self.history, client, 0, BankOp::Transfer { from, to, amount });
        let is_interactive = client.dice.below(2) == 0;
        let ended = client.timed(Kind::Write, |client| {
            if is_interactive {
                return client.transact("BEGIN IMMEDIATE", |wire| {
                    let id = |account: usize| ValueRef::Integer(i64::try_from(account).unwrap_or_default());
                    let rows = wire.query("SELECT balance FROM accounts WHERE id = ?", &[id(from)])?;
                    if integers(&rows).first().is_none_or(|balance| *balance < amount) {
                        return Err(Trouble::Refused("not covered".to_owned()));
                    }
                    wire.execute(MOVE, &[id(from), ValueRef::Integer(-amount)])?;
                    wire.execute(MOVE, &[id(to), ValueRef::Integer(amount)])
                });
            }
            client.write(&[(MOVE, vec![json!(to), json!(amount)]), (MOVE, vec![json!(from), json!(-amount)])]).map(drop)
        });
        end(call, ended.map(|()| BankRet::Done));
    }

    fn read(&self, client: &mut Client) -> bool {
        let call = call(&self.history, client, 0, BankOp::Read);
        let roll = client.dice.below(4);
        let ended = client.timed(Kind::Read, |client| {
            if roll == 0 {
                return client.transact("BEGIN", |wire| {
                    let [first, second] = HALVES.map(|sql| wire.query(sql, &[]));
                    Ok([integers(&first?), integers(&second?)].concat())
                });
            }
            let rows = client.read(READ, &[])?;
            Ok(rows.iter().filter_map(|row| row.first().and_then(Value::as_i64)).collect())
        });
        end(call, ended.map(BankRet::Balances)).is_some()
    }
}

impl Workload for Accounts {
    fn tables(&self) -> Vec<String> {
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BEGIN})")).collect();
        vec![
            "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))".to_owned(),
            format!("INSERT INTO accounts VALUES {}", rows.join(", ")),
        ]
    }

    fn step(&self, client: &mut Client) {
        if client.dice.below(2) == 0 {
            self.transfer(client);
        } else {
            self.read(client);
        }
    }

    fn finish(&self, client: &mut Client) -> bool {
        self.read(client)
    }

    fn check(&self) -> Vec<Anomaly> {
        check_bank(&Bank { begin: vec![BEGIN; ACCOUNTS], is_covered: true }, &self.history.entries())
    }

    fn lines(&self) -> String {
        lines(&self.history.entries())
    }
}

fn integers(rows: &[Vec<dqlite::Value>]) -> Vec<i64> {
    let integer = |row: &Vec<dqlite::Value>| match row.first() {
        Some(dqlite::Value::Integer(value)) => Some(*value),
        _ => None,
    };
    rows.iter().filter_map(integer).collect()
}
