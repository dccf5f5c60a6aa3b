//! One run: a fresh cluster under one workload and one nemesis. Faults, heal, service, final reads, judgement.

use crate::client::{Client, DATABASE, Field, Kind, Outcome, Sample};
use crate::cluster::{Cluster, name};
use crate::dice::Dice;
use crate::error::ChaosError;
use crate::logs::Seen;
use crate::nemesis::{self, Nemesis};
use crate::plant::Plant;
use crate::starvation::Watch;
use crate::workload::{self, Workload};
use histories::Anomaly;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After the last fault everything serves again within so long.
pub(crate) const HEAL_MAX: Duration = Duration::from_secs(30);
/// How long is waited for it, to be able to say how late it was.
const HEAL_PATIENCE: Duration = Duration::from_secs(90);
/// Time for the final reads, and for the copies to become equal.
const FINAL: Duration = Duration::from_secs(30);
/// Clients. The writer of a database serves one after the other: many more would only wait for each other on a small machine.
const CLIENTS: u64 = 10;
/// Fewer answers show nothing.
const ANSWERS_MIN: usize = 50;

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) workload: workload::Name,
    pub(crate) nemesis: Nemesis,
    pub(crate) nodes: usize,
    pub(crate) length: Duration,
    /// How long a fault is on at most, in milliseconds.
    pub(crate) hold_ms_max: u64,
    pub(crate) seed: u64,
    pub(crate) plant: Option<Plant>,
    pub(crate) bowline: PathBuf,
    /// For state directories: short, since sockets are in there.
    pub(crate) base: PathBuf,
    /// Whether state directories are in memory: what the machine's disk does to others is no fault of this run.
    pub(crate) in_memory: bool,
}

/// A fault that was on from one moment to another, in milliseconds since the run began.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) what: String,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) plan: Plan,
    pub(crate) samples: Vec<Sample>,
    pub(crate) faults: Vec<Fault>,
    /// How long it took after each heal that was waited for until everything served.
    pub(crate) heals_ms: Vec<u64>,
    /// What no correct system can have answered.
    pub(crate) anomalies: Vec<Anomaly>,
    /// What else the product did that it must not.
    pub(crate) findings: Vec<String>,
    pub(crate) seen: Seen,
    /// What was late while the machine gave its processors to others.
    pub(crate) no_verdict: Vec<String>,
    /// How long threads waited for a processor: the median and the longest of the means of a quarter of a second.
    pub(crate) waits: (Duration, Duration),
    /// The history, as lines of JSON.
    pub(crate) history: String,
    /// How long the slowest write to the machine's own disk took beside the run, with its sync.
    pub(crate) sync_max: Duration,
}

impl Report {
    /// Nothing has happened yet.
    fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            samples: Vec::new(),
            faults: Vec::new(),
            heals_ms: Vec::new(),
            anomalies: Vec::new(),
            findings: Vec::new(),
            seen: Seen::default(),
            no_verdict: Vec::new(),
            waits: (Duration::ZERO, Duration::ZERO),
            history: String::new(),
            sync_max: Duration::ZERO,
        }
    }

    /// Something did not happen in its time since `begun`.
    fn is_late(&mut self, watch: &Watch, begun: Instant, text: String) {
        if watch.is_starved_since(begun) { self.no_verdict.push(text) } else { self.findings.push(text) }
    }

    /// How many calls ended so.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.samples.iter().filter(|sample| sample.outcome == outcome).count()
    }

    /// The longest time in which no write was answered, in milliseconds. Under faults that leave no majority it is as long as they are.
    pub(crate) fn write_gap_ms(&self) -> u64 {
        let is_done = |sample: &&Sample| sample.outcome == Outcome::Answered && sample.kind == Kind::Write;
        let mut done: Vec<u64> =
            self.samples.iter().filter(is_done).map(|sample| sample.begun_ms + sample.took_us / 1000).collect();
        done.sort_unstable();
        done.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?)).max().unwrap_or_default()
    }

    /// Whether everything was as it must be.
    pub(crate) fn is_well(&self) -> bool {
        self.anomalies.is_empty() && self.findings.is_empty() && self.seen.panics == 0 && self.seen.errors.is_empty()
    }
}

/// Carries a run out. One that cannot be carried out is a finding too. The only error is Ctrl-C.
pub(crate) fn play(plan: &Plan) -> Result<Report, ChaosError> {
    let mut report = Report::new(plan);
    let watch = Watch::start();
    let begun = Instant::now();
    match carry_out(plan, &mut report, &watch) {
        Ok(()) => {}
        Err(ChaosError::Interrupted) => return Err(ChaosError::Interrupted),
        Err(error) => report.is_late(&watch, begun, format!("the run could not be carried out: {error}")),
    }
    for node in 0..plan.nodes {
        report.seen.look(&plan.base.join(format!("{}.log", name(node))));
    }
    report.waits = watch.summary(begun);
    Ok(report)
}

/// What was seen before an error is judged all the same.
fn carry_out(plan: &Plan, report: &mut Report, watch: &Watch) -> Result<(), ChaosError> {
    let mut cluster = Cluster::form(&plan.bowline, &plan.base, plan.nemesis.needs(plan.nodes, plan.in_memory))?;
    let workload: Arc<dyn Workload> = Arc::from(plan.workload.make());
    let ended = go_through(plan, report, watch, &mut cluster, &*workload);
    report.findings.append(&mut cluster.findings);
    report.anomalies = workload.check();
    report.history = workload.lines();
    ended
}

/// The phases of a run.
fn go_through(
    plan: &Plan,
    report: &mut Report,
    watch: &Watch,
    cluster: &mut Cluster,
    workload: &dyn Workload,
) -> Result<(), ChaosError> {
    prepare(cluster, workload)?;
    let dirs = Arc::new(cluster.dirs());
    let field = Field { dirs, begun: Instant::now(), plant: plan.plant };
    let dice = Dice::new(plan.seed);
    let ended =
        under_load(plan, workload, &field, &dice, |faults| faults_and_heals(report, cluster, &field, watch, faults));
    report.samples = ended?;
    read_all(report, workload, &field, &dice, watch)?;
    compare(report, cluster, watch)?;
    for node in 0..plan.nodes {
        cluster.stop(node);
    }
    if report.count(Outcome::Answered) < ANSWERS_MIN {
        let text = format!("only {} answers: nothing was shown", report.count(Outcome::Answered));
        report.is_late(watch, field.begun, text);
    }
    Ok(())
}

/// Makes the tables. All of it is one transaction that does not mind its own traces, so that it may be sent again.
fn prepare(cluster: &mut Cluster, workload: &dyn Workload) -> Result<(), ChaosError> {
    let mut tables = workload.tables();
    tables.push("CREATE TABLE probes (count INTEGER NOT NULL)".to_owned());
    tables.push("INSERT INTO probes VALUES (0)".to_owned());
    tables.push("CREATE TABLE ballast (id INTEGER PRIMARY KEY, body BLOB NOT NULL)".to_owned());
    let old = tables.iter().filter_map(|sql| sql.strip_prefix("CREATE TABLE ")?.split(' ').next());
    let drops: Vec<String> = old.map(|name| format!("DROP TABLE IF EXISTS {name}")).collect();
    let statements: Vec<Value> = drops.iter().chain(&tables).map(|sql| json!({"sql": sql})).collect();
    let request = format!("POST /v1/databases/{DATABASE}/execute");
    cluster.until("to make the tables", FINAL, |cluster| {
        cluster.ask(0, &request, &json!({"statements": statements})).is_ok()
    })
}

/// Lets clients work while `meanwhile` goes on; what they did.
fn under_load(
    plan: &Plan,
    workload: &dyn Workload,
    field: &Field,
    dice: &Dice,
    meanwhile: impl FnOnce(&mut Dice) -> Result<(), ChaosError>,
) -> Result<Vec<Sample>, ChaosError> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = Client::new(number, field.clone(), dice);
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        workload.step(&mut client);
                        std::thread::sleep(client.dice.between(10, 150));
                    }
                    client.samples
                })
            })
            .collect();
        // In half of the runs somebody writes large rows too: then logs are cut, and who was away gets a checkpoint.
        if plan.nemesis.bears_large_rows() && dice.fork("large").below(2) == 0 {
            let mut client = Client::new(2000, field.clone(), dice);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    client.write_large();
                    std::thread::sleep(client.dice.between(50, 300));
                }
            });
        }
        let ended = meanwhile(&mut dice.fork("faults"));
        is_over.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for thread in threads {
            samples.extend(thread.join().map_err(|_| ChaosError::failed("a client", "it panicked"))?);
        }
        ended.map(|()| samples)
    })
}

/// Faults, each for a while, until the time is over; then everything is healed and must serve.
fn faults_and_heals(
    report: &mut Report,
    cluster: &mut Cluster,
    field: &Field,
    watch: &Watch,
    dice: &mut Dice,
) -> Result<(), ChaosError> {
    let plan = report.plan.clone();
    let changes_members = matches!(plan.nemesis, Nemesis::Leave | Nemesis::Replace | Nemesis::JoinCut);
    nemesis::hold(cluster, Duration::from_millis(1500))?;
    loop {
        let from_ms = field.now_ms();
        let what = plan.nemesis.strike(cluster, dice)?;
        eprintln!("  {:>6.1} s  {what}", Duration::from_millis(from_ms).as_secs_f64());
        let length = dice.between(2000, plan.hold_ms_max.max(2000));
        nemesis::hold(cluster, length)?;
        report.sync_max = report.sync_max.max(sync_once(&plan));
        nemesis::heal(cluster)?;
        report.faults.push(Fault { from_ms, to_ms: field.now_ms(), what });
        let is_last = field.begun.elapsed() >= plan.length;
        if is_last || changes_members || dice.below(2) == 0 {
            await_service(report, cluster, watch)?;
        }
        if is_last || changes_members {
            await_voters(report, cluster, watch)?;
        }
        if is_last {
            return Ok(());
        }
        let pause = dice.between(500, 2500);
        nemesis::hold(cluster, pause)?;
    }
}

/// How long the disk of the machine takes for one write. If that is seconds, the run says little about the cluster's speed.
fn sync_once(plan: &Plan) -> Duration {
    let begun = Instant::now();
    let path = plan.base.join("probe");
    let written = std::fs::File::create(&path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &[0; 4096])?;
        file.sync_all()
    });
    // The directory is there: forming has written to it.
    drop(written);
    begun.elapsed()
}

fn await_service(report: &mut Report, cluster: &mut Cluster, watch: &Watch) -> Result<(), ChaosError> {
    let begun = Instant::now();
    nemesis::readmit(cluster, HEAL_PATIENCE)?;
    let mut late: Vec<usize> = (0..cluster.len()).collect();
    let served = cluster.until("service", HEAL_PATIENCE, |cluster| {
        late.retain(|node| !cluster.serves(*node));
        late.is_empty()
    });
    let took = begun.elapsed();
    report.heals_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    match served {
        Ok(()) if took <= HEAL_MAX => Ok(()),
        Ok(()) => {
            report.is_late(watch, begun, format!("liveness: it took {took:?} until all nodes served"));
            Ok(())
        }
        Err(ChaosError::Late { .. }) => {
            let states: Vec<String> = late.iter().map(|node| describe(cluster, *node)).collect();
            let text = format!("liveness: not served within {HEAL_PATIENCE:?}: {}", states.join("; "));
            report.is_late(watch, begun, text);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What a node says of itself, to find out why it does not serve.
fn describe(cluster: &Cluster, node: usize) -> String {
    let Some(status) = cluster.status(node) else { return format!("{} says nothing", name(node)) };
    let part = |name: &str| status.get(name).cloned().unwrap_or_default();
    let members = part("nodes").as_array().cloned().unwrap_or_default().into_iter().map(|member| {
        let word = |name: &str| member.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let leads = if member.get("leader").and_then(Value::as_bool) == Some(true) { " leads" } else { "" };
        format!("{} {} {}{leads}", word("name"), word("role"), word("health"))
    });
    let members: Vec<String> = members.collect();
    let (state, waiting, troubles) = (part("state"), part("waiting_for"), part("troubles"));
    format!("{} {state} waits for {waiting}, troubles {troubles}, members {}", name(node), members.join(", "))
}

fn await_voters(report: &mut Report, cluster: &mut Cluster, watch: &Watch) -> Result<(), ChaosError> {
    let begun = Instant::now();
    let all = cluster.len();
    match cluster.until("all nodes to vote", HEAL_PATIENCE, |cluster| cluster.voters() == all) {
        Err(ChaosError::Late { after, .. }) => {
            let voters = cluster.voters();
            let text = format!("roles: {voters} of {all} nodes vote, {after:?} after everything served");
            report.is_late(watch, begun, text);
            Ok(())
        }
        other => other,
    }
}

/// Every node is asked for everything once more.
fn read_all(
    report: &mut Report,
    workload: &dyn Workload,
    field: &Field,
    dice: &Dice,
    watch: &Watch,
) -> Result<(), ChaosError> {
    let begun = Instant::now();
    for node in 0..field.dirs.len() {
        let mut client = Client::new(1000 + u64::try_from(node).unwrap_or_default(), field.clone(), dice);
        client.settle(node);
        let until = Instant::now() + FINAL;
        while !workload.finish(&mut client) {
            if Instant::now() > until {
                let text = format!("liveness: {} did not answer the final reads", name(node));
                report.is_late(watch, begun, text);
                break;
            }
            crate::process::pause(Duration::from_millis(100))?;
        }
        report.samples.append(&mut client.samples);
    }
    Ok(())
}

/// The copies of all nodes become equal, and none is damaged.
fn compare(report: &mut Report, cluster: &mut Cluster, watch: &Watch) -> Result<(), ChaosError> {
    let begun = Instant::now();
    let part = |copy: &Value, name: &str| copy.get(name).cloned().unwrap_or_default();
    let mut copies = Vec::new();
    let compared = cluster.until("equal copies", FINAL, |cluster| {
        copies = cluster.copies();
        let of = |copy: &Value| (part(copy, "version"), part(copy, "hash"));
        let first = copies.first().map(of).unwrap_or_default();
        first.1 != Value::Null && copies.iter().all(|copy| of(copy) == first)
    });
    for (node, copy) in copies.iter().enumerate() {
        if part(copy, "problems").as_array().is_some_and(|problems| !problems.is_empty()) {
            report.findings.push(format!("the copy of {} is not well: {copy}", name(node)));
        }
    }
    // However late it is: one version has one content.
    let versions =
        copies.iter().map(|copy| part(copy, "version").to_string()).collect::<std::collections::BTreeSet<_>>();
    match compared {
        Err(ChaosError::Late { .. }) if versions.len() == 1 && copies.iter().all(Value::is_object) => {
            report.findings.push(format!("copies of one version differ: {}", json!(copies)));
            Ok(())
        }
        Err(ChaosError::Late { .. }) => {
            report.is_late(watch, begun, format!("the copies did not become equal: {}", json!(copies)));
            Ok(())
        }
        other => other,
    }
}
