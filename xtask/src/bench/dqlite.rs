//! Real dqlite: three processes of `peers/go/dqnode`.

use super::Kind;
use super::build::Tools;
use super::cluster::System;
use super::error::BenchError;
use super::process::{self, Process};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Three members of dqlite.
pub(super) struct Dqlite {
    program: PathBuf,
    base: PathBuf,
    addresses: Vec<String>,
}

impl Dqlite {
    /// Nothing is started yet.
    pub(super) fn new(tools: &Tools, base: &Path) -> Result<Self, BenchError> {
        let addresses = process::free_ports(3)?.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        Ok(Self { program: tools.dqnode.clone(), base: base.to_path_buf(), addresses })
    }

    fn launch(&self, member: usize, join: Option<&str>) -> Result<Process, BenchError> {
        let mut command = process::command(&self.program);
        command.arg("-dir").arg(self.dir(member)).arg("-addr").args(self.addresses.get(member));
        command.args(join.map(|j| format!("-join={j}")));
        Process::start(
            &format!("dqlite member {}", member + 1),
            command,
            &self.base.join(format!("{}.log", member + 1)),
        )
    }
}

impl System for Dqlite {
    fn kind(&self) -> Kind {
        Kind::Dqlite
    }

    fn protocol(&self) -> &'static str {
        "dqlite"
    }

    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn start(&mut self, member: usize) -> Result<Process, BenchError> {
        let founder = self.addresses.first().cloned();
        self.launch(member, if member == 0 { None } else { founder.as_deref() })
    }

    fn restart(&mut self, member: usize) -> Result<Process, BenchError> {
        self.launch(member, None)
    }

    fn dir(&self, member: usize) -> PathBuf {
        self.base.join((member + 1).to_string())
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }
}
