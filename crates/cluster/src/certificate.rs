//! What is read off certificates: until when they are good, who made them, under which names.

use crate::{ClusterError, NodeName};
use base::NodeId;
use rcgen::SanType;
use rpc::node_name;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// When a certificate is good, in seconds since the Unix epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From here on.
    pub not_before: i64,
    /// Up to here.
    pub not_after: i64,
}

/// What a moment is to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// By this clock it has not begun: one of two clocks was or is wrong.
    NotYet,
    /// It is good, and for long enough.
    Good,
    /// It is good, and time to have another one.
    Due,
    /// It has ended.
    Expired,
}

impl Validity {
    pub(crate) fn of_pem(pem: &str) -> Result<Self, ClusterError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(failed)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(failed)?;
        let validity = parsed.validity();
        Ok(Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    /// How long it is good in all, in seconds.
    pub fn life_s(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(0)
    }

    /// Whether it is good then.
    pub(crate) fn contains(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// When `node` asks for another one: a third of its life before the end, or a little later. The members' certificates were often
    /// made on one day; their ids, which are random, spread them over a twelfth of their lives.
    pub fn due_at(&self, node: NodeId) -> i64 {
        const PARTS: i64 = 1_024;
        let life = self.life_s();
        let part = i64::try_from(node.0 % PARTS.cast_unsigned()).unwrap_or_default();
        self.not_after.saturating_sub(life / 3).saturating_add(life / 12 * part / PARTS)
    }

    /// What `now` is to the certificate of `node`.
    pub(crate) fn stage(&self, node: NodeId, now: i64) -> Stage {
        if now < self.not_before {
            Stage::NotYet
        } else if now > self.not_after {
            Stage::Expired
        } else if now >= self.due_at(node) {
            Stage::Due
        } else {
            Stage::Good
        }
    }
}

/// A name that a certificate carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Dns(String),
    Address(IpAddr),
}

impl Name {
    pub(crate) fn to_san(&self) -> Result<SanType, rcgen::Error> {
        match self {
            Self::Dns(name) => name.clone().try_into().map(SanType::DnsName),
            Self::Address(address) => Ok(SanType::IpAddress(*address)),
        }
    }
}

/// The names for the certificate of a node: `node-ID.bowline` first, by which nodes know each other; then what clients may have typed.
pub(crate) fn names_for(node: NodeId, name: &NodeName, hosts: &[&str]) -> Vec<Name> {
    let mut names = vec![Name::Dns(node_name(node)), Name::Dns(name.to_string())];
    for host in hosts {
        let host = host.rsplit_once(':').map_or(*host, |(host, _)| host).trim_matches(['[', ']']);
        let alternative = match host.parse::<IpAddr>() {
            Ok(address) => Name::Address(address),
            // A Unix socket has no name; a host that is none would only make the certificate unreadable.
            Err(_) if NodeName::new(host).is_err() => continue,
            Err(_) => Name::Dns(host.to_owned()),
        };
        if !names.contains(&alternative) {
            names.push(alternative);
        }
    }
    names
}

/// The names that a certificate carries.
pub(crate) fn names_in(pem: &str) -> Result<Vec<Name>, ClusterError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(failed)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(failed)?;
    let names = parsed.subject_alternative_name().map_err(failed)?;
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(Name::Address(four.into())),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| Name::Address(sixteen.into())),
        },
        _ => None,
    });
    Ok(names.collect())
}

/// Whether one of `roots` vouches for a certificate at the time `at`, if need be by way of the certificates between.
pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    at: Duration,
) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone().into_owned())?;
    }
    let leaf = ParsedCertificate::try_from(leaf)?;
    let now = UnixTime::since_unix_epoch(at);
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, &store, between, now, algorithms)
}

/// The blocks of a text that holds several PEM blocks, each as a text of its own.
pub(crate) fn blocks(pem: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in pem.lines() {
        if block.is_empty() && !line.starts_with("-----BEGIN ") {
            continue;
        }
        block.push_str(line);
        block.push('\n');
        if line.starts_with("-----END ") {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks
}

fn failed(error: impl std::fmt::Display) -> ClusterError {
    ClusterError::Certificate { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_life_is_left_and_not_for_all_members_at_once() {
        let year = Validity { not_before: -DAY, not_after: 365 * DAY };
        assert_eq!(year.due_at(NodeId(0)), (365 - 122) * DAY);
        assert_eq!(year.due_at(NodeId(512)), (365 - 122) * DAY + 366 * DAY / 24);
        let last = year.due_at(NodeId(1_023));
        assert!(last < 365 * DAY - 366 * DAY / 4, "a quarter of its life is left for whatever may be in the way");
        let stages =
            [-DAY - 1, -DAY, last - 1, last, 365 * DAY, 365 * DAY + 1].map(|now| year.stage(NodeId(1_023), now));
        assert_eq!(stages, [Stage::NotYet, Stage::Good, Stage::Good, Stage::Due, Stage::Due, Stage::Expired]);
    }

    #[test]
    fn a_text_of_several_blocks_is_taken_apart() {
        let one = "-----BEGIN X-----\nYQ==\n-----END X-----\n";
        assert_eq!(blocks(&format!("{one}{one}")), [one, one]);
        assert_eq!(blocks(&format!("{one}\r\n-----BEGIN X")), [one], "what is not whole is none");
        assert!(blocks("").is_empty());
    }
}
