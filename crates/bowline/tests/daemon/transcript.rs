//! The first day with three machines, as the README types it: six commands, no question asked, on three hosts with names, addresses and
//! default ports of their own. And everything that can go wrong on the way: each has its message, with the next command.
//!
//! The hosts are network namespaces with a state directory and a host name of their own, which the test makes and takes down. That
//! takes root; without it the test says so.

use super::machine::{Said, say, until};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What the hosts need of the machine.
const NEEDED: &[&[&str]] =
    &[&["ip", "-V"], &["nsenter", "--version"], &["unshare", "--version"], &["mount", "--version"]];

fn succeeds(words: &[&str]) -> bool {
    let quiet = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn do_it(words: &[&str]) {
    assert!(succeeds(words), "{}", words.join(" "));
}

/// Three hosts on one network that leads nowhere else.
struct Office {
    dir: tempfile::TempDir,
    /// What keeps a host's namespaces.
    hosts: Vec<Child>,
    bridge: String,
}

impl Office {
    /// None if this machine cannot have one.
    fn new(hosts: u32) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let missing = NEEDED.iter().find(|words| !succeeds(words));
        let bridge = format!("blt{}", std::process::id() % 1_000_000);
        if !is_root || missing.is_some() || !succeeds(&["ip", "link", "add", &bridge, "type", "bridge"]) {
            eprintln!("skipped: network namespaces take root, and the Debian packages iproute2 and util-linux");
            return None;
        }
        let mut office = Self { dir: tempfile::tempdir().unwrap(), hosts: Vec::new(), bridge };
        do_it(&["ip", "link", "set", &office.bridge, "up"]);
        let names = (1..=hosts).map(|host| format!("10.77.0.{host} box{host}\n")).collect::<Vec<_>>().concat();
        std::fs::write(office.dir.path().join("hosts"), format!("127.0.0.1 localhost\n{names}")).unwrap();
        for host in 1..=hosts {
            office.add(host);
        }
        Some(office)
    }

    fn add(&mut self, host: u32) {
        let (names, ready) = (self.dir.path().join("hosts"), self.dir.path().join(format!("ready{host}")));
        let script = format!(
            "hostname box{host} && mkdir -p /var/lib && mount -t tmpfs -o size=512m none /var/lib && \
             mount --bind '{}' /etc/hosts && touch '{}' && exec sleep 600",
            names.display(),
            ready.display()
        );
        let mut keeper = Command::new("unshare");
        keeper.args(["--net", "--mount", "--uts", "--propagation", "private", "sh", "-c", &script]);
        self.hosts.push(keeper.spawn().unwrap());
        until("the host is there", || ready.exists().then_some(()));
        let pid = self.hosts.last().unwrap().id().to_string();
        let outside = format!("{}v{host}", self.bridge);
        do_it(&["ip", "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        do_it(&["ip", "link", "set", &outside, "master", &self.bridge, "up"]);
        let inside = |words: &[&str]| do_it(&[&["nsenter", "--target", &pid, "--net", "ip"], words].concat());
        inside(&["addr", "add", &format!("10.77.0.{host}/24"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["link", "set", "lo", "up"]);
    }

    /// What a person types at a host.
    fn at(&self, host: usize, words: &[&str]) -> Said {
        let mut command = self.shell(host);
        command.args(words);
        say(&mut command)
    }

    fn shell(&self, host: usize) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.hosts[host - 1].id().to_string(), "--net", "--mount", "--uts"]);
        let path = format!("{}:{}", program().parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).env("NO_COLOR", "1");
        for variable in ["BOWLINE_SOCKET", "BOWLINE_STATE_DIR", "BOWLINE_LOG", "BOWLINE_CONTEXT", "BOWLINE_HOST"] {
            command.env_remove(variable);
        }
        command
    }

    fn unplug(&self, host: usize) {
        do_it(&["ip", "link", "set", &format!("{}v{host}", self.bridge), "down"]);
    }

    fn plug_in(&self, host: usize) {
        do_it(&["ip", "link", "set", &format!("{}v{host}", self.bridge), "up"]);
    }

    fn token(&self, host: usize, how: &[&str]) -> String {
        self.at(host, &[&["bowline", "token", "add"], how].concat()).done().trim().to_owned()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        for host in 1..=self.hosts.len() {
            drop(self.at(host, &["bowline", "stop"]));
        }
        for host in &mut self.hosts {
            drop(host.kill());
            drop(host.wait());
        }
        succeeds(&["ip", "link", "del", &self.bridge]);
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_bowline"))
}

#[test]
fn six_commands_make_three_machines_one_cluster() {
    let Some(office) = Office::new(3) else { return };
    let ready = office.at(1, &["bowline", "init"]).done();
    assert!(ready.starts_with("box1 is ready in ") && ready.contains("10.77.0.1:7440"), "{ready}");
    let second = office.at(2, &["bowline", "join", &office.token(1, &[])]).done();
    assert!(second.starts_with("box2 joined as stand-by (1 voter of 2). Losing box1 now stops writes."), "{second}");
    let third = office.at(3, &["bowline", "join", &office.token(1, &[])]).done();
    let survives = "box3 joined; voters are now box1, box2, box3. The cluster survives the loss of any one machine.\n";
    assert_eq!(third, survives);
    let status = office.at(1, &["bowline", "status", "-o", "table"]).done();
    let first = "Safe to reboot this machine: yes, box2 and box3 keep the majority (2 of 3).";
    assert_eq!(status.lines().next(), Some(first));
    office.at(1, &["bowline", "sql", "shop", "create table orders(id integer primary key, item text)"]).done();
    office.at(3, &["bowline", "sql", "shop", "insert into orders(item) values ('rope')"]).done();
    assert_eq!(office.at(2, &["bowline", "sql", "shop", "select item from orders", "--mode", "list"]).done(), "rope\n");
}

#[test]
fn everything_that_goes_wrong_on_the_way_says_what_and_what_next() {
    let Some(office) = Office::new(3) else { return };
    let join = |host: usize, token: &str, how: &[&str]| office.at(host, &[&["bowline", "join", token], how].concat());
    office.at(1, &["bowline", "init"]).done();

    // A token that has expired.
    let expired = office.token(1, &["--valid", "1s"]);
    until("it has expired", || {
        let tokens = office.at(1, &["bowline", "token", "list", "-o", "json"]).done();
        tokens.contains("\"expired\"").then_some(())
    });
    join(2, &expired, &[]).refused(1, "BL-CLU-005", "expired");
    // One that was used.
    let used = office.token(1, &[]);
    join(2, &used, &[]).done();
    join(3, &used, &[]).refused(1, "BL-CLU-004", "was used already, by node");
    // A name that is taken.
    join(3, &office.token(1, &[]), &["--name", "box2"]).refused(1, "BL-CLU-007", "box2");
    // A member that nobody reaches.
    let token = office.token(1, &[]);
    office.unplug(3);
    join(3, &token, &[]).refused(3, "BL-CLU-016", "10.77.0.1:7440");
    office.plug_in(3);
    // The certificate authority of another cluster at the address that the token names.
    office.at(3, &["bowline", "stop"]).done();
    office.at(3, &["rm", "-rf", "/var/lib/bowline"]).done();
    office.at(3, &["bowline", "init"]).done();
    let foreign = office.token(3, &[]);
    office.at(3, &["bowline", "stop"]).done();
    office.at(3, &["rm", "-rf", "/var/lib/bowline"]).done();
    let mut foreign: cluster::Token = foreign.parse().unwrap();
    foreign.addresses = vec!["10.77.0.1:7440".to_owned()];
    let refused = join(3, &foreign.to_string(), &[]);
    assert!(refused.code != Some(0) && refused.err.contains("error BL-"), "{refused:?}");
    assert!(refused.err.contains("certificate") && refused.err.contains("   next  "), "{refused:?}");

    // No quorum: of two machines one is gone.
    join(3, &office.token(1, &[]), &[]).done();
    office.unplug(2);
    office.unplug(3);
    let stopped = office.at(1, &["bowline", "sql", "shop", "create table t(x)", "--timeout", "3"]);
    assert!(matches!(stopped.code, Some(3 | 5)) && stopped.err.contains("   next  "), "{stopped:?}");
    let status = office.at(1, &["bowline", "status", "-o", "table"]).done();
    assert!(status.starts_with("Safe to reboot this machine: no, "), "{status}");
    office.plug_in(2);
    office.plug_in(3);
    until("writes go on", || {
        (office.at(1, &["bowline", "sql", "shop", "create table t(x)"]).code == Some(0)).then_some(())
    });

    // A disk that is full: the others go on, and this one says what it waits for.
    let fill = "dd if=/dev/zero of=/var/lib/fill bs=64k >/dev/null 2>&1; true";
    office.at(2, &["sh", "-c", fill]).done();
    // There may be room left in the last segment of its log.
    let insert = "insert into t values (randomblob(1000000))";
    until("it says that its disk is full", || {
        office.at(1, &["bowline", "sql", "shop", insert]).done();
        let status = office.at(2, &["bowline", "status", "-o", "json"]);
        status.out.contains("\"suspended\"").then_some(())
    });
    office.at(2, &["rm", "/var/lib/fill"]).done();
    until("it goes on", || {
        let status = office.at(2, &["bowline", "status", "-o", "json"]);
        status.out.contains("\"troubles\": []").then_some(())
    });

    // Not root.
    let mut nobody = office.shell(1);
    nobody.args([
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "bowline",
        "--socket",
        "/var/lib/bowline/control.sock",
        "status",
    ]);
    let refused = say(&mut nobody);
    assert!(refused.code == Some(1) && refused.err.contains("sudo bowline"), "{refused:?}");
}
