//! What `bowline status` and the metrics say of certificates and of the clocks that they hang on.

use super::Node;
use super::membership::{refused, time};
use api::control::{NodeInfo, Problem, Rotation, RotationState, Warning};
use base::Code;
use cluster::{CertificateState, Validity, warning};
use std::collections::BTreeMap;

const DAY_S: i64 = 24 * 60 * 60;
/// Who has not renewed a certificate by then has something in the way.
const CERTIFICATE_LEFT_MIN_S: i64 = 14 * DAY_S;
/// There is time to replace the CA, and nobody should forget it.
const CA_LEFT_MIN_S: i64 = 180 * DAY_S;
/// Clocks that are set by the network differ by less.
const CLOCKS_DIFFER_MAX_MS: u64 = 5_000;

/// What this node knows of its own certificate. None if it belongs to no cluster, or in the simulator.
pub(super) fn own(node: &Node) -> Result<Option<CertificateState>, Problem> {
    match node.units() {
        Some(units) => units.keys.state().map_err(|e| refused(&e)),
        None => Ok(None),
    }
}

/// When the members' certificates end, by their own word.
pub(super) async fn ends(node: &Node) -> BTreeMap<base::NodeId, jiff::Timestamp> {
    let Ok(cluster) = node.cluster() else { return BTreeMap::new() };
    let rows = cluster.certificates().await.unwrap_or_default();
    rows.into_iter().map(|row| (row.node, time(row.ends))).collect()
}

/// How long the certificate and its CA are good yet.
pub(super) fn left_s(node: &Node) -> (Option<i64>, Option<i64>) {
    let Ok(Some(state)) = own(node) else { return (None, None) };
    let now = now();
    (Some(state.validity.not_after - now), ca(&state).map(|ca| ca.not_after - now))
}

fn ca(state: &CertificateState) -> Option<Validity> {
    state.trusted.iter().find(|(ca, _)| *ca == state.issuer).map(|(_, validity)| *validity)
}

/// What will be wrong if nobody does anything.
pub(super) async fn warnings(node: &Node, nodes: &[NodeInfo]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    match own(node) {
        Ok(Some(state)) => {
            warnings.extend(of_certificate(&state, now()));
            warnings.extend(ca(&state).and_then(|ca| of_ca(ca, now())));
        }
        Ok(None) => {}
        Err(Problem { code, message, next, .. }) => warnings.push(Warning { code, message, next }),
    }
    let this = node.units().map(|units| units.record.node);
    let others = nodes.iter().filter(|member| Some(member.id) != this);
    warnings.extend(others.filter_map(|member| of_member(member, now())));
    warnings.extend(nodes.iter().filter_map(of_clock));
    let authority = super::authority::show(node).await.ok();
    warnings.extend(authority.and_then(|authority| authority.rotation).and_then(|rotation| of_rotation(&rotation)));
    warnings
}

fn warn(code: Code, message: String, next: &str) -> Warning {
    Warning { code: code.0.to_owned(), message, next: next.to_owned() }
}

/// A certificate that lives shorter than others, as those of tests do, is renewed later.
fn is_short(left_s: i64, life_s: i64) -> bool {
    left_s < CERTIFICATE_LEFT_MIN_S.min(life_s / 6)
}

fn of_certificate(state: &CertificateState, now: i64) -> Option<Warning> {
    const SET_CLOCK: &str = "`date -u` shows what the clock says; `timedatectl set-ntp true` lets the network set it";
    const LOG: &str = "the daemon's log says what is in the way";
    const LOOK: &str = "take the reason away; it is tried again by itself, every few seconds";
    let Validity { not_before, not_after } = state.validity;
    let why = state.trouble.as_deref().map_or_else(String::new, |why| format!("; it was not renewed: {why}"));
    let code = warning::CERTIFICATE_ENDS;
    if now < not_before {
        let message = format!(
            "By this machine's clock, {}, its certificate is good only from {} on{why}",
            time(now),
            time(not_before)
        );
        Some(warn(code, message, SET_CLOCK))
    } else if now > not_after {
        let message = format!("This machine's certificate ended at {}{why}", time(not_after));
        Some(warn(code, message, if state.trouble.is_some() { LOOK } else { SET_CLOCK }))
    } else if is_short(not_after - now, state.validity.life_s()) {
        let message = format!("This machine's certificate ends in {}{why}", days(not_after - now));
        Some(warn(code, message, if state.trouble.is_some() { LOOK } else { LOG }))
    } else {
        state
            .trouble
            .as_ref()
            .map(|_| warn(code, format!("This machine's certificate is not as it should be{why}"), LOOK))
    }
}

fn of_ca(ca: Validity, now: i64) -> Option<Warning> {
    let left_s = ca.not_after - now;
    (left_s < CA_LEFT_MIN_S).then(|| {
        let message = format!("The cluster's CA ends in {}", days(left_s.max(0)));
        warn(warning::CA_ENDS, message, "`bowline ca rotate` replaces it while the cluster runs")
    })
}

/// How long another member's certificate lives is not known here: it is a year, but in tests.
fn of_member(member: &NodeInfo, now: i64) -> Option<Warning> {
    let left_s = member.certificate_ends?.as_second() - now;
    (left_s < CERTIFICATE_LEFT_MIN_S).then(|| {
        let message = if left_s < 0 {
            format!("The certificate of {} has ended", member.name)
        } else {
            format!("The certificate of {} ends in {}", member.name, days(left_s))
        };
        let next = format!("start {} if it is down; `bowline status` there says why it was not renewed", member.name);
        warn(warning::CERTIFICATE_ENDS, message, &next)
    })
}

fn of_rotation(rotation: &Rotation) -> Option<Warning> {
    let (waits_for, next) = if !rotation.waits_for.is_empty() {
        (crate::human::list(&rotation.waits_for), "start what is down; or `bowline ca rotate --without NODE`")
    } else if rotation.state == RotationState::Waiting && (!rotation.access.is_empty() || rotation.join_tokens > 0) {
        (
            "tokens that pin the old CA".to_owned(),
            "`bowline ca show` says whose they are; `bowline ca rotate --finish` ends it",
        )
    } else {
        return None;
    };
    Some(warn(warning::CA_ROTATES, format!("The CA is being replaced, and that waits for {waits_for}"), next))
}

fn of_clock(member: &NodeInfo) -> Option<Warning> {
    let ahead_ms = member.clock_ahead_ms.filter(|ahead| ahead.unsigned_abs() > CLOCKS_DIFFER_MAX_MS)?;
    let by = crate::human::duration(std::time::Duration::from_millis(ahead_ms.unsigned_abs()));
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let message = format!("The clock of {} is {by} {side} the leader's", member.name);
    let next = "where the clock is wrong: `timedatectl set-ntp true`, or `chronyc makestep`; `date -u` on both shows which one it is";
    Some(warn(warning::CLOCK_DIFFERS, message, next))
}

fn days(seconds: i64) -> String {
    crate::human::duration(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

fn now() -> i64 {
    i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::control::Health;
    use base::{NodeId, Role};

    fn said(warning: Option<Warning>) -> String {
        warning.map_or_else(|| "nothing".to_owned(), |w| format!("{}: {}. Next: {}", w.code, w.message, w.next))
    }

    #[test]
    fn a_certificate_is_warned_of_with_the_reason_and_the_next_step() {
        let validity = Validity { not_before: 0, not_after: 366 * DAY_S };
        let state = |trouble: Option<&str>| CertificateState {
            validity,
            issuer: rpc::Fingerprint::default(),
            trusted: Vec::new(),
            trouble: trouble.map(str::to_owned),
        };
        let table: Vec<String> = [
            (352 * DAY_S, None),
            (353 * DAY_S, None),
            (353 * DAY_S, Some("identity/node.pem: No space left on device")),
            (200 * DAY_S, Some("identity/node.pem: No space left on device")),
            (
                367 * DAY_S,
                Some("no member could renew this node's certificate: 10.0.0.2:7440: no answer within 2000 ms"),
            ),
            (367 * DAY_S, None),
            (-DAY_S, None),
        ]
        .into_iter()
        .map(|(now, trouble)| said(of_certificate(&state(trouble), now)))
        .collect();
        insta::assert_snapshot!(table.join("\n"));
        assert_eq!(said(of_ca(validity, 185 * DAY_S)), "nothing");
        insta::assert_snapshot!("ca", said(of_ca(validity, 187 * DAY_S)));
    }

    #[test]
    fn other_members_are_warned_of_by_name() {
        let member = |ends: i64, clock_ahead_ms| NodeInfo {
            witness: false,
            id: NodeId(2),
            name: "box2".to_owned(),
            role: Role::Voter,
            health: Health::Up,
            leader: false,
            address: String::new(),
            dqlite_address: String::new(),
            https_address: String::new(),
            version: None,
            failure_domain: 0,
            weight: 0,
            certificate_ends: Some(time(ends)),
            clock_ahead_ms,
        };
        let table = [
            said(of_member(&member(20 * DAY_S, None), DAY_S)),
            said(of_member(&member(10 * DAY_S, None), DAY_S)),
            said(of_member(&member(DAY_S, None), 2 * DAY_S)),
            said(of_clock(&member(0, Some(4_000)))),
            said(of_clock(&member(0, Some(-7_300)))),
            said(of_clock(&member(0, Some(2 * DAY_S * 1_000)))),
        ];
        insta::assert_snapshot!(table.join("\n"));
    }
}
