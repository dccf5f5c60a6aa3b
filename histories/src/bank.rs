//! Accounts between which money moves: every read adds up, and each account is within what the transfers allow.
//!
//! A transfer that was answered before a read was called is in it; one that was called after the read was answered is not; of the
//! others, those of unknown outcome included, any may be. That bounds each account from both sides, which finds lost and
//! repeated transfers and stale reads as well as halves.

use crate::Anomaly;
use crate::history::{End, Entry};
use serde::Serialize;

/// What can be asked of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BankOp {
    /// To move an amount from one account to another.
    Transfer {
        /// Whose balance falls.
        from: usize,
        /// Whose balance rises.
        to: usize,
        /// By how much.
        amount: i64,
    },
    /// All balances.
    Read,
}

/// What a bank answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BankRet {
    /// Done.
    Done,
    /// All balances, by account.
    Balances(Vec<i64>),
}

/// How a bank began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// The balances, by account.
    pub begin: Vec<i64>,
    /// Whether no account may fall below zero.
    pub is_covered: bool,
}

/// Every read that cannot be true.
pub fn check_bank(bank: &Bank, history: &[Entry<BankOp, BankRet>]) -> Vec<Anomaly> {
    let total: i64 = bank.begin.iter().sum();
    let mut found = Vec::new();
    for read in history {
        let End::Answered(answered, BankRet::Balances(balances)) = &read.end else { continue };
        let mut fail =
            |text: String| found.push(Anomaly(format!("the read called at {}: {text}: {balances:?}", read.called)));
        if balances.len() != bank.begin.len() {
            fail(format!("{} accounts instead of {}", balances.len(), bank.begin.len()));
            continue;
        }
        let sum: i64 = balances.iter().sum();
        if sum != total {
            fail(format!("the total is {sum} instead of {total}"));
        }
        if bank.is_covered && balances.iter().any(|balance| *balance < 0) {
            fail("a balance is negative".to_owned());
        }
        let mut least = bank.begin.clone();
        let mut most = bank.begin.clone();
        for call in history {
            let BankOp::Transfer { from, to, amount } = call.op else { continue };
            let (is_in, may_be_in) = match &call.end {
                End::Refused => (false, false),
                End::Answered(at, _) => (*at < read.called, call.called < *answered),
                End::Unknown => (false, call.called < *answered),
            };
            let add = |bounds: &mut Vec<i64>, account: usize, amount: i64| {
                if let Some(balance) = bounds.get_mut(account) {
                    *balance += amount;
                }
            };
            if is_in || may_be_in {
                add(&mut least, from, -amount);
                add(&mut most, to, amount);
            }
            if is_in {
                add(&mut least, to, amount);
                add(&mut most, from, -amount);
            }
        }
        for (account, balance) in balances.iter().enumerate() {
            let (Some(least), Some(most)) = (least.get(account), most.get(account)) else { continue };
            if balance < least || balance > most {
                fail(format!("account {account} is outside of what the transfers allow, {least} to {most}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(called: u64, op: BankOp, end: End<BankRet>) -> Entry<BankOp, BankRet> {
        Entry { client: 0, key: 0, op, called, called_at: Duration::ZERO, end }
    }

    fn transfer(called: u64, end: End<BankRet>) -> Entry<BankOp, BankRet> {
        entry(called, BankOp::Transfer { from: 0, to: 1, amount: 3 }, end)
    }

    fn read(called: u64, balances: &[i64]) -> Entry<BankOp, BankRet> {
        entry(called, BankOp::Read, End::Answered(called + 1, BankRet::Balances(balances.to_vec())))
    }

    fn verdict(history: &[Entry<BankOp, BankRet>]) -> Vec<Anomaly> {
        check_bank(&Bank { begin: vec![10, 10], is_covered: true }, history)
    }

    #[test]
    fn what_a_bank_does_is_accepted() {
        let done = || transfer(1, End::Answered(2, BankRet::Done));
        assert_eq!(verdict(&[done(), read(3, &[7, 13])]), []);
        let unknown = || transfer(4, End::Unknown);
        for seen in [[7, 13], [4, 16]] {
            assert_eq!(verdict(&[done(), unknown(), read(5, &seen)]), []);
        }
        let concurrent = transfer(1, End::Answered(9, BankRet::Done));
        assert_eq!(verdict(&[concurrent, read(3, &[7, 13]), read(5, &[10, 10])]), []);
    }

    #[test]
    fn each_planted_anomaly_is_named() {
        let done = || transfer(1, End::Answered(2, BankRet::Done));
        for (name, history) in [
            ("the total is 17", vec![done(), read(3, &[7, 10])]),
            ("negative", vec![read(3, &[-1, 21])]),
            ("outside", vec![done(), read(3, &[10, 10])]),
            ("outside", vec![done(), read(3, &[4, 16])]),
            ("outside", vec![transfer(1, End::Refused), read(3, &[7, 13])]),
            ("outside", vec![read(3, &[7, 13]), transfer(5, End::Unknown)]),
            ("1 accounts", vec![read(3, &[20])]),
        ] {
            let found = verdict(&history);
            assert!(found.iter().any(|anomaly| anomaly.0.contains(name)), "{name}: {found:?}");
        }
    }
}
