//! Sockets: the kernel's on a real machine, turmoil's in simulation.

mod udp;

pub use udp::{BoundUdp, UdpSocket, broadcast_addresses, outbound_ip};

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream: TCP, Unix, or simulated. Moved into the one task that uses it; nobody else can close it.
#[expect(clippy::disallowed_types, reason = "this is the seam")]
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection, with Nagle's algorithm off.
    Tcp(tokio::net::TcpStream),
    /// A Unix or abstract Unix socket.
    Unix(tokio::net::UnixStream),
    /// A connection inside a simulated world.
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimStream),
}

impl Stream {
    /// Connects to `address`: `host:port`, or `@name` for an abstract Unix socket. Dropping the future gives up.
    #[expect(clippy::disallowed_types, reason = "this is the seam")]
    pub async fn connect(address: &str) -> io::Result<Self> {
        if address.starts_with('@') {
            return Self::connect_unix(Path::new(address)).await;
        }
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return crate::sim::SimStream::connect(address).await.map(Self::Sim);
        }
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects to a Unix socket by path; a path that starts with `@` names an abstract socket.
    #[expect(clippy::disallowed_types, reason = "this is the seam")]
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return crate::sim::SimStream::connect_unix(path).await.map(Self::Sim);
        }
        tokio::net::UnixStream::connect(abstract_path(path)).await.map(Self::Unix)
    }

    /// The other end's address, if it has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.peer_addr(),
        }
    }
}

/// The addresses that `host:port` stands for. Names are looked up where the machine looks them up. Dropping the future gives up.
pub async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "sim")]
    if crate::sim::current().is_some() {
        return crate::sim::resolve(address);
    }
    Ok(tokio::net::lookup_host(address).await?.collect())
}

/// Linux's name for `@x` is a NUL byte and `x`.
fn abstract_path(path: &Path) -> std::path::PathBuf {
    match path.to_str().and_then(|p| p.strip_prefix('@')) {
        Some(name) => format!("\0{name}").into(),
        None => path.to_owned(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            #[cfg(feature = "sim")]
            Self::Sim(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
            #[cfg(feature = "sim")]
            Self::Sim(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
            #[cfg(feature = "sim")]
            Self::Sim(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
            #[cfg(feature = "sim")]
            Self::Sim(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// A bound socket. Bind early, so that the address is known; accept late, when what serves is ready.
#[expect(clippy::disallowed_types, reason = "this is the seam")]
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// A Unix or abstract Unix socket; a path on disk is removed when the listener is dropped.
    Unix(tokio::net::UnixListener, std::path::PathBuf),
    /// A listener inside a simulated world.
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimListener),
}

impl Listener {
    /// Binds `address`: `ip:port` (port 0 takes a free one), or `@name` for an abstract Unix socket.
    #[expect(clippy::disallowed_types, reason = "this is the seam")]
    pub async fn bind(address: &str) -> io::Result<Self> {
        if address.starts_with('@') {
            return Self::bind_unix(Path::new(address));
        }
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return crate::sim::SimListener::bind(address).map(Self::Sim);
        }
        tokio::net::TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Binds a Unix socket. A stale socket file, which nobody answers on, is replaced.
    #[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is the seam")]
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return crate::sim::SimListener::bind_unix(path).map(Self::Sim);
        }
        let real = abstract_path(path);
        if real == path && path.exists() {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            std::fs::remove_file(path)?;
        }
        tokio::net::UnixListener::bind(&real).map(|l| Self::Unix(l, real))
    }

    /// The bound address; none for Unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(l) => l.local_addr().ok(),
            Self::Unix(..) => None,
            #[cfg(feature = "sim")]
            Self::Sim(l) => l.local_addr(),
        }
    }

    /// The next connection. Cancel-safe.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(l) => {
                let (stream, _) = l.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(l, _) => l.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            #[cfg(feature = "sim")]
            Self::Sim(l) => l.accept().await.map(Stream::Sim),
        }
    }
}

impl Drop for Listener {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && path.is_absolute()
            && let Err(error) = std::fs::remove_file(path.as_path())
        {
            tracing::debug!(%error, path = %path.display(), "socket file was already gone");
        }
    }
}
