//! The members that a node knows, itself among them, and the order in which it turns to them.

use crate::entropy::Entropy;
use crate::id::{Incarnation, MemberId, Status};
use crate::merge::Known;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a member is in the table, as long as it is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// A member as a node knows it. Kept small: a group of ten thousand has a hundred million of them.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) incarnation: Incarnation,
    addr: Packed,
    pub(crate) status: Status,
    /// Whether a packet that was sent to its address was answered by it: until then the address may be another's.
    pub(crate) is_verified: bool,
    /// Whether it is one of ours: it reads what stands behind the body.
    pub(crate) is_ours: bool,
    /// Whether `payload` is that of `incarnation`.
    pub(crate) is_payload_known: bool,
    pub(crate) payload: Box<[u8]>,
    /// The number of the news of its status, or 0.
    pub(crate) news: u32,
    /// The number of the news of its payload, or 0.
    pub(crate) payload_news: u32,
}

impl Member {
    pub(crate) fn new(id: MemberId, addr: SocketAddr, incarnation: Incarnation) -> Self {
        Self {
            id,
            incarnation,
            addr: Packed::from(addr),
            status: Status::Alive,
            is_verified: false,
            is_ours: false,
            is_payload_known: false,
            payload: Box::default(),
            news: 0,
            payload_news: 0,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr.into()
    }

    pub(crate) fn set_addr(&mut self, addr: SocketAddr) {
        self.addr = addr.into();
    }

    pub(crate) fn known(&self) -> Known {
        Known { incarnation: self.incarnation, status: self.status, has_payload: self.is_payload_known }
    }
}

/// An address in the least room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u16),
}

impl From<SocketAddr> for Packed {
    fn from(addr: SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => Self::V4(ip, addr.port()),
            IpAddr::V6(ip) => Self::V6(ip, addr.port()),
        }
    }
}

impl From<Packed> for SocketAddr {
    fn from(packed: Packed) -> Self {
        match packed {
            Packed::V4(ip, port) => (ip, port).into(),
            Packed::V6(ip, port) => (ip, port).into(),
        }
    }
}

/// The members that a node knows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Option<Member>>,
    free: Vec<Slot>,
    /// Sorted by id.
    by_id: Vec<Slot>,
    /// All of them, as chance has put them.
    order: Vec<Slot>,
    tell_at: usize,
}

impl Table {
    /// Makes room for so many more, and not for a byte beyond them.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.slots.reserve_exact(more);
        self.by_id.reserve_exact(more);
        self.order.reserve_exact(more);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn find(&self, id: &MemberId) -> Option<Slot> {
        let at = self.search(id).ok()?;
        self.by_id.get(at).copied()
    }

    fn search(&self, id: &MemberId) -> Result<usize, usize> {
        self.by_id.binary_search_by(|slot| self.get(*slot).map(|member| member.id).cmp(&Some(*id)))
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Member> {
        self.slots.get(index(slot))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        self.slots.get_mut(index(slot))?.as_mut()
    }

    /// All members, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.by_id.iter().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// Takes a member whose id is not in the table, and gives it a random place among those that have not been told of in this turn.
    pub(crate) fn insert(&mut self, member: Member, entropy: &mut Entropy) -> Option<Slot> {
        let Err(at) = self.search(&member.id) else { return None };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot(u32::try_from(self.slots.len()).ok()?),
        };
        match self.slots.get_mut(index(slot)) {
            Some(place) => *place = Some(member),
            None => self.slots.push(Some(member)),
        }
        self.by_id.insert(at, slot);
        self.order.push(slot);
        let last = self.order.len() - 1;
        let earliest = self.tell_at.min(last);
        self.order.swap(last, earliest + entropy.below(last - earliest + 1));
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.slots.get_mut(index(slot))?.take()?;
        self.by_id.retain(|other| *other != slot);
        if let Some(at) = self.order.iter().position(|other| *other == slot) {
            self.order.remove(at);
            self.tell_at -= usize::from(at < self.tell_at);
        }
        self.free.push(slot);
        Some(member)
    }

    /// The next member to tell others about, so that each has its turn.
    pub(crate) fn next_to_tell(&mut self) -> Option<Slot> {
        if self.tell_at >= self.order.len() {
            self.tell_at = 0;
        }
        let slot = *self.order.get(self.tell_at)?;
        self.tell_at += 1;
        Some(slot)
    }

    /// Gives the last turn back.
    pub(crate) fn untell(&mut self) {
        self.tell_at = self.tell_at.checked_sub(1).unwrap_or(self.order.len().saturating_sub(1));
    }

    /// Up to `count` different members at random that fit.
    pub(crate) fn pick(
        &self,
        entropy: &mut Entropy,
        count: usize,
        picked: &mut Vec<Slot>,
        fits: impl Fn(&Member) -> bool,
    ) {
        picked.clear();
        // Where few fit, chance finds them no more: a walk from a random start does.
        let len = self.order.len();
        for _ in 0..count.saturating_mul(4) {
            let Some(slot) = self.order.get(entropy.below(len)).copied() else { return };
            if picked.len() < count && !picked.contains(&slot) && self.get(slot).is_some_and(&fits) {
                picked.push(slot);
            }
        }
        let start = entropy.below(len);
        let (head, tail) = self.order.split_at_checked(start).unwrap_or_default();
        for slot in tail.iter().chain(head) {
            if picked.len() >= count {
                return;
            }
            if !picked.contains(slot) && self.get(*slot).is_some_and(&fits) {
                picked.push(*slot);
            }
        }
    }
}

fn index(slot: Slot) -> usize {
    usize::try_from(slot.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn id(n: u8) -> MemberId {
        MemberId([n; 16])
    }

    fn table(entropy: &mut Entropy, count: u8) -> Table {
        let mut table = Table::default();
        for n in (1..=count).rev() {
            let member = Member::new(id(n), ([127, 0, 0, 1], u16::from(n)).into(), Incarnation::default());
            assert!(table.insert(member, entropy).is_some());
        }
        table
    }

    #[test]
    fn members_are_found_until_they_are_removed() {
        let mut entropy = Entropy::new(&[1; 32]);
        let mut table = table(&mut entropy, 20);
        let again = Member::new(id(3), ([127, 0, 0, 1], 1).into(), Incarnation::default());
        assert!(table.insert(again, &mut entropy).is_none(), "an id is in the table once");
        let slot = table.find(&id(3)).unwrap();
        assert_eq!(table.remove(slot).unwrap().id, id(3));
        assert!(table.find(&id(3)).is_none() && table.get(slot).is_none() && table.len() == 19);
        assert!(table.iter().map(|(_, member)| member.id).is_sorted());
    }

    #[test]
    fn each_is_told_of_once_a_turn() {
        let mut entropy = Entropy::new(&[2; 32]);
        let mut table = table(&mut entropy, 20);
        for _ in 0..3 {
            let told: BTreeSet<Slot> = (0..20).filter_map(|_| table.next_to_tell()).collect();
            assert_eq!(told.len(), 20);
        }
    }

    #[test]
    fn few_that_fit_are_found() {
        let mut entropy = Entropy::new(&[3; 32]);
        let table = table(&mut entropy, 200);
        let mut picked = Vec::new();
        table.pick(&mut entropy, 3, &mut picked, |member| member.id == id(7));
        assert_eq!(picked, [table.find(&id(7)).unwrap()]);
        table.pick(&mut entropy, 3, &mut picked, |_| true);
        assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn a_member_is_small() {
        assert!(size_of::<Member>() <= 80, "{}", size_of::<Member>());
    }
}
