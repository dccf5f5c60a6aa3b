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
    /// How loss strikes TCP.
    pub streams: Streams,
}

/// How loss strikes TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// What is lost is sent again: the first packet of a connection after 1, 2, 4 s and so on (RFC 6298), data after 0.2, 0.4, 0.8 s and so on, as
    /// Linux does on a quick network.
    SentAgain,
    /// Not at all: kinder than any real network to rules that use it.
    Spared,
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
            streams: Streams::SentAgain,
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

/// So often the first packet of a connection is sent, and so often data on it.
const TRIES: u32 = 6;

impl Network {
    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to)) || self.split.is_some_and(|at| (from < at) != (to < at))
    }

    /// After what time a message on a TCP connection arrives, which is opened for it if it is `new`. `None` where there is no way, or luck has
    /// failed for so long that the sender gives up.
    pub fn stream(&self, random: &mut Random, from: usize, to: usize, is_new: bool) -> Option<Duration> {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return None;
        }
        let loss = if self.streams == Streams::Spared { 0.0 } else { self.loss };
        let mut secs = 0.0;
        // To open it, a packet has to pass in each direction.
        let pairs = if is_new { Some((1.0 - (1.0 - loss).powi(2), 1.0, 2)) } else { None };
        for (failure, wait_s, ways) in pairs.into_iter().chain([(loss, 0.2, 1)]) {
            let failed = (0..TRIES).take_while(|_| random.happens(failure)).count();
            let failed = i32::try_from(failed).ok().filter(|failed| failed.unsigned_abs() < TRIES)?;
            secs += wait_s * (2.0_f64.powi(failed) - 1.0);
            secs += (0..ways).map(|_| random.between(self.delay.0, self.delay.1)).sum::<f64>();
        }
        Some(Duration::from_secs_f64(secs))
    }

    /// How often, when and in what state a packet arrives.
    pub fn carry(&self, random: &mut Random, from: usize, to: usize) -> impl Iterator<Item = Fate> + use<> {
        let is_cut = self.is_cut(from, to);
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
