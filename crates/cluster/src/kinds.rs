//! The tables of `sys` that belong to this crate, seen as resources.

use store::Value;
use store::resources::{Column, EventRule, Form, Key, Kind, Part, Severity, When};

const JOIN: Part = Part::Status { writer: "the join" };
const LIFE: Part = Part::Status { writer: "the join, then the role controller" };
const SELF: Part = Part::Status { writer: "the node itself, at each start" };
const ISSUER: Part = Part::Status { writer: "who issued it" };
const NOTED: Part = Part::Status { writer: "the member that was asked" };

/// What this crate keeps in `sys`.
pub const KINDS: &[&Kind] = &[&CLUSTER, &NODES, &TOKENS, &ACCESS, &AUDIT];

/// All kinds of resources: those of this crate, and those of the store.
pub fn kinds() -> Vec<&'static Kind> {
    KINDS.iter().chain(store::resources::KINDS).copied().collect()
}

fn at_least_zero(value: &Value) -> Result<(), &'static str> {
    if value.integer().is_some_and(|number| number >= 0) { Ok(()) } else { Err("it is a whole number from 0 on") }
}

fn voters(value: &Value) -> Result<(), &'static str> {
    let fits = value.integer().and_then(|n| usize::try_from(n).ok()).is_some_and(crate::targets::is_voters);
    if fits { Ok(()) } else { Err("it is an odd number up to 9") }
}

fn stand_bys(value: &Value) -> Result<(), &'static str> {
    let fits = value.integer().and_then(|n| usize::try_from(n).ok()).is_some_and(crate::targets::is_stand_bys);
    if fits { Ok(()) } else { Err("it is a whole number from 0 to 63") }
}

fn dead_after(value: &Value) -> Result<(), &'static str> {
    let fits = value.integer().and_then(|n| u64::try_from(n).ok()).is_some_and(crate::targets::is_dead_after);
    if fits { Ok(()) } else { Err("it is a whole number of seconds from 2 to 86400") }
}

fn time(value: &Value) -> Result<(), &'static str> {
    if value.integer().is_some() { Ok(()) } else { Err("it is a time") }
}

const fn spec(column: &'static str, accepts: fn(&Value) -> Result<(), &'static str>) -> Part {
    Part::Settable { column, accepts }
}

const fn column(name: &'static str, sql: &'static str, form: Form, part: Part, does: &'static str) -> Column {
    Column { name, sql, form, part, does }
}

const fn news(when: When, condition: &'static str, reason: &'static str, message: &'static str) -> EventRule {
    EventRule { when, condition, severity: Severity::Normal, reason, message }
}

const CLUSTER: Kind = Kind {
    name: "cluster",
    does: "The cluster itself, one object: what its roles should be",
    table: "cluster",
    key: Key::Text("id"),
    exists: "1",
    columns: &[
        column("voters", "ROW.voters", Form::Integer, spec("voters", voters), "How many members should vote"),
        column(
            "stand_bys",
            "ROW.stand_bys",
            Form::Integer,
            spec("stand_bys", stand_bys),
            "How many members should stand by",
        ),
        column(
            "dead_after",
            "ROW.dead_after",
            Form::Integer,
            spec("dead_after", dead_after),
            "After how many seconds a member that is not heard loses its roles",
        ),
        column("created", "ROW.created", Form::Seconds, Part::Status { writer: "the founder" }, "When it was founded"),
    ],
    events: &[news(
        When::Updated,
        "OLD.voters <> NEW.voters OR OLD.stand_bys <> NEW.stand_bys",
        "RolesWanted",
        "NEW.voters || ' voters and ' || NEW.stand_bys || ' stand-bys are wanted'",
    )],
};

pub(crate) const NODES: Kind = Kind {
    name: "nodes",
    does: "The machines that belong to the cluster, or are on their way in or out",
    table: "nodes",
    key: Key::Text("name"),
    exists: "ROW.state <> 'removed'",
    columns: &[
        column(
            "failure_domain",
            "ROW.failure_domain",
            Form::Integer,
            spec("failure_domain", at_least_zero),
            "Nodes with the same number fail together",
        ),
        column(
            "weight",
            "ROW.weight",
            Form::Integer,
            spec("weight", at_least_zero),
            "Between equals the lighter gets the role",
        ),
        column("id", "ROW.id", Form::Id, JOIN, "Never used again"),
        column("state", "ROW.state", Form::Text, LIFE, "`joining`, `member` or `leaving`"),
        column("since", "ROW.since", Form::Seconds, LIFE, "When it came into its state"),
        column("address", "ROW.address", Form::Text, SELF, "Where other nodes reach it"),
        column("dqlite_address", "ROW.dqlite_address", Form::Text, SELF, "Where clients of the databases reach it"),
        column("https_address", "ROW.https_address", Form::Text, SELF, "Where clients of the API reach it"),
        column("witness", "ROW.witness", Form::Integer, JOIN, "1 if it votes and keeps no data"),
        column("version", "ROW.version", Form::Text, SELF, "The version of its daemon"),
        column("fingerprint", "ROW.fingerprint", Form::Text, JOIN, "SHA-256 of its public key"),
        column("token", "ROW.token", Form::Text, JOIN, "The join token that let it in"),
    ],
    events: &[
        news(When::Inserted, "NEW.state = 'joining'", "Joining", "'it redeemed token ' || NEW.token"),
        news(When::Inserted, "NEW.state = 'member'", "Founded", "'it founded the cluster, at ' || NEW.address"),
        news(
            When::Updated,
            "OLD.state = 'joining' AND NEW.state = 'member'",
            "Joined",
            "'it runs as a member, at ' || NEW.address",
        ),
        news(
            When::Updated,
            "OLD.state <> 'leaving' AND NEW.state = 'leaving'",
            "Leaving",
            "'it is on its way out: its roles go to others'",
        ),
        news(When::Updated, "OLD.state = 'leaving' AND NEW.state = 'removed'", "Left", "'it is no member any more'"),
        EventRule {
            when: When::Updated,
            condition: "OLD.state = 'joining' AND NEW.state = 'removed'",
            severity: Severity::Warning,
            reason: "JoinLapsed",
            message: "'it redeemed a token and was never seen running; its name is free again'",
        },
        news(
            When::Updated,
            "NEW.state = 'member' AND OLD.state = 'member' AND OLD.address <> NEW.address",
            "Moved",
            "'it moved from ' || OLD.address || ' to ' || NEW.address",
        ),
        news(
            When::Updated,
            "NEW.state = 'member' AND OLD.state = 'member' AND OLD.version <> NEW.version",
            "Upgraded",
            "'it runs version ' || NEW.version || ' instead of ' || OLD.version",
        ),
    ],
};

const TOKENS: Kind = Kind {
    name: "tokens",
    does: "Join tokens, each for one machine",
    table: "tokens",
    key: Key::Text("id"),
    exists: "1",
    columns: &[
        column("node", "ROW.name", Form::Text, Part::Spec, "The only node name that may use it"),
        column("expires", "ROW.expires", Form::Seconds, spec("expires", time), "When it stops working"),
        column("created", "ROW.created", Form::Seconds, ISSUER, "When it was issued"),
        column("used_by", "ROW.used_by", Form::Id, JOIN, "The id of the node that was let in"),
        column("used", "ROW.used", Form::Seconds, JOIN, "When it was let in"),
    ],
    events: &[
        news(When::Inserted, "1", "Issued", "'a join token was issued' || coalesce(' for ' || NEW.name, '')"),
        news(When::Deleted, "OLD.used_by IS NULL", "Revoked", "'it lets nobody in any more'"),
    ],
};

const ACCESS: Kind = Kind {
    name: "access",
    does: "Who may use the API from afar",
    table: "access",
    key: Key::Text("name"),
    exists: "1",
    columns: &[
        column("role", "ROW.role", Form::Text, Part::Spec, "`viewer`, `operator` or `admin`"),
        column("expires", "ROW.expires", Form::Seconds, spec("expires", time), "When it ends"),
        column("token", "ROW.token", Form::Text, ISSUER, "The id of the access token"),
        column("created", "ROW.created", Form::Seconds, ISSUER, "When it was given"),
    ],
    events: &[
        news(When::Inserted, "1", "Given", "'it has access as ' || NEW.role"),
        news(When::Deleted, "1", "Taken", "'its access as ' || OLD.role || ' has ended'"),
    ],
};

const AUDIT: Kind = Kind {
    name: "audit",
    does: "Who asked for what that changes something; the newest 10,000",
    table: "audit",
    key: Key::Number("id"),
    exists: "1",
    columns: &[
        column("at", "ROW.at_ms", Form::Millis, NOTED, "When it was asked"),
        column("who", "ROW.who", Form::Text, NOTED, "`local` is whoever may open a member's control socket"),
        column("role", "ROW.role", Form::Text, NOTED, "With which role"),
        column("node", "ROW.node", Form::Id, NOTED, "The id of the member that was asked"),
        column("request", "ROW.request", Form::Text, NOTED, "Method and path"),
        column("answer", "ROW.status", Form::Integer, NOTED, "The HTTP status of the answer, once it is known"),
        column("code", "ROW.code", Form::Text, NOTED, "The code of the error, if it failed"),
    ],
    events: &[],
};
