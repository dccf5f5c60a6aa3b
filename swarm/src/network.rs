//! What happens to packets on their way.

use crate::random::Random;
use std::collections::BTreeSet;
use std::time::Duration;

/// A network. All probabilities are per packet.
#[derive(Debug, Clone)]
pub struct Network {
    /// That it is lost.
    pub loss: f64,
    /// The least and the most time on the way, uniform between them, in seconds.
    pub delay: (f64, f64),
    /// That it arrives twice.
    pub duplicate: f64,
    /// That it is held up by up to 0.1 s more, and so passed by others.
    pub reorder: f64,
    /// That bytes of it change.
    pub corrupt: f64,
    /// Ways that nothing passes, from one member to another.
    pub cuts: BTreeSet<(usize, usize)>,
    /// Members below this number and the others do not hear each other.
    pub split: Option<usize>,
}

impl Default for Network {
    /// A local network without faults.
    fn default() -> Self {
        Self {
            loss: 0.0,
            delay: (0.0005, 0.005),
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            cuts: BTreeSet::new(),
            split: None,
        }
    }
}

/// How a packet arrives.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// After this time.
    pub after: Duration,
    /// Whether bytes of it changed.
    pub is_damaged: bool,
}

impl Network {
    /// How often, when and in what state a packet arrives.
    pub fn carry(&self, random: &mut Random, from: usize, to: usize) -> impl Iterator<Item = Fate> + use<> {
        let is_cut = self.cuts.contains(&(from, to)) || self.split.is_some_and(|at| (from < at) != (to < at));
        let copies = match (is_cut || random.happens(self.loss), random.happens(self.duplicate)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        let mut fate = || {
            let late = if random.happens(self.reorder) { random.between(0.0, 0.1) } else { 0.0 };
            let after = Duration::from_secs_f64(random.between(self.delay.0, self.delay.1) + late);
            Fate { after, is_damaged: random.happens(self.corrupt) }
        };
        [(copies > 0).then(&mut fate), (copies > 1).then(&mut fate)].into_iter().flatten()
    }
}
