//! The names of nodes and clusters.

use crate::ClusterError;
use base::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A node's name: what a host may be called. 1 to 63 characters of `a-z 0-9 . -`, starting and ending with a letter or digit.
/// Unique among the members. Upper case is taken as lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The longest name.
    pub const LEN_MAX: usize = 63;

    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, ClusterError> {
        let given = name.into();
        let name = given.to_ascii_lowercase();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::LEN_MAX {
            "it is longer than 63 characters"
        } else if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
            "it may hold only letters, digits, dots and dashes"
        } else if name.starts_with(['.', '-']) || name.ends_with(['.', '-']) || name.contains("..") {
            "it has a dot or dash where a letter or digit belongs"
        } else if name.starts_with("node-") && name.ends_with(".bowline") {
            "names of that form belong to the certificates"
        } else {
            return Ok(Self(name));
        };
        Err(ClusterError::Name { name: given, why })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = ClusterError;
    fn try_from(name: String) -> Result<Self, ClusterError> {
        Self::new(name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl FromStr for NodeName {
    type Err = ClusterError;
    fn from_str(name: &str) -> Result<Self, ClusterError> {
        Self::new(name)
    }
}

/// A cluster's id: 32 hexadecimal digits, random, for life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// A new cluster's id.
    pub fn random() -> Self {
        Self(format!("{:016x}{:016x}", rt::entropy::u64(), rt::entropy::u64()))
    }

    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A new node's id: random and not zero. 53 bits, so that it survives every JSON reader and is positive in SQL.
pub(crate) fn random_node() -> NodeId {
    loop {
        let id = rt::entropy::u64() >> 11;
        if id != 0 {
            return NodeId(id);
        }
    }
}

/// Whether `address` is `host:port` as others could connect to it.
pub(crate) fn check_address(address: &str) -> Result<(), ClusterError> {
    let invalid = |why| Err(ClusterError::Address { address: address.to_owned(), why });
    let Some((host, port)) = address.rsplit_once(':') else { return invalid("it is not of the form host:port") };
    if host.is_empty() || host.len() > 255 || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return invalid("its host is no name or address");
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => invalid("its port is not a number from 1 to 65535"),
        Ok(_) if matches!(host, "0.0.0.0" | "[::]" | "::") => invalid("others cannot connect to it"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_host_may_be_called() {
        for name in ["box1", "a", "db-3.example", &"x".repeat(63)] {
            assert!(NodeName::new(name).is_ok(), "{name}");
        }
        assert_eq!(NodeName::new("Box1").unwrap().as_str(), "box1");
        for name in ["", "-a", "a.", "a..b", "a b", "ä", "a_b", "node-1.bowline", &"x".repeat(64)] {
            assert!(NodeName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn addresses_are_those_that_others_can_connect_to() {
        for address in ["10.0.0.1:7440", "box1:1", "[fe80::1]:7440", "127.0.0.1:65535"] {
            assert!(check_address(address).is_ok(), "{address}");
        }
        for address in ["", "box1", ":1", "box1:0", "box1:65536", "box 1:1", "0.0.0.0:7440", "[::]:7440"] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn ids_survive_json_and_sql() {
        for _ in 0..1000 {
            let id = random_node().0;
            assert!(id != 0 && id < 1 << 53);
        }
    }
}
