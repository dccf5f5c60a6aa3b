//! Whose turn it is to ask whom.
//!
//! If everybody chose at random, one member in three would be asked by nobody in a period, and one in a hundred by nobody in four and a half: that is
//! where late verdicts come from. Here each period is a round, whose number follows from the clock. The number puts the members in a circle, in
//! another order each time, and each asks the one behind it: where clocks agree to a part of a period, each member is asked once in each.
//! Where they do not, the rounds have different numbers, and the choice is as good as a random one.

use crate::id::MemberId;
use std::time::Duration;

/// Members ask at different moments of a round, so that they do not all send at once: within this part of it. The shorter, the shorter is the
/// longest time between two turns of one member.
const SPREAD: f64 = 0.25;

/// The rounds of a group with this period, by a clock that said `clock` when the caller's time was zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) clock: Duration,
    pub(crate) period: Duration,
}

impl Turns {
    fn period_nanos(&self) -> u128 {
        self.period.as_nanos().max(1)
    }

    /// The number of the round, `told` after the caller's zero.
    pub(crate) fn round(&self, told: Duration) -> u64 {
        let nanos = self.clock.saturating_add(told).as_nanos();
        u64::try_from(nanos / self.period_nanos()).unwrap_or(u64::MAX)
    }

    /// How long after `told` a member has its turn that leaves out `skipped` rounds.
    pub(crate) fn until_next(&self, told: Duration, id: &MemberId, skipped: u32) -> Duration {
        let now = self.clock.saturating_add(told);
        let into = u64::try_from(now.as_nanos() % self.period_nanos()).unwrap_or(0);
        let share = f64::from(u32::try_from(place(0, id) >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let rounds = self.period.saturating_mul(skipped.saturating_add(1));
        rounds.saturating_add(self.period.mul_f64(SPREAD * share)).saturating_sub(Duration::from_nanos(into))
    }
}

/// Where a member stands in the circle of a round.
fn place(round: u64, id: &MemberId) -> u64 {
    let [a, b] = id.halves();
    mix(mix(a ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ b)
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whom `me` asks in a round: of these, the one behind it in the circle. None if there is nobody else.
pub(crate) fn behind<T>(round: u64, me: &MemberId, others: impl Iterator<Item = (MemberId, T)>) -> Option<T> {
    let here = place(round, me);
    let others = others.filter(|(id, _)| id != me);
    others.min_by_key(|(id, _)| place(round, id).wrapping_sub(here)).map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn id(n: u16) -> MemberId {
        let mut bytes = [7; 16];
        bytes[14..].copy_from_slice(&n.to_be_bytes());
        MemberId(bytes)
    }

    #[test]
    fn in_each_round_each_is_asked_by_one_and_by_another_the_next_time() {
        let members: Vec<MemberId> = (0..50).map(id).collect();
        let asks = |round, me| behind(round, me, members.iter().map(|id| (*id, *id))).unwrap();
        let mut by_first = BTreeSet::new();
        for round in 1_700_000_000..1_700_000_600 {
            let asked: BTreeSet<MemberId> = members.iter().map(|me| asks(round, me)).collect();
            assert_eq!(asked.len(), members.len(), "round {round}");
            by_first.insert(asks(round, &members[0]));
        }
        assert_eq!(by_first.len(), members.len() - 1, "everybody has its turn with everybody");
        assert_eq!(behind(1, &members[0], std::iter::once((members[0], ()))), None);
    }

    #[test]
    fn turns_follow_the_clock() {
        let turns = Turns { clock: Duration::from_millis(10_400), period: Duration::from_secs(1) };
        assert_eq!(turns.round(Duration::ZERO), 10);
        assert_eq!(turns.round(Duration::from_millis(600)), 11);
        for n in 0..100 {
            let next = turns.until_next(Duration::from_millis(700), &id(n), 0);
            assert!((900..=1150).contains(&next.as_millis()), "{next:?}");
            assert_eq!(turns.until_next(Duration::from_millis(700), &id(n), 2), next + Duration::from_secs(2));
        }
        let nothing = Turns { clock: Duration::MAX, period: Duration::ZERO };
        assert_eq!(nothing.round(Duration::MAX), u64::MAX);
        assert_eq!(nothing.until_next(Duration::MAX, &id(1), 7), Duration::ZERO);
    }
}
