//! `bowline sql` from a machine that is none of the cluster's: through one member to whichever leads, whatever falls or stops.

use super::https::from_afar_command;
use super::machine::{Daemon, Machine, PATIENCE, Said, say, until};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many statements a script has in which the leader falls.
const READS: usize = 3000;

/// Three machines whose daemons this test has started, and the name of the leader.
struct Three {
    machines: Vec<Machine>,
    daemons: Vec<Option<Daemon>>,
}

impl Three {
    #[track_caller]
    fn form() -> Self {
        let machines = vec![Machine::new(), Machine::new(), Machine::new()];
        machines[0].form(&["init", "--name", "box1"]).done();
        for (machine, name) in machines[1..].iter().zip(["box2", "box3"]) {
            let token = machines[0].say(&["token", "add"]).done();
            machine.form(&["join", token.trim(), "--name", name]).done();
        }
        // From here on they are this test's own, so that it sees how they end.
        let mut three = Self { daemons: vec![None, None, None], machines };
        for number in 0..3 {
            three.machines[number].say(&["stop"]).done();
            until("it has stopped", || three.machines[number].daemons().is_empty().then_some(()));
            three.daemons[number] = Some(three.machines[number].start());
            three.machines[number].ready();
        }
        until("three voters", || {
            let nodes = three.machines[0].json(&["node", "list"]);
            let voters =
                nodes.as_array().unwrap().iter().filter(|n| n["role"] == "voter" && n["health"] == "up").count();
            (voters == 3).then_some(())
        });
        three
    }

    /// Which of them leads, as one that runs says.
    #[track_caller]
    fn leader(&self, asked: usize) -> usize {
        until("a leader", || {
            let nodes = self.machines[asked].json(&["node", "list"]);
            nodes.as_array().unwrap().iter().position(|node| node["leader"] == true)
        })
    }

    fn https_address(&self, of: usize) -> String {
        let nodes = self.machines[of].json(&["node", "list"]);
        nodes[of]["https_address"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn access(&self, name: &str, role: &str) -> String {
        self.machines[0].say(&["access", "add", name, "--role", role]).done().trim().to_owned()
    }
}

/// Somebody at a desk of their own, with a token.
struct Person {
    desk: Machine,
    token: String,
    host: String,
}

impl Person {
    fn command(&self, words: &[&str]) -> Command {
        from_afar_command(&self.desk, Some(&self.token), &[words, &["--host", &self.host]].concat())
    }

    fn sql(&self, words: &[&str]) -> Said {
        say(&mut self.command(&[&["sql"], words].concat()))
    }

    /// `bowline sql DATABASE < script`, running.
    fn script(&self, database: &str, script: &str) -> Child {
        let mut command = self.command(&["sql", database]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child
    }

    /// The shell, on a terminal. None if this machine cannot make one.
    fn shell(&self, database: &str) -> Option<Shell> {
        let command = self.command(&["sql", database]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut terminal = Command::new("script");
        terminal.args(["-qefc", &line.join(" "), "/dev/null"]).env("TERM", "dumb");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None => terminal.env_remove(name),
            };
        }
        let Ok(mut child) = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            eprintln!("skipped: there is no `script` here to make a terminal; apt-get install bsdutils");
            return None;
        };
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut out, showing) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut piece) {
                showing.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Some(Shell { typed: child.stdin.take().unwrap(), child, shown })
    }
}

/// The shell on a terminal.
struct Shell {
    child: Child,
    typed: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Shell {
    fn types(&mut self, line: &str) {
        self.typed.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits until this has been shown since the last time.
    #[track_caller]
    fn shows(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shown = self.shown.lock().unwrap();
            if let Some(start) = shown.find(what) {
                shown.drain(..start + what.len());
                return;
            }
            assert!(Instant::now() < deadline, "no {what:?} in {shown:?}");
            drop(shown);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn who_reaches_one_member_reaches_the_databases_and_does_what_their_role_lets_them() {
    let three = Three::form();
    let leader = three.leader(0);
    let follower = (leader + 1) % 3;
    let person = |name: &str, role: &str| Person {
        desk: Machine::new(),
        token: three.access(name, role),
        host: three.https_address(follower),
    };
    let (anna, bob) = (person("anna", "operator"), person("bob", "viewer"));

    anna.sql(&["shop", "CREATE TABLE t(n INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)"]).done();
    assert_eq!(bob.sql(&["shop", "SELECT sum(n) FROM t"]).done(), "3\n");
    let commands = ".tables\n.databases\n.leader\n.cluster\nBEGIN;\nINSERT INTO t VALUES (3);\nSELECT count(*) FROM t;\nROLLBACK;\n";
    let said = anna.script("shop", commands).wait_with_output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && out.starts_with("t\n") && out.ends_with("\n3\n"), "{out}");
    let led = format!("connected to box{} over HTTPS", leader + 1);
    assert!(out.contains(&led) && out.contains("shop\n"), "{out}");
    // A context keeps the token; the member is then one that the token names.
    let desk = Machine::new();
    say(&mut from_afar_command(&desk, None, &["context", "add", "work", &anna.token])).done();
    let counted =
        say(&mut from_afar_command(&desk, None, &["sql", "shop", "SELECT count(*) FROM t", "--context", "work"]));
    assert_eq!(counted.done(), "2\n");

    // A viewer looks: nothing that would write is done, and no database made.
    bob.sql(&["shop", "INSERT INTO t VALUES (4)"]).refused(1, "BL-API-035", "this session only reads");
    bob.sql(&["shop", "BEGIN IMMEDIATE"]).refused(1, "BL-API-035", "this session only reads");
    bob.sql(&["new", "SELECT 1"]).refused(1, "BL-STORE-007", "new");
    assert!(bob.sql(&["sys", "SELECT count(*) FROM nodes"]).done().starts_with('3'));
    // What an operator may do in other databases, only an admin may in the cluster's own.
    anna.sql(&["sys", "DELETE FROM audit"]).refused(1, "BL-API-035", "this session only reads");
    assert_eq!(anna.sql(&["shop", "SELECT count(*) FROM t"]).done(), "2\n");
    let chief = person("chief", "admin");
    chief.sql(&["sys", "UPDATE nodes SET weight = 7 WHERE name = 'box1'"]).done();

    three.machines[0].say(&["access", "revoke", "anna"]).done();
    until("it is heard of everywhere", || {
        let said = anna.sql(&["shop", "SELECT 1"]);
        said.err.contains("error BL-API-010").then_some(())
    });
}

#[test]
fn a_session_through_a_member_outlives_the_leader() {
    let mut three = Three::form();
    let leader = three.leader(0);
    let follower = (leader + 1) % 3;
    let anna =
        Person { desk: Machine::new(), token: three.access("anna", "operator"), host: three.https_address(follower) };
    anna.sql(&["shop", "CREATE TABLE t(n INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)"]).done();
    let shell = anna.shell("shop");
    if let Some(shell) = &shell {
        shell.shows(&format!("at its leader box{} over HTTPS", leader + 1));
    }
    // Reads may be asked again, and are: each gives its row, before, during and after.
    let reading = anna.script("shop", &"SELECT 'row', sum(n) FROM t;\n".repeat(READS));
    std::thread::sleep(Duration::from_millis(300));
    three.machines[leader].kill();
    drop(three.daemons[leader].take());
    let read = reading.wait_with_output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(String::from_utf8(read.stdout).unwrap().lines().filter(|line| line.contains("row\t1")).count(), READS);

    anna.sql(&["shop", "INSERT INTO t VALUES (20)"]).done();
    if let Some(mut shell) = shell {
        // The same shell, with a connection that is gone: what only reads is asked again.
        shell.types("SELECT 'sum', sum(n) * 2 FROM t;");
        shell.shows("42");
        shell.types("INSERT INTO t VALUES (300);");
        shell.shows("1 row changed");
        shell.types(".quit");
    }
    assert_ne!(three.leader(follower), leader);
}

#[test]
fn a_member_that_stops_lets_the_transactions_end_that_go_through_it_and_no_others_wait() {
    let mut three = Three::form();
    let leader = three.leader(0);
    let follower = (leader + 1) % 3;
    let other = (leader + 2) % 3;
    let anna =
        Person { desk: Machine::new(), token: three.access("anna", "operator"), host: three.https_address(follower) };
    anna.sql(&["shop", "CREATE TABLE t(n INTEGER PRIMARY KEY)"]).done();
    let (Some(mut busy), Some(idle)) = (anna.shell("shop"), anna.shell("shop")) else { return };
    idle.shows("Ctrl-D leaves");
    busy.shows("Ctrl-D leaves");
    busy.types("BEGIN IMMEDIATE; INSERT INTO t VALUES (1);");
    busy.shows("1 row changed");
    let stopping = three.daemons[follower].take().unwrap();
    stopping.terminate();
    until("it stops", || {
        three.machines[follower]
            .try_http("GET /readyz", "", "")
            .is_ok_and(|r| r.body.contains("stopping"))
            .then_some(())
    });
    busy.types("INSERT INTO t VALUES (2); COMMIT;");
    busy.shows("(done)");
    assert!(stopping.ended_within(PATIENCE).success());
    assert_eq!(three.machines[other].say(&["sql", "shop", "SELECT count(*) FROM t"]).done(), "2\n");

    // Nobody waits for a session in which nothing is open.
    let anna = Person { host: three.https_address(other), ..anna };
    let idle = anna.shell("shop").unwrap();
    idle.shows("Ctrl-D leaves");
    let stopping = three.daemons[other].take().unwrap();
    let asked = Instant::now();
    stopping.terminate();
    assert!(stopping.ended_within(PATIENCE).success());
    eprintln!("an idle session held the stop up for less than {:?}", asked.elapsed());
}
