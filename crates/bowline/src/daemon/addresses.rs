//! What a node tells others of where it is, when nobody says.

use rt::net::outbound_ip;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address of one of its interfaces: a back office may have no way out.
fn interface_ip() -> Option<IpAddr> {
    let addresses = if_addrs::get_if_addrs().unwrap_or_default();
    best(addresses.iter().map(|interface| (interface.name.as_str(), interface.ip())))
}

/// The first that others can reach, IPv4 before IPv6, and bridges of containers last.
fn best<'a>(interfaces: impl Iterator<Item = (&'a str, IpAddr)>) -> Option<IpAddr> {
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    let is_inner = |name: &str| ["docker", "virbr", "veth", "br-"].iter().any(|prefix| name.starts_with(prefix));
    let reachable = interfaces.filter(|(_, ip)| !is_local(ip));
    reachable.min_by_key(|(name, ip)| (is_inner(name), ip.is_ipv6())).map(|(_, ip)| ip)
}

/// The address to announce for a bound socket: its own, or this machine's if it listens on all interfaces.
pub(super) fn announced(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let ip = outbound_ip().or_else(interface_ip).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(ip, bound.port())
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
    fn a_machine_without_a_way_out_is_where_its_interfaces_are() {
        let of = |interfaces: &[(&'static str, &str)]| {
            best(interfaces.iter().map(|(name, ip)| (*name, ip.parse().unwrap()))).map(|ip| ip.to_string())
        };
        assert_eq!(of(&[("lo", "127.0.0.1"), ("eth0", "169.254.3.4")]), None);
        assert_eq!(of(&[("lo", "::1"), ("eth0", "fd00::7"), ("eth0", "10.77.0.1")]).unwrap(), "10.77.0.1");
        assert_eq!(of(&[("docker0", "172.17.0.1"), ("eth0", "fe80::1"), ("eth0", "fd00::7")]).unwrap(), "fd00::7");
        assert_eq!(of(&[("docker0", "172.17.0.1")]).unwrap(), "172.17.0.1");
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
