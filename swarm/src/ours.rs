//! Our own members in a world: [`swim::Swim`] as it is, to the byte.

use crate::detector::{Belief, Detector, Sighting, Start, Transmit, Way};
use crate::random::Random;
use std::net::SocketAddr;
use swim::{Changes, Config, DATAGRAM_LEN_MAX, Event, Incarnation, MemberId, Moment, Reason, Status, Swim};

/// The id of the member of this number. In the order of numbers.
pub(crate) fn id(node: usize) -> MemberId {
    let mut bytes = [0x5a; 16];
    bytes.iter_mut().zip(u32::try_from(node).unwrap_or(u32::MAX).to_be_bytes()).for_each(|(to, from)| *to = from);
    MemberId(bytes)
}

/// The number of the member with this id.
fn number(id: &MemberId) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*id.0.first_chunk()?)).ok()
}

pub(crate) fn addr(node: usize) -> SocketAddr {
    let [_, b, c, d] = u32::try_from(node).unwrap_or(u32::MAX).to_be_bytes();
    ([10, b, c, d], 3301).into()
}

/// The number of the member at an address. Nobody's if bytes of it were damaged.
fn node_at(addr: SocketAddr) -> usize {
    match addr {
        SocketAddr::V4(v4) => usize::try_from(v4.ip().to_bits() & 0x00ff_ffff).unwrap_or(usize::MAX),
        SocketAddr::V6(_) => usize::MAX,
    }
}

impl Detector for Swim {
    type Settings = fn(Config) -> Config;
    type Packet = Vec<u8>;

    fn start(settings: &Self::Settings, start: Start) -> Option<Self> {
        let config = settings(Config::new(id(start.node), addr(start.node), start.lives));
        Self::new(config, &start.seed, start.now).ok()
    }

    fn know(&mut self, count: usize) {
        let all: Vec<_> = (0..count).map(|node| (id(node), addr(node), Incarnation::default())).collect();
        self.restore(&all);
    }

    fn handle_packet(&mut self, now: Moment, _: usize, mut packet: Vec<u8>) -> bool {
        self.handle_datagram(now, &mut packet).is_err()
    }

    fn handle_timeout(&mut self, now: Moment) {
        Self::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Moment> {
        Self::poll_timeout(self)
    }

    fn poll_transmit(&mut self) -> Option<Transmit<Vec<u8>>> {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        let sent = Self::poll_transmit(self, &mut buf)?;
        let packet = buf.get(..sent.len).unwrap_or_default().to_vec();
        Some(Transmit { to: node_at(sent.to), len: sent.len, way: Way::Datagram, packet })
    }

    fn poll_sighting(&mut self) -> Option<Sighting> {
        std::iter::from_fn(|| self.poll_event()).find_map(|event| sighting(&event))
    }

    fn damaged(mut packet: Vec<u8>, random: &mut Random) -> Option<Vec<u8>> {
        for _ in 0..=random.below(3) {
            let at = random.below(packet.len());
            let flip = 1 << random.below(8);
            packet.get_mut(at).into_iter().for_each(|byte| *byte ^= flip);
        }
        Some(packet)
    }
}

/// What an event says of a member, if it says anything of whether it is there.
fn sighting(event: &Event) -> Option<Sighting> {
    let belief = if event.changes.has(Changes::STATUS) && event.status == Status::Dead {
        Belief::Dead
    } else if matches!(event.reason, Reason::Silent { .. }) {
        Belief::Silent
    } else if event.status.is_present() && !event.changes.has(Changes::DROP) {
        Belief::Present
    } else {
        return None;
    };
    Some(Sighting { subject: number(&event.id)?, incarnation: event.incarnation, belief })
}
