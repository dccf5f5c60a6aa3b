//! A world: machines with disks and clocks on a network, the software on them, and what goes wrong.

mod fault;
mod schedule;
mod shape;

pub use fault::{Fault, Side};
pub use schedule::{FaultMix, Kind, schedule};
pub use shape::{Shape, WorldConfig};

use crate::run::{Broken, Run};
use fault::Links;
use futures::future::BoxFuture;
use lifecycle::Shutdown;
use rt::sim::{Disk, Node, Strike};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often oracles look.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a process that ended by itself stays down.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// What runs on the nodes of a world: the daemon, or a part of it.
pub trait Software: Send + Sync + 'static {
    /// One process, from its start to its end. It runs on its node: [`rt`] gives it that node's disk, clocks and sockets. It
    /// ends when its shutdown is requested; it may be dropped at any await, which is a kill.
    fn start(&self, process: Process) -> BoxFuture<'static, ()>;
}

/// A process, as its software sees it.
#[derive(Debug, Clone)]
pub struct Process {
    /// The node's number, from 1.
    pub id: u64,
    /// The numbers of all nodes, this one included. Node n is reached at `n{n}:port`.
    pub nodes: Vec<u64>,
    /// Which process of this node it is, from 1.
    pub incarnation: u64,
    /// SIGTERM.
    pub shutdown: Shutdown,
}

/// The host name of node `id`.
pub fn host(id: u64) -> String {
    format!("n{id}")
}

/// The host name of client `number`.
fn guest(number: u64) -> String {
    format!("c{number}")
}

/// A world under way.
pub struct World<'a> {
    sim: turmoil::Sim<'a>,
    run: Run,
    machines: BTreeMap<u64, Machine>,
    links: Links,
    /// Faults to come, by time.
    plan: VecDeque<(Duration, Fault)>,
    /// What has to be undone, by time.
    repairs: BTreeMap<(Duration, u64), Fault>,
    next_repair: u64,
    looked_at: Duration,
    clients: Vec<Guest>,
    /// Machines that are gone until they are found.
    lost: BTreeSet<u64>,
}

/// A client's machine.
struct Guest {
    /// The node whose fate it shares on the network.
    beside: Option<u64>,
    done: Arc<Mutex<bool>>,
}

struct Machine {
    node: Node,
    /// The shutdown of the present process, and how many there were.
    process: Arc<Mutex<Present>>,
    /// When it is started again, while it is down.
    up_at: Option<Duration>,
}

#[derive(Default)]
struct Present {
    shutdown: Shutdown,
    incarnation: u64,
    ended: bool,
}

/// What an oracle looks at, and how it judges.
pub trait Oracle {
    /// Its name, for the report.
    fn name(&self) -> &'static str;
    /// Looks at the running world; called every 100 ms of its time.
    fn look(&mut self, _world: &mut World<'_>) -> Result<(), Broken> {
        Ok(())
    }
    /// Judges at the end.
    fn judge(&mut self, _world: &mut World<'_>) -> Result<(), Broken> {
        Ok(())
    }
}

impl World<'_> {
    /// Builds the machines and starts the software on each.
    pub fn new(run: &Run, config: &WorldConfig, software: &Arc<dyn Software>) -> Self {
        let mut dice = run.dice("world");
        let mut sim = config.builder(dice.roll()).build();
        let nodes: Vec<u64> = (1..=config.nodes).collect();
        let mut machines = BTreeMap::new();
        for id in nodes.clone() {
            let disk = Disk::new(dice.roll());
            disk.set_profile(config.disk);
            let node = Node::new(&host(id), id, dice.roll(), disk, run.trace.clone(), run.points.clone());
            node.set_jitter(config.jitter);
            node.set_drift(Duration::ZERO, config.drift(&mut dice));
            let process = Arc::new(Mutex::new(Present::default()));
            let (software, all, on, present) =
                (Arc::clone(software), nodes.clone(), node.clone(), Arc::clone(&process));
            sim.host(host(id), move || {
                let (software, all, on, present) =
                    (Arc::clone(&software), all.clone(), on.clone(), Arc::clone(&present));
                async move {
                    let process = begin(&present, id, all);
                    on.begin_process();
                    on.run("process", async move { software.start(process).await }).await;
                    on.end_process();
                    lock(&present).ended = true;
                    Ok(())
                }
            });
            machines.insert(id, Machine { node, process, up_at: None });
        }
        Self {
            sim,
            run: run.clone(),
            machines,
            links: Links::default(),
            plan: VecDeque::new(),
            repairs: BTreeMap::new(),
            next_repair: 0,
            looked_at: Duration::ZERO,
            clients: Vec::new(),
            lost: BTreeSet::new(),
        }
    }

    /// Adds a client: a machine of its own, never struck by faults of nodes. One beside a node is cut off from others together
    /// with that node; one beside none reaches everybody. `work` gets its number, from 1.
    pub fn client<F>(&mut self, beside: Option<u64>, work: impl FnOnce(u64) -> F + 'static) -> u64
    where
        F: Future<Output = ()> + 'static,
    {
        let number = self.clients.len() as u64 + 1;
        let id = 1000 + number;
        let mut dice = self.run.dice(&format!("client {number}"));
        let (trace, points) = (self.run.trace.clone(), self.run.points.clone());
        let node = Node::new(&guest(number), id, dice.roll(), Disk::new(dice.roll()), trace, points);
        let done = Arc::new(Mutex::new(false));
        self.clients.push(Guest { beside, done: Arc::clone(&done) });
        self.sim.client(guest(number), async move {
            node.run("client", async move { work(number).await }).await;
            *lock(&done) = true;
            Ok(())
        });
        number
    }

    /// Whether all clients have finished.
    pub fn clients_done(&self) -> bool {
        self.clients.iter().all(|guest| *lock(&guest.done))
    }

    /// The world's time.
    pub fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// A node.
    pub fn node(&self, id: u64) -> Option<&Node> {
        self.machines.get(&id).map(|m| &m.node)
    }

    /// The numbers of the nodes.
    pub fn nodes(&self) -> Vec<u64> {
        self.machines.keys().copied().collect()
    }

    /// Whether a process runs on the node.
    pub fn is_up(&self, id: u64) -> bool {
        self.machines.get(&id).is_some_and(|m| m.up_at.is_none() && !lock(&m.process).ended)
    }

    /// Asks the node's process to stop in order.
    pub fn terminate(&mut self, id: u64) {
        if let Some(machine) = self.machines.get(&id) {
            lock(&machine.process).shutdown.request();
        }
    }

    /// A machine burns, as far as anybody can tell.
    pub fn lose(&mut self, id: u64) {
        self.lost.insert(id);
        if let Some(machine) = self.machines.get(&id) {
            machine.node.disk().power_cut();
        }
        self.take_down(id, Duration::MAX);
    }

    /// It was only switched off.
    pub fn find(&mut self, id: u64) {
        if self.lost.remove(&id) {
            self.bring_up(id);
        }
    }

    /// Lets these faults happen.
    pub fn plan(&mut self, plan: Vec<(Duration, Fault)>) {
        self.plan = plan.into();
    }

    /// Runs until `until` in the world's time, or until `done` says so; oracles look meanwhile.
    pub fn run(
        &mut self,
        until: Duration,
        oracles: &mut [Box<dyn Oracle>],
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), Broken> {
        while self.now() < until && !done(self) {
            self.step()?;
            if self.now().saturating_sub(self.looked_at) >= LOOK_EVERY {
                self.looked_at = self.now();
                for oracle in &mut *oracles {
                    oracle.look(self)?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Broken> {
        while let Some((_, fault)) = self.plan.pop_front_if(|(at, _)| *at <= self.sim.elapsed()) {
            self.strike(&fault);
        }
        while let Some(entry) = self.repairs.first_entry().filter(|e| e.key().0 <= self.sim.elapsed()) {
            let fault = entry.remove();
            self.undo(&fault);
        }
        self.tend();
        self.sim
            .step()
            .map_err(|error| Broken::new("world", format!("a process ended in a way it must not: {error}")))?;
        Ok(())
    }

    /// Starts what is due, takes down what was struck.
    fn tend(&mut self) {
        let now = self.now();
        for id in self.nodes() {
            let lost = self.lost.contains(&id);
            let Some(machine) = self.machines.get_mut(&id).filter(|_| !lost) else { continue };
            let strikes = machine.node.take_strikes();
            let fell =
                strikes.iter().any(|s| matches!(s, Strike::Kill | Strike::PowerCut)) || machine.node.disk().is_off();
            if machine.up_at.is_none() && fell {
                self.take_down(id, now + RESTART_AFTER);
            } else if machine.up_at.is_none() && lock(&machine.process).ended {
                machine.up_at = Some(now + RESTART_AFTER);
            } else if machine.up_at.is_some_and(|at| at <= now) {
                self.bring_up(id);
            }
        }
    }

    /// Ends the process as a kill does. If the power went, nobody on the network hears of it.
    fn take_down(&mut self, id: u64, up_at: Duration) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.up_at = Some(up_at);
        let silent = machine.node.disk().is_off();
        let others: Vec<String> = self.all_hosts().into_iter().filter(|h| *h != host(id)).collect();
        if silent {
            // What the network still holds for it is lost, and no FIN leaves: connections stay half-open.
            for other in &others {
                self.sim.partition(host(id), other.clone());
            }
        }
        // Dead first: what is dropped now must not reach the disk any more.
        machine_kill(&self.machines, id, silent);
        self.sim.crash(host(id));
        if silent {
            for other in &others {
                self.sim.repair(host(id), other.clone());
            }
            self.reapply_cuts();
        }
    }

    fn bring_up(&mut self, id: u64) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.up_at = None;
            machine.node.kill();
            self.sim.bounce(host(id));
        }
    }

    fn all_hosts(&self) -> Vec<String> {
        let clients = (1..=self.clients.len() as u64).map(guest);
        self.machines.keys().map(|id| host(*id)).chain(clients).collect()
    }

    /// Undoes everything that went wrong, and starts what is down.
    pub fn heal(&mut self) {
        self.plan.clear();
        for fault in std::mem::take(&mut self.repairs).into_values() {
            self.undo(&fault);
        }
        self.links.clear();
        self.reapply_cuts();
        let now = self.now();
        for (_, machine) in self.machines.iter_mut().filter(|(id, _)| !self.lost.contains(*id)) {
            machine.node.disk().forget_faults();
            machine.node.disk().set_profile(rt::sim::DiskProfile::default());
            if machine.up_at.is_some() {
                machine.up_at = Some(now);
            }
        }
        self.run.trace.event("heal", &[]);
    }
}

fn machine_kill(machines: &BTreeMap<u64, Machine>, id: u64, silent: bool) {
    if let Some(machine) = machines.get(&id) {
        machine.node.kill();
        machine.node.trace().event("down", &[id, u64::from(silent)]);
    }
}

fn begin(present: &Mutex<Present>, id: u64, nodes: Vec<u64>) -> Process {
    let mut present = lock(present);
    present.incarnation += 1;
    present.ended = false;
    present.shutdown = Shutdown::new();
    Process { id, nodes, incarnation: present.incarnation, shutdown: present.shutdown.clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
