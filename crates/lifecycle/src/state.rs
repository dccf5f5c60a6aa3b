//! The state machines of this crate as tables, so that a change of a lifecycle is reviewed as a change of a table.

use std::fmt;

/// Where a unit is.
///
/// ```text
///              needs ready           started               drain               drained
///   Waiting ---------------> Starting -------> Ready -----------------> Draining -------> Stopping
///      ^                        |               |  failed, needs lost      ^                 |
///      |                        | failed        +--------------------------+                 | stopped
///      | back-off over          v                                                            v
///   BackingOff <----------- Stopping (after a failure)                  Stopped | BackingOff | Quarantined
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Some need is not ready.
    Waiting,
    /// `start` runs.
    Starting,
    /// It serves.
    Ready,
    /// `drain` runs.
    Draining,
    /// `stop` runs, and its tasks are joined.
    Stopping,
    /// It failed and is started again after a pause.
    BackingOff,
    /// It failed in a way that a restart cannot help.
    Quarantined,
    /// It let go of everything, for good.
    Stopped,
}

/// What happens to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// All needs are ready, and nothing is stopping.
    NeedsReady,
    /// `start` returned its product.
    Started,
    /// `start` failed, panicked, or was dropped because of a shutdown.
    StartEnded,
    /// The unit has to go: shutdown, its own failure, or the loss of a need. All that need it are down.
    Drain,
    /// `drain` ended, in time or not.
    Drained,
    /// `stop` ended, and a start may follow at once (a need was lost).
    StoppedToWait,
    /// `stop` ended, after a failure.
    StoppedToBackOff,
    /// `stop` ended, after a failure that a restart cannot help.
    StoppedToQuarantine,
    /// `stop` ended, in a shutdown.
    StoppedForGood,
    /// The pause is over.
    PauseOver,
    /// A shutdown reached a unit that is not up.
    LetGo,
}

/// Every transition a unit may make; anything else is a bug.
pub const UNIT: &[(Lane, Event, Lane)] = &[
    (Lane::Waiting, Event::NeedsReady, Lane::Starting),
    (Lane::Waiting, Event::LetGo, Lane::Stopped),
    (Lane::Starting, Event::Started, Lane::Ready),
    (Lane::Starting, Event::StartEnded, Lane::Stopping),
    (Lane::Ready, Event::Drain, Lane::Draining),
    (Lane::Draining, Event::Drained, Lane::Stopping),
    (Lane::Stopping, Event::StoppedToWait, Lane::Waiting),
    (Lane::Stopping, Event::StoppedToBackOff, Lane::BackingOff),
    (Lane::Stopping, Event::StoppedToQuarantine, Lane::Quarantined),
    (Lane::Stopping, Event::StoppedForGood, Lane::Stopped),
    (Lane::BackingOff, Event::PauseOver, Lane::Waiting),
    (Lane::BackingOff, Event::LetGo, Lane::Stopped),
    (Lane::Quarantined, Event::LetGo, Lane::Stopped),
];

impl Lane {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Waiting,
        Self::Starting,
        Self::Ready,
        Self::Draining,
        Self::Stopping,
        Self::BackingOff,
        Self::Quarantined,
        Self::Stopped,
    ];

    /// Where `event` leads from here, by [`UNIT`]; none if it must not happen here.
    pub fn on(self, event: Event) -> Option<Self> {
        UNIT.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }

    /// Whether it holds nothing: those that it needs may stop.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Waiting | Self::BackingOff | Self::Quarantined | Self::Stopped)
    }
}

impl Event {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::NeedsReady,
        Self::Started,
        Self::StartEnded,
        Self::Drain,
        Self::Drained,
        Self::StoppedToWait,
        Self::StoppedToBackOff,
        Self::StoppedToQuarantine,
        Self::StoppedForGood,
        Self::PauseOver,
        Self::LetGo,
    ];
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::BackingOff => "backing off",
            Self::Quarantined => "quarantined",
            Self::Stopped => "stopped",
        })
    }
}

/// The table as text, one line a state, for the snapshot.
pub fn unit_table() -> String {
    let lines = Lane::ALL.iter().flat_map(|from| {
        let arrow =
            move |event: &Event| from.on(*event).map(|to| format!("{from:<12} {:<20} {to}", format!("{event:?}")));
        Event::ALL.iter().filter_map(arrow)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifecycle_of_a_unit_is_this_table() {
        insta::assert_snapshot!(unit_table());
    }

    #[test]
    fn no_state_and_event_lead_to_two_places() {
        for (i, (from, event, _)) in UNIT.iter().enumerate() {
            assert!(!UNIT[..i].iter().any(|(f, e, _)| f == from && e == event), "{from} {event:?}");
        }
    }

    #[test]
    fn every_state_can_reach_stopped_and_stopped_is_final() {
        for lane in Lane::ALL {
            let mut reached = vec![*lane];
            let mut next = 0;
            while let Some(at) = reached.get(next).copied() {
                next += 1;
                for event in Event::ALL {
                    if let Some(to) = at.on(*event).filter(|to| !reached.contains(to)) {
                        reached.push(to);
                    }
                }
            }
            assert!(reached.contains(&Lane::Stopped), "{lane} is a dead end");
        }
        assert!(Event::ALL.iter().all(|e| Lane::Stopped.on(*e).is_none()));
    }
}
