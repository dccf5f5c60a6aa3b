//! What is counted and timed while a group lives.

use crate::detector::{Belief, Sighting, Way};
use std::collections::{BTreeMap, BTreeSet};
use swim::{Incarnation, Moment};

/// What was counted and timed.
#[derive(Debug)]
pub struct Figures {
    /// Packets that members sent.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Packets that their receivers refused.
    pub refused: u64,
    /// Probes that ended in a suspicion.
    pub suspicions: u64,
    /// Those of them that were of members that are not made to freeze.
    pub healthy_suspicions: u64,
    /// Members that run and were declared dead: by whom, whom, when.
    pub false_deaths: Vec<FalseDeath>,
    /// For how long each of those was wrong while the member ran, in seconds, as far as it was mended.
    pub wounds_s: Vec<f64>,
    deaths: BTreeMap<usize, Death>,
    members: Vec<Member>,
    wounds: BTreeMap<(usize, usize), Moment>,
}

/// A member that runs was declared dead.
#[derive(Debug, Clone, Copy)]
pub struct FalseDeath {
    /// The member.
    pub subject: usize,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// By whom.
    pub by: usize,
    /// Whether it is one of those that are made to freeze.
    pub is_of_sick: bool,
}

/// A member that has crashed.
#[derive(Debug)]
struct Death {
    at: Moment,
    known_by: BTreeSet<usize>,
    known_after_s: Vec<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    is_up: bool,
    is_sick: bool,
}

/// So many bytes are in one packet of a TCP connection.
const SEGMENT_LEN: usize = 1400;
/// So many packets without bytes each end of a TCP connection sends to open and to close it.
const HANDSHAKES: usize = 2;

impl Figures {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            packets: 0,
            bytes: 0,
            refused: 0,
            suspicions: 0,
            healthy_suspicions: 0,
            false_deaths: Vec::new(),
            wounds_s: Vec::new(),
            deaths: BTreeMap::new(),
            members: vec![Member::default(); count],
            wounds: BTreeMap::new(),
        }
    }

    /// Forgets what was counted until now.
    pub fn reset(&mut self) {
        let members = std::mem::take(&mut self.members);
        *self = Self { members, ..Self::new(0) };
    }

    /// Says that a member is made to freeze, so that its death is no fault of others.
    pub fn call_sick(&mut self, node: usize) {
        self.members.get_mut(node).into_iter().for_each(|member| member.is_sick = true);
    }

    pub(crate) fn up(&mut self, node: usize) {
        self.members.get_mut(node).into_iter().for_each(|member| member.is_up = true);
        self.deaths.remove(&node);
    }

    pub(crate) fn down(&mut self, node: usize, now: Moment) {
        self.members.get_mut(node).into_iter().for_each(|member| member.is_up = false);
        self.deaths.insert(node, Death { at: now, known_by: BTreeSet::new(), known_after_s: Vec::new() });
    }

    /// A member that was frozen runs again: from now on it is wrong to take it for dead, and it can know better itself.
    pub(crate) fn thawed(&mut self, node: usize, now: Moment) {
        for ((by, subject), since) in &mut self.wounds {
            if *subject == node || *by == node {
                *since = now;
            }
        }
    }

    pub(crate) fn sent(&mut self, len: usize, way: Way) {
        let packets = match way {
            Way::Datagram => 1,
            Way::Connect | Way::Reply => len.div_ceil(SEGMENT_LEN) + HANDSHAKES,
        };
        self.packets += u64::try_from(packets).unwrap_or(0);
        self.bytes += u64::try_from(len).unwrap_or(0);
    }

    pub(crate) fn see(&mut self, by: usize, sighting: &Sighting, now: Moment) {
        let Sighting { subject, incarnation, belief } = *sighting;
        if subject == by {
            return;
        }
        let Member { is_up, is_sick } = self.members.get(subject).copied().unwrap_or_default();
        self.suspicions += u64::from(belief == Belief::Silent);
        self.healthy_suspicions += u64::from(belief == Belief::Silent && !is_sick);
        match belief {
            Belief::Dead if is_up => {
                self.false_deaths.push(FalseDeath { subject, incarnation, by, is_of_sick: is_sick });
                self.wounds.entry((by, subject)).or_insert(now);
            }
            Belief::Dead => {
                if let Some(death) = self.deaths.get_mut(&subject)
                    && death.known_by.insert(by)
                {
                    death.known_after_s.push(now.since(death.at).as_secs_f64());
                }
            }
            Belief::Present | Belief::Silent => {
                self.deaths.get_mut(&subject).into_iter().for_each(|death| {
                    death.known_by.remove(&by);
                });
                if let Some(since) = self.wounds.remove(&(by, subject)) {
                    self.wounds_s.push(now.since(since).as_secs_f64());
                }
            }
        }
    }

    /// How many wrong beliefs in a death were not mended, between members that run.
    pub fn open_wounds(&self) -> usize {
        let is_up = |node: usize| self.members.get(node).is_some_and(|member| member.is_up);
        self.wounds.keys().filter(|(by, subject)| is_up(*by) && is_up(*subject)).count()
    }

    /// Seconds from each crash to the first member that knew it; `None` where nobody has.
    pub fn first_known_s(&self) -> Vec<Option<f64>> {
        self.deaths.values().map(|death| death.known_after_s.first().copied()).collect()
    }

    /// Seconds from the first member that knew of each crash to the last of `survivors`; `None` where not all have.
    pub fn spread_s(&self, survivors: usize) -> Vec<Option<f64>> {
        let spread = |death: &Death| {
            let is_all = death.known_by.len() >= survivors;
            let last = death.known_after_s.iter().copied().reduce(f64::max);
            (is_all).then(|| Some(last? - death.known_after_s.first()?)).flatten()
        };
        self.deaths.values().map(spread).collect()
    }

    /// Seconds from each crash to the last of `survivors` that came to know it; `None` where not all have.
    pub fn all_known_s(&self, survivors: usize) -> Vec<Option<f64>> {
        let last = |death: &Death| death.known_after_s.iter().copied().reduce(f64::max);
        self.deaths.values().map(|death| last(death).filter(|_| death.known_by.len() >= survivors)).collect()
    }

    /// How often a member that is not made to freeze was declared dead and ran, by anybody.
    pub fn healthy_false_views(&self) -> usize {
        self.false_deaths.iter().filter(|death| !death.is_of_sick).count()
    }

    /// How many distinct members, by incarnation, were declared dead and ran; with `healthy_only`, of those that are not made to freeze.
    pub fn false_dead_members(&self, healthy_only: bool) -> usize {
        let dead = self.false_deaths.iter().filter(|death| !(healthy_only && death.is_of_sick));
        dead.map(|death| (death.subject, death.incarnation)).collect::<BTreeSet<_>>().len()
    }
}

/// The value below which this share of all lies; `None` of none.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let wanted = f64::from(u32::try_from(last).ok()?) * share;
    (0_u32..).zip(sorted).take_while(|(n, _)| f64::from(*n) <= wanted.ceil()).last().map(|(_, value)| value)
}
