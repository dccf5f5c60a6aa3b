//! What clients saw, and whether it can be true: the checkers of `histories`, with the world's time.

pub use histories::{
    Anomaly, AppendOp, AppendRet, Call, End, Entry, History, RegisterOp, RegisterRet, check_appends, check_registers,
};

/// A client calls, now.
pub fn call<Op, Ret>(history: &History<Op, Ret>, client: u64, key: u64, op: Op) -> Call<Op, Ret> {
    history.call(client, key, op, rt::sim::current().map(|node| node.world_now()).unwrap_or_default())
}
