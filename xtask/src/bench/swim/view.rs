//! Who believes what of whom.

/// What a member said that it believes of another from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It is there.
    There,
    /// It is dead, or has left, or is not known any more.
    Gone,
}

/// What each member believes of each other, and since when in microseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(super) struct View {
    cells: Vec<Vec<Option<(Belief, u64)>>>,
}

impl View {
    /// Nobody knows anybody.
    pub(super) fn new(members: usize) -> Self {
        Self { cells: vec![vec![None; members]; members] }
    }

    /// Takes a member's word. Says whether it is another one than before.
    pub(super) fn take(&mut self, viewer: usize, about: usize, belief: Belief, at_us: u64) -> bool {
        let Some(cell) = self.cells.get_mut(viewer).and_then(|row| row.get_mut(about)) else { return false };
        let is_new = cell.is_none_or(|(before, _)| before != belief);
        if is_new {
            *cell = Some((belief, at_us));
        }
        is_new
    }

    /// A member starts anew, and knows nobody.
    pub(super) fn forget(&mut self, viewer: usize) {
        if let Some(row) = self.cells.get_mut(viewer) {
            row.fill(None);
        }
    }

    /// Since when all believe of all others that they are there.
    pub(super) fn full_since(&self) -> Option<u64> {
        let mut newest = 0;
        for (viewer, row) in self.cells.iter().enumerate() {
            for (_, cell) in row.iter().enumerate().filter(|(about, _)| *about != viewer) {
                match cell {
                    Some((Belief::There, at)) => newest = newest.max(*at),
                    _ => return None,
                }
            }
        }
        Some(newest)
    }

    /// How many pairs are missing from a full view.
    pub(super) fn missing(&self) -> usize {
        let is_missing = |viewer: usize, (about, cell): (usize, &Option<(Belief, u64)>)| {
            about != viewer && !matches!(cell, Some((Belief::There, _)))
        };
        let of_row =
            |(viewer, row): (usize, &Vec<_>)| row.iter().enumerate().filter(|c| is_missing(viewer, *c)).count();
        self.cells.iter().enumerate().map(of_row).sum()
    }

    /// Since when each of the others believes that one is gone; `None` of those that do not.
    pub(super) fn gone_since(&self, about: usize) -> Vec<Option<u64>> {
        let others = self.cells.iter().enumerate().filter(|(viewer, _)| *viewer != about);
        others
            .map(|(_, row)| match row.get(about) {
                Some(Some((Belief::Gone, at))) => Some(*at),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> View {
        let mut view = View::new(3);
        for (viewer, about, at) in [(0, 1, 5), (0, 2, 6), (1, 0, 9), (1, 2, 7), (2, 0, 8), (2, 1, 4)] {
            assert_eq!((view.full_since(), view.missing() > 0), (None, true));
            view.take(viewer, about, Belief::There, at);
        }
        view
    }

    #[test]
    fn a_view_is_full_since_the_last_who_did_not_know_somebody_does() {
        let mut view = full();
        assert_eq!((view.full_since(), view.missing()), (Some(9), 0));
        assert!(!view.take(1, 0, Belief::There, 20), "a word said again is no news");
        assert_eq!(view.full_since(), Some(9));
    }

    #[test]
    fn one_that_was_killed_and_is_back_has_to_know_all_again() {
        let mut view = full();
        view.take(0, 2, Belief::Gone, 30);
        assert_eq!(view.gone_since(2), [Some(30), None]);
        view.take(1, 2, Belief::Gone, 31);
        view.take(1, 2, Belief::Gone, 32);
        assert_eq!(view.gone_since(2), [Some(30), Some(31)]);
        view.forget(2);
        for (viewer, about, at) in [(0, 2, 40), (1, 2, 41), (2, 0, 42), (2, 1, 39)] {
            assert_eq!(view.full_since(), None);
            view.take(viewer, about, Belief::There, at);
        }
        assert_eq!(view.full_since(), Some(42));
    }
}
