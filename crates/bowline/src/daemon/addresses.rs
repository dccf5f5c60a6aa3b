//! What a node tells others of where it is, when nobody says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The address of this machine that others would see: the one it would send from. Nothing is sent.
fn outbound_ip() -> IpAddr {
    // An address reserved for documentation: it is only looked up in the routing table.
    let looked_up = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    looked_up.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// The address to announce for a bound socket: its own, or this machine's if it listens on all interfaces.
pub(super) fn announced(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { SocketAddr::new(outbound_ip(), bound.port()) } else { bound }
}

/// What a user gave as `host[:port]`, completed with the port that is bound.
pub(super) fn completed(given: &str, port: u16) -> String {
    let has_port = given.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
    });
    if has_port {
        given.to_owned()
    } else if given.contains(':') && !given.starts_with('[') {
        format!("[{given}]:{port}")
    } else {
        format!("{given}:{port}")
    }
}

/// The host of `host:port`.
pub(super) fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_bound_one() {
        assert_eq!(completed("box1", 7440), "box1:7440");
        assert_eq!(completed("box1:1234", 7440), "box1:1234");
        assert_eq!(completed("10.0.0.1", 7440), "10.0.0.1:7440");
        assert_eq!(completed("fd00::1", 7440), "[fd00::1]:7440");
        assert_eq!(completed("[fd00::1]", 7440), "[fd00::1]:7440");
        assert_eq!(completed("[fd00::1]:1234", 7440), "[fd00::1]:1234");
        assert_eq!(host("[fd00::1]:1234"), "[fd00::1]");
    }

    #[test]
    fn a_socket_on_all_interfaces_is_announced_by_the_machines_own_address() {
        let given: SocketAddr = "127.0.0.1:7440".parse().unwrap();
        assert_eq!(announced(given), given);
        let all: SocketAddr = "0.0.0.0:7440".parse().unwrap();
        assert!(!announced(all).ip().is_unspecified());
        assert_eq!(announced(all).port(), 7440);
    }
}
