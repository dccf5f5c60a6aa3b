//! A network of its own for each run: a namespace for each node, and one with the bridge between them. Nothing of it is in the
//! namespace of the machine, and its addresses are nowhere else.
//!
//! ```text
//! blch-PID-net        bridge br0 -- p1 -- p2 -- p3
//! blch-PID-n1                        e0 10.213.7.1/24
//! blch-PID-n2                              e0 10.213.7.2/24
//! ```
//!
//! Who does not hear whom is a rule of nftables in the listener's namespace. Loss is such a rule too. Delay takes netem; where the
//! kernel has none, a token bucket makes the links slow instead, which delays whatever waits behind something.

use crate::error::ChaosError;
use crate::process::{call, feed, quietly};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Everything that a run makes on the machine has a name of this and of its process id.
pub(crate) const PREFIX: &str = "blch-";

/// What an interface does to packets that leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shaper {
    /// 60 ms with 30 ms of jitter, by netem.
    Delay,
    /// 512 kbit/s, by a token bucket.
    Slow,
}

/// The namespaces of a run; dropping it removes them.
pub(crate) struct Network {
    prefix: String,
    nodes: usize,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Result<Self, ChaosError> {
        let network = Self { prefix: format!("{PREFIX}{}-", std::process::id()), nodes };
        network.remove();
        let middle = format!("{}net", network.prefix);
        ip(&["netns", "add", &middle])?;
        ip(&["-n", &middle, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &middle, "link", "set", "br0", "up"])?;
        for node in 0..nodes {
            let (name, port) = (network.name(node), format!("p{}", node + 1));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "add", "e0", "type", "veth", "peer", "name", &port, "netns", &middle])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", address(node)), "dev", "e0"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", "e0", "up"])?;
            ip(&["-n", &middle, "link", "set", &port, "master", "br0"])?;
            ip(&["-n", &middle, "link", "set", &port, "up"])?;
        }
        Ok(network)
    }

    /// The namespace of a node.
    pub(crate) fn name(&self, node: usize) -> String {
        format!("{}n{}", self.prefix, node + 1)
    }

    /// From now on each `(from, to)` is such that `to` hears nothing of `from`; all others hear each other.
    pub(crate) fn cut(&self, deaf: &BTreeSet<(usize, usize)>) -> Result<(), ChaosError> {
        for to in 0..self.nodes {
            let from: Vec<String> = deaf.iter().filter(|(_, t)| *t == to).map(|(from, _)| address(*from)).collect();
            let rule =
                if from.is_empty() { String::new() } else { format!("ip saddr {{ {} }} drop;", from.join(", ")) };
            self.rules(to, "cut", &rule)?;
        }
        Ok(())
    }

    /// From now on so many of a hundred packets that come to any node are lost.
    pub(crate) fn lose(&self, percent: u32) -> Result<(), ChaosError> {
        let rule = if percent == 0 {
            String::new()
        } else {
            format!("iifname \"e0\" numgen random mod 100 < {percent} drop;")
        };
        (0..self.nodes).try_for_each(|node| self.rules(node, "loss", &rule))
    }

    fn rules(&self, node: usize, table: &str, rule: &str) -> Result<(), ChaosError> {
        let script = format!(
            "table inet {table}\ndelete table inet {table}\n\
             table inet {table} {{ chain in {{ type filter hook input priority 0; {rule}\n}}\n}}\n"
        );
        feed(self.inside(node, "nft").args(["-f", "-"]), &script).map(drop)
    }

    /// From now on all links do that, or nothing.
    pub(crate) fn shape(&self, shaper: Option<Shaper>) -> Result<(), ChaosError> {
        for node in 0..self.nodes {
            quietly(self.inside(node, "tc").args(["qdisc", "del", "dev", "e0", "root"]));
            if let Some(shaper) = shaper {
                let words = match shaper {
                    Shaper::Delay => "netem delay 60ms 30ms",
                    Shaper::Slow => "tbf rate 512kbit burst 4kb latency 500ms",
                };
                let add = ["qdisc", "add", "dev", "e0", "root"];
                call(self.inside(node, "tc").args(add).args(words.split(' ')))?;
            }
        }
        Ok(())
    }

    /// Whether the kernel has netem.
    pub(crate) fn has_netem(&self) -> bool {
        let has = quietly(self.inside(0, "tc").args(["qdisc", "add", "dev", "e0", "root", "netem", "delay", "1ms"]));
        quietly(self.inside(0, "tc").args(["qdisc", "del", "dev", "e0", "root"]));
        has
    }

    /// A program in a node's namespace.
    fn inside(&self, node: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(node), program]);
        command
    }

    fn remove(&self) {
        for name in namespaces().iter().filter(|name| name.starts_with(&self.prefix)) {
            remove(name);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The address of a node.
pub(crate) fn address(node: usize) -> String {
    format!("10.213.7.{}", node + 1)
}

/// Removes the namespaces of runs that were killed, with what still runs in them; how many.
pub(crate) fn remove_leftovers() -> usize {
    namespaces().iter().filter(|name| is_leftover(name)).map(|name| remove(name)).count()
}

/// Whether something has the name of a run whose process is gone.
pub(crate) fn is_leftover(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}

fn namespaces() -> Vec<String> {
    let listed = call(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
    listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn remove(name: &str) {
    let pids = call(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in pids.split_whitespace() {
        quietly(Command::new("kill").args(["-KILL", pid]));
    }
    quietly(Command::new("ip").args(["netns", "del", name]));
}

fn ip(words: &[&str]) -> Result<(), ChaosError> {
    call(Command::new("ip").args(words)).map(drop)
}
