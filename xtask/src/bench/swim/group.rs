//! A gossip group: its members, and what they believe of each other.

use super::member::{Member, Place, Said, Word, wall_us};
use super::programs::{self, Programs};
use super::results::{Death, Idle};
use super::traffic::Sent;
use super::view::{Belief, View};
use super::{System, apart};
use crate::bench::error::BenchError;
use crate::bench::machine::{cpu_seconds_exactly, rss_bytes};
use crate::bench::process::{self, check_interrupted};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long members may take to start, all at once.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long members that have all started are left alone before they join: their starts take the processor.
const CALM: Duration = Duration::from_secs(1);
/// Below what the kernel gives to who does not ask for a port. Free in a network of its own.
const FIRST_PORT: u16 = 7001;

/// Members of one system.
pub(super) struct Group<'a> {
    system: System,
    programs: &'a Programs,
    dir: PathBuf,
    places: Vec<Place>,
    names: Arc<BTreeMap<String, usize>>,
    members: Vec<Member>,
    ready: Vec<bool>,
    view: View,
    /// Who was killed and is not back.
    victim: Option<usize>,
    false_deaths: u32,
    say: Sender<Word>,
    words: Receiver<Word>,
}

impl<'a> Group<'a> {
    /// Starts so many members. Each is alone.
    pub(super) fn start(system: System, count: usize, programs: &'a Programs, dir: &Path) -> Result<Self, BenchError> {
        let places = places(count)?;
        let names = places.iter().map(|place| (programs::name(system, place), place.number)).collect();
        let (say, words) = channel();
        let mut group = Self {
            system,
            programs,
            dir: dir.to_path_buf(),
            names: Arc::new(names),
            members: Vec::new(),
            ready: vec![false; count],
            view: View::new(count),
            victim: None,
            false_deaths: 0,
            places,
            say,
            words,
        };
        for place in group.places.clone() {
            check_interrupted()?;
            let member = group.start_member(&place, 1)?;
            group.members.push(member);
        }
        if !group.listen(START_PATIENCE, |group| group.ready.iter().all(|ready| *ready))? {
            return Err(BenchError::Late { what: format!("the start of {}", system.name()), after: START_PATIENCE });
        }
        group.watch(CALM)?;
        Ok(group)
    }

    fn start_member(&self, place: &Place, life: u32) -> Result<Member, BenchError> {
        Member::start(self.system, place, life, self.programs, &self.names, &self.say, &self.dir)
    }

    /// Tells all but the first to join through it, at once. Seconds until all knew all.
    pub(super) fn join_all(&mut self, patience: Duration) -> Result<f64, BenchError> {
        let through = self.first()?;
        let begin = wall_us();
        for member in self.members.iter_mut().skip(1) {
            member.join(through)?;
        }
        self.full_view(begin, patience)
    }

    fn first(&self) -> Result<SocketAddr, BenchError> {
        self.places.first().map(|place| place.addr).ok_or_else(|| BenchError::failed("a group", "it has no members"))
    }

    fn full_view(&mut self, begin: u64, patience: Duration) -> Result<f64, BenchError> {
        self.listen(patience, |group| group.view.full_since().is_some())?;
        for member in &mut self.members {
            member.hang_up();
        }
        let at = self.view.full_since().ok_or_else(|| {
            let what = format!("that all know all ({} pairs do not)", self.view.missing());
            BenchError::Late { what, after: patience }
        })?;
        Ok(seconds(begin, at))
    }

    /// Leaves them alone for so long, and says what they did.
    pub(super) fn idle(&mut self, length: Duration) -> Result<Idle, BenchError> {
        let cpu = |group: &Self| group.members.iter().map(|member| cpu_seconds_exactly(member.pid())).sum::<f64>();
        let (cpu_before, before, begin) = (cpu(self), Sent::now()?, Instant::now());
        self.watch(length)?;
        let (sent, taken) = (Sent::now()?.since(before), begin.elapsed().as_secs_f64());
        let cpu = cpu(self) - cpu_before;
        #[expect(clippy::cast_precision_loss, reason = "packets and bytes of a minute")]
        let each = |n: u64| n as f64 / taken / self.members.len() as f64;
        let rss = self.members.iter().map(|member| rss_bytes(member.pid())).max();
        Ok(Idle {
            packets_per_s: each(sent.packets),
            bytes_per_s: each(sent.bytes),
            cpu_ms_per_s: each(1) * cpu * 1e3,
            rss_bytes: rss.unwrap_or_default(),
            length_s: taken,
        })
    }

    /// Kills one, and waits until all others have seen it.
    pub(super) fn kill(&mut self, victim: usize, patience: Duration) -> Result<Death, BenchError> {
        self.victim = Some(victim);
        let begin = wall_us();
        if let Some(member) = self.members.get_mut(victim) {
            member.kill();
        }
        self.listen(patience, |group| group.view.gone_since(victim).iter().all(Option::is_some))?;
        let seen = self.view.gone_since(victim);
        let known: Vec<u64> = seen.iter().copied().flatten().collect();
        let at = |at: Option<&u64>| at.map(|at| seconds(begin, *at));
        Ok(Death {
            first_s: at(known.iter().min()),
            all_s: if known.len() == seen.len() { at(known.iter().max()) } else { None },
            unseen_by: seen.len() - known.len(),
            within_s: patience.as_secs_f64(),
        })
    }

    /// Starts one that was killed anew, at its place, and lets it join through the first. Seconds from the latter until all know all.
    pub(super) fn rejoin(&mut self, victim: usize, patience: Duration) -> Result<f64, BenchError> {
        let through = self.first()?;
        let Some(place) = self.places.get(victim).cloned() else {
            return Err(BenchError::failed("a return", "there is no such member"));
        };
        let life = self.members.get(victim).map_or(0, |member| member.life) + 1;
        if let Some(old) = self.members.get_mut(victim) {
            old.end();
        }
        self.view.forget(victim);
        let new = self.start_member(&place, life)?;
        if let (Some(member), Some(ready)) = (self.members.get_mut(victim), self.ready.get_mut(victim)) {
            *member = new;
            *ready = false;
        }
        self.victim = None;
        if !self.listen(START_PATIENCE, |group| group.ready.get(victim) == Some(&true))? {
            return Err(BenchError::Late {
                what: format!("a new start of {}", self.system.name()),
                after: START_PATIENCE,
            });
        }
        let begin = wall_us();
        if let Some(member) = self.members.get_mut(victim) {
            member.join(through)?;
        }
        self.full_view(begin, patience)
    }

    /// Listens for so long.
    pub(super) fn watch(&mut self, length: Duration) -> Result<(), BenchError> {
        self.listen(length, |_| false).map(drop)
    }

    /// How often a member was said to be gone that was running.
    pub(super) fn false_deaths(&self) -> u32 {
        self.false_deaths
    }

    /// Takes words until it is so, and says whether it came to that within this time.
    fn listen(&mut self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> Result<bool, BenchError> {
        let until = Instant::now() + patience;
        loop {
            // What is there already is taken first: it may be much.
            while let Ok(word) = self.words.try_recv() {
                self.take(word)?;
            }
            check_interrupted()?;
            if is_so(self) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.words.recv_timeout(left.min(Duration::from_millis(50))) {
                Ok(word) => self.take(word)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn take(&mut self, word: Word) -> Result<(), BenchError> {
        let Word { member, life, said } = word;
        let is_of_now = self.members.get(member).is_none_or(|known| known.life == life);
        if !is_of_now || self.victim == Some(member) {
            return Ok(());
        }
        match said {
            Said::Ready => {
                if let Some(ready) = self.ready.get_mut(member) {
                    *ready = true;
                }
            }
            Said::Belief(about, belief, at_us) => {
                let is_news = about != member && self.view.take(member, about, belief, at_us);
                if is_news && belief == Belief::Gone && self.victim != Some(about) {
                    self.false_deaths += 1;
                }
            }
            Said::Ended => {
                return self.members.get(member).map_or(Ok(()), |member| Err(member.ended()));
            }
        }
        Ok(())
    }
}

fn places(count: usize) -> Result<Vec<Place>, BenchError> {
    let ports =
        if apart::is_inside() { (FIRST_PORT..).take(count * 2).collect() } else { process::free_ports(count * 2)? };
    let at = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
    let (gossip, calls) = ports.split_at(count);
    let pairs = gossip.iter().zip(calls).enumerate();
    Ok(pairs.map(|(number, (addr, calls))| Place { number, addr: at(addr), calls: at(calls) }).collect())
}

/// From one moment to another, both in microseconds; none if the other way round.
#[expect(clippy::cast_precision_loss, reason = "a few minutes, in microseconds")]
fn seconds(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1e6
}
