//! What to do next, as a pure function of where every unit is. Level-triggered: it is asked again after every change and
//! remembers nothing.

use crate::state::Lane;

/// What the decision needs to know of one unit. Units are in the order they were added, needs before those that need them.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) lane: Lane,
    pub(crate) needs: Vec<usize>,
    /// It is up but reported a failure.
    pub(crate) failed: bool,
    /// It backs off and the pause is over.
    pub(crate) pause_over: bool,
}

/// A step to take for the unit with that index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start(usize),
    /// Drop the start that is under way. Asked for until it has ended.
    CancelStart(usize),
    /// Drain, then stop.
    Drain(usize),
    EndPause(usize),
    LetGo(usize),
}

/// The steps that are due. Starts are due when all needs are ready; a drain when nothing that must go first is still up:
/// in a shutdown everything added later, otherwise everything that needs the unit.
pub(crate) fn decide(views: &[View], stopping: bool) -> Vec<Action> {
    let well = |i: &usize| views.get(*i).is_some_and(|v| v.lane == Lane::Ready && !v.failed);
    let mut actions = Vec::new();
    for (i, view) in views.iter().enumerate() {
        let needs_well = view.needs.iter().all(well);
        let must_go = stopping || view.failed || !needs_well;
        let first_to_go = |j: usize, other: &View| if stopping { j > i } else { other.needs.contains(&i) };
        let free = views.iter().enumerate().all(|(j, other)| !first_to_go(j, other) || other.lane.is_down());
        match view.lane {
            Lane::Waiting if !stopping && needs_well => actions.push(Action::Start(i)),
            Lane::Starting if stopping || !needs_well => actions.push(Action::CancelStart(i)),
            Lane::Ready if must_go && free => actions.push(Action::Drain(i)),
            Lane::BackingOff if !stopping && view.pause_over => actions.push(Action::EndPause(i)),
            Lane::Waiting | Lane::BackingOff | Lane::Quarantined if stopping => actions.push(Action::LetGo(i)),
            _ => {}
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Event;
    use proptest::prelude::*;

    fn view(lane: Lane, needs: &[usize]) -> View {
        View { lane, needs: needs.to_vec(), failed: false, pause_over: false }
    }

    #[test]
    fn a_unit_starts_only_when_all_its_needs_are_ready() {
        let mut views = [view(Lane::Ready, &[]), view(Lane::Starting, &[]), view(Lane::Waiting, &[0, 1])];
        assert_eq!(decide(&views, false), []);
        views[1].lane = Lane::Ready;
        assert_eq!(decide(&views, false), [Action::Start(2)]);
    }

    #[test]
    fn a_failed_unit_waits_until_those_that_need_it_are_down() {
        let mut views = [view(Lane::Ready, &[]), view(Lane::Ready, &[0]), view(Lane::Ready, &[])];
        views[0].failed = true;
        assert_eq!(decide(&views, false), [Action::Drain(1)]);
        views[1].lane = Lane::Stopping;
        assert_eq!(decide(&views, false), []);
        views[1].lane = Lane::Waiting;
        assert_eq!(decide(&views, false), [Action::Drain(0)]);
    }

    #[test]
    fn a_shutdown_goes_strictly_backwards() {
        let mut views = [view(Lane::Ready, &[]), view(Lane::Ready, &[]), view(Lane::Starting, &[0])];
        assert_eq!(decide(&views, true), [Action::CancelStart(2)]);
        views[2].lane = Lane::Stopped;
        assert_eq!(decide(&views, true), [Action::Drain(1)]);
    }

    /// A toy executor that does what is decided, in any order, and checks the two promises at every step.
    fn settle(mut views: Vec<View>, picks: &[usize], stop_at: usize) -> Vec<View> {
        for (step, pick) in picks.iter().enumerate() {
            let stopping = step >= stop_at;
            let mut next: Vec<(usize, Event)> = decide(&views, stopping)
                .into_iter()
                .map(|action| match action {
                    Action::Start(i) => (i, Event::NeedsReady),
                    Action::CancelStart(i) => (i, Event::StartEnded),
                    Action::Drain(i) => (i, Event::Drain),
                    Action::EndPause(i) => (i, Event::PauseOver),
                    Action::LetGo(i) => (i, Event::LetGo),
                })
                .collect();
            for (i, v) in views.iter().enumerate() {
                match v.lane {
                    Lane::Starting => next.extend([(i, Event::Started), (i, Event::StartEnded)]),
                    Lane::Draining => next.push((i, Event::Drained)),
                    Lane::Stopping if stopping => next.push((i, Event::StoppedForGood)),
                    Lane::Stopping => next.extend([(i, Event::StoppedToWait), (i, Event::StoppedToBackOff)]),
                    _ => {}
                }
            }
            if next.is_empty() {
                continue;
            }
            let (i, event) = next[pick % next.len()];
            let to = views[i].lane.on(event).expect("a decision that the table forbids");
            if event == Event::NeedsReady {
                assert!(views[i].needs.iter().all(|n| views[*n].lane == Lane::Ready), "used before ready");
            }
            if event == Event::Drain {
                let users = views.iter().filter(|v| v.needs.contains(&i));
                assert!(users.clone().all(|v| v.lane.is_down()), "gone while in use");
            }
            views[i].lane = to;
            views[i].failed = event == Event::Started && pick % 3 == 0;
            views[i].pause_over = to == Lane::BackingOff;
        }
        views
    }

    proptest! {
        #[test]
        fn nothing_is_used_before_it_is_ready_or_after_it_is_gone(
            edges in prop::collection::vec(any::<u8>(), 1..6),
            picks in prop::collection::vec(any::<usize>(), 0..200),
            stop_at in 0_usize..200,
        ) {
            let views: Vec<_> = edges
                .iter()
                .enumerate()
                .map(|(i, mask)| view(Lane::Waiting, &(0..i).filter(|n| mask >> n & 1 == 1).collect::<Vec<_>>()))
                .collect();
            let views = settle(views, &picks, stop_at);
            // Then a shutdown, with enough steps, brings every unit to its end.
            let done = settle(views, &vec![0; 60], 0);
            prop_assert!(done.iter().all(|v| v.lane == Lane::Stopped), "{done:?}");
        }
    }
}
