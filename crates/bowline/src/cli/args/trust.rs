//! The words about who is trusted: tokens, access, the CA.

use super::parse_duration_s;
use clap::{Subcommand, ValueEnum};

/// `bowline token`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token that lets one machine join
    Add {
        /// How long it can be used: seconds, or with a unit as in 30m, 1h, 2d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration_s)]
        valid: u64,
        /// Only a node of this name may use it
        #[arg(long)]
        name: Option<String>,
    },
    /// List the tokens that were made
    #[command(visible_alias = "ls")]
    List,
    /// Make a token useless
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

/// `bowline access`.
#[derive(Debug, Clone, Subcommand)]
pub enum AccessCommand {
    /// Give a person or a program access, and print their token
    Add {
        /// Whose it is: letters, digits, dots and dashes
        name: String,
        /// What they may do: viewer looks, operator changes databases, admin decides who belongs here
        #[arg(long, value_enum, default_value = "viewer")]
        role: Access,
        /// How long it is good: seconds, or with a unit as in 12h, 90d
        #[arg(long, value_name = "TIME", default_value = "365d", value_parser = parse_duration_s)]
        valid: u64,
    },
    /// List who has access
    #[command(visible_alias = "ls")]
    List,
    /// Take access away, at once
    Revoke {
        /// Whose
        name: String,
    },
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Access {
    /// Look at everything.
    Viewer,
    /// Change what is in the databases, and which there are.
    Operator,
    /// Decide who belongs to the cluster and who has access to it.
    Admin,
}

/// `bowline ca`.
#[derive(Debug, Clone, Subcommand)]
pub enum CaCommand {
    /// Show the CA, the members' certificates and how far a rotation is
    Show,
    /// Replace the CA by a new one while the cluster runs; or hurry a rotation that waits
    Rotate {
        /// Do not wait for tokens that pin the old CA: they stop working
        #[arg(long)]
        finish: bool,
        /// Do not wait for this member; it gets the new CA when it comes back
        #[arg(long, value_name = "NODE")]
        without: Vec<String>,
    },
}
