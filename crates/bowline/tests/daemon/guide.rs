//! The guide: each of its commands is run as it is written, on the machine that its prompt names.

use super::machine::{Daemon, Machine, Said, say, until};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn the_tutorial_runs_as_it_is_written() {
    let steps = steps(&guide().join("tutorial/first-cluster.md"));
    let (first, rest) = steps.split_first().unwrap();
    assert_eq!(first.command, "bowline dev --nodes 3");
    let mut machines = Machines::new();
    let machine = machines.on(&first.host);
    let shown = machine.path("shown");
    let mut dev = Command::new("sh");
    dev.arg("-c").arg(format!("exec {}", first.command)).envs(environment(machine));
    let dev = dev.stdin(Stdio::null()).stdout(std::fs::File::create(&shown).unwrap()).spawn().unwrap();
    let dev = Daemon(dev);
    let started = until("the nodes are ready", || {
        let text = std::fs::read_to_string(&shown).unwrap();
        text.contains(".sock").then_some(text)
    });
    first.compare(&started);
    // The directory has another name each time.
    let theirs = directory_in(&started).unwrap();
    let mut socket = None;
    for step in rest {
        let shown = directory_in(&step.command);
        let command = shown.map_or(step.command.clone(), |shown| step.command.replace(&shown, &theirs));
        if let Some(path) = command.strip_prefix("export BOWLINE_SOCKET=") {
            socket = Some(path.to_owned());
        } else {
            let environment = socket.iter().map(|path| ("BOWLINE_SOCKET", path.into()));
            machines.run(step, &command, environment).done();
        }
    }
    dev.terminate();
    assert!(dev.ended_within(Duration::from_secs(50)).success());
    assert!(!Path::new(&theirs).exists(), "something is left behind");
}

#[test]
fn the_how_tos_run_as_they_are_written() {
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(guide().join("how-to")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 4);
    for page in pages {
        let mut machines = Machines::new();
        let steps = steps(&page);
        let name = page.file_stem().unwrap().to_str().unwrap();
        if name != "form-a-cluster"
            && let Some(first) = steps.first()
        {
            prepare(machines.on(&first.host), name);
        }
        for step in &steps {
            // It may be followed by a program that this machine lacks.
            let lacks = step.command.split(" | ").skip(1).find(|other| !is_installed(other));
            if let Some(other) = lacks {
                eprintln!("skipped, for want of {other}: {}", step.command);
                continue;
            }
            let mut command = machines.with_token(&step.command);
            if ["bowline init", "bowline join"].iter().any(|forming| command.contains(forming)) {
                // In truth they are all one machine, with one name.
                command = format!("{command} --name {}", step.host);
            }
            let said = machines.run(step, &command, []);
            if command.starts_with("bowline db drop") && !command.contains("--yes") {
                // Nobody is there to be asked.
                assert_eq!(said.code, Some(4), "{name}: {command}: {said:?}");
                continue;
            }
            // Heads of tables are for terminals: what is printed is not compared here.
            assert_eq!(said.code, Some(0), "{name}: {command}: {said:?}");
        }
    }
}

/// What the readers of a page have before they come to it.
fn prepare(machine: &Machine, page: &str) {
    machine.form(&["init", "--name", "box1"]).done();
    match page {
        "move-databases" => {
            machine.say(&["sql", "old", "CREATE TABLE orders(item TEXT)"]).done();
            machine.say(&["db", "export", "old", machine.path("shop.db").to_str().unwrap()]).done();
        }
        "talk-sql" => {
            machine.say(&["sql", "shop", "CREATE TABLE orders(item TEXT); INSERT INTO orders VALUES ('rope')"]).done();
            std::fs::write(machine.path("schema.sql"), "CREATE TABLE suppliers(name TEXT);\n").unwrap();
        }
        _ => {
            machine.say(&["sql", "shop", "CREATE TABLE orders(item TEXT)"]).done();
        }
    }
}

/// A command of the guide.
#[derive(Debug, Default)]
struct Step {
    /// Before the `$`.
    host: String,
    command: String,
    /// What is then typed into it.
    typed: Vec<String>,
    /// What it is said to print.
    shown: Vec<String>,
}

impl Step {
    /// The heads of the tables that the guide shows are those that are printed.
    fn compare(&self, out: &str) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let is_head = |line: &&String| {
            !line.trim().is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c.is_whitespace())
        };
        for head in self.shown.iter().filter(is_head) {
            assert!(out.lines().any(|line| words(line) == words(head)), "{}: no {head:?} in {out}", self.command);
        }
    }
}

/// The commands in the `console` blocks of a page, in order.
fn steps(page: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim_start) {
        match (line.strip_prefix("```"), prompt(line, "$ "), prompt(line, "> ")) {
            (Some(kind), ..) => is_inside = kind == "console",
            (None, ..) if !is_inside => {}
            (None, Some((host, command)), _) => {
                let command = command.split("  #").next().unwrap_or_default().trim();
                steps.push(Step { host: host.to_owned(), command: command.to_owned(), ..Step::default() });
            }
            (None, None, Some((_, typed))) => steps.last_mut().unwrap().typed.push(typed.to_owned()),
            (None, None, None) => steps.last_mut().unwrap().shown.push(line.to_owned()),
        }
    }
    steps
}

/// The word before the sign, and what is behind it.
fn prompt<'a>(line: &'a str, sign: &str) -> Option<(&'a str, &'a str)> {
    line.split_once(sign).filter(|(word, _)| word.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The machines of a page, by their names.
struct Machines {
    all: BTreeMap<String, Machine>,
    /// Tokens that were printed and not used yet.
    tokens: VecDeque<String>,
}

impl Machines {
    fn new() -> Self {
        Self { all: BTreeMap::new(), tokens: VecDeque::new() }
    }

    fn on(&mut self, host: &str) -> &Machine {
        self.all.entry(host.to_owned()).or_insert_with(|| {
            let machine = Machine::new();
            std::fs::create_dir(machine.path("bin")).unwrap();
            // Everybody may do everything here.
            let sudo = machine.path("bin/sudo");
            std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
            std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
            machine
        })
    }

    /// The command with a token that is good, if it has one.
    fn with_token(&mut self, command: &str) -> String {
        let Some(shown) = command.split(' ').find(|word| word.starts_with("bl1.")) else { return command.to_owned() };
        let first = self.all.values().next().unwrap();
        let token = self.tokens.pop_front().unwrap_or_else(|| token_in(&first.say(&["token", "add"]).done()).unwrap());
        command.replace(shown, &token)
    }

    fn run<'a>(
        &mut self,
        step: &Step,
        command: &str,
        environment_too: impl IntoIterator<Item = (&'a str, PathBuf)>,
    ) -> Said {
        let machine = self.on(&step.host);
        let typed = machine.path("typed");
        let mut file = std::fs::File::create(&typed).unwrap();
        file.write_all(step.typed.join("\n").as_bytes()).unwrap();
        let mut shell = Command::new("sh");
        // What is typed comes first: the command may have an input of its own.
        shell.arg("-c").arg(format!("exec < {}\n{command}", typed.display())).current_dir(machine.path("."));
        shell.env_remove("BOWLINE_SOCKET").envs(environment(machine)).envs(environment_too);
        let said = say(&mut shell);
        self.tokens.extend(token_in(&said.out));
        said
    }
}

/// Where the commands of this machine find themselves, and what they use by default.
fn environment(machine: &Machine) -> [(&'static str, PathBuf); 6] {
    let bowline = Path::new(env!("CARGO_BIN_EXE_bowline")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    [
        ("PATH", format!("{}:{}:{path}", machine.path("bin").display(), bowline.display()).into()),
        ("BOWLINE_STATE_DIR", machine.state_dir()),
        ("BOWLINE_LISTEN", "127.0.0.1:0".into()),
        ("BOWLINE_DQLITE_LISTEN", "127.0.0.1:0".into()),
        ("BOWLINE_HTTPS_LISTEN", "127.0.0.1:0".into()),
        ("NO_COLOR", "1".into()),
    ]
}

fn token_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with("bl1.")).map(str::to_owned)
}

/// The directory of a throw-away cluster that a text names.
fn directory_in(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | ';'));
    let path = Path::new(words.find(|word| word.contains("/bowline-dev-"))?);
    let named = |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bowline-dev-"));
    path.ancestors().find(named).map(|directory| directory.display().to_string())
}

fn is_installed(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide")
}
