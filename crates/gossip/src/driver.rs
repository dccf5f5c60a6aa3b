//! The loop that runs a member: it alone owns the state and the socket.

use crate::board::{Board, Told, count};
use crate::error::GossipError;
use lifecycle::Cancelled;
use rt::net::UdpSocket;
use rt::time::Instant;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use swim::{DATAGRAM_LEN_MAX, Moment, Swim};
use tokio::sync::{mpsc, oneshot};

/// Is called with everything that happens, on the driver's thread: it should be quick. One that panics is not called again.
pub type OnEvent = Box<dyn FnMut(&Told) + Send>;

/// How long the others are told of the end of a member whose scope was cancelled.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// How a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to go, or its scope was cancelled. So many could not be told.
    Quit {
        /// How many packets of farewell were not sent.
        untold: usize,
    },
    /// Nobody had a handle on it any more.
    Abandoned,
    /// Its socket could not be opened.
    NoSocket,
}

/// Something to do with the state, at a moment.
type Work = Box<dyn FnOnce(&mut Swim, Moment) + Send>;

/// What a driver is asked for.
pub(crate) enum Ask {
    /// Something that takes no time.
    Do(Work),
    /// To go. Answered once the farewells have left and the socket is closed.
    Quit { within: Duration, answer: oneshot::Sender<Result<(), GossipError>> },
}

/// Who waits for the end.
pub(crate) struct Farewelled {
    within: Duration,
    answer: oneshot::Sender<Result<(), GossipError>>,
}

impl Farewelled {
    /// Says how it was.
    pub(crate) fn tell(self, how: End) {
        let told = match how {
            End::Quit { untold: 0 } => Ok(()),
            End::Quit { untold } => Err(GossipError::Untold { untold, within: self.within }),
            End::Abandoned | End::NoSocket => Err(GossipError::Ended),
        };
        // Whoever asked may have stopped waiting.
        drop(self.answer.send(told));
    }
}

/// What a driver is made from.
pub(crate) struct Driver {
    pub(crate) swim: Swim,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) board: Arc<Board>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) cancelled: Cancelled,
    pub(crate) start: Instant,
}

enum Next {
    Asked(Option<Ask>),
    Cancelled,
    Datagram(std::io::Result<usize>),
    Due,
}

impl Driver {
    /// Runs the member to its end, and gives who waits for that. May be dropped at any await: then it ends silently.
    pub(crate) async fn run(mut self, socket: UdpSocket) -> (End, Option<Farewelled>) {
        let (mut incoming, mut outgoing) = ([0; DATAGRAM_LEN_MAX], [0; DATAGRAM_LEN_MAX]);
        loop {
            let now = self.now();
            if self.swim.poll_timeout().is_some_and(|due| due <= now) {
                self.swim.set_clock(rt::time::wall().saturating_sub(now.0));
                self.swim.handle_timeout(now);
            }
            self.send(&socket, &mut outgoing);
            self.tell();
            match self.wait(&socket, &mut incoming).await {
                Next::Asked(Some(Ask::Do(work))) => {
                    let now = self.now();
                    work(&mut self.swim, now);
                }
                Next::Asked(Some(Ask::Quit { within, answer })) => {
                    let untold = self.farewell(socket, &mut outgoing, within).await;
                    return (End::Quit { untold }, Some(Farewelled { within, answer }));
                }
                Next::Asked(None) => return (End::Abandoned, None),
                Next::Cancelled => {
                    let untold = self.farewell(socket, &mut outgoing, FAREWELL_MAX).await;
                    return (End::Quit { untold }, None);
                }
                Next::Datagram(Ok(len)) => {
                    count(&self.board.received, 1);
                    count(&self.board.received_bytes, len);
                    let now = self.now();
                    if self.swim.handle_datagram(now, incoming.get_mut(..len).unwrap_or_default()).is_err() {
                        count(&self.board.refused, 1);
                    }
                }
                // What was sent before came back as undeliverable, or the machine has no memory now: the next one may be fine.
                Next::Datagram(Err(error)) => {
                    tracing::debug!(%error, "a gossip datagram could not be received");
                    rt::time::sleep(Duration::from_millis(1)).await;
                }
                Next::Due => {}
            }
        }
    }

    async fn wait(&mut self, socket: &UdpSocket, incoming: &mut [u8]) -> Next {
        let due = self.swim.poll_timeout();
        let due = async {
            match due {
                Some(due) => rt::time::sleep_until(self.start + due.0).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ask = self.asks.recv() => Next::Asked(ask),
            () = self.cancelled.wait() => Next::Cancelled,
            () = due => Next::Due,
            datagram = socket.recv_from(incoming) => Next::Datagram(datagram.map(|(len, _)| len)),
        }
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    /// Sends what there is to send. What the network does not take now is lost, as datagrams are.
    fn send(&mut self, socket: &UdpSocket, buf: &mut [u8]) {
        while let Some(transmit) = self.swim.poll_transmit(buf) {
            match socket.try_send_to(buf.get(..transmit.len).unwrap_or_default(), transmit.to) {
                Ok(()) => {
                    count(&self.board.sent, 1);
                    count(&self.board.sent_bytes, transmit.len);
                }
                Err(_) => count(&self.board.unsent, 1),
            }
        }
        self.board.health.store(u64::from(self.swim.health_score()), Ordering::Relaxed);
    }

    /// Notes what happened, and calls back.
    fn tell(&mut self) {
        while let Some(event) = self.swim.poll_event() {
            let told = self.board.note(event, &self.swim);
            let Some(on_event) = &mut self.on_event else { continue };
            if catch_unwind(AssertUnwindSafe(|| on_event(&told))).is_err() {
                tracing::error!("what is called with gossip events panicked, and is not called any more");
                self.on_event = None;
            }
        }
    }

    /// Tells the others that this member goes, and closes the socket. Returns how many could not be told.
    async fn farewell(mut self, socket: UdpSocket, buf: &mut [u8], within: Duration) -> usize {
        self.swim.quit();
        self.tell();
        if rt::mutant!("gossip.end-before-the-farewells") {
            return 0;
        }
        let until = Instant::now() + within;
        let mut untold = 0;
        while let Some(transmit) = self.swim.poll_transmit(buf) {
            let datagram = buf.get(..transmit.len).unwrap_or_default();
            let sent = rt::time::timeout_at(until, socket.send_to(datagram, transmit.to)).await;
            match sent {
                Ok(Ok(())) => count(&self.board.sent, 1),
                // Nobody is told by waiting longer.
                Ok(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                    tracing::debug!(%error, to = %transmit.to, "no farewell");
                }
                _ => untold += 1,
            }
        }
        untold
    }
}
