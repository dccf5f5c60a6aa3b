//! News that memberlist and foca add to their packets: one rumour for each member, told a limited number of times.

/// What is still to be told: the least told first, of those the longest, of those the newest.
#[derive(Debug)]
pub(crate) struct Rumours<M> {
    /// By the number of the member that they are about.
    current: Vec<Option<(u64, M)>>,
    /// By how often they were told. Among them are some that newer ones have replaced since.
    tiers: Vec<Vec<Entry>>,
    count: usize,
    sequence: u64,
    len_min: usize,
}

/// Ordered as they are told, the first last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    len: usize,
    sequence: u64,
    subject: usize,
}

impl<M: Clone> Rumours<M> {
    pub(crate) fn new() -> Self {
        Self { current: Vec::new(), tiers: Vec::new(), count: 0, sequence: 0, len_min: usize::MAX }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes a rumour of `len` bytes in place of any older one of this member.
    pub(crate) fn put(&mut self, subject: usize, len: usize, rumour: M) {
        self.sequence += 1;
        self.len_min = self.len_min.min(len);
        if self.current.len() <= subject {
            self.current.resize(subject + 1, None);
        }
        if let Some(place) = self.current.get_mut(subject) {
            self.count += usize::from(place.is_none());
            *place = Some((self.sequence, rumour));
        }
        self.push(0, Entry { len, sequence: self.sequence, subject });
    }

    fn push(&mut self, tier: usize, entry: Entry) {
        if self.tiers.len() <= tier {
            self.tiers.resize(tier + 1, Vec::new());
        }
        self.tiers.get_mut(tier).into_iter().for_each(|tier| tier.push(entry));
    }

    /// As many as fit into `room` bytes, each with `frame` bytes beside its own, and the bytes that they take. Each is forgotten when it was told
    /// `times` times.
    pub(crate) fn take(&mut self, room: usize, frame: usize, times: usize) -> (Vec<M>, usize) {
        let (mut used, mut taken, mut told) = (0, Vec::new(), Vec::new());
        for (tier, entries) in self.tiers.iter_mut().enumerate() {
            if self.count == 0 || used + frame + self.len_min > room {
                break;
            }
            // Nearly sorted already: two runs, most of the time.
            entries.sort();
            let mut too_long = Vec::new();
            while used + frame + self.len_min <= room {
                let Some(entry) = entries.pop() else { break };
                let current = self.current.get(entry.subject).and_then(Option::as_ref);
                let Some((_, rumour)) = current.filter(|(sequence, _)| *sequence == entry.sequence) else { continue };
                if used + frame + entry.len > room {
                    too_long.push(entry);
                    continue;
                }
                used += frame + entry.len;
                taken.push(rumour.clone());
                told.push((tier + 1, entry));
            }
            entries.extend(too_long.into_iter().rev());
        }
        for (tier, entry) in told {
            if tier < times {
                self.push(tier, entry);
            } else if let Some(place) = self.current.get_mut(entry.subject) {
                *place = None;
                self.count -= 1;
            }
        }
        (taken, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rumour_is_told_so_often_and_a_newer_one_takes_its_place() {
        let mut rumours = Rumours::new();
        rumours.put(1, 10, "one");
        rumours.put(2, 10, "two");
        rumours.put(1, 10, "one again");
        assert_eq!(rumours.take(100, 2, 2), (vec!["one again", "two"], 24));
        rumours.put(3, 10, "three");
        assert_eq!(
            rumours.take(24, 2, 2),
            (vec!["three", "one again"], 24),
            "the least told first, and no more than fit"
        );
        assert_eq!(rumours.take(100, 2, 2).0, ["three", "two"]);
        assert!(rumours.is_empty());
    }
}
