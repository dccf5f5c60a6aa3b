//! A client: asks at random, gives up after a while, and at the end reads every key once more.

use super::server::{ANSWER, PORT, REQUEST, decode_answer, encode};
use crate::check::{self, Call, History, RegisterOp, RegisterRet};
use crate::world::host;
use rt::net::Stream;
use rt::sim::Dice;
use rt::time::{sleep, timeout};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Whether everything is repaired and the clients shall come to an end.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicBool>);

impl Phase {
    pub(super) fn heal(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn is_healed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Plan {
    pub(super) nodes: u64,
    pub(super) keys: u64,
    pub(super) phase: Phase,
    pub(super) history: History<RegisterOp, RegisterRet>,
}

/// Calls until the world is healed, and then until a write and a read of every key were answered.
pub(super) async fn work(number: u64, plan: Plan) {
    let mut dice = Dice::new(rt::entropy::u64());
    let mut last = std::collections::BTreeMap::new();
    while !plan.phase.is_healed() {
        let key = dice.below(plan.keys);
        let fresh = dice.roll();
        let op = match dice.below(4) {
            0 | 1 => RegisterOp::Read,
            2 => RegisterOp::Write(fresh),
            _ => RegisterOp::Swap(last.get(&key).copied().flatten(), fresh),
        };
        if let Some(RegisterRet::Value(value)) = call(number, &plan, key, op).await {
            last.insert(key, value);
        }
        sleep(dice.between(Duration::ZERO, Duration::from_millis(200))).await;
    }
    for key in 0..plan.keys {
        for op in [RegisterOp::Write(dice.roll()), RegisterOp::Read] {
            while call(number, &plan, key, op.clone()).await.is_none() {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One call on a connection of its own; none if it was not answered.
async fn call(number: u64, plan: &Plan, key: u64, op: RegisterOp) -> Option<RegisterRet> {
    let address = format!("{}:{PORT}", host(key % plan.nodes + 1));
    // The call begins before the connection: whoever connects slowly was still asked that early.
    let call = check::call(&plan.history, number, key, op.clone());
    let limit = Duration::from_secs(2);
    let Ok(Ok(mut stream)) = timeout(limit, Stream::connect(&address)).await else {
        call.refused();
        return None;
    };
    let asked = timeout(limit, ask(&mut stream, key, &op)).await;
    end(call, asked.ok()?.ok()?)
}

fn end(call: Call<RegisterOp, RegisterRet>, answer: Option<RegisterRet>) -> Option<RegisterRet> {
    match &answer {
        Some(ret) => call.answered(ret.clone()),
        None => call.unknown(),
    }
    answer
}

async fn ask(stream: &mut Stream, key: u64, op: &RegisterOp) -> io::Result<Option<RegisterRet>> {
    let request: [u8; REQUEST] = encode(key, op);
    stream.write_all(&request).await?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).await?;
    Ok(decode_answer(&answer))
}
