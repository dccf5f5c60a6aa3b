//! What goes through a network, by the kernel's counters of it.

use crate::bench::error::BenchError;

/// What a network has sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// UDP's datagrams and TCP's segments.
    pub(super) packets: u64,
    /// All of IPv4's bytes, headers of IP, UDP and TCP among them.
    pub(super) bytes: u64,
}

impl Sent {
    /// What the network of this process has sent.
    pub(super) fn now() -> Result<Self, BenchError> {
        let read = |path| std::fs::read_to_string(path).map_err(BenchError::io(std::path::Path::new(path)));
        let (snmp, netstat) = (read("/proc/net/snmp")?, read("/proc/net/netstat")?);
        let missing = || BenchError::failed("counting packets", "the kernel does not say how many it sent");
        Self::of(&snmp, &netstat).ok_or_else(missing)
    }

    fn of(snmp: &str, netstat: &str) -> Option<Self> {
        Some(Self {
            packets: counter(snmp, "Udp:", "OutDatagrams")? + counter(snmp, "Tcp:", "OutSegs")?,
            bytes: counter(netstat, "IpExt:", "OutOctets")?,
        })
    }

    /// What was sent since.
    pub(super) fn since(self, before: Self) -> Self {
        Self { packets: self.packets.saturating_sub(before.packets), bytes: self.bytes.saturating_sub(before.bytes) }
    }
}

/// The files have two lines a protocol: one of names, one of numbers.
fn counter(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)).map(str::split_whitespace);
    let (mut names, mut numbers) = (lines.next()?, lines.next()?);
    numbers.nth(names.position(|known| known == name)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let snmp = "Tcp: RtoMin InSegs OutSegs\nTcp: 200 7 9\nUdp: InDatagrams NoPorts OutDatagrams\nUdp: 1 2 30\n\
                    UdpLite: InDatagrams\nUdpLite: 5\n";
        let netstat = "TcpExt: A\nTcpExt: 1\nIpExt: InOctets OutOctets\nIpExt: 100 2000\n";
        assert_eq!(Sent::of(snmp, netstat), Some(Sent { packets: 39, bytes: 2000 }));
        assert_eq!(Sent::of("", netstat), None);
    }
}
