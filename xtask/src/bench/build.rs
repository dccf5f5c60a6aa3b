//! Builds what a bench runs: Bowline in release, the Go programs of `peers/go`, and the C program for a local SQLite.

use super::error::BenchError;
use super::process;
use super::{Kind, SqlArgs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time for one build on a slow machine.
const BUILD_PATIENCE: Duration = Duration::from_mins(20);

/// The programs.
pub(super) struct Tools {
    pub(super) bowline: PathBuf,
    pub(super) bowload: PathBuf,
    pub(super) dqnode: PathBuf,
    pub(super) etcd: PathBuf,
    pub(super) sqlite_local: PathBuf,
    /// Where profiles go, if they are wanted.
    pub(super) profiles: Option<PathBuf>,
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory.
pub(super) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

impl Tools {
    /// Builds what a bench of Bowline alone needs; `bowline` is used if it is given.
    pub(super) fn for_bowline(bowline: Option<PathBuf>) -> Result<Self, BenchError> {
        Self::make(bowline, None, &[Kind::Bowline])
    }

    /// Builds what the wanted systems need.
    pub(super) fn build(args: &SqlArgs, kinds: &[Kind]) -> Result<Self, BenchError> {
        Self::make(args.bowline.clone(), args.profiles.clone(), kinds)
    }

    fn make(bowline: Option<PathBuf>, profiles: Option<PathBuf>, kinds: &[Kind]) -> Result<Self, BenchError> {
        let out = target_dir().join("peers");
        std::fs::create_dir_all(&out).map_err(BenchError::io(&out))?;
        let is_built = bowline.is_some();
        let tools = Self {
            bowline: bowline.unwrap_or_else(|| target_dir().join("release/bowline")),
            bowload: out.join("bowload"),
            dqnode: out.join("dqnode"),
            etcd: PathBuf::from("/usr/bin/etcd"),
            sqlite_local: out.join("sqlite_local"),
            profiles,
        };
        if let Some(dir) = &tools.profiles {
            require("/usr/bin/perf", "perf", "linux-perf")?;
            std::fs::create_dir_all(dir).map_err(BenchError::io(dir))?;
        }
        let wants = |kind| kinds.contains(&kind);
        if wants(Kind::Etcd) && !tools.etcd.exists() {
            return Err(BenchError::MissingPeer { what: "etcd", package: "etcd-server" });
        }
        if wants(Kind::Bowline) || wants(Kind::Dqlite) || wants(Kind::Etcd) {
            require("/usr/bin/go", "the Go compiler", "golang-go")?;
            let sources = "/usr/share/gocode/src";
            require(
                &format!("{sources}/github.com/canonical/go-dqlite"),
                "go-dqlite",
                "golang-github-canonical-go-dqlite-dev",
            )?;
            require(&format!("{sources}/go.etcd.io/etcd/clientv3"), "etcd's Go client", "golang-etcd-server-dev")?;
            go_build("bowload", &tools.bowload, "0")?;
        }
        if wants(Kind::Dqlite) {
            require("/usr/include/dqlite.h", "libdqlite", "libdqlite-dev")?;
            go_build("dqnode", &tools.dqnode, "1")?;
        }
        if wants(Kind::Sqlite) {
            require("/usr/include/sqlite3.h", "SQLite", "libsqlite3-dev")?;
            c_build("sqlite_local", &tools.sqlite_local)?;
        }
        if wants(Kind::Bowline) && !is_built {
            cargo_build()?;
        }
        Ok(tools)
    }
}

fn require(path: &str, what: &'static str, package: &'static str) -> Result<(), BenchError> {
    if Path::new(path).exists() { Ok(()) } else { Err(BenchError::MissingPeer { what, package }) }
}

/// Debian's Go libraries are sources below /usr/share/gocode: a GOPATH, without modules and without the network.
fn go_build(name: &str, out: &Path, cgo: &str) -> Result<(), BenchError> {
    let mut command = Command::new("/usr/bin/go");
    command
        .current_dir(root())
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("CGO_ENABLED", cgo), ("GOFLAGS", "")])
        .env("CGO_LDFLAGS_ALLOW", "-Wl,.*")
        .args(["build", "-o"])
        .arg(out)
        .arg(format!("./peers/go/{name}"));
    process::call(&format!("building peers/go/{name}"), command, BUILD_PATIENCE).map(drop)
}

fn c_build(name: &str, out: &Path) -> Result<(), BenchError> {
    let mut command = Command::new("cc");
    command.current_dir(root()).args(["-O2", "-Wall", "-o"]).arg(out);
    command.arg(format!("peers/c/{name}.c")).arg("-lsqlite3");
    process::call(&format!("building peers/c/{name}.c"), command, BUILD_PATIENCE).map(drop)
}

fn cargo_build() -> Result<(), BenchError> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(["build", "--quiet", "--release", "--package", "bowline"]);
    process::call("building bowline", command, BUILD_PATIENCE).map(drop)
}
