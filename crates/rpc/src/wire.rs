//! Frames over a byte stream: reads ahead, and gathers what is to be written so that one write carries all that is ready.

use crate::frame::{Frame, FrameError, split};
use bytes::{BufMut, Bytes, BytesMut};
use rt::time::Instant;
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Room made for reading at a time; twice a TLS record.
const READ_LEN: usize = 32 << 10;
/// A longer frame is given room as it arrives, not as its length field promises.
const READ_AHEAD_MAX: usize = 1 << 20;
/// A body at least this long is written from where it is; a shorter one is copied behind its head.
const GATHER_LEN_MAX: usize = 16 << 10;
/// A received payload at most this long is copied out, so that keeping it does not keep the whole read buffer.
const COPY_LEN_MAX: usize = 4 << 10;

/// Either a byte stream's own failure or bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// A stream of frames in both directions, owned by the one task that polls it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    input: BytesMut,
    /// What the next frame still needs before it is complete.
    missing: usize,
    frame_len_max: usize,
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    queued_len: usize,
    dirty: bool,
    /// The kernel's buffer was full at the last attempt to write.
    blocked: bool,
    heard: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, frame_len_max: usize) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            missing: 4,
            frame_len_max,
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            queued_len: 0,
            dirty: false,
            blocked: false,
            heard: Instant::now(),
        }
    }

    /// From now on frames of the other side may be this long.
    pub(crate) fn set_frame_len_max(&mut self, max: usize) {
        self.frame_len_max = max;
    }

    /// When the other side last showed that it is there: a byte came from it, or it made room in a full buffer by taking ours.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Says that silence up to now was our own doing: we did not read.
    pub(crate) fn excuse_silence(&mut self) {
        self.heard = Instant::now();
    }

    /// How many bytes wait to be written.
    pub(crate) fn queued_len(&self) -> usize {
        self.queued_len
    }

    /// Queues a frame; nothing is written before [`poll_flush`](Self::poll_flush).
    pub(crate) fn push(&mut self, id: u64, frame: &Frame) {
        let before = self.tail.len();
        let body = frame.encode_head(id, &mut self.tail);
        self.queued_len += self.tail.len() - before;
        let Some(body) = body else { return };
        self.queued_len += body.len();
        if body.len() < GATHER_LEN_MAX {
            self.tail.put_slice(&body);
        } else {
            self.queue.push_back(self.tail.split().freeze());
            self.queue.push_back(body);
        }
    }

    /// Writes and flushes all that is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.queue.is_empty() && !self.tail.is_empty() {
                self.queue.push_back(self.tail.split().freeze());
            }
            let Some(front) = self.queue.front_mut() else { break };
            if front.is_empty() {
                self.queue.pop_front();
                continue;
            }
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, front)? else {
                self.blocked = true;
                return Poll::Pending;
            };
            if std::mem::take(&mut self.blocked) {
                self.heard = Instant::now();
            }
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            // Advancing a `Bytes` past its end would panic; a stream that claims more than it was given is broken.
            *front = front.split_off(written.min(front.len()));
            self.queued_len = self.queued_len.saturating_sub(written);
            self.dirty = true;
        }
        if self.dirty {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The next frame and its id. Cancel-safe: bytes read so far stay.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(u64, Frame), WireError>> {
        loop {
            match split(&mut self.input, self.frame_len_max)? {
                Ok(payload) => {
                    let payload =
                        if payload.len() <= COPY_LEN_MAX { Bytes::copy_from_slice(&payload) } else { payload };
                    return Poll::Ready(Frame::decode(&payload).map_err(WireError::Frame));
                }
                Err(missing) => self.missing = missing,
            }
            self.input.reserve(self.missing.clamp(READ_LEN, READ_AHEAD_MAX));
            let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(Err(WireError::Closed));
            }
            self.heard = Instant::now();
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// [`push`](Self::push), then everything is written.
    pub(crate) async fn send(&mut self, id: u64, frame: &Frame) -> io::Result<()> {
        self.push(id, frame);
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// [`poll_next`](Self::poll_next) as a future.
    pub(crate) async fn next(&mut self) -> Result<(u64, Frame), WireError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_LEN_MAX;
    use std::time::Duration;

    #[tokio::test]
    async fn one_write_carries_all_small_frames_that_are_ready() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(near, FRAME_LEN_MAX);
        for id in 0..100 {
            wire.push(id, &Frame::Answer(Bytes::from_static(b"hello")));
        }
        assert_eq!(wire.queued_len(), 100 * 18);
        std::future::poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
        let mut got = BytesMut::with_capacity(1 << 20);
        // A duplex hands over what one write has put there.
        assert_eq!(far.read_buf(&mut got).await.unwrap(), 100 * 18);
    }

    #[tokio::test]
    async fn long_and_short_bodies_arrive_in_order_through_a_narrow_stream() {
        let (near, far) = tokio::io::duplex(1_000);
        let (mut near, mut far) = (Wire::new(near, FRAME_LEN_MAX), Wire::new(far, FRAME_LEN_MAX));
        let bodies: Vec<Bytes> = [0, 5, 20_000, 1, 70_000, 16_384, 2].map(|n| Bytes::from(vec![7; n])).into();
        for (id, body) in (0..).zip(&bodies) {
            near.push(id, &Frame::Answer(body.clone()));
        }
        let sending = std::future::poll_fn(|cx| near.poll_flush(cx));
        let receiving = async {
            for (id, body) in (0..).zip(&bodies) {
                assert_eq!(far.next().await.unwrap(), (id, Frame::Answer(body.clone())));
            }
        };
        let (sent, ()) = tokio::join!(sending, receiving);
        sent.unwrap();
        assert_eq!(near.queued_len(), 0);
    }

    #[tokio::test]
    async fn taking_bytes_from_a_full_buffer_is_a_sign_of_life_and_filling_an_empty_one_is_not() {
        let (near, mut far) = tokio::io::duplex(100);
        let mut wire = Wire::new(near, FRAME_LEN_MAX);
        let start = wire.heard();
        rt::time::sleep(Duration::from_millis(5)).await;
        wire.push(0, &Frame::Ping);
        std::future::poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
        assert_eq!(wire.heard(), start);
        wire.push(0, &Frame::Answer(Bytes::from(vec![7; 200])));
        let blocked = std::future::poll_fn(|cx| Poll::Ready(wire.poll_flush(cx).is_pending())).await;
        assert!(blocked && wire.heard() == start);
        let mut some = [0; 50];
        far.read_exact(&mut some).await.unwrap();
        let blocked = std::future::poll_fn(|cx| Poll::Ready(wire.poll_flush(cx).is_pending())).await;
        assert!(blocked && wire.heard() > start);
    }
}
