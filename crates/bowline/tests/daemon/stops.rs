//! SIGTERM at any moment, on machines of a cluster under load: also in the middle of a start, and twice. Each is an ordinary stop.

use super::machine::{Daemon, Machine, until};
use serde_json::json;
use std::fs::File;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: usize = 3;
/// A stop may take its deadline; the rest is for a machine with much else to do.
const IN_TIME: Duration = Duration::from_secs(30);
/// How late in its life a daemon is stopped at most: later than the longest start on an idle machine.
const MOMENT_MAX_MS: u64 = 900;

/// How many stops there are: some, or what BOWLINE_STOP_CYCLES says (with `cargo test`, then: nextest gives a test five minutes).
fn cycles() -> u64 {
    std::env::var("BOWLINE_STOP_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(24)
}

/// Splitmix64: the same moments in each run, on whatever a machine makes of them.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// Starts the daemon; what it says goes to `said` on its machine.
fn start(machine: &Machine) -> Daemon {
    let said = File::options().create(true).append(true).open(machine.path("said")).unwrap();
    let mut command = machine.start_command();
    Daemon(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap())
}

/// Appends numbers to a series of its own, on whichever machine answers, and counts what was acknowledged.
fn write(machines: &[Machine], writer: usize, acknowledged: &AtomicU64, over: &AtomicBool) {
    let mut asked = writer;
    while !over.load(Ordering::SeqCst) {
        let n = acknowledged.load(Ordering::SeqCst);
        let insert = json!({"sql": "INSERT INTO items VALUES (?, ?)", "params": [writer, n]});
        // The number makes a repeated request safe.
        let body = json!({"statements": [insert], "id": {"client": writer + 1, "sequence": n + 1}}).to_string();
        match machines[asked % machines.len()].try_http("POST /v1/databases/shop/execute", "", &body) {
            Ok(answer) if answer.status == 200 => acknowledged.store(n + 1, Ordering::SeqCst),
            _ => {
                asked += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn a_stop_at_any_moment_is_an_ordinary_stop_and_loses_nothing() {
    let machines: Vec<Machine> = (0..3).map(|_| Machine::new()).collect();
    let mut daemons: Vec<Daemon> = machines.iter().map(start).collect();
    machines[0].form(&["init", "--name", "box1"]).done();
    for (machine, name) in machines.iter().zip(["box1", "box2", "box3"]).skip(1) {
        let token = machines[0].say(&["token", "add"]).done();
        machine.form(&["join", token.trim(), "--name", name]).done();
    }
    machines[0].say(&["sql", "shop", "CREATE TABLE items (writer, n, PRIMARY KEY (writer, n))"]).done();
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let over = AtomicBool::new(false);
    let mut dice = Dice(cycles());
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let (machines, over) = (&machines, &over);
            scope.spawn(move || write(machines, writer, acknowledged, over));
        }
        for cycle in 0..cycles() {
            let victim = usize::try_from(dice.below(3)).unwrap();
            // It was started a moment ago, or has served for a while.
            std::thread::sleep(Duration::from_millis(dice.below(MOMENT_MAX_MS)));
            let daemon =
                std::mem::replace(&mut daemons[victim], Daemon(std::process::Command::new("true").spawn().unwrap()));
            let asked = Instant::now();
            daemon.terminate();
            if dice.below(3) == 0 {
                std::thread::sleep(Duration::from_millis(dice.below(100)));
                daemon.terminate();
            }
            let status = daemon.ended_within(IN_TIME);
            assert_eq!(status.code(), Some(0), "stop {cycle}, of box{}", victim + 1);
            longest = longest.max(asked.elapsed());
            daemons[victim] = start(&machines[victim]);
        }
        over.store(true, Ordering::SeqCst);
    });
    println!("{} stops, the longest took {longest:?}", cycles());
    for machine in &machines {
        machine.ready();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let count = format!("SELECT count(*) FROM items WHERE writer = {writer}");
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            assert!(acknowledged > 0, "writer {writer} was never served");
            // One more may be there, of whose answer the writer has not heard.
            until("all rows are there", || {
                let rows: u64 = machine.say(&["sql", "shop", &count]).out.trim().parse().ok()?;
                (rows == acknowledged || rows == acknowledged + 1).then_some(())
            });
        }
        let said = std::fs::read_to_string(machine.path("said")).unwrap();
        for never in ["panicked", "ERROR", "aborting tasks", "stuck"] {
            assert!(!said.contains(never), "{never}: {said}");
        }
        assert_eq!(
            std::fs::read_dir(machine.state_dir().join("incoming")).unwrap().count(),
            0,
            "a file is left behind"
        );
    }
}
