//! The programs on the other side, built from Debian's packages with Debian's Go.

use super::process::output;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where Debian keeps the sources of Go packages.
const GOPATH: &str = "/usr/share/gocode";

/// How to get all of them.
const INSTALL: &str =
    "apt-get install --no-install-recommends golang-go golang-github-canonical-go-dqlite-dev libdqlite-dev";

/// A Go program.
pub(crate) struct Program {
    name: &'static str,
    source: Source,
    /// Whether it needs the C library: a real dqlite node does, its clients do not.
    cgo: bool,
}

enum Source {
    /// In this repository.
    Ours(&'static str),
    /// In a Debian package.
    Debian(&'static str),
}

/// Our black-box checks, on go-dqlite's driver.
pub(crate) const CHECKS: Program = Program { name: "dqconf", source: Source::Ours("peers/go/dqconf"), cgo: false };

/// One member of a real dqlite cluster.
pub(crate) const DQLITE_NODE: Program = Program { name: "dqnode", source: Source::Ours("peers/go/dqnode"), cgo: true };

/// Debian's `dqlite` shell.
pub(crate) const SHELL: Program =
    Program { name: "dqlite", source: Source::Debian("github.com/canonical/go-dqlite/cmd/dqlite"), cgo: true };

/// Builds of one process wait for each other; the second finds the first one's work in Go's cache.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Debian's Go.
pub(crate) struct Go;

impl Go {
    /// Builds a program; `None`, said aloud, if what it takes is not installed.
    pub(crate) fn build(program: &Program) -> Option<PathBuf> {
        if let Some(missing) = missing(program) {
            let text =
                format!("SKIPPED: {} cannot be built, {missing} is missing. To install it: {INSTALL}", program.name);
            assert!(std::env::var_os("BOWLINE_REQUIRE_PEERS").is_none(), "{text}");
            eprintln!("{text}");
            return None;
        }
        let _guard = ONE_AT_A_TIME.lock();
        // Per process: tests run in processes of their own, and replacing a running program fails.
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", program.name, std::process::id()));
        let mut command = Command::new("go");
        command
            .args(["build", "-o"])
            .arg(&built)
            .env("GO111MODULE", "off")
            .env("GOPATH", GOPATH)
            .env("CGO_ENABLED", if program.cgo { "1" } else { "0" })
            .env("CGO_LDFLAGS_ALLOW", "-Wl,-z,now");
        match program.source {
            Source::Ours(path) => {
                command.arg(".").current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path))
            }
            Source::Debian(package) => command.arg(package),
        };
        let (success, text) = output(&mut command);
        assert!(success, "{}: {text}", program.name);
        Some(built)
    }
}

fn missing(program: &Program) -> Option<&'static str> {
    if Command::new("go").arg("version").output().is_err() {
        Some("golang-go")
    } else if !Path::new(GOPATH).join("src/github.com/canonical/go-dqlite").exists() {
        Some("golang-github-canonical-go-dqlite-dev")
    } else if program.cgo && !Path::new("/usr/include/dqlite.h").exists() {
        Some("libdqlite-dev")
    } else {
        None
    }
}
