//! A node: the daemon, and the operator who sits at it.

use super::board::Board;
use crate::world::{Process, Software, host};
use api::control::{
    Client, ClientError, InitRequest, JoinRequest, NodeState, ProblemKind, RecoveryRequest, RoleTargets, TokenRequest,
    TroubleKind,
};
use bowline::config::{NodeConfig, Sizes};
use cluster::Transport;
use futures::future::BoxFuture;
use raft::OnCorruption;
use rt::sim::Dice;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Lines that these faults make ordinary. What is not here must never be said: panics, corrupt pages, a machine or an engine
/// that gives up, tasks that are stuck.
pub(in crate::scenarios) const EXPECTED_LOGS: &[&str] = &[
    // Disks that fail or are full.
    "a group is suspended: its log cannot be written",
    "the Raft log cannot be written; trying again",
    "the engine of a group failed; starting it again",
    "no checkpoint to make room in the Raft log",
    "no checkpoint at close; the log is replayed at the next start",
    "the page hashes could not be written; the next checkpoint tries again",
    "a segment of the Raft log that nobody needs stays",
    "removed segments of the Raft log may come back",
    "the other members are not known",
    "the members could not be noted; the next change tries again",
    "a unit did not start",
    "a unit failed",
    // Leaders that are lost.
    "no majority answers: waiting commits end with outcome unknown",
    "the cluster has not heard yet that this node runs",
    "the members could not be read",
    "the list of databases could not be followed; it is tried again",
    "a database is not as the list of databases has it",
    // Stops in a hurry.
    "stopping in a hurry",
    "deadline passed",
    "waiting for tasks to end",
    "aborting tasks that did not end in time",
    "a group did not stop in time",
    "leadership was not handed over in time",
];

/// The port of dqlite's clients.
pub(super) const DQLITE_PORT: u16 = 9000;
const RPC_PORT: u16 = 7440;
pub(in crate::scenarios) const HTTPS_PORT: u16 = 7443;
/// How often an operator looks after its node.
const ROUND: Duration = Duration::from_secs(1);
/// How often one does that waits for an invitation.
const GUEST_ROUND: Duration = Duration::from_millis(10);

/// The software of the scenario.
pub(in crate::scenarios) struct Daemon {
    pub(in crate::scenarios) board: Board,
    pub(in crate::scenarios) sizes: Sizes,
    pub(in crate::scenarios) nodes: u64,
}

/// Small enough that a dozen seconds see checkpoints, full segments and snapshots, in most worlds.
pub(in crate::scenarios) fn sizes(dice: &mut Dice) -> Sizes {
    const KIB: u64 = 1 << 10;
    let mut sizes = Sizes::default();
    if dice.chance(4, 5) {
        let segment_bytes = *dice.pick(&[16 * KIB, 64 * KIB, 256 * KIB]).unwrap_or(&(64 * KIB));
        sizes.log = raft::LogLimits {
            segment_bytes,
            soft_bytes: segment_bytes * 2,
            hard_bytes: segment_bytes * 64,
            cache_bytes: *dice.pick(&[KIB, 1024 * KIB]).unwrap_or(&KIB),
            keep_bytes: *dice.pick(&[0, segment_bytes / 2, segment_bytes * 4]).unwrap_or(&0),
        };
        sizes.pages.cache_bytes_max = *dice.pick(&[64 * KIB, 1024 * KIB]).unwrap_or(&(64 * KIB));
    }
    sizes
}

impl Software for Daemon {
    fn start(&self, process: Process) -> BoxFuture<'static, ()> {
        let (board, sizes, nodes) = (self.board.clone(), self.sizes, self.nodes);
        Box::pin(async move {
            let state_dir = PathBuf::from("/var/lib/bowline");
            let config = NodeConfig {
                socket: bowline::config::control_socket(&state_dir),
                state_dir,
                listen: format!("0.0.0.0:{RPC_PORT}"),
                dqlite_listen: format!("0.0.0.0:{DQLITE_PORT}"),
                https_listen: format!("0.0.0.0:{HTTPS_PORT}"),
                transport: Transport::Plain,
                certificate_life: cluster::NODE_LIFE,
                sizes,
                on_damaged_log: if board.is_rotten(process.id) { OnCorruption::Repair } else { OnCorruption::Refuse },
                notify: false,
            };
            let client = Client::new(config.socket.clone(), Duration::from_secs(40));
            let ended = tokio::select! {
                biased;
                ended = bowline::daemon::run(config, process.shutdown) => ended,
                () = operate(process.id, nodes, client, &board) => Ok(()),
            };
            match ended {
                Ok(()) => rt::sometimes!("cluster: a node stopped in order"),
                Err(problem) if matches!(problem.kind, ProblemKind::Corrupt | ProblemKind::Internal) => {
                    board.breaks("start", format!("node {}: {} {}", process.id, problem.code, problem.message));
                }
                Err(problem) => tracing::info!(code = problem.code, problem.message, "the node ended"),
            }
        })
    }
}

/// Forms the cluster if the node belongs to none; else gives tokens to those who want one, and checks the databases.
async fn operate(id: u64, nodes: u64, client: Client, board: &Board) {
    loop {
        match client.ready().await.map(|ready| ready.state) {
            Ok(NodeState::Unformed) if id == 1 && !board.is_founded() => drop(client.init(&init(id)).await),
            Ok(NodeState::Unformed) if board.is_guest(id) => {
                let Some(token) = board.take_invitation(id) else {
                    rt::time::sleep(GUEST_ROUND).await;
                    continue;
                };
                match client.join(&join(id, token, board)).await {
                    Ok(_) => board.let_in(id),
                    Err(error) => tracing::info!(%error, "a guest was not let in"),
                }
            }
            Ok(NodeState::Unformed) => match board.take_token(id) {
                // It works once: if the join fails, another one is needed.
                Some(token) => drop(client.join(&join(id, token, board)).await),
                None => board.want(id),
            },
            Ok(NodeState::Ready) => {
                board.joined(id);
                if let Some(lost) = board.to_give_up() {
                    recover(&client, board, lost).await;
                }
                if has_failed(&client).await {
                    // As the guide says: it is started again.
                    rt::sometimes!("a database had failed on a node, which was started again");
                    drop(client.stop().await);
                }
                if board.should_leave(id, nodes) && client.node_remove(&host(id), false).await.is_ok() {
                    rt::sometimes!("a node left the cluster");
                    board.left(id);
                }
                help(&client, board).await;
                assign(&client, board).await;
                look(id, &client, board).await;
                check(id, &client, board).await;
            }
            _ => {}
        }
        rt::time::sleep(ROUND).await;
    }
}

fn init(id: u64) -> InitRequest {
    InitRequest {
        name: Some(host(id)),
        address: Some(host(id)),
        dqlite_address: Some(host(id)),
        https_address: Some(host(id)),
    }
}

fn join(id: u64, token: String, board: &Board) -> JoinRequest {
    JoinRequest {
        token,
        name: Some(host(id)),
        address: Some(host(id)),
        dqlite_address: Some(host(id)),
        https_address: Some(host(id)),
        witness: board.is_witness(id),
    }
}

/// As the guide says: the lost machines are given up; if there is a majority without them, they are removed.
async fn recover(client: &Client, board: &Board, lost: BTreeSet<u64>) {
    let names: Vec<String> = lost.into_iter().map(host).collect();
    match client.recover(&RecoveryRequest { give_up: names.clone() }).await {
        Ok(_) => {
            rt::sometimes!("cluster: the majority was lost, and the others went on");
            board.recovered();
        }
        // Nothing to recover.
        Err(ClientError::Problem(problem)) if problem.kind == ProblemKind::Conflict => {
            for name in &names {
                drop(client.node_remove(name, true).await);
            }
            let left = client.nodes().await;
            if left.is_ok_and(|left| left.iter().all(|node| !names.contains(&node.name))) {
                rt::sometimes!("cluster: lost machines were no majority, and were removed");
                board.recovered();
            }
        }
        Err(error) => tracing::info!(%error, "the cluster is not recovered yet"),
    }
}

async fn has_failed(client: &Client) -> bool {
    let status = client.status().await;
    status.is_ok_and(|status| status.troubles.iter().any(|trouble| trouble.kind == TroubleKind::Failed))
}

async fn look(id: u64, client: &Client, board: &Board) {
    if let Ok(status) = client.status().await {
        board.saw_change(id, status.troubles.iter().any(|trouble| trouble.kind == TroubleKind::VotersChange));
    }
}

async fn help(client: &Client, board: &Board) {
    if board.wants_invitation()
        && let Ok(issued) = client.token_add(&TokenRequest { valid_s: None, name: None }).await
    {
        board.invite(issued.token);
    }
    for node in board.wanted() {
        if let Ok(issued) = client.token_add(&TokenRequest { valid_s: None, name: Some(host(node)) }).await {
            board.put_token(node, issued.token);
        }
    }
}

async fn assign(client: &Client, board: &Board) {
    let mut dice = Dice::new(rt::entropy::u64());
    if let Some(stand_bys) = board.stand_bys_to_set(&mut dice)
        && client.roles_set(&RoleTargets { voters: 3, stand_bys, dead_after_s: 10 }).await.is_ok()
    {
        board.set_stand_bys(stand_bys);
    }
}

async fn check(id: u64, client: &Client, board: &Board) {
    for database in client.databases().await.unwrap_or_default() {
        if let Ok(check) = client.db_check(&database.name).await {
            board.checked(id, &check);
        }
    }
}
