//! The words of the command line. Help texts, completions and man pages are made from here.

mod trust;

pub use trust::{Access, AccessCommand, CaCommand, TokenCommand};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A few Linux machines, one dependable cluster: databases that survive the loss of a machine.
#[derive(Debug, Parser)]
#[command(
    name = "bowline",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Try it on this machine alone:  bowline dev --nodes 3\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not ready, 4 refused for safety, 5 timed out.\n\
                  An error carries a code; `bowline explain CODE` tells more."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where the node keeps its state [default: /var/lib/bowline, or ~/.local/state/bowline without root]
    #[arg(long, global = true, value_name = "DIR", env = "BOWLINE_STATE_DIR", hide_env = true)]
    pub state_dir: Option<PathBuf>,
    /// The node's control socket [default: control.sock in the state directory]
    #[arg(long, global = true, value_name = "PATH", env = "BOWLINE_SOCKET", hide_env = true)]
    pub socket: Option<PathBuf>,
    /// Ask the cluster that this member belongs to, over HTTPS [default port: 7443]
    #[arg(long, global = true, value_name = "HOST[:PORT]", env = "BOWLINE_HOST", hide_env = true, conflicts_with_all = ["socket", "state_dir"])]
    pub host: Option<String>,
    /// Ask the cluster of this context, over HTTPS; see `bowline context`
    #[arg(long, global = true, value_name = "NAME", env = "BOWLINE_CONTEXT", hide_env = true, conflicts_with_all = ["socket", "state_dir"])]
    pub context: Option<String>,
    /// How to print: table, wide, json, yaml or name [default: a table on a terminal, else tab-separated values]
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub output: Option<Format>,
    /// How long to wait for an answer, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// More columns.
    Wide,
    /// One JSON document; a contract: fields are added, never renamed.
    Json,
    /// The same as YAML.
    Yaml,
    /// Only names, one a line.
    Name,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster on this machine
    Init(InitArgs),
    /// Enter a cluster with a token from one of its members
    Join(JoinArgs),
    /// Leave the cluster: roles and data move to the others first
    Leave(LeaveArgs),
    /// Show whether the cluster is well, and whether this machine may be rebooted
    Status(StatusArgs),
    /// Talk SQL: a shell, one statement, or a script from standard input
    Sql(SqlArgs),
    /// Databases: create, list, drop, export, import
    #[command(subcommand, arg_required_else_help = true)]
    Db(DbCommand),
    /// Members of the cluster
    #[command(subcommand, arg_required_else_help = true)]
    Node(NodeCommand),
    /// Who is alive, as this node's gossip tells
    #[command(subcommand, arg_required_else_help = true)]
    Member(MemberCommand),
    /// One-time tokens that let machines join
    #[command(subcommand, arg_required_else_help = true)]
    Token(TokenCommand),
    /// Who may use the API from other machines, and how far
    #[command(subcommand, arg_required_else_help = true)]
    Access(AccessCommand),
    /// Clusters that this user asks from afar
    #[command(subcommand, arg_required_else_help = true)]
    Context(ContextCommand),
    /// The certificate authority by which members and clients know the cluster
    #[command(subcommand, arg_required_else_help = true)]
    Ca(CaCommand),
    /// Show who asked for what that changes something
    Audit(AuditArgs),
    /// What happened in the cluster: list, watch
    #[command(subcommand, arg_required_else_help = true)]
    Event(EventCommand),
    /// What the cluster keeps about itself, with what is wanted and what is observed
    #[command(subcommand, arg_required_else_help = true)]
    Resource(ResourceCommand),
    /// Go on after the majority of the machines is lost for good
    Recover(RecoverArgs),
    /// Run a throw-away cluster in this terminal, until Ctrl-C
    Dev(DevArgs),
    /// Run the daemon in the foreground
    Start(StartArgs),
    /// Stop the daemon of this machine in order
    Stop,
    /// Explain an error code
    Explain(ExplainArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the API as an OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Print the manual page, or write all pages into a directory
    Man(ManArgs),
}

/// Where a daemon listens.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Where other nodes connect (mutual TLS), and gossip (UDP)
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7440", env = "BOWLINE_LISTEN", hide_env = true)]
    pub listen: String,
    /// Where dqlite clients connect
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "0.0.0.0:9000",
        env = "BOWLINE_DQLITE_LISTEN",
        hide_env = true
    )]
    pub dqlite_listen: String,
    /// Where clients of the API connect (HTTPS)
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7443", env = "BOWLINE_HTTPS_LISTEN", hide_env = true)]
    pub https_listen: String,
}

/// How a node presents itself to others.
#[derive(Debug, Clone, Args)]
pub struct IdentityArgs {
    /// The node's name [default: the name of the machine]
    #[arg(long)]
    pub name: Option<String>,
    /// What other nodes are told to connect to [default: found from the machine's interfaces]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// What dqlite clients are told to connect to [default: the host of the address]
    #[arg(long, value_name = "HOST:PORT")]
    pub dqlite_address: Option<String>,
    /// What clients of the API are told to connect to [default: the host of the address]
    #[arg(long, value_name = "HOST:PORT")]
    pub https_address: Option<String>,
}

/// `bowline init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// How the node presents itself.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Where the daemon listens, if it does not run yet.
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// `bowline join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// What `bowline token add` printed on a member; `-` reads it from standard input
    pub token: String,
    /// Join as a witness: it votes, keeps no data, and lets two other machines survive the loss of either
    #[arg(long)]
    pub witness: bool,
    /// How the node presents itself.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Where the daemon listens, if it does not run yet.
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// `bowline start`.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// Where it listens.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// How to log, on standard error
    #[arg(long, value_enum, default_value = "text", env = "BOWLINE_LOG_FORMAT", hide_env = true)]
    pub log_format: LogFormat,
    /// What to log: error, warn, info, debug, or `crate=level,...`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "BOWLINE_LOG", hide_env = true)]
    pub log: String,
    /// Cut a damaged Raft log off where the damage is; the other members have the rest
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "with-others")]
    pub repair_log: Option<RepairLog>,
    /// For tests: certificates that this node makes are good for so long. Never longer than without it
    #[arg(long, value_name = "SECONDS", env = "BOWLINE_CERTIFICATE_LIFE", hide = true, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub certificate_life: Option<u64>,
    /// Leave the terminal's session. `init` and `join` start the daemon so.
    #[arg(long, hide = true)]
    pub background: bool,
}

/// Who makes a damaged log whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepairLog {
    /// The other members; until then this one does not vote.
    WithOthers,
    /// Nobody: this machine is the cluster's only voter, and what is behind the damage is lost.
    Alone,
}

impl From<RepairLog> for raft::OnCorruption {
    fn from(how: RepairLog) -> Self {
        match how {
            RepairLog::WithOthers => Self::Repair,
            RepairLog::Alone => Self::RepairAlone,
        }
    }
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `bowline status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Show where each unit of the daemon is in its life
    #[arg(long)]
    pub units: bool,
}

/// `bowline sql`.
#[derive(Debug, Clone, Args)]
pub struct SqlArgs {
    /// The database; made if it is not there. Without it: a shell that has opened none yet
    pub database: Option<String>,
    /// Run this and leave; several statements are divided by semicolons
    pub statement: Option<String>,
    /// Ask this dqlite server instead of the node of this machine
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "socket")]
    pub address: Option<String>,
    /// How to print rows; -o works too
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Columns for people.
    Table,
    /// Comma-separated values with a head (RFC 4180).
    Csv,
    /// An array of objects.
    Json,
    /// One column a line, a blank line between rows.
    Line,
    /// Values divided by tabs, no head.
    Tsv,
    /// Values divided by `|`, no head, as the sqlite3 shell prints them.
    List,
}

/// `bowline db`.
#[derive(Debug, Clone, Subcommand)]
pub enum DbCommand {
    /// Create a database
    Create {
        /// Its name: letters, digits, dot, underscore, dash
        name: String,
    },
    /// List the databases
    #[command(visible_alias = "ls")]
    List,
    /// Check this machine's own copies, and show their hashes to compare with other machines'
    Check {
        /// Its name; all databases if not given
        name: Option<String>,
    },
    /// Remove a database on all members; says what is lost
    Drop {
        /// Its name
        name: String,
        /// Do it, without asking for the name
        #[arg(long)]
        yes: bool,
    },
    /// Write a database to a plain SQLite file
    Export {
        /// Its name
        name: String,
        /// The file [default: NAME.db]; `-` is standard output
        file: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Create a database from a plain SQLite file
    Import {
        /// The name of the new database
        name: String,
        /// The file
        file: PathBuf,
    },
}

/// `bowline node`.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// List the members: role, health, addresses
    #[command(visible_alias = "ls")]
    List,
    /// Say with whom a node fails together, and how gladly it takes a role
    Set {
        /// Its name
        name: String,
        /// Nodes with the same number fail together, as in one room: roles are spread over the numbers
        #[arg(long, value_name = "NUMBER")]
        failure_domain: Option<u64>,
        /// Between equals the lower weight gets the role
        #[arg(long, value_name = "NUMBER")]
        weight: Option<u64>,
    },
    /// Show or change how many members vote and stand by
    Roles {
        /// So many vote, from three members on: 3 survive the loss of one machine, 5 of two
        #[arg(long, value_name = "ODD NUMBER")]
        voters: Option<usize>,
        /// So many stand by: they have all data, and take the place of a voter that is lost
        #[arg(long, value_name = "NUMBER")]
        stand_bys: Option<usize>,
        /// After so long the roles of a member that is not heard go to others: longer than a restart takes
        #[arg(long, value_name = "TIME", value_parser = parse_duration_s)]
        dead_after: Option<u64>,
    },
    /// Remove a node from the cluster; its roles move to others first
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
        /// How it is done
        #[command(flatten)]
        how: LeaveArgs,
    },
}

/// `bowline member`.
#[derive(Debug, Clone, Subcommand)]
pub enum MemberCommand {
    /// List who is alive, suspected, dead or gone, and why
    #[command(visible_alias = "ls")]
    List,
    /// Show what happens to members, until it is interrupted
    Watch {
        /// Also what happened after the event of this number, as far as it is remembered; 0 for all
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// Tell all members something of this node
    Payload {
        /// Up to 1200 bytes
        text: String,
    },
    /// Ask an address whether a member of this cluster is there
    Probe {
        /// HOST:PORT, or a port alone for everybody on this machine's networks
        address: String,
    },
}

/// How a node leaves.
#[derive(Debug, Clone, Args)]
pub struct LeaveArgs {
    /// Do it, without asking for the name
    #[arg(long)]
    pub yes: bool,
    /// Also if it does not answer, or if others are down and writes may stop
    #[arg(long)]
    pub force: bool,
}

/// `bowline audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// So many of the newest entries
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only entries before the one of this id
    #[arg(long, value_name = "ID")]
    pub before: Option<u64>,
}

/// `bowline event`.
#[derive(Debug, Clone, Subcommand)]
pub enum EventCommand {
    /// Show the newest events, the oldest of them first
    List {
        /// So many of the newest
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show events as they happen, until Ctrl-C
    Watch {
        /// Begin after the change of this revision instead of now
        #[arg(long, value_name = "REVISION")]
        after: Option<u64>,
    },
}

/// `bowline resource`.
#[derive(Debug, Clone, Subcommand)]
pub enum ResourceCommand {
    /// List the kinds of resources, or the fields of one
    Kinds {
        /// The kind whose fields are listed
        kind: Option<String>,
    },
    /// List the resources of a kind
    List {
        /// The kind: nodes, databases, tokens, access, events, audit or cluster
        kind: String,
    },
    /// Show one resource
    Get {
        /// Its kind
        kind: String,
        /// Its name, or its number
        name: String,
    },
    /// Change what is wanted of a resource
    Set {
        /// Its kind
        kind: String,
        /// Its name
        name: String,
        /// What to set, such as weight=10
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
        /// Only if its last change is this one
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Show changes of resources as they happen, until Ctrl-C
    Watch {
        /// Only these kinds; all if none is named
        #[arg(value_name = "KIND")]
        kinds: Vec<String>,
        /// Begin after the change of this revision instead of now
        #[arg(long, value_name = "REVISION")]
        after: Option<u64>,
    },
}

/// `bowline recover`.
#[derive(Debug, Clone, Args)]
pub struct RecoverArgs {
    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it, without asking for the names of the lost machines
    #[arg(long)]
    pub yes: bool,
}

/// `bowline context`.
#[derive(Debug, Clone, Subcommand)]
pub enum ContextCommand {
    /// Keep a cluster under a name, with the token that `bowline access add` printed there
    Add {
        /// The name for it here
        name: String,
        /// The token; `-` reads it from standard input
        token: String,
    },
    /// List the contexts; the one that commands use is marked
    #[command(visible_alias = "ls")]
    List,
    /// Let commands ask this cluster from now on; `local` is the node of this machine
    Use {
        /// Its name
        name: String,
    },
    /// Forget a context
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
    },
}

/// `bowline dev`.
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// How many nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// What to log, on standard error
    #[arg(long, value_name = "FILTER", default_value = "error", env = "BOWLINE_LOG", hide_env = true)]
    pub log: String,
}

/// `bowline explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A code such as BL-API-005, or a node's name; without it all codes are listed
    pub subject: Option<String>,
}

/// `bowline completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `bowline man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write bowline.1 and a page for each command here
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `90`, `90s`, `30m`, `1h`, `2d`, as seconds.
fn parse_duration_s(text: &str) -> Result<u64, String> {
    let (digits, unit_s) = match text.char_indices().next_back() {
        Some((i, 's')) => (text.get(..i), 1),
        Some((i, 'm')) => (text.get(..i), 60),
        Some((i, 'h')) => (text.get(..i), 3600),
        Some((i, 'd')) => (text.get(..i), 86_400),
        _ => (Some(text), 1),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok()).and_then(|n| n.checked_mul(unit_s));
    match number {
        Some(0) | None => Err("expected a time such as 90s, 30m, 1h or 2d".to_owned()),
        Some(seconds) if seconds > 366 * 86_400 => Err("a year is the longest".to_owned()),
        Some(seconds) => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times_take_a_unit() {
        assert_eq!(parse_duration_s("90"), Ok(90));
        assert_eq!(parse_duration_s("30m"), Ok(1800));
        assert_eq!(parse_duration_s("2d"), Ok(172_800));
        for wrong in ["", "h", "0", "-1", "1w", "1.5h", "99999999999999999999d", "400d"] {
            assert!(parse_duration_s(wrong).is_err(), "{wrong}");
        }
    }
}
