//! The socket side of one connection: the two buffers, the protocol's state, and watching while work runs.

use ::dqlite::{BodyLimit, Event, Response, ServerSession, State};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Room that a buffer starts with, and keeps when it falls idle.
const BUFFER_LEN: usize = 8 << 10;
/// A buffer that grew past this is given back when it falls idle.
const BUFFER_KEPT_MAX: usize = 256 << 10;
/// While a request runs, no more than this is read ahead.
const READ_AHEAD_MAX: usize = 64 << 10;
/// An interrupt that found nothing running yet is repeated this often.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(5);
/// A client that takes nothing of its answer for this long is cut off: it holds a version of the database.
const SEND_MAX: Duration = Duration::from_mins(1);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client closed it.
    #[error("the client closed the connection")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client took nothing of its answer for too long.
    #[error("the client took nothing of its answer for {} s", SEND_MAX.as_secs())]
    Slow,
    /// The client began a request and did not end it.
    #[error("the client did not send the rest of its request in time")]
    Unfinished,
    /// Too much memory is held by requests that arrive.
    #[error(transparent)]
    Crowded(#[from] crate::intake::Crowded),
    /// The client broke the protocol, and was told so if it can be.
    #[error("the client broke the protocol: {0}")]
    Violation(#[from] ::dqlite::Violation),
    /// The client asked for something after which nothing can follow.
    #[error("{0}")]
    Refused(&'static str),
}

/// The socket, its buffers, and where the protocol is.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    input: BytesMut,
    pub(super) out: BytesMut,
    pub(super) protocol: ServerSession,
    /// The client has closed its end, or the socket failed, while work ran.
    gone: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    /// A connection at its start. `first`: what was read from it already.
    pub(super) fn new(io: IO, first: BytesMut, limit: BodyLimit) -> Self {
        Self { io, input: first, out: BytesMut::new(), protocol: ServerSession::new(limit), gone: false }
    }

    /// The next event, if the bytes for it are here.
    pub(super) fn poll(&mut self) -> Option<Event> {
        self.protocol.poll(&mut self.input)
    }

    /// How many bytes are here of a request that is not whole.
    pub(super) fn unfinished(&self) -> usize {
        self.input.len()
    }

    /// Reads more; the buffered answer should have been sent. Cancel-safe.
    pub(super) async fn fill(&mut self) -> Result<(), End> {
        if self.gone {
            return Err(End::Closed);
        }
        match self.read().await? {
            0 => Err(End::Closed),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        // A long message gets its room at once, up to a point: nothing large is set aside on a client's word alone.
        let wanted = self.protocol.wants(&self.input).clamp(1, READ_AHEAD_MAX);
        if self.input.capacity() - self.input.len() < wanted {
            self.input.reserve(wanted.max(BUFFER_LEN));
        }
        self.io.read_buf(&mut self.input).await
    }

    /// Sends what is in the outgoing buffer. Not cancel-safe: the connection must end after a dropped call.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            let mut write = pin!(self.io.write(rest));
            sent += match at_once(write.as_mut()).await {
                Some(done) => done?,
                None => rt::time::timeout(SEND_MAX, write).await.map_err(|_| End::Slow)??,
            };
        }
        match at_once(pin!(self.io.flush())).await {
            Some(done) => done?,
            None => rt::time::timeout(SEND_MAX, self.io.flush()).await.map_err(|_| End::Slow)??,
        }
        self.out.clear();
        Ok(())
    }

    /// Gives memory back that one large message needed.
    pub(super) fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > BUFFER_KEPT_MAX {
            self.input = BytesMut::with_capacity(BUFFER_LEN);
        }
        if self.out.is_empty() && self.out.capacity() > BUFFER_KEPT_MAX {
            self.out = BytesMut::with_capacity(BUFFER_LEN);
        }
    }

    /// Whether an INTERRUPT waits for its EMPTY.
    pub(super) fn is_stopping(&self) -> bool {
        self.protocol.state() == State::Stopping
    }

    /// Answers the running request.
    pub(super) fn answer(&mut self, response: &Response<'_>) {
        self.protocol.answer(&mut self.out, response);
    }

    /// Looks, without waiting, whether an INTERRUPT has come.
    pub(super) async fn look(&mut self) {
        if self.may_read() {
            let read = at_once(pin!(self.read())).await;
            self.gone = matches!(read, Some(Ok(0) | Err(_)));
        }
        self.notice();
    }

    fn may_read(&self) -> bool {
        !self.gone && self.input.len() < READ_AHEAD_MAX
    }

    /// While a request runs, the only event is an INTERRUPT. `true`: the work is to be stopped.
    fn notice(&mut self) -> bool {
        self.poll();
        self.gone || self.is_stopping()
    }

    /// Runs `work` to its end. When an INTERRUPT comes or the client goes away meanwhile, `stop` is called, again and again
    /// until the work has ended: the work is never dropped half-way.
    pub(super) async fn watching<T>(&mut self, stop: impl Fn(), work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Some(done) = at_once(work.as_mut()).await {
            return done;
        }
        let mut stopping = self.notice();
        loop {
            if stopping {
                stop();
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = rt::time::sleep(INTERRUPT_AGAIN) => {}
                }
                continue;
            }
            let reads = self.may_read();
            tokio::select! {
                // Work first: an answer that is ready is not held up by what the client says next.
                biased;
                done = &mut work => return done,
                read = self.read(), if reads => {
                    self.gone = !matches!(read, Ok(1..));
                    stopping = self.notice();
                }
            }
        }
    }
}

/// The future's output if it is there at the first poll. The future can be awaited on.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
