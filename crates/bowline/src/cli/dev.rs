//! `bowline dev`: a throw-away cluster in one process, to look at, to test against, to break.

use super::Context;
use super::args::{DevArgs, LogFormat};
use super::failure::{self, Failure};
use super::output::{self, data, talk};
use super::signals::request_on_signals;
use super::start::log_to_stderr;
use crate::config::{NodeConfig, Sizes, control_socket};
use crate::human;
use crate::text::style::Style;
use crate::text::table::{Cell, Shown, Table};
use api::control::{
    Client, ClientError, Health, InitRequest, JoinRequest, NodeInfo, Problem, ProblemKind, TokenRequest,
};
use base::Role;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lifecycle::Shutdown;
use std::path::Path;
use std::time::Duration;

/// How often the cluster is looked at until it is what was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &Context, args: &DevArgs) -> Result<(), Failure> {
    let started = rt::time::Instant::now();
    log_to_stderr(&args.log, LogFormat::Text)?;
    // Removed when this is dropped, however the command ends.
    let directory = tempfile::Builder::new().prefix("bowline-dev-").tempdir().map_err(|error| {
        Failure::from(failure::io(&failure::FILE, &std::env::temp_dir().display().to_string(), &error))
    })?;
    let names: Vec<String> = (1..=args.nodes).map(|i| format!("node{i}")).collect();
    let stop = Shutdown::new();
    let mut signals = std::pin::pin!(request_on_signals(&stop));
    let mut nodes: FuturesUnordered<_> = names
        .iter()
        .map(|name| {
            let state_dir = directory.path().join(name);
            let config = NodeConfig {
                socket: control_socket(&state_dir),
                state_dir,
                listen: "127.0.0.1:0".to_owned(),
                dqlite_listen: "127.0.0.1:0".to_owned(),
                https_listen: "127.0.0.1:0".to_owned(),
                transport: cluster::Transport::Tls,
                certificate_life: cluster::NODE_LIFE,
                sizes: Sizes::default(),
                on_damaged_log: raft::OnCorruption::Refuse,
                notify: false,
            };
            let node = (context.run_node)(config, stop.clone());
            async move { (name.as_str(), node.await) }
        })
        .collect();

    let outcome = {
        let show = async {
            let members = form(context, directory.path(), &names).await?;
            data(&welcome(directory.path(), &members, &output::program(), started.elapsed(), context.output.style()))?;
            stop.requested().await;
            Ok(())
        };
        // A node that ends by itself ends the show; a signal is one of the things that the show waits for.
        tokio::select! {
            biased;
            Some((name, ended)) = nodes.next() => if stop.requests() > 0 { Ok(()) } else { Err(early_end(name, ended)) },
            error = &mut signals => match error {
                Ok(never) => match never {},
                Err(error) => Err(failure::io(&failure::NO_THREADS, "signals", &error).into()),
            },
            shown = stoppable(show, &stop) => shown,
        }
    };

    if outcome.is_ok() {
        talk("\nstopping in order ...\n");
    }
    if stop.requests() == 0 {
        stop.request();
    }
    let stopped = {
        let all = async { while nodes.next().await.is_some() {} };
        // A second signal shortens the nodes' own deadlines.
        tokio::select! {
            biased;
            () = all => Ok(()),
            error = &mut signals => match error {
                Ok(never) => match never {},
                Err(error) => Err(failure::io(&failure::NO_THREADS, "signals", &error).into()),
            },
        }
    };
    let path = directory.path().to_owned();
    directory
        .close()
        .map_err(|error| Failure::from(failure::io(&failure::FILE, &path.display().to_string(), &error)))?;
    if outcome.is_ok() {
        talk(&format!("stopped; {} is removed\n", path.display()));
    }
    outcome.and(stopped)
}

/// A stop while the cluster still forms is an ordinary end.
async fn stoppable(show: impl Future<Output = Result<(), Failure>>, stop: &Shutdown) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = stop.requested() => Ok(()),
        shown = show => shown,
    }
}

fn early_end(name: &str, ended: Result<(), Problem>) -> Failure {
    let problem = Problem::new(&failure::DEV_FAILED, ProblemKind::Refused, format!("{name} stopped by itself"));
    match ended {
        Ok(()) => problem.into(),
        Err(why) => Problem { kind: why.kind, ..problem.because(why.to_string()).next(why.next) }.into(),
    }
}

/// The first node starts a cluster, the others join it one after another; then all are waited for.
async fn form(context: &Context, directory: &Path, names: &[String]) -> Result<Vec<NodeInfo>, Failure> {
    let client = |name: &str| Client::new(control_socket(&directory.join(name)), context.timeout);
    let mut first: Option<Client> = None;
    for name in names {
        let node = client(name);
        reachable(&node).await?;
        let name = Some(name.clone());
        match &first {
            None => {
                node.init(&InitRequest { name, ..InitRequest::default() }).await?;
                first = Some(node);
            }
            Some(first) => {
                let token = first.token_add(&TokenRequest { valid_s: Some(600), name: name.clone() }).await?.token;
                let request = JoinRequest {
                    token,
                    name,
                    address: None,
                    dqlite_address: None,
                    https_address: None,
                    witness: false,
                };
                node.join(&request).await?;
            }
        }
    }
    let Some(first) = first else { return Ok(Vec::new()) };
    let wanted = (names.len().clamp(1, 3) - 1) / 2 * 2 + 1;
    let deadline = rt::time::Instant::now() + context.timeout;
    loop {
        let members = first.nodes().await?;
        let healthy = members.iter().filter(|node| node.health == Health::Up).count();
        let voters = members.iter().filter(|node| node.role == Role::Voter).count();
        if healthy == names.len() && voters >= wanted {
            return Ok(members);
        }
        if rt::time::Instant::now() >= deadline {
            let problem = ClientError::Deadline { after: context.timeout }.into_problem();
            return Err(problem.because(format!("{healthy} nodes are healthy and {voters} vote")).into());
        }
        rt::time::sleep(LOOK_EVERY).await;
    }
}

async fn reachable(node: &Client) -> Result<(), Failure> {
    let deadline = rt::time::Instant::now() + Duration::from_secs(20);
    loop {
        match node.ready().await {
            Err(ClientError::Unreachable { .. }) if rt::time::Instant::now() < deadline => {
                rt::time::sleep(LOOK_EVERY).await;
            }
            other => return other.map(drop).map_err(Failure::from),
        }
    }
}

/// What there is now, and what to do with it.
fn welcome(directory: &Path, members: &[NodeInfo], program: &str, elapsed: Duration, style: Style) -> String {
    let mut table = Table::new(&["NODE", "ROLE", "HEALTH", "LEADS", "ADDRESSES"]);
    for node in members {
        table.row([
            Cell::new(&node.name),
            Cell::new(node.role),
            super::node::health(node.health),
            Cell::new(if node.leader { "yes" } else { "-" }),
            Cell::new(format!("dqlite {}   https {}   rpc {}", node.dqlite_address, node.https_address, node.address)),
        ]);
    }
    let first = members.first().map_or("node1", |node| node.name.as_str());
    let socket = control_socket(&directory.join(first));
    let socket = output::shell_word(&socket.to_string_lossy());
    format!(
        "{} ready in {}, in this one process; everything is in {} and goes with it\n\n{}\n\
         Talk SQL   {program} sql --socket {socket} demo \"select 'hello from ' || sqlite_version()\"\n\
         Look       {program} status --socket {socket}\n\
         Stop       Ctrl-C\n",
        human::count(members.len() as u64, "node", "nodes"),
        human::duration(elapsed),
        directory.display(),
        table.columns(Shown::Always, style),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;

    #[test]
    fn the_welcome_has_each_nodes_dqlite_address_and_lines_to_paste() {
        let member = |id: u16| NodeInfo {
            id: NodeId(id.into()),
            name: format!("node{id}"),
            role: Role::Voter,
            witness: false,
            health: Health::Up,
            leader: id == 1,
            address: format!("127.0.0.1:{}", 40_000 + id),
            dqlite_address: format!("127.0.0.1:{}", 41_000 + id),
            https_address: format!("127.0.0.1:{}", 42_000 + id),
            version: None,
            failure_domain: 0,
            weight: 0,
            certificate_ends: None,
            clock_ahead_ms: None,
        };
        let members: Vec<_> = (1..=3).map(member).collect();
        let directory = Path::new("/tmp/bowline-dev-x1");
        let text = welcome(directory, &members, "bowline", Duration::from_millis(1_200), Style::Plain);
        for node in &members {
            assert!(text.lines().any(|line| line.contains(&format!("dqlite {}", node.dqlite_address))));
        }
        insta::assert_snapshot!(text);
    }
}
