//! `bowline start` and `bowline stop`: the daemon in the foreground, and its end.

use super::Context;
use super::args::{LogFormat, StartArgs};
use super::failure::{self, Failure};
use super::output::talk;
use super::signals::request_on_signals;
use crate::config::{NodeConfig, Sizes};
use api::control::{Client, ClientError, NodeState, Problem, ProblemKind};
use lifecycle::Shutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How often a command looks whether the daemon has changed its state.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &Context, args: StartArgs) -> Result<(), Failure> {
    if args.background {
        rustix::process::setsid().map_err(|error| {
            Failure::from(failure::io(&failure::NO_TERMINAL_SESSION, "a new session", &error.into()))
        })?;
    }
    log_to_stderr(&args.log, args.log_format)?;
    raise_open_files();
    let config = NodeConfig {
        state_dir: context.state_dir.clone(),
        socket: context.socket.clone(),
        listen: args.listen.listen,
        dqlite_listen: args.listen.dqlite_listen,
        https_listen: args.listen.https_listen,
        transport: cluster::Transport::Tls,
        certificate_life: args.certificate_life.map_or(cluster::NODE_LIFE, Duration::from_secs),
        sizes: Sizes::default(),
        on_damaged_log: args.repair_log.map_or(raft::OnCorruption::Refuse, Into::into),
        notify: true,
    };
    let stop = Shutdown::new();
    let node = (context.run_node)(config, stop.clone());
    let greeting = async {
        if !args.background {
            greet(context).await;
        }
        std::future::pending::<()>().await;
    };
    // The node's own end decides; signals and the greeting only run beside it.
    tokio::select! {
        biased;
        ended = node => Ok(ended?),
        error = request_on_signals(&stop) => match error {
            Ok(never) => match never {},
            Err(error) => Err(failure::io(&failure::NO_THREADS, "signals", &error).into()),
        },
        () = greeting => Ok(()),
    }
}

/// Lets the process have as many files open as it may: every client is one, and the log must never go without.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, ?limit, "the limit of open files could not be raised");
    }
}

/// Tells the person at the terminal what to do with a daemon that belongs to no cluster.
async fn greet(context: &Context) {
    let client = Client::new(&context.socket, Duration::from_secs(5));
    let state = loop {
        match client.ready().await {
            Ok(readiness) => break readiness.state,
            Err(ClientError::Unreachable { .. }) => rt::time::sleep(LOOK_EVERY).await,
            Err(_) => return,
        }
    };
    if state == NodeState::Unformed {
        let bowline = context.bowline();
        talk(&format!(
            "The daemon runs; this machine belongs to no cluster yet. In another terminal:\n  \
             {bowline} init          starts a cluster on this machine\n  \
             {bowline} join TOKEN    enters one; the token is from `bowline token add`\n"
        ));
    }
}

/// `bowline stop`: asks, and waits until nobody answers on the socket any more.
pub(super) async fn stop(context: &Context) -> Result<(), Failure> {
    let client = context.client();
    let asked = rt::time::Instant::now();
    client.stop().await?;
    loop {
        match client.ready().await {
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => break,
            _ if asked.elapsed() > context.timeout => {
                return Err(ClientError::Deadline { after: context.timeout }.into());
            }
            _ => rt::time::sleep(LOOK_EVERY).await,
        }
    }
    let took = crate::human::duration(asked.elapsed());
    talk(&format!("stopped in order, in {took}\n"));
    context.output.next(&format!("{} start", context.bowline()), "runs it again");
    Ok(())
}

/// Sends the log to standard error. The consensus engine is heard only if the filter names it: in its own words an ordinary stop is
/// an error, and what is one indeed is said by the group that it runs for.
pub(super) fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let with_engine = if filter.contains("openraft") { filter.to_owned() } else { format!("{filter},openraft=off") };
    let filter = EnvFilter::try_new(with_engine).map_err(|error| {
        failure::misuse(
            format!("--log {filter} makes no sense"),
            &error.to_string(),
            "--log info, or --log raft=debug,info",
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => builder.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| {
        Problem::new(&failure::NO_THREADS, ProblemKind::Internal, "logging cannot be set up")
            .because(error.to_string())
            .into()
    })
}
