//! The daemon as a process of its own: started by `init` and `join` if none runs, and awaited until it answers.

use super::Context;
use super::args::ListenArgs;
use super::failure::{self, Failure};
use api::control::{ClientError, Problem, ProblemKind, Readiness};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a daemon may take until it answers on its socket. It binds that before anything that can take long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How often the socket is tried.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How much of the log's end a failure shows, in lines.
const LOG_LINES: usize = 5;

/// Makes sure that a daemon answers on the control socket: the one that runs, or a new one in the background.
///
/// A daemon that was started here and does not come up is not left behind.
pub(super) async fn ensure(context: &Context, listen: &ListenArgs) -> Result<Readiness, Failure> {
    match context.client().ready().await {
        Err(ClientError::Unreachable { .. }) => {}
        other => return Ok(other?),
    }
    let log = log_path(context);
    let mut child = spawn(context, listen, &log)?;
    let deadline = rt::time::Instant::now() + ANSWERS_WITHIN;
    loop {
        match context.client().ready().await {
            Err(ClientError::Unreachable { .. }) => {}
            other => return Ok(other?),
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_none() && rt::time::Instant::now() < deadline {
            rt::time::sleep(TRY_EVERY).await;
            continue;
        }
        let message = match ended {
            Some(status) => format!("the daemon ended at once ({status})"),
            None => format!("the daemon does not answer after {} s", ANSWERS_WITHIN.as_secs()),
        };
        give_up(child);
        let mut problem = Problem::new(&failure::DAEMON_FAILED, ProblemKind::Refused, message);
        if let Some(end) = log_end(&log) {
            problem = problem.because(format!("the end of {}:\n{end}", log.display()));
        }
        return Err(problem.into());
    }
}

/// Where a daemon in the background logs.
pub(super) fn log_path(context: &Context) -> PathBuf {
    context.state_dir.join("bowline.log")
}

#[expect(clippy::disallowed_types, reason = "a child's standard error must be a file of the operating system")]
fn spawn(context: &Context, listen: &ListenArgs, log: &std::path::Path) -> Result<Child, Failure> {
    let trouble = |what: &std::path::Path, error: &std::io::Error| {
        Failure::from(failure::io(&failure::FILE, &what.display().to_string(), error))
    };
    rt::fs::create_dir_all(&context.state_dir).map_err(|error| trouble(&context.state_dir, &error))?;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(|error| trouble(log, &error))?;
    let program = std::env::current_exe().map_err(|error| trouble(std::path::Path::new("bowline"), &error))?;
    Command::new(&program)
        .arg("start")
        .arg("--background")
        .arg("--state-dir")
        .arg(&context.state_dir)
        .arg("--socket")
        .arg(&context.socket)
        .args(["--listen", &listen.listen, "--dqlite-listen", &listen.dqlite_listen])
        .args(["--https-listen", &listen.https_listen])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .map_err(|error| trouble(&program, &error))
}

/// Ends a daemon that never answered: it holds nothing that anybody could use.
fn give_up(mut child: Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::debug!(%error, "the daemon was gone already");
    }
}

/// The last lines of the log, if it has any.
fn log_end(path: &std::path::Path) -> Option<String> {
    let text = rt::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    (!lines.is_empty()).then(|| lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
}
