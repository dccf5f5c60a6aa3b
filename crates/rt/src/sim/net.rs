//! Sockets in a world: turmoil's, with names for Unix sockets and a line in the trace for what arrives.

use super::node::{Node, current};
use super::trace::fingerprint;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection inside a world.
#[derive(Debug)]
pub struct SimStream {
    stream: turmoil::net::TcpStream,
    node: Node,
    shut: bool,
}

/// A listener inside a world.
pub struct SimListener {
    listener: turmoil::net::TcpListener,
    node: Node,
    address: SocketAddr,
    unix: Option<PathBuf>,
}

fn node() -> io::Result<Node> {
    current().ok_or_else(|| io::Error::other("no simulated node"))
}

impl SimStream {
    pub(crate) async fn connect(address: &str) -> io::Result<Self> {
        let node = node()?;
        let stream = turmoil::net::TcpStream::connect(address).await?;
        Ok(Self::new(stream, node))
    }

    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        let node = node()?;
        let port = node.unix_port(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let stream = turmoil::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Self::new(stream, node))
    }

    fn new(stream: turmoil::net::TcpStream, node: Node) -> Self {
        Self { stream, node, shut: false }
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(result) = &polled {
            let read = fingerprint(buf.filled().get(before..).unwrap_or_default());
            let port = self.peer_addr().map_or(0, |a| u64::from(a.port()));
            let at = u64::try_from(self.node.world_now().as_micros()).unwrap_or(0);
            self.node.trace().event("read", &[self.node.id(), port, u64::from(result.is_ok()), read, at]);
        }
        polled
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel does not mind a second shutdown; turmoil does.
        if std::mem::replace(&mut self.shut, true) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl SimListener {
    pub(crate) fn bind(address: &str) -> io::Result<Self> {
        let node = node()?;
        let (wanted, bound) = to_bind(address)?;
        let listener = at_once(turmoil::net::TcpListener::bind(bound))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, node, address: SocketAddr::new(wanted, port), unix: None })
    }

    pub(crate) fn bind_unix(path: &Path) -> io::Result<Self> {
        let node = node()?;
        if node.unix_port(path).is_some() {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        let mut bound = Self::bind("127.0.0.1:0")?;
        node.bind_unix(path, bound.address.port());
        bound.unix = Some(path.to_owned());
        Ok(bound)
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.unix.is_none().then_some(self.address)
    }

    pub(crate) async fn accept(&self) -> io::Result<SimStream> {
        let (stream, from) = self.listener.accept().await?;
        self.node.trace().event("accept", &[self.node.id(), u64::from(from.port())]);
        Ok(SimStream::new(stream, self.node.clone()))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if let Some(path) = &self.unix {
            self.node.unbind_unix(path);
        }
    }
}

impl std::fmt::Debug for SimListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimListener({})", self.address)
    }
}

/// A UDP socket inside a world.
pub struct SimUdp {
    socket: turmoil::net::UdpSocket,
    node: Node,
    address: SocketAddr,
}

impl SimUdp {
    pub(crate) fn bind(address: &str) -> io::Result<Self> {
        let node = node()?;
        let (wanted, bound) = to_bind(address)?;
        let socket = at_once(turmoil::net::UdpSocket::bind(bound))?;
        let port = socket.local_addr()?.port();
        Ok(Self { socket, node, address: SocketAddr::new(wanted, port) })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buf).await?;
        let read = fingerprint(buf.get(..len).unwrap_or_default());
        let at = u64::try_from(self.node.world_now().as_micros()).unwrap_or(0);
        self.node.trace().event("datagram", &[self.node.id(), u64::from(from.port()), read, at]);
        Ok((len, from))
    }

    pub(crate) fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.try_send_to(datagram, to).map(|_| ())
    }
}

impl std::fmt::Debug for SimUdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimUdp({})", self.address)
    }
}

/// The addresses of a host of the world, by its name or address.
pub(crate) fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let port = port.parse::<u16>().map_err(io::Error::other)?;
    let ip = host.parse::<IpAddr>().unwrap_or_else(|_| turmoil::lookup(host));
    Ok(vec![SocketAddr::new(ip, port)])
}

/// What an address says, and what Turmoil binds for it: loopback or everything. A machine's own address is everything to it.
fn to_bind(address: &str) -> io::Result<(IpAddr, SocketAddr)> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let port = port.parse::<u16>().map_err(io::Error::other)?;
    let wanted = host.parse::<IpAddr>().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let bound = if wanted.is_loopback() { wanted } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    Ok((wanted, SocketAddr::new(bound, port)))
}

/// Turmoil's bind is async by signature only.
fn at_once<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::from(io::ErrorKind::WouldBlock)),
    }
}
