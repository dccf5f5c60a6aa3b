//! Units start in the order of their needs, stop in the reverse, fail and come back; a shutdown at any moment is an
//! ordinary one.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use base::{Code, Disposition, Fault};
use lifecycle::{
    Context, Deadline, Importance, Lane, Needs, Ready, RunReport, Settings, Shutdown, Slot, Supervisor, Unit,
    UnitError, UnitOptions,
};
use rt::time::{Instant, sleep};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &str, name: &str) {
        self.0.lock().unwrap().push(format!("{what} {name}"));
    }
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| *l == line).count()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it does not work")]
struct Broken(Disposition);

impl Fault for Broken {
    fn code(&self) -> Code {
        Code("BL-TEST-001")
    }
    fn disposition(&self) -> Disposition {
        self.0
    }
}

/// What a unit of the tests does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Habit {
    #[default]
    None,
    FailsToStart(u32, Disposition),
    PanicsInStart,
    HangsInStart,
    HangsInDrain,
    HangsInStop,
    LeavesATask,
    TaskPanicsOnce,
}

struct Part {
    name: &'static str,
    diary: Diary,
    takes: Duration,
    habit: Habit,
    starts: u32,
}

impl Part {
    fn new(name: &'static str, diary: &Diary) -> Self {
        Self { name, diary: diary.clone(), takes: SECOND, habit: Habit::None, starts: 0 }
    }
    fn with(name: &'static str, diary: &Diary, habit: Habit) -> Self {
        Self { habit, ..Self::new(name, diary) }
    }
}

/// Anything may be needed by a part: it only takes the proofs.
struct Any<N>(Part, std::marker::PhantomData<fn(N)>);

impl<N: Send + 'static> Unit for Any<N> {
    type Needs = N;
    type Provides = &'static str;

    async fn start(&mut self, _needs: N, context: &Context) -> Result<&'static str, UnitError> {
        let part = &mut self.0;
        part.starts += 1;
        part.diary.note("start", part.name);
        sleep(part.takes).await;
        match part.habit {
            Habit::FailsToStart(times, disposition) if part.starts <= times => return Err(Broken(disposition).into()),
            Habit::PanicsInStart if part.starts == 1 => panic!("boo"),
            Habit::HangsInStart => std::future::pending().await,
            Habit::LeavesATask => drop(context.scope.spawn("stray", std::future::pending::<()>())),
            Habit::TaskPanicsOnce if part.starts == 1 => drop(context.scope.spawn("fragile", async {
                sleep(10 * SECOND).await;
                panic!("boo")
            })),
            _ => {}
        }
        part.diary.note("ready", part.name);
        Ok(part.name)
    }

    async fn drain(&mut self, _: &Deadline) {
        self.0.diary.note("drain", self.0.name);
        if self.0.habit == Habit::HangsInDrain {
            std::future::pending::<()>().await;
        }
        sleep(self.0.takes).await;
    }

    async fn stop(&mut self, _: &Deadline) -> Result<(), UnitError> {
        self.0.diary.note("stop", self.0.name);
        if self.0.habit == Habit::HangsInStop {
            std::future::pending::<()>().await;
        }
        sleep(self.0.takes).await;
        self.0.diary.note("down", self.0.name);
        Ok(())
    }
}

fn add<N: Send + 'static>(to: &mut Supervisor, part: Part, needs: impl Needs<N> + Sync) -> Slot<&'static str> {
    add_as(to, part, needs, Importance::Essential)
}

fn add_as<N: Send + 'static>(
    to: &mut Supervisor,
    part: Part,
    needs: impl Needs<N> + Sync,
    importance: Importance,
) -> Slot<&'static str> {
    let options = UnitOptions { importance, ..UnitOptions::default() };
    to.add(part.name, Any(part, std::marker::PhantomData), needs, options)
}

/// store <- raft <- api, with that habit for raft.
fn three(diary: &Diary, habit: Habit) -> Supervisor {
    three_that_take(SECOND, diary, habit)
}

fn three_that_take(takes: Duration, diary: &Diary, habit: Habit) -> Supervisor {
    let part = |name, habit| Part { takes, ..Part::with(name, diary, habit) };
    let mut supervisor = Supervisor::new("node", Settings::default());
    let store = add(&mut supervisor, part("store", Habit::None), ());
    let raft = add::<Ready<&str>>(&mut supervisor, part("raft", habit), store.clone());
    add::<(Ready<&str>, Ready<&str>)>(&mut supervisor, part("api", Habit::None), (store, raft));
    supervisor
}

/// Runs until `stop_at`, then asks for the stop; with `hurry_after` asks again that much later.
async fn run(supervisor: Supervisor, stop_at: Duration, hurry_after: Option<Duration>) -> RunReport {
    let shutdown = Shutdown::new();
    let ask = async {
        sleep(stop_at).await;
        shutdown.request();
        if let Some(after) = hurry_after {
            sleep(after).await;
            shutdown.request();
        }
    };
    tokio::join!(supervisor.run(&shutdown), ask).0
}

#[tokio::test(start_paused = true)]
async fn units_start_in_the_order_of_their_needs_and_stop_in_the_reverse() {
    let diary = Diary::default();
    let supervisor = three(&diary, Habit::None);
    let mut lanes = supervisor.lanes();
    let (report, ready) = tokio::join!(run(supervisor, 60 * SECOND, None), lanes.wait_ready());
    assert!(ready);
    assert!(report.is_clean(), "{report:?}");
    insta::assert_snapshot!(diary.lines().join("\n"));
}

#[tokio::test(start_paused = true)]
async fn units_that_do_not_need_each_other_start_side_by_side() {
    let diary = Diary::default();
    let mut supervisor = Supervisor::new("node", Settings::default());
    for name in ["a", "b", "c"] {
        add(&mut supervisor, Part::new(name, &diary), ());
    }
    let mut lanes = supervisor.lanes();
    let begin = Instant::now();
    let all_ready = async {
        lanes.wait_ready().await;
        assert_eq!(begin.elapsed().as_secs(), 1);
    };
    tokio::join!(run(supervisor, 10 * SECOND, None), all_ready);
}

/// The promise of the whole crate: a SIGTERM at any moment, also in the middle of a start, and a second one at any moment after
/// it, is an ordinary stop inside its deadline.
#[tokio::test(start_paused = true)]
async fn a_shutdown_at_any_moment_and_twice_is_an_ordinary_stop() {
    let hurry = [None, Some(Duration::ZERO), Some(Duration::from_millis(700)), Some(3 * SECOND)];
    for stop_at in (0..50).map(|n| Duration::from_millis(n * 100)) {
        for hurry_after in hurry {
            let diary = Diary::default();
            let begin = Instant::now();
            let report = run(three(&diary, Habit::None), stop_at, hurry_after).await;
            assert!(report.cause.is_none());
            let units = &report.units;
            assert!(units.iter().all(|u| u.stop.is_clean() && u.tasks.is_clean()), "{report:?}");
            assert!(begin.elapsed() <= stop_at + Settings::default().stop_max);
            for name in ["store", "raft", "api"] {
                // What began to start was stopped, once; what did not was never touched.
                assert_eq!(
                    diary.count(&format!("start {name}")),
                    diary.count(&format!("down {name}")),
                    "{:?}",
                    diary.lines()
                );
                assert!(diary.count(&format!("stop {name}")) <= 1);
            }
            let downs: Vec<_> = diary.lines().into_iter().filter(|l| l.starts_with("down")).collect();
            let reverse: Vec<_> = ["down api", "down raft", "down store"].into_iter().skip(3 - downs.len()).collect();
            assert_eq!(downs, reverse);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_does_not_hold_a_shutdown_up() {
    let diary = Diary::default();
    let begin = Instant::now();
    let report = run(three(&diary, Habit::HangsInStart), 5 * SECOND, None).await;
    assert!(report.is_clean(), "{report:?}");
    assert!(begin.elapsed() < 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_hangs_ends_at_its_deadline_and_the_rest_goes_on() {
    let diary = Diary::default();
    let begin = Instant::now();
    let report = run(three(&diary, Habit::HangsInDrain), 10 * SECOND, None).await;
    assert!(!report.is_clean());
    assert_eq!(diary.count("down store"), 1);
    assert!(begin.elapsed() <= 10 * SECOND + Settings::default().stop_max);
}

#[tokio::test(start_paused = true)]
async fn a_second_wish_cuts_a_hanging_drain_short() {
    let diary = Diary::default();
    let begin = Instant::now();
    run(three(&diary, Habit::HangsInDrain), 10 * SECOND, Some(3 * SECOND)).await;
    let took = begin.elapsed().saturating_sub(13 * SECOND);
    assert!(took <= Settings::default().hurry_max, "{took:?}");
    assert_eq!(diary.count("down store"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_hangs_is_told_and_the_rest_goes_on() {
    let diary = Diary::default();
    let report = run(three(&diary, Habit::HangsInStop), 10 * SECOND, None).await;
    assert!(!report.is_clean());
    assert!(!report.units[1].stop.is_clean());
    assert!(report.units[0].is_clean() && report.units[2].is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_left_behind_is_named_in_the_report() {
    let report = run(three(&Diary::default(), Habit::LeavesATask), 10 * SECOND, None).await;
    assert_eq!(report.units[1].tasks.stragglers[0].task, "node/raft/stray#0");
    assert!(report.units[1].tasks.stuck.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_restarts_the_unit_and_what_needs_it_and_nothing_else() {
    let diary = Diary::default();
    let report = run(three(&diary, Habit::TaskPanicsOnce), 60 * SECOND, None).await;
    assert!(report.cause.is_none());
    let starts: Vec<_> = report.units.iter().map(|u| (u.name, u.starts)).collect();
    assert_eq!(starts, [("store", 1), ("raft", 2), ("api", 2)]);
    // What needs the unit is down before the unit goes.
    let lines = diary.lines();
    let at = |line: &str| lines.iter().position(|l| l == line).unwrap();
    assert!(at("down api") < at("stop raft"));
    assert!(
        matches!(&report.units[1].last_error, Some(UnitError::Panicked { task, .. }) if task == "node/raft/fragile")
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_start_is_tried_again_with_growing_pauses() {
    let diary = Diary::default();
    let habit = Habit::FailsToStart(4, Disposition::Retry { after: SECOND });
    let supervisor = three(&diary, habit);
    let mut lanes = supervisor.lanes();
    let begin = Instant::now();
    let watch = async {
        assert!(lanes.wait_ready().await);
        // 5 starts of 2 s each (start and stop), and pauses of 0.2, 0.4, 0.8 and 1.6 s.
        assert!(begin.elapsed() > 12 * SECOND, "{:?}", begin.elapsed());
        assert_eq!(lanes.now()[1].starts, 5);
        assert!(lanes.now()[1].last_error.as_ref().unwrap().to_string().starts_with("BL-TEST-001"));
    };
    let (report, ()) = tokio::join!(run(supervisor, 120 * SECOND, None), watch);
    assert!(report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_start_is_a_failure_like_any_other() {
    let report = run(three(&Diary::default(), Habit::PanicsInStart), 60 * SECOND, None).await;
    assert!(report.is_clean());
    assert_eq!(report.units[1].starts, 2);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_an_essential_unit_ends_the_run_in_order() {
    let diary = Diary::default();
    let shutdown = Shutdown::new();
    let report = three(&diary, Habit::FailsToStart(9, Disposition::Refuse)).run(&shutdown).await;
    assert_eq!(report.cause.as_ref().unwrap().0, "raft");
    assert_eq!(diary.count("down store"), 1);
    assert_eq!(diary.count("start api"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_an_optional_unit_quarantines_it_and_the_rest_serves() {
    let diary = Diary::default();
    let mut supervisor = Supervisor::new("node", Settings::default());
    let part = Part::with("gateway", &diary, Habit::FailsToStart(9, Disposition::Corrupt));
    let gateway = add_as(&mut supervisor, part, (), Importance::Optional);
    add::<Ready<&str>>(&mut supervisor, Part::new("admin", &diary), gateway.clone());
    let store = add(&mut supervisor, Part::new("store", &diary), ());
    let lanes = supervisor.lanes();
    let watch = async {
        sleep(30 * SECOND).await;
        let now: Vec<_> = lanes.now().iter().map(|u| u.lane).collect();
        assert_eq!(now, [Lane::Quarantined, Lane::Waiting, Lane::Ready]);
        assert_eq!(lanes.now()[1].waits_for, ["gateway"]);
        assert!(gateway.get().is_none());
        assert_eq!(*store.wait().await.unwrap(), "store");
    };
    let (report, ()) = tokio::join!(run(supervisor, 60 * SECOND, None), watch);
    assert_eq!(report.units[0].starts, 1);
    assert!(store.get().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_empty_before_the_unit_is_ready_and_from_its_drain_on() {
    let diary = Diary::default();
    let mut supervisor = Supervisor::new("node", Settings::default());
    let store = add(&mut supervisor, Part::new("store", &diary), ());
    let watch = async {
        assert!(store.get().is_none());
        assert_eq!(*store.wait().await.unwrap(), "store");
        sleep(9 * SECOND + SECOND / 2).await;
        assert_eq!(diary.lines().last().unwrap(), "drain store");
        assert!(store.get().is_none());
    };
    tokio::join!(run(supervisor, 10 * SECOND, None), watch);
    assert!(store.wait().await.is_err(), "gone for good");
}

/// The same promise where tasks overtake each other: in simulation, over many seeds.
#[test]
fn a_shutdown_at_any_moment_is_ordinary_in_every_order_of_tasks() {
    for seed in 0..300 {
        rt::sim::run_blocking(seed, &rt::sim::Disk::new(seed), || {
            rt::sim::block_on(async move {
                let mut dice = rt::sim::Dice::new(seed);
                let stop_at = dice.between(Duration::ZERO, 15 * SECOND);
                let hurry = dice.chance(1, 2).then(|| dice.between(Duration::ZERO, 5 * SECOND));
                let habits = [Habit::None, Habit::TaskPanicsOnce, Habit::PanicsInStart, Habit::HangsInDrain];
                let habit = *dice.pick(&habits).unwrap();
                let diary = Diary::default();
                let begin = Instant::now();
                let report = run(three_that_take(SECOND / 2, &diary, habit), stop_at, hurry).await;
                assert!(begin.elapsed() <= stop_at + Settings::default().stop_max + SECOND, "seed {seed}");
                assert!(report.cause.is_none(), "seed {seed} {report:?}");
                for name in ["store", "raft", "api"] {
                    let (starts, downs) = (diary.count(&format!("start {name}")), diary.count(&format!("down {name}")));
                    assert_eq!(starts, downs, "seed {seed} {stop_at:?} {hurry:?} {report:#?}");
                }
            });
        });
    }
}
