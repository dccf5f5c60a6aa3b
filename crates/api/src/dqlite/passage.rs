//! A session that goes through another member: the bytes of the client in frames, those of the server as they are.
//!
//! A frame is its length, four bytes little-endian, and so many bytes of the client's. A frame of length zero says that the member
//! between stops: the server then ends the session as if it stopped itself, at once if nothing is open and else when the transaction
//! ends. So a client hears of a stop between two requests, wherever on its way it is. See docs/formats/passed-on-session.md.

use rt::sync::watch;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// As much is taken from a client at a time.
const PIECE_LEN: usize = 16 << 10;
/// The length of a frame's length.
const HEAD_LEN: usize = 4;

/// Tells when the member between has said that it stops.
pub(super) struct Told(watch::Receiver<bool>);

impl Told {
    /// Never returns if the connection ends without a word. Cancel-safe.
    pub(super) async fn wait(&self) {
        if self.0.clone().wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Gives the client's bytes out of their frames.
pub(super) struct Unframed<S> {
    stream: S,
    told: watch::Sender<bool>,
    /// What is read of the next frame's length.
    head: [u8; HEAD_LEN],
    head_len: usize,
    /// What is left of this frame.
    left: usize,
}

impl<S> Unframed<S> {
    pub(super) fn new(stream: S) -> (Self, Told) {
        let (told, hears) = watch::channel(false);
        (Self { stream, told, head: [0; HEAD_LEN], head_len: 0, left: 0 }, Told(hears))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unframed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.left == 0 {
            let Some(rest) = this.head.get_mut(this.head_len..) else { return Poll::Ready(Ok(())) };
            let mut head = ReadBuf::new(rest);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut head))?;
            if head.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.head_len += head.filled().len();
            if this.head_len == HEAD_LEN {
                this.head_len = 0;
                this.left = usize::try_from(u32::from_le_bytes(this.head)).unwrap_or(usize::MAX);
                if this.left == 0 {
                    this.told.send_replace(true);
                }
            }
        }
        let room = out.remaining().min(this.left).min(PIECE_LEN);
        let unfilled = out.initialize_unfilled_to(room);
        let mut piece = ReadBuf::new(unfilled);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        let taken = piece.filled().len();
        out.advance(taken);
        this.left -= taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unframed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Passes bytes between a client and the member that serves it until either is gone. When `stop` ends, the server is told, and ends
/// the session when it can.
pub(super) async fn pass_on<C, S>(client: C, server: S, stop: impl Future<Output = ()>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let asking = async {
        let mut stop = pin!(stop);
        let mut is_told = false;
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let read = tokio::select! {
                // What a client has sent goes before the word that ends its session: the server serves it then.
                biased;
                read = from_client.read(&mut piece) => read?,
                () = stop.as_mut(), if !is_told => {
                    is_told = true;
                    to_server.write_all(&[0; HEAD_LEN]).await?;
                    to_server.flush().await?;
                    continue;
                }
            };
            if read == 0 {
                return to_server.shutdown().await;
            }
            let bytes = piece.get(..read).unwrap_or_default();
            let head = u32::try_from(read).unwrap_or(u32::MAX).to_le_bytes();
            to_server.write_all(&head).await?;
            to_server.write_all(bytes).await?;
            to_server.flush().await?;
        }
    };
    let answering = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    // The server has the last word: it ends the session when the client's end is closed, and what it still says is passed on. An end
    // that is lost without a word is found by whoever writes to it next.
    let (mut asking, mut answering) = (pin!(asking), pin!(answering));
    let ended = tokio::select! {
        biased;
        ended = answering.as_mut() => ended,
        asked = asking.as_mut() => match asked {
            Ok(()) => answering.await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a session that was passed on broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn what_a_client_says_arrives_as_it_was_and_a_stop_is_told_in_its_place() {
        let (mut client, near) = tokio::io::duplex(100);
        let (far, server) = tokio::io::duplex(100);
        let stop = Notify::new();
        let (mut server, told) = Unframed::new(server);
        let passing = pass_on(near, far, stop.notified());
        let talking = async {
            let (mut ears, mut mouth) = tokio::io::split(&mut client);
            let said = vec![7; 100_000];
            let mut heard = vec![0; said.len()];
            tokio::join!(async { mouth.write_all(&said).await.unwrap() }, async {
                server.read_exact(&mut heard).await.unwrap();
            });
            assert!(heard == said);
            server.write_all(b"answer").await.unwrap();
            ears.read_exact(&mut heard[..6]).await.unwrap();
            assert_eq!(&heard[..6], b"answer");
            assert!(told.wait().now_or_never().is_none());
            stop.notify_one();
            // The word is heard by whoever reads on, and what comes after it is still the client's.
            mouth.write_all(b"more").await.unwrap();
            server.read_exact(&mut heard[..4]).await.unwrap();
            mouth.write_all(b"again").await.unwrap();
            server.read_exact(&mut heard[..5]).await.unwrap();
            assert_eq!(&heard[..5], b"again");
            told.wait().await;
            server.write_all(b"end").await.unwrap();
            drop(server);
            let mut rest = Vec::new();
            ears.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"end");
        };
        tokio::join!(passing, talking);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_ends_the_session() {
        let (client, near) = tokio::io::duplex(100);
        let (far, server) = tokio::io::duplex(100);
        let (mut server, _told) = Unframed::new(server);
        drop(client);
        let serving = async {
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
            drop(server);
        };
        tokio::join!(pass_on(near, far, std::future::pending()), serving);
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_frames(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (mut unframed, _told) = Unframed::new(&bytes[..]);
            let mut out = Vec::new();
            unframed.read_to_end(&mut out).now_or_never().unwrap().unwrap();
            prop_assert!(out.len() <= bytes.len());
        }
    }
}
