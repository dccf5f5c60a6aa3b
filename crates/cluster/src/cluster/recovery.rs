//! After a majority is lost for good. Each database goes on from the survivor that has most of it; the others start again from there, and
//! who does not answer is taken out of the cluster.
//!
//! Nothing here is kept: what is to be done follows from what the survivors have. A recovery that was cut off is done again, and finds
//! less to do. Two at once would choose two survivors for one database: each survivor helps one of them only, and a recovery needs all.
//!
//! Nothing goes on from a witness: it has no pages. One whose log has entries that no survivor has, and cannot be given any more, is given
//! up with the lost: it would never agree to less than it has acknowledged. It may join again. ADR-11.

use super::Cluster;
use crate::messages::{FORM, GO_ON_ALONE, GoOnAlone, GroupSurvey, SURVEY, Survey, SurveyAnswer, decode, encode};
use crate::node_rows::{NodeRow, NodeRowState};
use crate::{ClusterError, node_rows};
use base::{GroupId, NodeId};
use futures::future::join_all;
use raft::{GroupState, LogPos};
use rpc::{Class, Service};
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;
use store::ReadLevel;

/// How long a member may take to say what it has.
const SURVEY_MAX: Duration = Duration::from_secs(2);
/// How long a member may take to go on alone.
const ALONE_MAX: Duration = Duration::from_secs(15);
/// How long the survivor of `sys` may take to lead it.
const LEAD_MAX: Duration = Duration::from_secs(15);
/// How long after its last survey a recovery keeps others out.
const ONE_MAX: Duration = Duration::from_secs(20);
/// How often it is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a recovery would do, or has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The members that do not answer, by name, and a witness that has acknowledged more than all that do.
    pub lost: Vec<NodeRow>,
    /// Of these the witnesses, which answer.
    pub ahead: BTreeSet<NodeId>,
    /// The members that do, by name.
    pub survivors: Vec<NodeRow>,
    /// The groups without a majority, `sys` first.
    pub groups: Vec<Reseed>,
}

/// A group that goes on from one survivor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseed {
    /// The group.
    pub group: GroupId,
    /// The survivor that has most of it.
    pub from: NodeId,
    /// The last entry that it has.
    pub last: LogPos,
    /// How many entries after that one a witness has acknowledged: they are lost.
    pub lost: u64,
}

/// A group that nobody can lead, because a member that keeps data ended before the log of the witness begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The group.
    pub group: GroupId,
    /// The witness.
    pub witness: NodeId,
    /// How many entries it has after those that any survivor has.
    pub entries: u64,
}

/// What each survivor has of each group.
type Surveys = BTreeMap<NodeId, BTreeMap<GroupId, GroupSurvey>>;

impl Cluster {
    /// What is lost, and what each database would go on from. Changes nothing. An error if every database has its majority. Cancel-safe.
    pub async fn recovery(&self) -> Result<Recovery, ClusterError> {
        let (rows, surveys) = self.look().await?;
        self.judge(rows, &surveys)
    }

    /// The groups that wait for a member which is away although a majority answers: only that one has what a witness has acknowledged and
    /// cannot give to the others. Cancel-safe.
    pub async fn stuck(&self) -> Result<Vec<Stuck>, ClusterError> {
        let (_, surveys) = self.look().await?;
        Ok(stuck(&surveys))
    }

    /// Makes every database go on, and takes the lost members out of the cluster; says what was done. Answers when it is done, or after
    /// `patience`; then repeating it goes on. Refused unless the members of `given_up` are exactly those that do not answer, and while
    /// another member does the same. Not cancel-safe: what was begun may be done.
    pub async fn recover(&self, given_up: &[String], patience: Duration) -> Result<Recovery, ClusterError> {
        let (rows, mut surveys) = self.look().await?;
        let before = self.judge(rows.clone(), &surveys)?;
        let lost: BTreeSet<&String> = before.lost.iter().map(|row| &row.name).collect();
        if lost != given_up.iter().collect() {
            let lost = lost.into_iter().cloned().collect();
            return Err(ClusterError::OthersLost { named: given_up.to_vec(), lost });
        }
        // Each of them helps this recovery only from now on. One after the other, so that of two recoveries one gets nobody.
        for (node, survey) in &mut surveys {
            *survey = self.survey(*node, true).await?;
        }
        let recovery = self.judge(rows, &surveys)?;
        let until = Instant::now() + patience;
        if recovery.groups.iter().all(|reseed| reseed.group != GroupId::SYS) {
            // It lives: nobody shall take those who go into a group that has gone on without them.
            for row in recovery.lost.iter().filter(|row| row.state == NodeRowState::Member) {
                node_rows::part(self.0.sys.as_ref(), row.node, row.state).await?;
            }
        }
        // `sys` first: it is the first of the groups, and the others follow its leader.
        for reseed in &recovery.groups {
            self.go_on_alone(reseed).await?;
            rt::sim_point!("recover.between_groups");
        }
        self.leader_by(until.min(Instant::now() + LEAD_MAX)).await?;
        let left = until.saturating_duration_since(Instant::now());
        let removed = recovery.lost.iter().map(|row| self.remove(&row.name, true, left));
        for (row, removed) in recovery.lost.iter().zip(join_all(removed).await) {
            match removed {
                // A member that was lost twice: it is out already.
                Ok(_) | Err(ClusterError::NoSuchNode { .. }) => {
                    tracing::warn!(name = row.name, node = %row.node, "a lost member was taken out of the cluster");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(recovery)
    }

    /// The members that this node knows, and what those have that answer.
    async fn look(&self) -> Result<(Vec<NodeRow>, Surveys), ClusterError> {
        let mut rows = node_rows::all(self.0.sys.as_ref(), ReadLevel::Local).await?;
        rows.retain(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving));
        let known: BTreeSet<NodeId> =
            rows.iter().map(|row| row.node).chain(self.0.mesh.peers()).chain([self.0.node()]).collect();
        let asked = known.into_iter().map(|node| async move { (node, self.survey(node, false).await) });
        let mut surveys = Surveys::new();
        for (node, answer) in join_all(asked).await {
            match answer {
                Ok(survey) => drop(surveys.insert(node, survey)),
                // It answers, so it is not lost.
                Err(error @ ClusterError::Refused { .. }) => return Err(error),
                Err(error) => tracing::info!(%node, %error, "a member does not say what it has"),
            }
        }
        Ok((rows, surveys))
    }

    fn judge(&self, rows: Vec<NodeRow>, surveys: &Surveys) -> Result<Recovery, ClusterError> {
        if surveys.values().flat_map(BTreeMap::values).all(|survey| survey.witness) {
            return Err(ClusterError::OnlyWitness);
        }
        let given_up = ahead(surveys);
        if given_up.contains(&self.0.node()) {
            return Err(ClusterError::WitnessAhead);
        }
        let everybody = surveys;
        let (left, witnesses): (Surveys, Surveys) =
            everybody.clone().into_iter().partition(|(node, _)| !given_up.contains(node));
        let surveys = &left;
        if !has_members(surveys, self.0.node()) {
            let others = surveys.keys().copied().filter(|node| has_members(surveys, *node));
            return Err(ClusterError::NoCopy { others: others.collect() });
        }
        let mut groups = reseeds(self.0.node(), surveys);
        // What the witness that goes keeps alive needs no more than that it goes in order.
        groups.retain(|reseed| !is_alive(everybody, reseed.group));
        for reseed in &mut groups {
            let acknowledged = witnesses.values().filter_map(|groups| groups.get(&reseed.group)?.last).max();
            reseed.lost =
                acknowledged.filter(|last| *last > reseed.last).map_or(0, |last| after(last, Some(reseed.last)));
        }
        let (survivors, lost): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| surveys.contains_key(&row.node));
        if groups.is_empty() {
            return Err(ClusterError::MajorityThere { lost: lost.into_iter().map(|row| row.name).collect() });
        }
        Ok(Recovery { lost, ahead: given_up, survivors, groups })
    }

    async fn survey(&self, node: NodeId, to_recover: bool) -> Result<BTreeMap<GroupId, GroupSurvey>, ClusterError> {
        let groups = if node == self.0.node() {
            self.0.surveyed(node, to_recover)?
        } else {
            let body = encode(&Survey { form: FORM, to_recover })?;
            let call = self.0.mesh.call(node, Service::Cluster, SURVEY, body, SURVEY_MAX, Class::Control);
            decode::<SurveyAnswer>(&call.await.map_err(ClusterError::of_call)?)?.groups
        };
        Ok(groups.into_iter().map(|one| (one.group, one)).collect())
    }

    async fn go_on_alone(&self, reseed: &Reseed) -> Result<(), ClusterError> {
        let order = GoOnAlone { form: FORM, group: reseed.group, last: reseed.last };
        if reseed.from == self.0.node() {
            return self.0.go_on_alone(reseed.from, &order).await;
        }
        let body = encode(&order)?;
        let call = self.0.mesh.call(reseed.from, Service::Cluster, GO_ON_ALONE, body, ALONE_MAX, Class::Control);
        call.await.map(drop).map_err(ClusterError::of_call)
    }

    async fn leader_by(&self, until: Instant) -> Result<(), ClusterError> {
        while node_rows::all(self.0.sys.as_ref(), ReadLevel::Linearizable).await.is_err() {
            if Instant::now() >= until {
                return Err(ClusterError::NoLeader);
            }
            rt::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl super::Inner {
    /// What this node has of each group, told to `asker`.
    pub(super) fn surveyed(&self, asker: NodeId, to_recover: bool) -> Result<Vec<GroupSurvey>, ClusterError> {
        if to_recover {
            self.help(asker)?;
        }
        if self.sys.is_spare() {
            // Nothing goes on from it: it has no copy of any database.
            return Ok(Vec::new());
        }
        let groups = self.groups().into_iter().map(|group| {
            let status = group.status();
            GroupSurvey {
                group: group.id(),
                last: group.last_position(),
                voters: status.membership.voters.clone(),
                members_since: status.membership.since,
                runs: !matches!(status.state, GroupState::Failed(_) | GroupState::Stopped | GroupState::Suspended(_)),
                is_whole: !status.is_quarantined,
                purged: group.purged_position(),
                witness: self.is_witness(),
            }
        });
        Ok(groups.collect())
    }

    /// Helps one recovery at a time.
    fn help(&self, asker: NodeId) -> Result<(), ClusterError> {
        let mut recovering = self.recovering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((other, _)) = recovering.filter(|(by, since)| *by != asker && since.elapsed() < ONE_MAX) {
            return Err(ClusterError::Recovering { by: other });
        }
        *recovering = Some((asker, Instant::now()));
        Ok(())
    }

    pub(super) async fn go_on_alone(&self, asker: NodeId, order: &GoOnAlone) -> Result<(), ClusterError> {
        self.help(asker)?;
        let group = self.host.group(order.group).ok_or(raft::ChangeError::Stopped)?;
        group.go_on_alone(order.last).await?;
        Ok(())
    }
}

/// Whether a node knows the members of `sys` and may help: a spare may not.
fn has_members(surveys: &Surveys, node: NodeId) -> bool {
    surveys.get(&node).and_then(|groups| groups.get(&GroupId::SYS)).is_some_and(|sys| !sys.voters.is_empty())
}

/// How many entries there are up to `last` after `other`.
fn after(last: LogPos, other: Option<LogPos>) -> u64 {
    last.index.0.saturating_sub(other.map_or(0, |other| other.index.0))
}

/// A group on a witness that has more than any survivor that keeps data.
struct Ahead {
    witness: NodeId,
    last: LogPos,
    /// The most that a survivor has.
    best: Option<LogPos>,
    purged: Option<LogPos>,
}

impl Ahead {
    /// Whether the witness's log no longer meets that of the survivor. Of `sys` a witness has pages as well.
    fn is_beyond_reach(&self, group: GroupId) -> bool {
        let reaches = self.purged.is_none_or(|purged| self.best.is_some_and(|best| best.index >= purged.index));
        group != GroupId::SYS && !reaches
    }
}

fn all_groups(surveys: &Surveys) -> BTreeSet<GroupId> {
    surveys.values().flat_map(|groups| groups.keys().copied()).collect()
}

fn witnesses_ahead(surveys: &Surveys, group: GroupId) -> Vec<Ahead> {
    let here = || surveys.iter().filter_map(|(node, groups)| Some((*node, groups.get(&group)?)));
    let best = here().filter(|(_, survey)| survey.runs && !survey.witness).filter_map(|(_, survey)| survey.last).max();
    let witnesses = here().filter(|(_, survey)| survey.runs && survey.witness && survey.last > best);
    let ahead = |(witness, survey): (NodeId, &GroupSurvey)| {
        Some(Ahead { witness, last: survey.last?, best, purged: survey.purged })
    };
    witnesses.filter_map(ahead).collect()
}

/// The groups that nobody can lead although they have their majority.
fn stuck(surveys: &Surveys) -> Vec<Stuck> {
    let groups = all_groups(surveys).into_iter();
    let ahead = groups.flat_map(|group| witnesses_ahead(surveys, group).into_iter().map(move |ahead| (group, ahead)));
    let beyond = ahead.filter(|(group, ahead)| ahead.is_beyond_reach(*group));
    beyond
        .map(|(group, ahead)| Stuck { group, witness: ahead.witness, entries: after(ahead.last, ahead.best) })
        .collect()
}

/// The witnesses that would keep a group from going on: they have what no survivor has, and cannot give it.
fn ahead(surveys: &Surveys) -> BTreeSet<NodeId> {
    let of_group = |group: GroupId| {
        let has_majority = has_majority(surveys, group);
        let ahead = witnesses_ahead(surveys, group).into_iter();
        ahead.filter(move |ahead| !has_majority || ahead.is_beyond_reach(group)).map(|ahead| ahead.witness)
    };
    all_groups(surveys).into_iter().flat_map(of_group).collect()
}

/// Whether a group has or will have a leader.
fn is_alive(surveys: &Surveys, group: GroupId) -> bool {
    has_majority(surveys, group) && stuck(surveys).iter().all(|stuck| stuck.group != group)
}

/// Whether enough voters of a group are there, by the newest members that any survivor knows.
fn has_majority(surveys: &Surveys, group: GroupId) -> bool {
    let has = |node: &NodeId| surveys.get(node).and_then(|groups| groups.get(&group));
    let newest = surveys.values().filter_map(|groups| groups.get(&group)).max_by_key(|survey| survey.members_since);
    let votes = |node: &&NodeId| has(node).is_some_and(|survey| survey.runs && survey.is_whole);
    let agrees = |set: &BTreeSet<NodeId>| set.iter().filter(votes).count() > set.len() / 2;
    newest.is_some_and(|newest| newest.voters.iter().all(agrees))
}

/// Which groups have lost their majority, and from whom each goes on: who has the newest entry has all that any of the others knows to
/// be committed. Of equals the one that was asked, so that few nodes lead.
fn reseeds(this: NodeId, surveys: &Surveys) -> Vec<Reseed> {
    let reseed = |group: GroupId| {
        if has_majority(surveys, group) {
            return None;
        }
        let here = surveys.iter().filter_map(|(node, groups)| Some((*node, groups.get(&group)?)));
        let able = here.filter(|(_, survey)| survey.runs && !survey.witness);
        let newest_here = |(node, survey): &(NodeId, &GroupSurvey)| {
            let last = survey.last.filter(|_| !rt::mutant!("cluster.recover-from-here"));
            (last, survey.is_whole, *node == this)
        };
        let (from, survey) = able.max_by_key(newest_here)?;
        Some(Reseed { group, from, last: survey.last?, lost: 0 })
    };
    all_groups(surveys).into_iter().filter_map(reseed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{LogIndex, Term};

    fn at(term: u64, index: u64) -> LogPos {
        LogPos { term: Term(term), node: NodeId(1), index: LogIndex(index) }
    }

    fn survey(last: LogPos, voters: &[&[u64]], since: u64) -> GroupSurvey {
        GroupSurvey {
            group: GroupId(7),
            last: Some(last),
            voters: voters.iter().map(|set| set.iter().map(|n| NodeId(*n)).collect()).collect(),
            members_since: Some(at(1, since)),
            runs: true,
            is_whole: true,
            purged: None,
            witness: false,
        }
    }

    fn verdict(this: u64, answers: &[(u64, GroupSurvey)]) -> Option<(u64, LogPos)> {
        let surveys = answers.iter().map(|(node, one)| (NodeId(*node), [(one.group, one.clone())].into())).collect();
        reseeds(NodeId(this), &surveys).first().map(|reseed| (reseed.from.0, reseed.last))
    }

    #[test]
    fn which_groups_go_on_from_whom() {
        let three = |last| survey(last, &[&[1, 2, 3]], 0);
        let five = |last| survey(last, &[&[1, 2, 3, 4, 5]], 0);
        assert_eq!(verdict(1, &[(1, three(at(1, 5))), (2, three(at(1, 5)))]), None, "two of three");
        assert_eq!(verdict(1, &[(1, three(at(1, 5)))]), Some((1, at(1, 5))), "one of three");
        let two = [(1, five(at(1, 9))), (2, five(at(2, 6)))];
        assert_eq!(verdict(1, &two), Some((2, at(2, 6))), "the newer term counts more than the longer log");
        let two = [(1, five(at(2, 6))), (2, five(at(2, 6)))];
        assert_eq!(verdict(2, &two), Some((2, at(2, 6))), "of equals the one that was asked");
        // While a change was under way both sets had to agree.
        let joint = survey(at(1, 5), &[&[1, 2, 3], &[1, 4, 5]], 4);
        let answers = [(1, joint.clone()), (2, joint.clone()), (3, joint)];
        assert_eq!(verdict(1, &answers), Some((1, at(1, 5))), "one of two sets has no majority");
        // The survivor that knows of newer members is believed.
        let answers = [(1, survey(at(1, 5), &[&[1, 2, 3]], 0)), (2, survey(at(1, 8), &[&[2]], 7))];
        assert_eq!(verdict(1, &answers), None, "two alone is a majority by the newest members");
        // A member whose log was damaged has no vote, but what is left of its log may be the most there is.
        let cut = GroupSurvey { is_whole: false, ..three(at(1, 5)) };
        assert_eq!(verdict(1, &[(1, cut.clone()), (2, three(at(1, 5)))]), Some((2, at(1, 5))), "the whole one of two");
        assert_eq!(verdict(1, &[(1, cut)]), Some((1, at(1, 5))), "damaged, and the only one");
        // Nothing can go on from a group that is down.
        let down = GroupSurvey { runs: false, ..three(at(1, 9)) };
        assert_eq!(verdict(1, &[(1, down.clone()), (2, three(at(1, 5)))]), Some((2, at(1, 5))));
        assert_eq!(verdict(1, &[(1, down)]), None);
    }

    /// Node 3 is the witness; what of its log is purged, and where it and the survivor end.
    fn with_witness(purged: u64, witness: u64, survivor: u64) -> Surveys {
        let three = |last| survey(last, &[&[1, 2, 3]], 0);
        let of_witness = GroupSurvey { purged: Some(at(1, purged)), witness: true, ..three(at(1, witness)) };
        [(2, three(at(1, survivor))), (3, of_witness)]
            .map(|(node, one)| (NodeId(node), [(one.group, one)].into()))
            .into()
    }

    #[test]
    fn a_witness_that_cannot_give_what_it_has_is_given_up() {
        let verdict = |purged, witness, survivor| {
            let surveys = with_witness(purged, witness, survivor);
            let stuck = stuck(&surveys).first().map(|stuck| stuck.entries);
            (ahead(&surveys).contains(&NodeId(3)), stuck)
        };
        assert_eq!(verdict(50, 90, 90), (false, None), "equals");
        assert_eq!(verdict(50, 90, 95), (false, None), "the survivor has more");
        assert_eq!(verdict(50, 90, 60), (false, None), "the log of the witness brings the survivor up");
        assert_eq!(verdict(50, 90, 50), (false, None), "just so");
        assert_eq!(verdict(50, 90, 49), (true, Some(41)), "it does not reach that far back");
        let mut surveys = with_witness(50, 90, 60);
        for survey in surveys.values_mut().flat_map(BTreeMap::values_mut) {
            survey.voters = vec![(1..=5).map(NodeId).collect()];
        }
        assert!(ahead(&surveys).contains(&NodeId(3)), "without a majority nobody can be brought up");
        assert!(stuck(&surveys).is_empty(), "that is for a recovery to say");
        let left = surveys.into_iter().filter(|(node, _)| *node != NodeId(3)).collect();
        assert_eq!(reseeds(NodeId(2), &left).first().map(|reseed| reseed.from), Some(NodeId(2)));
    }

    #[test]
    fn nothing_goes_on_from_a_witness() {
        let mut surveys = with_witness(0, 90, 60);
        surveys.remove(&NodeId(2));
        assert!(reseeds(NodeId(3), &surveys).is_empty());
        // With less than the survivor has it stays, and its vote counts.
        let surveys = with_witness(0, 50, 60);
        assert!(ahead(&surveys).is_empty() && reseeds(NodeId(2), &surveys).is_empty());
    }
}
