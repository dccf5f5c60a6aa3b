//! `cargo xtask bench NAME`: measurements on real processes, side by side with the real peers.
//!
//! `sql` starts three processes of each system on loopback, one system at a time, in rounds (A B C, A B C), and sends the
//! same load to each. `cluster` is about Bowline alone. `swim` is about gossip groups of up to fifty processes of each system.
//! Progress and a table go to standard error; standard output gets one JSON line, the last thing printed. Everything is bounded in time, and every process that was started is killed at the end, whatever the end is.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command on the real machine: nothing here runs in the simulator, and its output is its product"
)]

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

mod bowline;
mod build;
mod cluster;
mod disk;
mod dqlite;
mod error;
mod etcd;
mod life;
mod load;
mod machine;
mod parts;
mod process;
mod report;
mod results;
mod sql;
mod swim;

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Replicated SQL: Bowline, dqlite, etcd and a local SQLite in one run.
    Sql(SqlArgs),
    /// The life of a cluster: writes while a leader stops or is killed, joins, stops, and doing nothing.
    Cluster(ClusterArgs),
    /// Gossip groups of 3, 10 and 50 members: Bowline, Tarantool, serf and foca in one run.
    Swim(swim::SwimArgs),
    /// Only the disk: what an append and a flush cost here.
    Disk(DiskArgs),
}

/// Arguments of `cargo xtask bench sql`.
#[derive(Args)]
struct SqlArgs {
    /// One short round: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Only these parts (may be repeated).
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Only these systems (may be repeated).
    #[arg(long, value_enum)]
    system: Vec<Kind>,
    /// Rounds over the systems [default: 3, quick: 1].
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each load [default: 4, quick: 2].
    #[arg(long)]
    secs: Option<f64>,
    /// Kills of Bowline's leader [default: 20, quick: 4].
    #[arg(long)]
    kills: Option<u32>,
    /// Kills of each peer's leader; one takes dqlite about 8 s [default: 6, quick: 2].
    #[arg(long)]
    peer_kills: Option<u32>,
    /// Bytes of the large database [default: 1073741824].
    #[arg(long)]
    large_bytes: Option<u64>,
    /// Directory for the systems' state, on a real disk [default: the target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Use this `bowline` instead of building one.
    #[arg(long)]
    bowline: Option<PathBuf>,
    /// Record where the leader spends its time in each load, with perf, into this directory. The figures suffer.
    #[arg(long)]
    profiles: Option<PathBuf>,
    /// Leave the state and the logs of the processes behind.
    #[arg(long)]
    keep: bool,
}

/// Arguments of `cargo xtask bench cluster`.
#[derive(Args)]
struct ClusterArgs {
    /// A few of each: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Directory for the members' state, on a real disk [default: the target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Use this `bowline` instead of building one.
    #[arg(long)]
    bowline: Option<PathBuf>,
}

/// Arguments of `cargo xtask bench disk`.
#[derive(Args)]
struct DiskArgs {
    /// Directory to measure in [default: the target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seconds for each way of writing.
    #[arg(long, default_value_t = 3.0)]
    secs: f64,
}

/// A part of `bench sql` that can run alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum Part {
    /// What the disk can do.
    Disk,
    /// Time to join the second and the third member.
    Join,
    /// Single-row inserts at 1, 16 and 64 connections.
    Insert,
    /// Reads by key at 1, 16 and 64 connections, on the leader and on followers.
    Read,
    /// kill -9 of the leader to the next acknowledged write.
    Failover,
    /// Disk and memory of each node at equal data.
    Footprint,
    /// Checkpoints and restart of a large database.
    Large,
}

/// A system under measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum Kind {
    /// This project.
    Bowline,
    /// Three processes of libdqlite through go-dqlite's app.
    Dqlite,
    /// Three processes of etcd.
    Etcd,
    /// One process, one file, WAL with synchronous=FULL.
    Sqlite,
}

impl Kind {
    /// Its name in tables and in the JSON line.
    const fn name(self) -> &'static str {
        match self {
            Self::Bowline => "bowline",
            Self::Dqlite => "dqlite",
            Self::Etcd => "etcd",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Runs a bench. Errors are printed with what to do about them.
pub(crate) fn main(args: &BenchArgs) -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let outcome = match &args.what {
        What::Sql(args) => sql::run(args).map(done),
        What::Cluster(args) => life::run(args).map(done),
        What::Swim(args) => swim::run(args),
        What::Disk(args) => disk::run(args).map(done),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
