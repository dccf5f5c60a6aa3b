//! What is sent: written when it is taken, so that it says what is known then.

use super::{Swim, Transmit};
use crate::codec::{
    ACCUSATIONS_MAX, AE_KEY, Accusation, FailureDetection, GroupKey, Kind, Meta, NEWS_KEY, Output, PACKET_LEN_MAX,
    Record, Route, TrailerFields, VERSION, encode_quit, open_body,
};
use crate::config::Trust;
use crate::id::{Incarnation, MemberId, Status};
use crate::news::Offer;
use crate::table::{Member, Slot};
use crate::time::Moment;
use crate::timers::Wait;
use std::net::SocketAddr;

/// Something to send.
#[derive(Debug)]
pub(super) enum Out {
    /// A member is asked, directly or through another.
    Ping { slot: Slot, addr: SocketAddr, number: u64, via: Option<SocketAddr> },
    /// An address is asked, whoever may be there.
    Greeting { addr: SocketAddr, slot: Option<Slot>, number: u64 },
    /// A member is answered, by the way by which it asked.
    Ack { slot: Slot, addr: SocketAddr, via: Option<SocketAddr>, number: Option<u64>, limit: usize, rumour: Status },
    /// A member is told what is new, and with `is_full` what is known.
    Gossip { slot: Slot, is_full: bool },
    /// This node goes.
    Quit { addr: SocketAddr, id: MemberId, incarnation: Incarnation },
    /// Nothing came back through this node.
    Nack { addr: SocketAddr, number: u64 },
    /// A packet of another, with a new head.
    Passed { meta: Meta, to: SocketAddr, rest: Box<[u8]> },
}

/// A payload up to this long goes with every record of its member, so that a mere new version does not make others doubt it.
const SHORT_PAYLOAD: usize = 128;

/// What a packet consists of beside its records.
struct Frame {
    to: SocketAddr,
    via: Option<SocketAddr>,
    kind: Option<Kind>,
    number: Option<u64>,
    nack: Option<u64>,
    limit: usize,
    /// Said first: what is believed of the receiver.
    buddy: Option<(Slot, Status)>,
    records: Records,
}

/// Which records a packet has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    /// None: the address may be anybody's.
    None,
    /// This node's own.
    Own,
    /// What is new.
    News,
    /// What is new, and as much as fits of what is known.
    All,
}

impl Swim {
    /// The next datagram to send, written into `buf`, which has room for [`crate::DATAGRAM_LEN_MAX`] bytes. `None`: there is none now.
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<Transmit> {
        loop {
            let out = self.out.pop_front()?;
            let Some(Transmit { to, len }) = self.write(&out, buf) else { continue };
            let len = match &self.config.codec {
                Some(codec) => codec.encrypt(self.entropy.iv(), buf, len),
                None => Some(len),
            };
            if let Some(len) = len {
                return Some(Transmit { to, len });
            }
        }
    }

    fn write(&mut self, out: &Out, buf: &mut [u8]) -> Option<Transmit> {
        let frame = |to, records| Frame {
            to,
            via: None,
            kind: None,
            number: None,
            nack: None,
            limit: PACKET_LEN_MAX,
            buddy: None,
            records,
        };
        let frame = match *out {
            Out::Ping { slot, addr, number, via } => {
                let member = self.table.get(slot)?;
                let records = if member.is_verified { Records::All } else { Records::None };
                let buddy = Some((slot, member.status));
                Frame { via, kind: Some(Kind::Ping), number: Some(number), buddy, ..frame(addr, records) }
            }
            Out::Greeting { addr, slot, number } => {
                let buddy = slot.and_then(|slot| Some((slot, self.table.get(slot)?.status)));
                Frame { kind: Some(Kind::Ping), number: Some(number), buddy, ..frame(addr, Records::Own) }
            }
            Out::Ack { slot, addr, via, number, limit, rumour } => {
                let status = self.table.get(slot)?.status.max(rumour);
                let buddy = Some((slot, status));
                Frame { via, kind: Some(Kind::Ack), number, limit, buddy, ..frame(addr, Records::All) }
            }
            Out::Gossip { slot, is_full } => {
                let addr = self.table.get(slot)?.addr();
                frame(addr, if is_full { Records::All } else { Records::News })
            }
            Out::Nack { addr, number } => Frame { nack: Some(number), ..frame(addr, Records::None) },
            Out::Quit { addr, id, incarnation } => return self.write_quit(buf, addr, &id, incarnation),
            Out::Passed { meta, to, ref rest } => {
                let mut out = Output::new(buf, PACKET_LEN_MAX);
                meta.encode(&mut out);
                out.put(rest);
                return out.is_whole().then(|| Transmit { to, len: out.len() });
            }
        };
        self.write_frame(&frame, buf)
    }

    fn write_frame(&mut self, frame: &Frame, buf: &mut [u8]) -> Option<Transmit> {
        let limit = frame.limit.min(PACKET_LEN_MAX);
        let oneself = self.table.get(self.me)?;
        let (id, incarnation) = (oneself.id, oneself.incarnation);
        let route = frame.via.map(|_| Route { source: self.config.addr, destination: frame.to });
        let meta = Meta { version: VERSION, source: self.config.addr, route };
        let mut trailer = TrailerFields {
            label: self.config.label,
            number: frame.number,
            nack: frame.nack,
            accusations: &[],
            key: None,
        };
        let key = self.signing_key().cloned();
        trailer.key = key.as_ref();
        let reserved = 34 * if self.suspicions.is_empty() { 0 } else { ACCUSATIONS_MAX };
        let mut out = Output::new(buf, limit);
        meta.encode(&mut out);
        let body_start = out.len();
        let sections = usize::from(frame.kind.is_some())
            + match frame.records {
                Records::None => 0,
                Records::Own | Records::News => 1,
                Records::All => 2,
            };
        // Too little room for arrays of no records: only what has to be there is.
        let detection = if frame.kind.is_some() { 24 } else { 0 };
        let fixed = body_start + 20 + detection + trailer.encoded_len();
        let records = if fixed + 8 > limit { Records::None } else { frame.records };
        let sections = if records == Records::None { usize::from(frame.kind.is_some()) } else { sections };
        open_body(&mut out, u8::try_from(sections).ok()?, &id);
        if let Some(kind) = frame.kind {
            FailureDetection { kind, incarnation }.encode(&mut out);
        }
        let mut accusations = [Accusation { subject: MemberId::NIL, accuser: MemberId::NIL }; ACCUSATIONS_MAX];
        let mut count = 0;
        self.told.clear();
        if records != Records::None {
            let after = trailer.encoded_len() + if records == Records::All { 4 } else { 0 };
            out.set_limit(limit.saturating_sub(after + reserved));
            self.write_news(&mut out, frame.buddy, records);
            count = self.accusations(&mut accusations);
        }
        trailer.accusations = accusations.get(..count).unwrap_or_default();
        out.set_limit(limit.saturating_sub(trailer.encoded_len()));
        if records == Records::All {
            self.write_known(&mut out);
        }
        out.set_limit(limit);
        trailer.encode(&mut out, &meta, body_start);
        out.is_whole().then(|| Transmit { to: frame.via.unwrap_or(frame.to), len: out.len() })
    }

    /// The dissemination section: what is believed of the receiver if it is not well, then what is new.
    fn write_news(&mut self, out: &mut Output<'_>, buddy: Option<(Slot, Status)>, records: Records) {
        let mut array = out.open_array(NEWS_KEY);
        let table = &self.table;
        let told = &mut self.told;
        let mut put = |slot: Slot, status: Option<Status>, with_payload: bool, out: &mut Output<'_>| -> Offer {
            if told.contains(&slot) {
                return Offer::Told;
            }
            let Some(record) = table.get(slot).map(|member| record(member, status, with_payload)) else {
                return Offer::Stale;
            };
            if record.encoded_len() > out.room() {
                return Offer::NoRoom;
            }
            record.encode(out);
            told.push(slot);
            array.count += 1;
            Offer::Told
        };
        if let Some((slot, status)) = buddy.filter(|(_, status)| *status != Status::Alive) {
            put(slot, Some(status), false, out);
        }
        if records == Records::Own {
            put(self.me, None, false, out);
            return out.close_array(&array);
        }
        let times = times(self.present);
        let mut done = Vec::new();
        let news = &mut self.news;
        for queue in [&mut news.urgent, &mut news.presence] {
            queue.offer(
                times,
                |slot, number| match table.get(slot) {
                    Some(member) if member.news == number => put(slot, None, member.payload_news != 0, out),
                    _ => Offer::Stale,
                },
                |slot, _| done.push(slot),
            );
        }
        let mut payload_done = Vec::new();
        news.payloads.offer(
            times,
            |slot, number| match table.get(slot) {
                Some(member) if member.payload_news == number && member.is_payload_known => put(slot, None, true, out),
                _ => Offer::Stale,
            },
            |slot, _| payload_done.push(slot),
        );
        out.close_array(&array);
        for slot in done {
            self.table.get_mut(slot).into_iter().for_each(|member| member.news = 0);
        }
        for slot in payload_done {
            self.table.get_mut(slot).into_iter().for_each(|member| member.payload_news = 0);
        }
    }

    /// The anti-entropy section: members by turns, as many as fit. Absent if not even its head fits, as Tarantool has it.
    fn write_known(&mut self, out: &mut Output<'_>) {
        let mut array = out.open_array(AE_KEY);
        for _ in 0..self.table.len() {
            let Some(slot) = self.table.next_to_tell() else { break };
            if self.told.contains(&slot) {
                continue;
            }
            let Some(member) = self.table.get(slot).filter(|member| member.is_verified) else { continue };
            let record = record(member, None, true);
            if record.encoded_len() > out.room() {
                self.table.untell();
                break;
            }
            record.encode(out);
            array.count += 1;
        }
        out.close_array(&array);
    }

    /// Who found those silent who are told to be suspected.
    fn accusations(&self, accusations: &mut [Accusation]) -> usize {
        let subjects = self.told.iter().filter_map(|slot| self.table.get(*slot));
        let all = subjects.filter(|member| member.status == Status::Suspected).flat_map(|member| {
            let accusers = self.suspicions.get(&member.id).map_or(&[][..], |suspicion| &suspicion.accusers);
            accusers.iter().map(|accuser| Accusation { subject: member.id, accuser: *accuser })
        });
        let named = all.filter(|accusation| !accusation.accuser.is_nil());
        accusations.iter_mut().zip(named).map(|(place, accusation)| *place = accusation).count()
    }

    fn write_quit(&self, buf: &mut [u8], to: SocketAddr, id: &MemberId, incarnation: Incarnation) -> Option<Transmit> {
        let meta = Meta { version: VERSION, source: self.config.addr, route: None };
        let mut out = Output::new(buf, PACKET_LEN_MAX);
        meta.encode(&mut out);
        let body_start = out.len();
        open_body(&mut out, 1, id);
        encode_quit(&mut out, incarnation);
        let trailer = TrailerFields { label: self.config.label, key: self.signing_key(), ..TrailerFields::default() };
        trailer.encode(&mut out, &meta, body_start);
        out.is_whole().then(|| Transmit { to, len: out.len() })
    }

    fn signing_key(&self) -> Option<&GroupKey> {
        match &self.config.trust {
            Trust::Open => None,
            Trust::Signed(keys) => keys.first(),
        }
    }

    /// News goes to a few members, as long as there is news.
    pub(super) fn gossip(&mut self, now: Moment) {
        self.is_gossiping = !self.news.is_empty();
        if !self.is_gossiping {
            return;
        }
        self.wait(now.after(self.config.timing.gossip), Wait::Gossip);
        let me = self.config.id;
        let fits = |member: &Member| member.id != me && member.status.is_present() && member.is_verified;
        self.table.pick(&mut self.entropy, self.config.limits.fanout, &mut self.picked, fits);
        for slot in &self.picked {
            self.out.push_back(Out::Gossip { slot: *slot, is_full: false });
        }
    }
}

/// A member as it is told to others.
fn record(member: &Member, status: Option<Status>, with_payload: bool) -> Record<'_> {
    let goes_along = member.is_payload_known && (with_payload || member.payload.len() <= SHORT_PAYLOAD);
    Record {
        id: member.id,
        status: status.unwrap_or(member.status),
        addr: member.addr(),
        incarnation: member.incarnation,
        payload: goes_along.then_some(&*member.payload),
    }
}

/// How often a change is told by each member in a group of `present`: after that the chance that somebody has not heard it is small, and
/// anti-entropy does the rest.
fn times(present: usize) -> usize {
    let steps = present.checked_ilog2().map_or(1, |log| log + 1);
    usize::try_from(2 * steps + 2).unwrap_or(usize::MAX)
}
