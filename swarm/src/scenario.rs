//! What groups go through, and what is measured of it.

use crate::detector::Detector;
use crate::figures::percentile;
use crate::network::{Network, Streams};
use crate::ours::id;
use crate::random::Random;
use crate::world::{Clock, World};
use serde_json::{Value, json};
use swim::{Config, GroupKey, LocalHealth, Mutant, Status, Swim, Trust};

/// What our own members are set to.
type Configure = fn(Config) -> Config;

/// What came of a scenario: figures by name, for people and programs.
#[derive(Debug)]
pub struct Outcome(pub Vec<(&'static str, Value)>);

impl Outcome {
    /// A figure.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(found, _)| *found == name)?.1.as_f64()
    }

    /// All as one object.
    pub fn json(&self) -> Value {
        Value::Object(self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }
}

/// Members crash, on a lossy network.
#[derive(Debug, Clone, Copy)]
pub struct Detect {
    /// How many members.
    pub nodes: usize,
    /// The share of packets that is lost.
    pub loss: f64,
    /// How long, in seconds.
    pub secs: f64,
    /// How many crash, evenly spread over the first half of the time.
    pub crashes: usize,
    /// Whether the original's shared timer is put back.
    pub shared_timer: bool,
    /// How loss strikes TCP, which our members do not use.
    pub streams: Streams,
}

fn plain(config: Config) -> Config {
    config
}

fn with_shared_timer(config: Config) -> Config {
    Config { mutant: Some(Mutant::SharedTimer), ..config }
}

fn without_local_health(config: Config) -> Config {
    Config { local_health: LocalHealth::Off, ..config }
}

fn configure(local_health: LocalHealth) -> Configure {
    if local_health == LocalHealth::On { plain } else { without_local_health }
}

fn signed(config: Config) -> Config {
    Config { trust: Trust::Signed(vec![GroupKey([0x42; 32])]), ..config }
}

/// Members that are down no more than once, at random.
fn victims(random: &mut Random, nodes: usize, count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(nodes / 2) {
        let node = random.below(nodes);
        if !chosen.contains(&node) {
            chosen.push(node);
        }
    }
    chosen
}

pub(crate) fn float(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

fn per_node(total: u64, nodes: usize, secs: f64) -> f64 {
    float(usize::try_from(total).unwrap_or(usize::MAX)) / float(nodes) / secs
}

/// Rounded, for people.
fn round(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

fn round_some(value: Option<f64>) -> Value {
    value.map_or(Value::Null, round)
}

impl Detect {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        self.run_on::<Swim>(seed, if self.shared_timer { with_shared_timer } else { plain })
    }

    /// Runs it with members by the rules of `D`.
    pub fn run_on<D: Detector>(&self, seed: u64, settings: D::Settings) -> Outcome {
        let mut world = World::<D>::formed(seed, self.nodes, settings);
        world.network = Network { loss: self.loss, streams: self.streams, ..Network::default() };
        world.run(3.0);
        world.figures.reset();
        let victims = victims(&mut world.random, self.nodes, self.crashes);
        let gap = self.secs / 2.0 / float(victims.len().max(1));
        for victim in &victims {
            let early = world.random.between(0.0, gap);
            world.run(early);
            world.crash(*victim);
            world.run(gap - early);
        }
        world.run(self.secs / 2.0);
        let survivors = self.nodes - victims.len();
        let figures = &world.figures;
        let first: Vec<f64> = figures.first_known_s().into_iter().flatten().collect();
        // Those that crash later knew of earlier crashes too: the survivors have to.
        let spread: Vec<f64> = figures.spread_s(survivors).into_iter().flatten().collect();
        let all_know: Vec<f64> = figures.all_known_s(survivors).into_iter().flatten().collect();
        let hours = float(self.nodes) * self.secs / 3600.0;
        Outcome(vec![
            ("nodes", json!(self.nodes)),
            ("loss", json!(self.loss)),
            ("crashes", json!(victims.len())),
            ("detected", json!(first.len())),
            ("known_by_all", json!(spread.len())),
            ("first_detection_p50_s", round_some(percentile(&first, 0.5))),
            ("first_detection_p99_s", round_some(percentile(&first, 0.99))),
            ("all_know_after_first_p50_s", round_some(percentile(&spread, 0.5))),
            ("all_know_after_first_max_s", round_some(percentile(&spread, 1.0))),
            ("all_know_p50_s", round_some(percentile(&all_know, 0.5))),
            ("all_know_max_s", round_some(percentile(&all_know, 1.0))),
            ("suspicions_per_node_hour", round(per_node(figures.suspicions, self.nodes, self.secs / 3600.0))),
            ("false_deaths_per_node_hour", round(float(figures.false_dead_members(false)) / hours)),
            ("false_death_views_per_node_hour", round(float(figures.false_deaths.len()) / hours)),
            ("heal_p99_s", round_some(percentile(&figures.wounds_s, 0.99))),
            ("open_wounds", json!(figures.open_wounds())),
            ("packets_per_node_s", round(per_node(figures.packets, self.nodes, self.secs))),
            ("bytes_per_node_s", round(per_node(figures.bytes, self.nodes, self.secs))),
        ])
    }
}

/// So long all run after the last has frozen, in seconds.
const SETTLE_SECS: f64 = 20.0;

/// Some members freeze again and again.
#[derive(Debug, Clone, Copy)]
pub struct Freeze {
    /// How many members.
    pub nodes: usize,
    /// The share of them that freezes.
    pub share: f64,
    /// How long, in seconds.
    pub secs: f64,
    /// For how long each time, at the least and at the most, in seconds.
    pub freeze_secs: (f64, f64),
    /// What their clocks do meanwhile.
    pub clock: Clock,
    /// How long they run between two times at most, in seconds. Next to nothing: they starve, and whatever they wait for comes too late.
    pub rest_secs: f64,
    /// Whether they look at their own health.
    pub local_health: LocalHealth,
}

impl Freeze {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        self.run_on::<Swim>(seed, configure(self.local_health))
    }

    /// Runs it with members by the rules of `D`, whose settings are the judge of their own health.
    pub fn run_on<D: Detector>(&self, seed: u64, settings: D::Settings) -> Outcome {
        let mut world = World::<D>::formed(seed, self.nodes, settings);
        world.run(3.0);
        world.figures.reset();
        let nodes = self.nodes;
        let sick: Vec<usize> = (0..nodes).filter(|_| world.random.happens(self.share)).collect();
        for node in &sick {
            world.figures.call_sick(*node);
        }
        let mut until = vec![0.0; sick.len()];
        let mut now = 0.0;
        while now < self.secs {
            for (node, until) in sick.iter().zip(&mut until) {
                if *until <= now {
                    let (freeze, rest) = (
                        world.random.between(self.freeze_secs.0, self.freeze_secs.1),
                        world.random.between(0.01, self.rest_secs),
                    );
                    world.freeze(*node, freeze, self.clock);
                    *until = now + freeze + rest;
                }
            }
            world.run(0.05);
            now += 0.05;
        }
        world.run(SETTLE_SECS);
        let figures = &world.figures;
        let hours = float(nodes) * self.secs / 3600.0;
        Outcome(vec![
            ("nodes", json!(nodes)),
            ("sick", json!(sick.len())),
            ("healthy_false_deaths", json!(figures.false_dead_members(true))),
            ("healthy_false_deaths_per_node_hour", round(float(figures.false_dead_members(true)) / hours)),
            ("healthy_false_death_views", json!(figures.healthy_false_views())),
            ("healthy_suspected", json!(figures.healthy_suspicions)),
            ("sick_declared_dead", json!(figures.false_dead_members(false) - figures.false_dead_members(true))),
            ("heal_p99_s", round_some(percentile(&figures.wounds_s, 0.99))),
            ("open_wounds", json!(figures.open_wounds())),
            ("packets_per_node_s", round(per_node(figures.packets, nodes, self.secs + SETTLE_SECS))),
            ("bytes_per_node_s", round(per_node(figures.bytes, nodes, self.secs + SETTLE_SECS))),
        ])
    }
}

/// Some members are slow: they see every packet late.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// How many members.
    pub nodes: usize,
    /// The share of them that is slow.
    pub share: f64,
    /// By how much, at the least and at the most, in seconds.
    pub late_secs: (f64, f64),
    /// How long, in seconds.
    pub secs: f64,
    /// Whether they look at their own health.
    pub local_health: LocalHealth,
}

impl Slow {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        self.run_on::<Swim>(seed, configure(self.local_health))
    }

    /// Runs it with members by the rules of `D`.
    pub fn run_on<D: Detector>(&self, seed: u64, settings: D::Settings) -> Outcome {
        let mut world = World::<D>::formed(seed, self.nodes, settings);
        world.run(3.0);
        world.figures.reset();
        let nodes = self.nodes;
        let sick: Vec<usize> = (0..nodes).filter(|_| world.random.happens(self.share)).collect();
        for node in &sick {
            world.figures.call_sick(*node);
            world.slow(*node, self.late_secs.0, self.late_secs.1);
        }
        world.run(self.secs);
        let figures = &world.figures;
        let hours = float(nodes) * self.secs / 3600.0;
        Outcome(vec![
            ("nodes", json!(nodes)),
            ("sick", json!(sick.len())),
            ("healthy_suspected", json!(figures.healthy_suspicions)),
            ("healthy_false_deaths", json!(figures.false_dead_members(true))),
            ("healthy_false_deaths_per_node_hour", round(float(figures.false_dead_members(true)) / hours)),
            ("healthy_false_death_views", json!(figures.healthy_false_views())),
            ("open_wounds", json!(figures.open_wounds())),
            ("packets_per_node_s", round(per_node(figures.packets, nodes, self.secs))),
        ])
    }
}

/// All join at once, knowing one.
#[derive(Debug, Clone, Copy)]
pub struct Join {
    /// How many members.
    pub nodes: usize,
}

impl Join {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut world = World::strangers(seed, self.nodes, plain);
        let nodes = self.nodes;
        let full = world.until(120.0, |world| world.views() == nodes * nodes);
        Outcome(vec![
            ("nodes", json!(nodes)),
            ("full_view_s", round_some(full)),
            ("packets_per_node", round(per_node(world.figures.packets, nodes, 1.0))),
        ])
    }
}

/// A group is cut in two for a while.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    /// How many members.
    pub nodes: usize,
    /// For how long, in seconds.
    pub secs: f64,
}

impl Split {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut world = World::<Swim>::formed(seed, self.nodes, plain);
        let nodes = self.nodes;
        world.run(3.0);
        world.network.split = Some(nodes / 2);
        world.run(self.secs);
        let half = nodes / 2;
        let apart = world.views() == half * half + (nodes - half) * (nodes - half);
        world.network.split = None;
        let whole = world.until(600.0, |world| world.views() == nodes * nodes);
        Outcome(vec![("nodes", json!(nodes)), ("were_apart", json!(apart)), ("whole_again_s", round_some(whole))])
    }
}

/// All change their payloads at once, and one dies.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// How many members.
    pub nodes: usize,
}

impl Storm {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut world = World::<Swim>::formed(seed, self.nodes, plain);
        world.run(3.0);
        world.figures.reset();
        let victim = world.random.below(self.nodes);
        world.crash(victim);
        // The storm lasts until everybody knows: the worst that it can do.
        for _ in 0..60 {
            for node in 0..self.nodes {
                world.command(node, |swim, _| swim.set_payload(&[0x70; 100]).is_ok());
            }
            world.run(0.5);
        }
        let spread: Vec<f64> = world.figures.spread_s(self.nodes - 1).into_iter().flatten().collect();
        Outcome(vec![
            ("nodes", json!(self.nodes)),
            ("first_detection_s", round_some(world.figures.first_known_s().into_iter().flatten().next())),
            ("all_know_after_first_s", round_some(spread.first().copied())),
            ("bound_s", round(2.0 * float(self.nodes).log2())),
        ])
    }
}

/// All that can go wrong at once, then nothing any more.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    /// How many members.
    pub nodes: usize,
    /// How long things go wrong, in seconds.
    pub secs: f64,
}

impl Chaos {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut world = World::strangers(seed, self.nodes, signed);
        world.run(5.0);
        let mut now = 0.0;
        let mut faults = 0_u64;
        while now < self.secs {
            let node = world.random.below(self.nodes);
            faults += 1;
            match world.random.below(8) {
                0 if world.is_up(node) => world.crash(node),
                0 | 1 if !world.is_up(node) => world.restart(node),
                1 | 2 => {
                    let secs = world.random.between(0.1, 8.0);
                    world.freeze(node, secs, Clock::Runs);
                }
                3 => {
                    let secs = world.random.between(1.0, 4000.0);
                    world.jump(node, secs);
                }
                4 => {
                    let other = world.random.below(self.nodes);
                    world.network.cuts.insert((node, other));
                }
                5 => world.network.cuts.clear(),
                6 => world.network.split = world.random.happens(0.5).then_some(node),
                _ => {
                    let random = &mut world.random;
                    let (loss, duplicate) = (random.between(0.0, 0.5), random.between(0.0, 0.3));
                    let (reorder, corrupt) = (random.between(0.0, 0.3), random.between(0.0, 0.2));
                    let kept = std::mem::take(&mut world.network);
                    world.network = Network { loss, duplicate, reorder, corrupt, ..kept };
                }
            }
            let pause = world.random.between(0.1, 3.0);
            world.run(pause);
            now += pause;
        }
        world.network = Network::default();
        for node in 0..self.nodes {
            if !world.is_up(node) {
                world.restart(node);
            }
        }
        let healed = world.until(180.0, |world| world.disagreements() == 0);
        let strangers = (0..self.nodes)
            .filter_map(|node| world.node(node))
            .flat_map(swim::Swim::members)
            .filter(|member| member.status == Status::Alive && !(0..self.nodes).any(|node| id(node) == member.id))
            .count();
        Outcome(vec![
            ("nodes", json!(self.nodes)),
            ("faults", json!(faults)),
            ("refused", json!(world.figures.refused)),
            ("healed_s", round_some(healed)),
            ("members_that_never_were", json!(strangers)),
        ])
    }
}
