//! What the control API sends and receives. Times are RFC 3339, sizes are bytes, durations name their unit.

use super::access::AccessRole;
use base::{DbName, NodeId, Role};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// The daemon runs but belongs to no cluster: it waits for `init` or `join`.
    Unformed,
    /// Units are starting.
    Starting,
    /// Everything that was asked of it serves.
    Ready,
    /// It is stopping in order.
    Stopping,
}

/// Whether the node answers questions about data, and if not, what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Where the node is in its life.
    pub state: NodeState,
    /// The units that are not up yet, in start order. Empty when ready.
    pub waiting_for: Vec<String>,
}

impl Readiness {
    /// Whether requests are served.
    pub fn is_ready(&self) -> bool {
        self.state == NodeState::Ready
    }
}

/// What this node believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It answers.
    Up,
    /// It does not answer.
    Down,
    /// It was not asked.
    Unknown,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// Its id, also its id in the dqlite protocol.
    #[schemars(with = "u64")]
    pub id: NodeId,
    /// Its name, unique among the living members.
    pub name: String,
    /// What it does for the databases.
    #[schemars(schema_with = "super::openapi::role")]
    pub role: Role,
    /// It keeps no data but the cluster's own database `sys`. Its role is voter where its vote helps, and spare else.
    #[serde(default)]
    pub witness: bool,
    /// Whether it answers.
    pub health: Health,
    /// Whether it leads `sys`, and with it the databases.
    pub leader: bool,
    /// Where other nodes reach it (`host:port`, mutual TLS).
    pub address: String,
    /// Where dqlite clients reach it (`host:port`).
    pub dqlite_address: String,
    /// Where clients of this API reach it over HTTPS (`host:port`).
    pub https_address: String,
    /// The version it runs, if it has been heard of.
    pub version: Option<String>,
    /// Members with the same number fail together (a room, a power line): roles are spread over the numbers.
    pub failure_domain: u64,
    /// Between equals the lower weight gets the role.
    pub weight: u64,
    /// When its certificate ends; none while it has not said so.
    #[serde(default)]
    pub certificate_ends: Option<Timestamp>,
    /// How far its clock is ahead of the leader's, in milliseconds, give or take the time that asking took; none if one of the two does not
    /// answer.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
}

/// Say with whom a member fails together, and how gladly it takes a role. What is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRequest {
    /// Members with the same number fail together.
    pub failure_domain: Option<u64>,
    /// Between equals the lower weight gets the role.
    pub weight: Option<u64>,
}

/// How many members should vote and stand by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleTargets {
    /// Voters, from three members on: an odd number.
    pub voters: usize,
    /// Stand-bys.
    pub stand_bys: usize,
    /// After how many seconds a member that is not heard loses its roles; 10 if not given.
    #[serde(default = "dead_after_s")]
    pub dead_after_s: u64,
}

fn dead_after_s() -> u64 {
    10
}

/// The life of one unit of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// Where it is: waiting, starting, ready, draining, stopping, stopped, failed.
    pub phase: String,
    /// How long it has been there, in milliseconds.
    pub phase_ms: u64,
    /// Why, if there is something to say: what it waits for, or how it failed.
    pub detail: Option<String>,
}

/// May this machine be rebooted now?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reboot {
    /// Yes or no.
    pub safe: bool,
    /// Why, in one sentence.
    pub reason: String,
}

impl Reboot {
    /// Judges from the members and the id of the machine in question; no members means that it belongs to no cluster.
    ///
    /// Safe means: while it is down the other voters that answer are a majority of all voters, so writes go on.
    pub fn judge(nodes: &[NodeInfo], this: NodeId) -> Self {
        let names = |wanted: &dyn Fn(&NodeInfo) -> bool| -> Vec<&str> {
            nodes.iter().filter(|n| n.role == Role::Voter && wanted(n)).map(|n| n.name.as_str()).collect()
        };
        let others = |health| names(&|n| n.id != this && n.health == health);
        let (up, down, unknown) = (others(Health::Up), others(Health::Down), others(Health::Unknown));
        let this_votes = !names(&|n| n.id == this).is_empty();
        let all = names(&|_| true).len();
        let majority = all / 2 + 1;
        let (safe, reason) = if nodes.is_empty() {
            (true, "this machine belongs to no cluster".to_owned())
        } else if nodes.len() == 1 {
            (false, "it is the only machine: its databases are down while it is".to_owned())
        } else if up.len() >= majority && this_votes {
            (true, format!("{} the majority ({majority} of {all})", do_it(&up, "keeps", "keep")))
        } else if up.len() >= majority {
            (true, format!("it does not vote, and {} the majority", do_it(&up, "keeps", "keep")))
        } else if up.len() + unknown.len() >= majority {
            (false, format!("it is not known whether {} up", do_it(&unknown, "is", "are")))
        } else if up.len() + unknown.len() + usize::from(this_votes) < majority {
            (false, format!("{} down: without a majority writes have stopped already", do_it(&down, "is", "are")))
        } else if !down.is_empty() {
            (false, format!("{} already down: another loss stops writes", do_it(&down, "is", "are")))
        } else if all == 1 {
            (false, "it is the only voter: writes stop while it is down".to_owned())
        } else {
            (false, format!("{majority} of the {all} voters are needed: writes stop while it is down"))
        };
        Self { safe, reason }
    }

    /// Not while a database has something else to get over: its voters may be others than those of the cluster.
    #[must_use]
    pub fn unless(self, troubles: &[Trouble]) -> Self {
        match troubles.first().filter(|_| self.safe) {
            Some(Trouble { database, .. }) => {
                Self { safe: false, reason: format!("database {database} is not as it should be on this machine") }
            }
            None => self,
        }
    }

    /// Of a member that does not know the others now.
    pub fn unknown() -> Self {
        Self { safe: false, reason: "it is not known yet which members are up".to_owned() }
    }
}

/// `box2 keeps`, `box2 and box3 keep`.
fn do_it(names: &[&str], one: &str, more: &str) -> String {
    match names {
        [] => format!("none {more}"),
        [name] => format!("{name} {one}"),
        [rest @ .., last] => format!("{} and {last} {more}", rest.join(", ")),
    }
}

/// The node and its cluster as this node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Where this node is in its life.
    pub state: NodeState,
    /// The units that are not up yet. Empty when ready.
    pub waiting_for: Vec<String>,
    /// May this machine be rebooted now?
    pub reboot: Reboot,
    /// This node's id; none before `init` or `join`.
    #[schemars(with = "Option<u64>")]
    pub node: Option<NodeId>,
    /// This node's name; none before `init` or `join`.
    pub name: Option<String>,
    /// The cluster's id; none before `init` or `join`.
    pub cluster: Option<String>,
    /// The version of this daemon.
    pub version: String,
    /// How long this daemon has run, in milliseconds.
    pub uptime_ms: u64,
    /// All members, this one included, by name.
    pub nodes: Vec<NodeInfo>,
    /// What the loss of a machine would mean, and what to do about it, a sentence each: told with two machines that keep data, and with a witness.
    #[serde(default)]
    pub losses: Vec<String>,
    /// How many databases there are, `sys` not counted.
    pub databases: u64,
    /// The bytes of all databases on this node, `sys` included.
    pub database_bytes: u64,
    /// The bytes of the Raft log on this node.
    pub log_bytes: u64,
    /// What is wrong with databases on this node.
    pub troubles: Vec<Trouble>,
    /// What will be wrong if nobody does anything: certificates that end, clocks that differ.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// The units in start order.
    pub units: Vec<UnitStatus>,
}

/// Something that is no trouble yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// The code of its page.
    pub code: String,
    /// What it is.
    pub message: String,
    /// What to do.
    pub next: String,
}

/// Something is wrong with a database on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// The database.
    #[schemars(with = "String")]
    pub database: DbName,
    /// How bad it is.
    pub kind: TroubleKind,
    /// What happened.
    pub why: String,
}

/// What a database in trouble does on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// The disk takes no writes: it goes on by itself when the disk does.
    Suspended,
    /// It is down on this node until the daemon is started again.
    Failed,
    /// Its log was damaged: it catches up, and has no vote until then.
    WithoutVote,
    /// Nobody can lead it: a machine that is away has what the witness has acknowledged, and the witness cannot give it to the others.
    BehindWitness,
    /// Its voters are being changed: until that is done, a write needs a majority of the old ones and of the new ones.
    VotersChange,
}

/// A node was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parted {
    /// Its id, which is never used again.
    #[schemars(with = "u64")]
    pub node: NodeId,
    /// Its name, which is free now.
    pub name: String,
    /// Who stays, by name.
    pub nodes: Vec<NodeInfo>,
}

/// Give a person or a program access to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// Whose it is: letters, digits, dots and dashes.
    pub name: String,
    /// What it lets them do.
    pub role: AccessRole,
    /// How long it is good, in seconds; a year if not given.
    pub valid_s: Option<u64>,
}

/// An access token, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessIssued {
    /// Whose it is.
    pub name: String,
    /// What it lets them do.
    pub role: AccessRole,
    /// What to send as a bearer token, or to give to `bowline context add`. It is a secret.
    pub token: String,
    /// When it stops working.
    pub expires: Timestamp,
}

impl std::fmt::Debug for AccessIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("AccessIssued").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Who has access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessInfo {
    /// Whose it is.
    pub name: String,
    /// What it lets them do.
    pub role: AccessRole,
    /// Whether its time is over.
    pub is_expired: bool,
    /// When it was issued.
    pub created: Timestamp,
    /// When it stops working.
    pub expires: Timestamp,
}

/// Start a cluster of one on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitRequest {
    /// The node's name; the host's name if not given.
    pub name: Option<String>,
    /// The `host[:port]` that other nodes are told; found from the machine's interfaces if not given.
    pub address: Option<String>,
    /// The `host:port` that dqlite clients are told; the node's host and the default port if not given.
    pub dqlite_address: Option<String>,
    /// The `host:port` that clients of the HTTPS API are told; the node's host and the port that is bound if not given.
    pub https_address: Option<String>,
}

/// Make this machine a member of an existing cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// What `bowline token add` printed on a member.
    pub token: String,
    /// As in a request to start a cluster.
    pub name: Option<String>,
    /// As in a request to start a cluster.
    pub address: Option<String>,
    /// As in a request to start a cluster.
    pub dqlite_address: Option<String>,
    /// As in a request to start a cluster.
    pub https_address: Option<String>,
    /// As a witness, which votes and keeps no data.
    #[serde(default)]
    pub witness: bool,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("token", &"(secret)").field("name", &self.name).finish_non_exhaustive()
    }
}

/// This machine is a member now, of a new cluster or of an existing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Formed {
    /// The new member.
    pub node: NodeInfo,
    /// All members after it, by name.
    pub nodes: Vec<NodeInfo>,
    /// The units that are up, in start order.
    pub units: Vec<String>,
    /// From the request to ready, in milliseconds.
    pub elapsed_ms: u64,
    /// How far this machine's clock is ahead of the leader's, in milliseconds; none if it started the cluster.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
}

/// Issue a join token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// How long it can be used, in seconds; one hour if not given.
    pub valid_s: Option<u64>,
    /// Only a node of this name may use it.
    pub name: Option<String>,
}

/// A fresh join token. The only time that the secret is seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenIssued {
    /// Its id, to revoke it with.
    pub id: String,
    /// The token itself.
    pub token: String,
    /// When it stops working.
    pub expires: Timestamp,
}

impl std::fmt::Debug for TokenIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssued").field("id", &self.id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Whether a token can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// It can be used once.
    Open,
    /// A machine has joined with it.
    Used,
    /// Its time is over.
    Expired,
}

/// A join token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenInfo {
    /// Its id.
    pub id: String,
    /// Whether it can still be used.
    pub state: TokenState,
    /// The only name that may use it, if it was issued so.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// When it stops working.
    pub expires: Timestamp,
    /// The node that used it.
    #[schemars(with = "Option<u64>")]
    pub used_by: Option<NodeId>,
    /// That node's name, if it is a member.
    #[serde(default)]
    pub used_by_name: Option<String>,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseInfo {
    /// Its name.
    #[schemars(with = "String")]
    pub name: DbName,
    /// Its size in bytes; 0 on a witness, which holds no copy of it.
    pub bytes: u64,
    /// The number of its committed state: how many commits it has seen; 0 on a witness.
    pub version: u64,
    /// Whether this node holds a copy of it.
    #[serde(default = "is_here")]
    pub is_here: bool,
    /// The name of the node that leads it, if this node knows one.
    pub leader: Option<String>,
    /// How many members hold a copy.
    pub copies: u64,
}

fn is_here() -> bool {
    true
}

/// Create a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRequest {
    /// Its name.
    #[schemars(with = "String")]
    pub name: DbName,
}

/// What a database holds: what would be lost with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseContents {
    /// Its name.
    #[schemars(with = "String")]
    pub name: DbName,
    /// Its size in bytes.
    pub bytes: u64,
    /// The rows of all tables.
    pub rows: u64,
    /// Its tables by name.
    pub tables: Vec<TableContents>,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableContents {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
}

/// What a check of this node's own copy of a database found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseCheck {
    /// Its name.
    #[schemars(with = "String")]
    pub name: DbName,
    /// The number of the committed state that was checked: how many commits it has seen.
    pub version: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// A hash over all pages. Copies of one version on different members have the same. Empty if a page cannot be read.
    pub hash: String,
    /// What is wrong with it: a page that is not as it was written, or SQLite's own words. Empty if all is well.
    pub problems: Vec<String>,
}

/// A database was created, or was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The database.
    pub database: DatabaseInfo,
    /// Whether this request made it.
    pub created: bool,
}

/// A database is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// What was lost.
    pub contents: DatabaseContents,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, role: Role, health: Health) -> NodeInfo {
        NodeInfo {
            id: NodeId(id),
            name: format!("box{id}"),
            role,
            witness: false,
            health,
            leader: id == 1,
            address: format!("10.0.0.{id}:7440"),
            dqlite_address: format!("10.0.0.{id}:9000"),
            https_address: format!("10.0.0.{id}:7443"),
            version: None,
            failure_domain: 0,
            weight: 0,
            certificate_ends: None,
            clock_ahead_ms: None,
        }
    }

    #[test]
    fn a_reboot_is_safe_exactly_when_the_other_voters_keep_a_majority() {
        use Health::{Down, Unknown, Up};
        use Role::{StandBy, Voter};
        type Case = (&'static [(Role, Health)], bool, &'static str);
        let cases: &[Case] = &[
            (&[], true, "this machine belongs to no cluster"),
            (&[(Voter, Up)], false, "it is the only machine: its databases are down while it is"),
            (&[(Voter, Up), (StandBy, Up)], false, "it is the only voter: writes stop while it is down"),
            (&[(StandBy, Up), (Voter, Up)], true, "it does not vote, and box2 keeps the majority"),
            (&[(Voter, Up), (Voter, Up)], false, "2 of the 2 voters are needed: writes stop while it is down"),
            (&[(Voter, Up), (Voter, Up), (Voter, Up)], true, "box2 and box3 keep the majority (2 of 3)"),
            (&[(Voter, Up), (Voter, Up), (Voter, Down)], false, "box3 is already down: another loss stops writes"),
            (&[(Voter, Up), (Voter, Up), (Voter, Unknown)], false, "it is not known whether box3 is up"),
            (&[(Voter, Up), (Voter, Unknown), (Voter, Unknown)], false, "it is not known whether box2 and box3 are up"),
            (
                &[(Voter, Up), (Voter, Down), (Voter, Down)],
                false,
                "box2 and box3 are down: without a majority writes have stopped already",
            ),
            (&[(StandBy, Up), (Voter, Down)], false, "box2 is down: without a majority writes have stopped already"),
        ];
        for (members, safe, reason) in cases {
            let nodes: Vec<_> = (1..).zip(*members).map(|(id, (role, health))| node(id, *role, *health)).collect();
            let verdict = Reboot::judge(&nodes, NodeId(1));
            assert_eq!((verdict.safe, verdict.reason.as_str()), (*safe, *reason));
        }
    }
}
