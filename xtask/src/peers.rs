//! `cargo xtask peers`: the programs of others that tests and benches run against, from Debian's archive.
#![expect(clippy::print_stderr, reason = "a developer's command: its output is its product")]

use crate::process::{exit, quietly, run};
use clap::Args;
use std::process::{Command, ExitCode};

/// Package and what it is for.
const PACKAGES: &[(&str, &str)] = &[
    ("libdqlite-dev", "a real dqlite server, under the Go programs of peers/go"),
    ("golang-go", "builds the Go programs of peers/go"),
    ("golang-github-canonical-go-dqlite-dev", "the Go client and its database/sql driver"),
    ("golang-github-mattn-go-sqlite3-dev", "what the Go client's packages need"),
    ("go-dqlite", "the `dqlite` shell"),
    ("etcd-server", "what writes are measured against"),
    ("golang-etcd-server-dev", "etcd's Go client, with which they are measured"),
    ("faketime", "gives tests wrong clocks, and sets and bends those of `cargo xtask chaos`"),
    ("iproute2", "network namespaces, for tests with hosts of their own and `cargo xtask chaos`"),
    ("sqlite3", "opens the files that Bowline writes"),
    ("libsqlite3-dev", "a local SQLite to measure against"),
    ("tarantool", "real members of a gossip group, for the tests of swim and to measure against"),
    ("serf", "gossip groups to measure against; the service that comes with it may stay off"),
    ("nftables", "cuts the networks of `cargo xtask chaos`"),
];

/// Arguments of `cargo xtask peers`.
#[derive(Args)]
pub(crate) struct PeersArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn main(args: &PeersArgs) -> ExitCode {
    if !quietly(Command::new("apt-get").arg("--version")) {
        eprintln!("no apt-get here: install what these Debian packages hold in your system's way:");
        for (package, what) in PACKAGES {
            eprintln!("  {package:<40} {what}");
        }
        return ExitCode::FAILURE;
    }
    let missing: Vec<_> = PACKAGES.iter().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        eprintln!("all {} peers are installed", PACKAGES.len());
        return ExitCode::SUCCESS;
    }
    eprintln!("to install with apt-get:");
    for (package, what) in &missing {
        eprintln!("  {package:<40} {what}");
    }
    if args.dry_run {
        return ExitCode::SUCCESS;
    }
    let apt = |arguments: &[&str]| {
        let mut command = if is_root() { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root() {
            command.arg("apt-get");
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let install = [&["install", "--yes", "--no-install-recommends"], names.as_slice()].concat();
    // The lists may be fresh already: installing is tried first.
    exit(apt(&install) || (apt(&["update"]) && apt(&install)))
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
