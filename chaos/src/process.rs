//! Processes that do not outlive the run: killed when dropped, bounded in time, and killed by the kernel if the run itself is.

use crate::error::ChaosError;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on Ctrl-C and SIGTERM make every wait end with [`ChaosError::Interrupted`]. A second one ends the process.
pub(crate) fn listen_for_interrupts() -> Result<(), ChaosError> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&INTERRUPTED))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED)))
            .map_err(|error| ChaosError::failed("listening for Ctrl-C", error.to_string()))?;
    }
    Ok(())
}

/// Fails once Ctrl-C was pressed.
pub(crate) fn check_interrupted() -> Result<(), ChaosError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(ChaosError::Interrupted) } else { Ok(()) }
}

/// Waits, but not beyond Ctrl-C.
pub(crate) fn pause(length: Duration) -> Result<(), ChaosError> {
    let until = Instant::now() + length;
    loop {
        check_interrupted()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// A command whose process the kernel kills when the thread that starts it ends. Daemons are started by the main thread only.
pub(crate) fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// A running daemon; dropping it kills it.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it. Both of its outputs go to `log`, which is appended to.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, ChaosError> {
        let file = File::options().create(true).append(true).open(log).map_err(ChaosError::io(log))?;
        let twin = file.try_clone().map_err(ChaosError::io(log))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
        child.map(Self).map_err(|error| ChaosError::failed("starting a daemon", error.to_string()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        // It may have ended already, and then there is nobody to send it to.
        quietly(Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]));
    }

    /// Waits for its end, so long at most.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            match self.ended() {
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                ended => return ended,
            }
        }
    }

    /// Kill -9, and reap.
    pub(crate) fn kill(&mut self) {
        // It may have ended already, and then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a program ends well, with its output thrown away.
pub(crate) fn quietly(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Runs a command that ends soon; what it printed.
pub(crate) fn call(command: &mut Command) -> Result<String, ChaosError> {
    feed(command, "")
}

/// Runs a command that reads `input` and ends soon; what it printed.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<String, ChaosError> {
    let what = line(command);
    let failed = |error: std::io::Error| ChaosError::failed(line(command), error.to_string());
    let mut child = {
        let piped = Stdio::piped;
        let spawned = Command::new(command.get_program())
            .args(command.get_args())
            .stdin(piped())
            .stdout(piped())
            .stderr(piped())
            .spawn();
        spawned.map_err(failed)?
    };
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read has ended, and says why.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ChaosError::failed(what, format!("{}: {text}", output.status)))
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
