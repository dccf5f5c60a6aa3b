//! The head of a packet: who sends it, and by which way.

use super::error::{PacketError, Place};
use super::msgpack::{Input, Output};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The head of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The version of the program that sent or forwarded it. Anything but zero.
    pub version: u32,
    /// Where an answer goes. What the network says of the sender is not looked at.
    pub source: SocketAddr,
    /// Set if the packet goes through a proxy.
    pub route: Option<Route>,
}

/// The way of a packet that goes through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Who wrote the body.
    pub source: SocketAddr,
    /// For whom it is.
    pub destination: SocketAddr,
}

/// What this program says of itself as its version: `BL` and the number of this protocol's extensions.
pub const VERSION: u32 = 0x424c_0001;

const META: &str = "head";
const ROUTE: &str = "route";

impl Meta {
    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, PacketError> {
        let (mut version, mut ip, mut port, mut route) = (0, None, 0, None);
        for _ in 0..input.map(Place::of("packet", META))? {
            match input.uint(Place::of(META, "key"))? {
                0 => version = u32_value(input, Place::of(META, "version"))?,
                1 => ip = address(input, Place::of(META, "source address"))?,
                2 => port = u16_value(input, Place::of(META, "source port"))?,
                3 => route = Some(Route::decode(input)?),
                key => return Err(PacketError::UnknownKey { map: META, key }),
            }
        }
        if version == 0 {
            return Err(PacketError::Missing { place: Place::of(META, "version") });
        }
        Ok(Self { version, source: whole(ip, port, Place::of(META, "source"))?, route })
    }

    pub(crate) fn encode(&self, out: &mut Output<'_>) {
        out.put(&[if self.route.is_some() { 0x84 } else { 0x83 }]);
        out.put_u32(0, self.version);
        put_address(out, 1, 2, self.source);
        if let Some(route) = &self.route {
            out.put(&[3, 0x84]);
            put_address(out, 0, 1, route.source);
            put_address(out, 2, 3, route.destination);
        }
    }
}

impl Route {
    fn decode(input: &mut Input<'_>) -> Result<Self, PacketError> {
        let (mut from, mut from_port, mut to, mut to_port) = (None, 0, None, 0);
        for _ in 0..input.map(Place::of(META, ROUTE))? {
            match input.uint(Place::of(ROUTE, "key"))? {
                0 => from = address(input, Place::of(ROUTE, "source address"))?,
                1 => from_port = u16_value(input, Place::of(ROUTE, "source port"))?,
                2 => to = address(input, Place::of(ROUTE, "destination address"))?,
                3 => to_port = u16_value(input, Place::of(ROUTE, "destination port"))?,
                key => return Err(PacketError::UnknownKey { map: ROUTE, key }),
            }
        }
        Ok(Self {
            source: whole(from, from_port, Place::of(ROUTE, "source"))?,
            destination: whole(to, to_port, Place::of(ROUTE, "destination"))?,
        })
    }
}

pub(super) fn u32_value(input: &mut Input<'_>, place: Place) -> Result<u32, PacketError> {
    u32::try_from(input.uint(place)?).map_err(|_| PacketError::Range { place })
}

pub(super) fn u16_value(input: &mut Input<'_>, place: Place) -> Result<u16, PacketError> {
    u16::try_from(input.uint(place)?).map_err(|_| PacketError::Range { place })
}

/// An address: a number for IPv4, as Tarantool has it; a bin of 16 bytes for IPv6, which Tarantool has not.
pub(super) fn address(input: &mut Input<'_>, place: Place) -> Result<Option<IpAddr>, PacketError> {
    let ip = if input.is_bin() {
        let bytes: [u8; 16] = input.bin(place)?.try_into().map_err(|_| PacketError::Range { place })?;
        IpAddr::V6(Ipv6Addr::from(bytes))
    } else {
        IpAddr::V4(Ipv4Addr::from(u32_value(input, place)?))
    };
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

pub(super) fn whole(ip: Option<IpAddr>, port: u16, place: Place) -> Result<SocketAddr, PacketError> {
    match ip {
        Some(ip) if port != 0 => Ok(SocketAddr::new(ip, port)),
        _ => Err(PacketError::Missing { place }),
    }
}

pub(super) fn put_address(out: &mut Output<'_>, ip_key: u8, port_key: u8, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.put_u32(ip_key, ip.to_bits()),
        IpAddr::V6(ip) => {
            out.put(&[ip_key, 0xc4, 16]);
            out.put(&ip.octets());
        }
    }
    out.put_u16(port_key, addr.port());
}
