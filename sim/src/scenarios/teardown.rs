//! INC-3: members of a gossip group end in every order of their parts, again and again, while others fall.
//!
//! Each process is a member and nothing else. When it is asked to stop, its scope is cancelled, its handles are dropped, and it quits none, once or
//! twice, in an order and at moments of the seed's; in some lives a callback quits before anybody asked.
//!
//! Held to: all of it ends in time, whatever came first; nobody is called back after a quit has returned; and who knew a member hears its farewell, if
//! the quit says that it was sent. In the end all are alive for all.

use crate::run::{Broken, Run, Scenario};
use crate::world::{FaultMix, Kind, Oracle, Process, Shape, Software, World, WorldConfig, host, schedule};
use futures::future::BoxFuture;
use gossip::{Gossip, GossipError, OnEvent, Told};
use lifecycle::Scope;
use rt::net::BoundUdp;
use rt::sim::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use swim::{Config, MemberId, Status, Timing};

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "teardown",
    story: "Members of a gossip group end in every order of their parts, again and again, while others fall.",
    play,
    expected_logs: &[],
    mutants: &["gossip.wait-for-who-has-ended", "gossip.end-before-the-farewells"],
};

const PORT: u16 = 7440;
const SAFETY: Duration = Duration::from_secs(20);
const LIVENESS: Duration = Duration::from_secs(40);
/// As long as a quit may take, and the end of a scope.
const BOUND: Duration = Duration::from_secs(2);
/// The network takes less, and so does every nap of a task.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// Which process: the node, and which of its lives.
type Life = (u64, u64);

#[derive(Clone, Default)]
struct Board(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    /// What each process that runs believes of others: the last status that it heard, and of which generation.
    beliefs: BTreeMap<Life, BTreeMap<u64, (Status, u64)>>,
    /// The generation of each process.
    generations: BTreeMap<Life, u64>,
    /// Processes whose quit has returned: nobody is called back there.
    over: BTreeSet<Life>,
    /// Who should hear of whose farewell, and by when.
    owed: Vec<(Duration, Life, Life)>,
    farewells: u64,
    broken: Option<Broken>,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaks(&self, what: String) {
        self.state().broken.get_or_insert_with(|| Broken::new("teardown", what));
    }

    fn begins(&self, life: Life, generation: u64) {
        let mut state = self.state();
        // Its former lives are over, whatever ended them.
        state.beliefs.retain(|(node, _), _| *node != life.0);
        state.beliefs.insert(life, BTreeMap::new());
        state.generations.insert(life, generation);
    }

    fn ends(&self, life: Life) {
        self.state().beliefs.remove(&life);
    }

    fn heard(&self, life: Life, told: &Told) {
        let Some(of) = node(told.event.id) else { return };
        let mut state = self.state();
        if state.over.contains(&life) {
            let what = format!("n{} was called back after its quit had returned: {told:?}", life.0);
            state.broken.get_or_insert_with(|| Broken::new("teardown", what));
        }
        let generation = told.event.incarnation.generation;
        if let Some(beliefs) = state.beliefs.get_mut(&life) {
            beliefs.insert(of, (told.event.status, generation));
        }
        if told.event.status == Status::Left {
            let generations = state.generations.clone();
            state.owed.retain(|(_, to, by)| {
                !(*to == life && by.0 == of && generations.get(by).is_some_and(|its| *its <= generation))
            });
        }
    }

    /// A quit has returned and says that all were told.
    fn said_goodbye(&self, life: Life) {
        let mut state = self.state();
        if !state.over.insert(life) {
            return;
        }
        let by = state.now + HEARD_WITHIN;
        // Both knew each other: a farewell goes to whom its sender knows. Others hear of it later.
        let knew = |who: &Life, whom: &Life| {
            let generation = state.generations.get(whom).copied().unwrap_or(0);
            state.beliefs.get(who).and_then(|beliefs| beliefs.get(&whom.0)) == Some(&(Status::Alive, generation))
        };
        let others = state.beliefs.keys().filter(|other| other.0 != life.0);
        let owed: Vec<Life> = others.filter(|other| knew(other, &life) && knew(&life, other)).copied().collect();
        state.farewells += owed.len() as u64;
        state.owed.extend(owed.into_iter().map(|to| (by, to, life)));
    }

    fn all_alive(&self, nodes: u64) -> bool {
        let state = self.state();
        let sees_all = |beliefs: &BTreeMap<u64, (Status, u64)>| {
            (1..=nodes).all(|node| beliefs.get(&node).is_some_and(|(status, _)| *status == Status::Alive))
        };
        state.beliefs.len() as u64 == nodes && state.beliefs.values().all(sees_all)
    }
}

impl Oracle for Board {
    fn name(&self) -> &'static str {
        "teardown"
    }

    fn look(&mut self, world: &mut World<'_>) -> Result<(), Broken> {
        let mut state = self.state();
        state.now = world.now();
        if let Some(broken) = state.broken.take() {
            return Err(broken);
        }
        let now = state.now;
        // Who has fallen or goes itself hears nothing.
        let listens =
            |life: &Life| world.is_up(life.0) && state.beliefs.contains_key(life) && !state.over.contains(life);
        let missed = state.owed.iter().find(|(by, to, _)| *by < now && listens(to));
        if let Some((_, to, by)) = missed {
            let what = format!("n{} did not hear that n{} said goodbye, and it was said to have been sent", to.0, by.0);
            return Err(Broken::new("farewell", what));
        }
        state.owed.retain(|(by, ..)| *by >= now);
        Ok(())
    }
}

fn member(node: u64) -> MemberId {
    MemberId::from_text_order([u8::try_from(node).unwrap_or(u8::MAX); 16])
}

fn node(member: MemberId) -> Option<u64> {
    member.text_order().first().map(|node| u64::from(*node))
}

struct Member {
    board: Board,
}

impl Software for Member {
    fn start(&self, process: Process) -> BoxFuture<'static, ()> {
        let board = self.board.clone();
        Box::pin(async move {
            if let Err(error) = live(&process, &board).await {
                board.breaks(format!("n{}: {error}", process.id));
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    CancelScope,
    DropHandles,
    Quit,
}

async fn live(process: &Process, board: &Board) -> Result<(), GossipError> {
    let life = (process.id, process.incarnation);
    let mut dice = Dice::new(rt::entropy::u64());
    let socket = BoundUdp::bind(&format!("0.0.0.0:{PORT}")).await.map_err(GossipError::Socket)?;
    let addr = address(process.id).await?;
    let generation = u64::try_from(rt::time::wall().as_micros()).unwrap_or(0);
    board.begins(life, generation);
    let config =
        Config { timing: Timing::of(Duration::from_secs(1)), ..Config::new(member(process.id), addr, generation) };
    let scope = Scope::new("member");
    // In some lives it is a callback that quits first.
    let quits_at = dice.chance(1, 6).then(|| dice.below(12));
    let held = Arc::new(Mutex::new(None));
    let (noted, of_callback) = (board.clone(), Arc::clone(&held));
    let on_event: OnEvent = Box::new(move |told| {
        noted.heard(life, told);
        let held: MutexGuard<'_, Option<Gossip>> = of_callback.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gossip) = held.as_ref().filter(|_| Some(told.number) == quits_at) {
            rt::sometimes!("teardown: a callback quit");
            gossip.begin_quit(BOUND);
        }
    });
    let gossip = Gossip::start(config, socket, Some(on_event), &scope)?;
    *held.lock().unwrap_or_else(PoisonError::into_inner) = quits_at.map(|_| gossip.clone());
    let mut others = Vec::new();
    for other in process.nodes.iter().filter(|other| **other != process.id) {
        others.push(address(*other).await?);
    }
    // One that has ended by its callback takes no orders.
    for other in &others {
        drop(gossip.probe(*other).await);
    }
    drop(gossip.set_seeds(others).await);
    // One whose callback has quit is started again.
    tokio::select! {
        biased;
        () = process.shutdown.requested() => {}
        () = gossip.end() => {}
    }
    let mut acts = vec![Act::CancelScope, Act::DropHandles];
    acts.extend(std::iter::repeat_n(Act::Quit, usize::try_from(dice.below(3)).unwrap_or(0)));
    tear_down(board, life, gossip, scope, &held, dice, acts).await;
    board.ends(life);
    Ok(())
}

async fn tear_down(
    board: &Board,
    life: Life,
    gossip: Gossip,
    scope: Scope,
    held: &Mutex<Option<Gossip>>,
    mut dice: Dice,
    mut acts: Vec<Act>,
) {
    let mut gossip = Some(gossip);
    while !acts.is_empty() {
        let act = acts.swap_remove(usize::try_from(dice.below(acts.len() as u64)).unwrap_or(0));
        if dice.chance(1, 2) {
            rt::time::sleep(dice.between(Duration::from_micros(1), Duration::from_millis(30))).await;
        }
        match act {
            Act::CancelScope => scope.cancel(),
            Act::DropHandles => {
                drop(gossip.take());
                drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            Act::Quit => {
                let Some(gossip) = &gossip else { continue };
                let had_ended = gossip.ended().is_some();
                match rt::time::timeout(BOUND, gossip.quit(BOUND)).await {
                    Ok(Ok(())) if had_ended => rt::sometimes!("teardown: a member quit that had ended"),
                    Ok(Ok(())) => board.said_goodbye(life),
                    Ok(Err(_)) => rt::sometimes!("teardown: a member that nobody held any more could not quit"),
                    Err(_) => board.breaks(format!("a quit of n{} waits for ever", life.0)),
                }
            }
        }
    }
    let report = scope.stop(BOUND).await;
    if !report.is_clean() {
        board.breaks(format!("something of n{} did not end: {report:?}", life.0));
    }
}

async fn address(node: u64) -> Result<std::net::SocketAddr, GossipError> {
    let name = format!("{}:{PORT}", host(node));
    let found = rt::net::resolve(&name).await.map_err(GossipError::Socket)?;
    found.first().copied().ok_or_else(|| GossipError::Socket(std::io::ErrorKind::NotFound.into()))
}

fn play(run: &Run) -> Result<(), Broken> {
    let mut dice = run.dice("teardown");
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: 3..=5, ..Shape::default() });
    let board = Board::default();
    let software: Arc<dyn Software> = Arc::new(Member { board: board.clone() });
    let mut world = World::new(run, &config, &software);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];
    let every = Duration::from_millis(100 + dice.below(900));
    let mix = FaultMix::only(every, &[Kind::Stop, Kind::Kill]);
    world.plan(schedule(&mut dice, &mix, config.nodes, SAFETY));
    world.run(SAFETY, &mut oracles, |_| false)?;
    world.heal();
    let (seen, nodes) = (board.clone(), config.nodes);
    world.run(world.now() + LIVENESS, &mut oracles, move |_| seen.all_alive(nodes))?;
    run.count("farewells", board.state().farewells);
    if !board.all_alive(config.nodes) {
        return Err(Broken::new("liveness", format!("not all are alive for all: {:?}", board.state().beliefs)));
    }
    Ok(())
}
