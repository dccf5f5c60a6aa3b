//! One member of a group.

mod change;
mod commands;
mod healing;
mod input;
mod output;
mod probing;
mod relay;

use crate::allowance::Allowance;
use crate::codec::{Packet, PacketError, Trailer, is_signed};
use crate::config::{Config, Trust};
use crate::entropy::Entropy;
use crate::error::SwimError;
use crate::event::{Changes, Event, Reason};
use crate::graves::Graves;
use crate::health::Health;
use crate::id::{Incarnation, MemberId, Status};
use crate::news::{News, Weight};
use crate::suspicion::Suspicion;
use crate::table::{Member, Slot, Table};
use crate::time::{Moment, WatchedTime};
use crate::timers::{Timers, Wait};
use healing::Greeting;
use output::Out;
use probing::Probe;
use relay::Passed;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// One member of a group, without IO: its caller has the socket and the clock.
///
/// ```text
///   datagram --> handle_datagram --.                      .--> poll_transmit --> datagrams to send
///   time ------> handle_timeout ---+--> table, waits -----+--> poll_event -----> what happened, and why
///   commands --> probe, quit, .. --'                      '--> poll_timeout ---> when to call again
/// ```
///
/// After each input the caller takes all that [`Self::poll_transmit`] and [`Self::poll_event`] give, and then calls
/// [`Self::handle_timeout`] not before [`Self::poll_timeout`] says.
///
/// What others believe of a member, as one node sees it:
///
/// ```text
///              claim: suspected; or a probe without an answer
///      Alive ------------------------------------------------> Suspected
///      ^ ^ ^                                                    |  |
///      | | '--------- newer claim; a packet of its own ---------'  | time is over; claim: dead
///      | |                                                         v
///      | '----------- newer claim; a packet of its own ---------- Dead --> forgotten, and asked now and then
///      |
///      '------------- newer claim; a packet of its own ---------- Left --> forgotten
///                                     (from each: claim left or quit)
/// ```
///
/// Memory is bounded by [`crate::Limits`], whatever others send.
#[derive(Debug)]
pub struct Swim {
    config: Config,
    time: WatchedTime,
    entropy: Entropy,
    table: Table,
    me: Slot,
    /// How many members are alive or suspected, this one among them.
    present: usize,
    news: News,
    is_gossiping: bool,
    timers: Timers,
    epoch: u32,
    probes: Vec<Probe>,
    /// The numbers of the last probes, also of those that are over: a late answer is an answer.
    asked: VecDeque<(u64, Slot)>,
    suspicions: BTreeMap<MemberId, Suspicion>,
    /// Who has spoken against a suspicion by itself, and when. For a short while others' word in the same incarnation is old news.
    cleared: BTreeMap<MemberId, Moment>,
    health: Health,
    graves: Graves,
    seeds: Vec<SocketAddr>,
    greetings: BTreeMap<SocketAddr, Greeting>,
    greeting_allowance: Allowance,
    welcome_allowance: Allowance,
    passed: Vec<Passed>,
    pass_allowance: Allowance,
    out: VecDeque<Out>,
    events: VecDeque<Event>,
    picked: Vec<Slot>,
    told: Vec<Slot>,
    has_left: bool,
}

/// A datagram to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// How many bytes of the buffer it has.
    pub len: usize,
}

/// What a node knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberView<'a> {
    /// Who.
    pub id: MemberId,
    /// What is believed of it.
    pub status: Status,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// Its payload; `None` while that of this incarnation is not known.
    pub payload: Option<&'a [u8]>,
}

impl Swim {
    /// A member that knows only itself. `seed` has to be unpredictable, or the numbers that others have to repeat are not.
    ///
    /// # Errors
    ///
    /// [`SwimError`] says which setting is not usable.
    pub fn new(config: Config, seed: &[u8; 32], now: Moment) -> Result<Self, SwimError> {
        commands::check(&config)?;
        let mut entropy = Entropy::new(seed);
        let mut table = Table::default();
        let mut oneself =
            Member::new(config.id, config.addr, Incarnation { generation: config.generation, version: 0 });
        oneself.is_payload_known = true;
        oneself.is_verified = true;
        oneself.is_ours = true;
        oneself.payload = config.payload.as_slice().into();
        let me = table.insert(oneself, &mut entropy).ok_or(SwimError::Full { members: 0 })?;
        let stall = (config.local_health == crate::LocalHealth::On).then_some(config.timing.stall);
        let limits = config.limits;
        let mut swim = Self {
            time: WatchedTime::new(stall),
            entropy,
            table,
            me,
            present: 1,
            news: News::default(),
            is_gossiping: false,
            timers: Timers::default(),
            epoch: 0,
            probes: Vec::new(),
            asked: VecDeque::new(),
            suspicions: BTreeMap::new(),
            cleared: BTreeMap::new(),
            health: Health::new(config.local_health),
            graves: Graves::new(limits.graves, limits.keep_graves),
            seeds: Vec::new(),
            greetings: BTreeMap::new(),
            greeting_allowance: Allowance::new(limits.greetings_per_second, limits.greetings_per_second),
            welcome_allowance: Allowance::new(8, 16),
            passed: Vec::new(),
            pass_allowance: Allowance::new(limits.forwards_per_second, limits.forwards_per_second),
            out: VecDeque::new(),
            events: VecDeque::new(),
            picked: Vec::new(),
            told: Vec::new(),
            has_left: false,
            config,
        };
        let (now, _) = swim.time.observe(now, None);
        swim.wait_for_turn(now, 0);
        let first = swim.config.timing.heal.mul_f64(swim.chance());
        swim.wait(now.after(first), Wait::Heal);
        swim.tell(me, Weight::Presence);
        swim.event(me, Changes::NEW, Reason::Asked);
        Ok(swim)
    }

    /// A datagram has come. It is decrypted where it is.
    ///
    /// # Errors
    ///
    /// [`PacketError`] says why nothing of it was applied. Anybody can send such datagrams: count them, do not log each.
    pub fn handle_datagram(&mut self, now: Moment, datagram: &mut [u8]) -> Result<(), PacketError> {
        if self.has_left {
            return Ok(());
        }
        let now = self.observe(now);
        let len = datagram.len();
        let plain: &[u8] = match &self.config.codec {
            Some(codec) => codec.decrypt(datagram)?,
            None => datagram,
        };
        let packet = Packet::decode(plain)?;
        let trailer = Trailer::decode(packet.trailer);
        if let Trust::Signed(keys) = &self.config.trust {
            let signed = trailer.is_some_and(|trailer| is_signed(keys, &packet.meta, packet.body.bytes(), &trailer));
            if !signed {
                return Err(PacketError::Unsigned);
            }
        }
        let theirs = trailer.and_then(|trailer| trailer.label);
        if theirs.is_some() && self.config.label.is_some() && theirs != self.config.label {
            return Err(PacketError::OtherGroup);
        }
        match packet.meta.route {
            Some(route) if route.destination != self.config.addr => {
                self.pass_on(now, plain, &packet, &route, trailer.and_then(|trailer| trailer.number));
            }
            _ => self.receive(now, &packet, trailer, len),
        }
        Ok(())
    }

    /// Does what is due. To be called when [`Self::poll_timeout`] says; too early is harmless, and too late counts as bad health of this node.
    pub fn handle_timeout(&mut self, now: Moment) {
        let now = self.observe(now);
        while let Some(wait) = self.timers.due(now) {
            match wait {
                Wait::Round => self.next_round(now),
                Wait::Gossip => self.gossip(now),
                Wait::Heal => self.heal(now),
                Wait::Probe { number, step } => self.take_step(now, number, step),
                Wait::Suspicion { id, epoch } => self.end_suspicion(now, &id, epoch),
                Wait::Forget { id, incarnation, status } => self.forget(now, &id, incarnation, status),
                Wait::Nack { number } => self.send_nack(number),
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called next; `None` after [`Self::quit`].
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.timers.next().map(|next| self.time.told(next))
    }

    /// What happened, in its order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All members that this node knows, by id; itself, the dead and those that have left among them.
    pub fn members(&self) -> impl Iterator<Item = MemberView<'_>> {
        self.table.iter().map(|(_, member)| view(member))
    }

    /// What this node knows of a member.
    pub fn member(&self, id: &MemberId) -> Option<MemberView<'_>> {
        self.table.get(self.table.find(id)?).map(view)
    }

    /// How many members this node knows, itself, the dead and those that have left among them.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Never: a node knows itself.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// How many members are alive or suspected, this one among them.
    pub fn present(&self) -> usize {
        self.present
    }

    /// This node's id.
    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// How far this node distrusts itself: 0 not at all, 7 entirely.
    pub fn health_score(&self) -> u32 {
        self.health.score()
    }

    /// Whether the node has quit. What it still has to send is with [`Self::poll_transmit`].
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    fn observe(&mut self, told: Moment) -> Moment {
        let (now, stalled) = self.time.observe(told, self.timers.next());
        if let Some(stalled) = stalled {
            let periods = stalled.as_secs_f64() / self.config.timing.period.as_secs_f64().max(1e-9);
            self.health.worse(if periods < 1.0 { 1 } else { 3 });
        }
        now
    }

    /// Sets a deadline. Those that are over are let lie until there are too many of them.
    fn wait(&mut self, deadline: Moment, wait: Wait) {
        if self.timers.len() > 4 * self.table.len() + 1024 {
            let (table, suspicions, probes) = (&self.table, &self.suspicions, &self.probes);
            self.timers.purge(|wait| match wait {
                Wait::Round | Wait::Gossip | Wait::Heal | Wait::Nack { .. } => true,
                Wait::Probe { number, .. } => probes.iter().any(|probe| probe.number == *number),
                Wait::Suspicion { id, epoch } => suspicions.get(id).is_some_and(|found| found.epoch == *epoch),
                Wait::Forget { id, incarnation, status } => table
                    .find(id)
                    .and_then(|slot| table.get(slot))
                    .is_some_and(|member| (member.incarnation, member.status) == (*incarnation, *status)),
            });
        }
        self.timers.set(deadline, wait);
    }

    fn event(&mut self, slot: Slot, changes: Changes, reason: Reason) {
        if let Some(member) = self.table.get(slot) {
            self.events.push_back(Event {
                id: member.id,
                status: member.status,
                addr: member.addr(),
                incarnation: member.incarnation,
                changes,
                reason,
            });
        }
    }

    fn next_epoch(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        self.epoch
    }

    /// A number from 0 up to 1.
    fn chance(&mut self) -> f64 {
        f64::from(u32::try_from(self.entropy.number() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

fn view(member: &Member) -> MemberView<'_> {
    MemberView {
        id: member.id,
        status: member.status,
        addr: member.addr(),
        incarnation: member.incarnation,
        payload: member.is_payload_known.then_some(&*member.payload),
    }
}
