//! Datagrams: the kernel's UDP sockets on a real machine, turmoil's in simulation.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A bound UDP socket that nobody uses yet. Bind early, so that the address is known; [`open`](Self::open) it in the task that uses it.
#[derive(Debug)]
pub struct BoundUdp(Bound);

#[derive(Debug)]
enum Bound {
    Real(std::net::UdpSocket),
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimUdp),
}

/// An open UDP socket. Moved into the one task that uses it; nobody else can close it.
#[derive(Debug)]
pub struct UdpSocket(Open);

#[derive(Debug)]
enum Open {
    Real(tokio::net::UdpSocket),
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimUdp),
}

impl BoundUdp {
    /// Binds `address`: `ip:port` (port 0 takes a free one). The socket may send to broadcast addresses.
    pub async fn bind(address: &str) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return crate::sim::SimUdp::bind(address).map(|socket| Self(Bound::Sim(socket)));
        }
        let address = super::resolve(address).await?;
        let socket = std::net::UdpSocket::bind(&*address)?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        Ok(Self(Bound::Real(socket)))
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Bound::Real(socket) => socket.local_addr(),
            #[cfg(feature = "sim")]
            Bound::Sim(socket) => Ok(socket.local_addr()),
        }
    }

    /// Takes the socket into use, on the runtime of the caller.
    pub async fn open(self) -> io::Result<UdpSocket> {
        match self.0 {
            Bound::Real(socket) => {
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                // Before it has heard that it may, it does not even try to send.
                socket.writable().await?;
                Ok(UdpSocket(Open::Real(socket)))
            }
            #[cfg(feature = "sim")]
            Bound::Sim(socket) => Ok(UdpSocket(Open::Sim(socket))),
        }
    }
}

impl UdpSocket {
    /// The next datagram and who sent it. What does not fit into `buf` is lost. Cancel-safe.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.0 {
            Open::Real(socket) => socket.recv_from(buf).await,
            #[cfg(feature = "sim")]
            Open::Sim(socket) => socket.recv_from(buf).await,
        }
    }

    /// Hands a datagram to the network, and waits for room there. Cancel-safe: it was sent or it was not.
    pub async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        match &self.0 {
            Open::Real(socket) => socket.send_to(datagram, to).await.map(|_| ()),
            #[cfg(feature = "sim")]
            Open::Sim(socket) => socket.send_to(datagram, to),
        }
    }

    /// Hands a datagram to the network; [`io::ErrorKind::WouldBlock`] if there is no room.
    pub fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        match &self.0 {
            Open::Real(socket) => socket.try_send_to(datagram, to).map(|_| ()),
            #[cfg(feature = "sim")]
            Open::Sim(socket) => socket.send_to(datagram, to),
        }
    }
}

/// The broadcast addresses of this machine's networks. None in simulation.
pub fn broadcast_addresses() -> io::Result<Vec<Ipv4Addr>> {
    #[cfg(feature = "sim")]
    if crate::sim::current().is_some() {
        return Ok(Vec::new());
    }
    let interfaces = if_addrs::get_if_addrs()?;
    let mut addresses: Vec<Ipv4Addr> = interfaces
        .into_iter()
        .filter_map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(v4) if !v4.ip.is_loopback() => v4.broadcast,
            _ => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The address of this machine that others would see: the one it would send from to anywhere. Nothing is sent.
pub fn outbound_ip() -> Option<IpAddr> {
    // An address reserved for documentation: it is only looked up in the routing table.
    let looked_up = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    looked_up.ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_datagram_goes_from_one_socket_to_another() {
        let (a, b) = (BoundUdp::bind("127.0.0.1:0").await.unwrap(), BoundUdp::bind("127.0.0.1:0").await.unwrap());
        let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let (a, b) = (a.open().await.unwrap(), b.open().await.unwrap());
        a.try_send_to(b"one", at_b).unwrap();
        a.send_to(b"two", at_b).await.unwrap();
        let mut buf = [0; 16];
        assert_eq!(b.recv_from(&mut buf).await.unwrap(), (3, at_a));
        assert_eq!(b.recv_from(&mut buf).await.unwrap(), (3, at_a));
        assert_eq!(&buf[..3], b"two");
    }
}
