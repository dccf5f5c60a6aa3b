//! After a majority is lost for good. Each database goes on from the survivor that has most of it; the others start again from there, and
//! who does not answer is taken out of the cluster.
//!
//! Nothing here is kept: what is to be done follows from what the survivors have. A recovery that was cut off is done again, and finds
//! less to do. Two at once would choose two survivors for one database: each survivor helps one of them only, and a recovery needs all.

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
    /// The members that do not answer, by name.
    pub lost: Vec<NodeRow>,
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
}

/// What each survivor has of each group.
type Surveys = BTreeMap<NodeId, BTreeMap<GroupId, GroupSurvey>>;

impl Cluster {
    /// What is lost, and what each database would go on from. Changes nothing. An error if every database has its majority. Cancel-safe.
    pub async fn recovery(&self) -> Result<Recovery, ClusterError> {
        let (rows, surveys) = self.look().await?;
        self.judge(rows, &surveys)
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
        // What a spare says of the members would be from nowhere.
        if !has_members(surveys, self.0.node()) {
            let others = surveys.keys().copied().filter(|node| has_members(surveys, *node));
            return Err(ClusterError::NoCopy { others: others.collect() });
        }
        let groups = reseeds(self.0.node(), surveys);
        let (survivors, lost): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| surveys.contains_key(&row.node));
        if groups.is_empty() {
            return Err(ClusterError::MajorityThere { lost: lost.into_iter().map(|row| row.name).collect() });
        }
        Ok(Recovery { lost, survivors, groups })
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
        let groups = self.groups().into_iter().map(|group| {
            let status = group.status();
            GroupSurvey {
                group: group.id(),
                last: group.last_position(),
                voters: status.membership.voters.clone(),
                members_since: status.membership.since,
                runs: !matches!(status.state, GroupState::Failed(_) | GroupState::Stopped | GroupState::Suspended(_)),
                is_whole: !status.is_quarantined,
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

/// Whether a node knows the members of `sys`: a spare has no copy of anything.
fn has_members(surveys: &Surveys, node: NodeId) -> bool {
    surveys.get(&node).and_then(|groups| groups.get(&GroupId::SYS)).is_some_and(|sys| !sys.voters.is_empty())
}

/// Which groups have lost their majority, and from whom each goes on: who has the newest entry has all that any of the others knows to
/// be committed. Of equals the one that was asked, so that few nodes lead.
fn reseeds(this: NodeId, surveys: &Surveys) -> Vec<Reseed> {
    let groups: BTreeSet<GroupId> = surveys.values().flat_map(|groups| groups.keys().copied()).collect();
    let reseed = |group: GroupId| {
        let has = |node: &NodeId| surveys.get(node).and_then(|groups| groups.get(&group));
        let here = || surveys.keys().filter_map(|node| Some((*node, has(node)?)));
        let newest = here().max_by_key(|(_, survey)| survey.members_since)?.1;
        let votes = |node: &&NodeId| has(node).is_some_and(|survey| survey.runs && survey.is_whole);
        let has_majority = |set: &BTreeSet<NodeId>| set.iter().filter(votes).count() > set.len() / 2;
        if newest.voters.iter().all(has_majority) {
            return None;
        }
        let able = here().filter(|(_, survey)| survey.runs);
        let newest_here = |(node, survey): &(NodeId, &GroupSurvey)| {
            let last = survey.last.filter(|_| !rt::mutant!("cluster.recover-from-here"));
            (last, survey.is_whole, *node == this)
        };
        let (from, survey) = able.max_by_key(newest_here)?;
        Some(Reseed { group, from, last: survey.last? })
    };
    groups.into_iter().filter_map(reseed).collect()
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
}
