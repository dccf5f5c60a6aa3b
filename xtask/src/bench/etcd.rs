//! Real etcd: three processes of Debian's `etcd`.

use super::Kind;
use super::build::Tools;
use super::cluster::System;
use super::error::BenchError;
use super::process::{self, Process};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Three members of etcd, with its defaults.
pub(super) struct Etcd {
    program: PathBuf,
    base: PathBuf,
    addresses: Vec<String>,
    peers: Vec<String>,
}

impl Etcd {
    /// Nothing is started yet.
    pub(super) fn new(tools: &Tools, base: &Path) -> Result<Self, BenchError> {
        let ports: Vec<String> = process::free_ports(6)?.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        let (addresses, peers) = ports.split_at(3);
        Ok(Self {
            program: tools.etcd.clone(),
            base: base.to_path_buf(),
            addresses: addresses.to_vec(),
            peers: peers.to_vec(),
        })
    }
}

impl System for Etcd {
    fn kind(&self) -> Kind {
        Kind::Etcd
    }

    fn protocol(&self) -> &'static str {
        "etcd"
    }

    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn founds_together(&self) -> bool {
        true
    }

    fn start(&mut self, member: usize) -> Result<Process, BenchError> {
        let client = format!("http://{}", self.addresses.get(member).map_or("", String::as_str));
        let peer = format!("http://{}", self.peers.get(member).map_or("", String::as_str));
        let all: Vec<String> = self.peers.iter().enumerate().map(|(i, p)| format!("{}=http://{p}", i + 1)).collect();
        let mut command = process::command(&self.program);
        command
            .arg(format!("--name={}", member + 1))
            .arg(format!("--data-dir={}", self.dir(member).display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", all.join(",")))
            .args(["--initial-cluster-state=new", "--log-level=error"]);
        Process::start(&format!("etcd member {}", member + 1), command, &self.base.join(format!("{}.log", member + 1)))
    }

    fn restart(&mut self, member: usize) -> Result<Process, BenchError> {
        self.start(member)
    }

    fn dir(&self, member: usize) -> PathBuf {
        self.base.join((member + 1).to_string())
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }
}
