//! The command line: from words to requests, from answers to text.
//!
//! Standard output is data, standard error is talk. A command ends with 0 done, 1 failed, 2 wrong usage, 3 not ready,
//! 4 refused for safety, 5 timed out.

mod access;
pub mod args;
mod audit;
mod ca;
mod confirm;
mod contexts;
mod daemon_process;
mod db;
mod dev;
mod explain;
mod failure;
mod form;
mod generate;
mod member;
mod node;
mod output;
mod progress;
mod recover;
mod resources;
mod signals;
mod sql;
mod start;
mod status;
mod token;

use crate::config::{NodeConfig, control_socket, default_state_dir};
use api::control::{Client, Problem};
use args::{Cli, Command};
use clap::Parser;
use contexts::Elsewhere;
use failure::Failure;
use futures::future::BoxFuture;
use lifecycle::Shutdown;
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub use explain::all_pages;

/// Runs one node until it is asked to stop and has stopped in order. The composition root.
pub type RunNode = fn(NodeConfig, Shutdown) -> BoxFuture<'static, Result<(), Problem>>;

/// What a command needs to know.
struct Context {
    state_dir: PathBuf,
    socket: PathBuf,
    /// The cluster that is asked instead of the node of this machine.
    elsewhere: Option<Elsewhere>,
    timeout: Duration,
    output: Output,
    run_node: RunNode,
}

impl Context {
    fn new(cli: &Cli, run_node: RunNode) -> Result<Self, Failure> {
        let global = &cli.global;
        let state_dir = global.state_dir.clone().unwrap_or_else(default_state_dir);
        // The daemon may run in another directory than the shell.
        let state_dir = std::path::absolute(&state_dir).unwrap_or(state_dir);
        Ok(Self {
            socket: global.socket.clone().unwrap_or_else(|| control_socket(&state_dir)),
            state_dir,
            elsewhere: elsewhere(cli)?,
            timeout: Duration::from_secs(global.timeout),
            output: Output::new(global.output),
            run_node,
        })
    }

    /// The node or the cluster that the command is about.
    fn client(&self) -> Client {
        match &self.elsewhere {
            None => Client::new(&self.socket, self.timeout),
            Some(elsewhere) => Client::remote(elsewhere.remote.clone(), self.timeout),
        }
    }

    /// `bowline`, with the flags that lead to this node if they are not the defaults: for lines to paste.
    fn bowline(&self) -> String {
        let flag = |flag, path: &std::path::Path| format!(" {flag} {}", output::shell_word(&path.to_string_lossy()));
        let mut line = output::program();
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere.flag.iter().fold(line, |line, flag| line + " " + flag);
        }
        let usual = default_state_dir();
        if self.state_dir != std::path::absolute(&usual).unwrap_or(usual) {
            line += &flag("--state-dir", &self.state_dir);
        }
        if self.socket != control_socket(&self.state_dir) {
            line += &flag("--socket", &self.socket);
        }
        line
    }
}

/// Parses the process's arguments and carries the command out. `run_node` is what `start` and `dev` run.
pub fn main(run_node: RunNode) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let context = match Context::new(&cli, run_node) {
        Ok(context) => context,
        Err(failure) => return failure.report(Output::new(cli.global.output)),
    };
    let threads = match cli.command {
        Command::Start(_) | Command::Dev(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let outcome = match threads {
        Ok(runtime) => runtime.block_on(run(&context, cli.command)),
        Err(error) => Err(Failure::from(failure::io(&failure::NO_THREADS, "the async runtime", &error))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(context.output),
    }
}

/// The cluster that a command asks instead of the node of this machine, if it does. The contexts are read only for commands that may ask
/// one, so that whatever is wrong with them neither keeps a daemon from starting nor `bowline context` from mending it.
fn elsewhere(cli: &Cli) -> Result<Option<Elsewhere>, Failure> {
    let about_this_machine = match &cli.command {
        Command::Init(_) => "init",
        Command::Join(_) => "join",
        Command::Leave(_) => "leave",
        Command::Start(_) => "start",
        Command::Stop => "stop",
        Command::Dev(_)
        | Command::Context(_)
        | Command::Explain(_)
        | Command::Completions(_)
        | Command::Openapi
        | Command::Man(_) => return Ok(None),
        _ => return contexts::chosen(&cli.global),
    };
    // The current context is for the other commands.
    if cli.global.host.is_none() && cli.global.context.as_deref().is_none_or(|name| name == contexts::LOCAL) {
        return Ok(None);
    }
    Err(failure::misuse(
        format!("`bowline {about_this_machine}` is about the machine it is run on"),
        "it was told to ask a cluster elsewhere",
        format!("run bowline {about_this_machine} on that machine"),
    ))
}

async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => form::init(context, args).await,
        Command::Join(args) => form::join(context, args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Sql(args) => sql::run(context, args).await,
        Command::Db(command) => db::run(context, command).await,
        Command::Leave(args) => node::leave(context, &args).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Member(command) => member::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Access(command) => access::run(context, command).await,
        Command::Context(command) => contexts::run(context, command).await,
        Command::Ca(command) => ca::run(context, command).await,
        Command::Audit(args) => audit::run(context, &args).await,
        Command::Event(command) => resources::events(context, command).await,
        Command::Resource(command) => resources::run(context, command).await,
        Command::Recover(args) => recover::run(context, &args).await,
        Command::Dev(args) => dev::run(context, &args).await,
        Command::Start(args) => start::run(context, args).await,
        Command::Stop => start::stop(context).await,
        Command::Explain(args) => explain::run(context, args.subject.as_deref()).await,
        Command::Completions(args) => generate::completions(context, args.shell),
        Command::Openapi => generate::openapi(),
        Command::Man(args) => generate::man(context, args.dir.as_deref()),
    }
}
