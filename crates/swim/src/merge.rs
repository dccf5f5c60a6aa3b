//! What becomes of what is known of a member when somebody claims something: a pure function.
//!
//! It can be applied in any order and any number of times with the same result: a newer incarnation wins, and in one incarnation the
//! greater status. Two things are outside of it: what a member says by itself, directly, and what is claimed of this node.

use crate::id::{Incarnation, Status};
use std::cmp::Ordering;

/// What is known of a member, as far as it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) incarnation: Incarnation,
    pub(crate) status: Status,
    /// Whether the payload of this incarnation is known.
    pub(crate) has_payload: bool,
}

/// What somebody claims of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) incarnation: Incarnation,
    pub(crate) status: Status,
    /// Whether the claim comes with a payload.
    pub(crate) has_payload: bool,
}

/// What becomes of the payload that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadChange {
    /// It stays.
    Keep,
    /// It is that of the claim now.
    Take,
    /// It may be an old one: it is not told to others any more.
    Doubt,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The claim is newer: its incarnation and address are taken.
    pub(crate) is_newer: bool,
    /// The status afterwards.
    pub(crate) status: Status,
    pub(crate) payload: PayloadChange,
}

/// `None` if the claim is older than what is known.
pub(crate) fn merge(known: &Known, claim: &Claim) -> Option<Change> {
    match claim.incarnation.cmp(&known.incarnation) {
        Ordering::Greater => {
            let payload = if claim.has_payload { PayloadChange::Take } else { PayloadChange::Doubt };
            Some(Change { is_newer: true, status: claim.status, payload })
        }
        Ordering::Equal => {
            let status = known.status.max(claim.status);
            let is_wanted = claim.has_payload && !known.has_payload;
            let payload = if is_wanted { PayloadChange::Take } else { PayloadChange::Keep };
            Some(Change { is_newer: false, status, payload })
        }
        Ordering::Less => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    fn incarnation(version: u64) -> Incarnation {
        Incarnation { generation: 1, version }
    }

    #[test]
    fn the_table_of_claims() {
        let mut table = String::new();
        for known_status in Status::ALL {
            for (version, age) in [(0, "older"), (1, "equal"), (2, "newer")] {
                for status in Status::ALL {
                    let known = Known { incarnation: incarnation(1), status: known_status, has_payload: true };
                    let claim = Claim { incarnation: incarnation(version), status, has_payload: false };
                    let after = merge(&known, &claim).map_or(known_status, |change| change.status);
                    writeln!(table, "{known_status:<9} + {age} {status:<9} -> {after}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_payload_is_taken_once_and_doubted_when_a_newer_one_may_be() {
        for (has_payload, version, claimed, expected) in [
            (true, 1, true, PayloadChange::Keep),
            (true, 1, false, PayloadChange::Keep),
            (false, 1, true, PayloadChange::Take),
            (false, 1, false, PayloadChange::Keep),
            (true, 2, true, PayloadChange::Take),
            (true, 2, false, PayloadChange::Doubt),
            (false, 2, false, PayloadChange::Doubt),
        ] {
            let known = Known { incarnation: incarnation(1), status: Status::Alive, has_payload };
            let claim = Claim { incarnation: incarnation(version), status: Status::Alive, has_payload: claimed };
            assert_eq!(merge(&known, &claim).unwrap().payload, expected, "{has_payload} {version} {claimed}");
        }
    }

    fn claims() -> impl Strategy<Value = Claim> {
        (0..3_u64, 0..4_usize).prop_map(|(version, status)| Claim {
            incarnation: incarnation(version),
            status: Status::ALL[status],
            has_payload: false,
        })
    }

    fn apply(known: Known, claim: &Claim) -> Known {
        match merge(&known, claim) {
            None => known,
            Some(change) => Known {
                incarnation: if change.is_newer { claim.incarnation } else { known.incarnation },
                status: change.status,
                has_payload: known.has_payload,
            },
        }
    }

    proptest! {
        #[test]
        fn the_order_of_claims_does_not_matter(first in claims(), second in claims(), third in claims()) {
            let start = Known { incarnation: incarnation(0), status: Status::Alive, has_payload: false };
            let forth = [&first, &second, &third].into_iter().fold(start, apply);
            let back = [&third, &second, &first, &second].into_iter().fold(start, apply);
            prop_assert_eq!(forth, back);
            prop_assert!(forth.incarnation >= first.incarnation);
        }
    }
}
