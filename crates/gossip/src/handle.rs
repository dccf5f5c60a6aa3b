//! The handle on a member.

use crate::board::{Board, Counters, Known, Told};
use crate::driver::{Ask, Driver, End, OnEvent};
use crate::error::GossipError;
use lifecycle::Scope;
use rt::net::BoundUdp;
use rt::sync::watch;
use rt::task::TaskEnd;
use rt::time::Instant;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swim::{Codec, Config, GroupKey, MemberId, Moment, Swim, SwimError};
use tokio::sync::{mpsc, oneshot};

/// Asks that may wait for the driver before who asks waits for room.
const ASKS_MAX: usize = 64;

/// A member of a gossip group: what Tarantool's `swim` object is to Lua. Cheap to clone; all clones are one member.
///
/// When the last one is dropped the member ends without a word, as a machine that falls. [`Self::quit`] says goodbye. Dropping a handle is never
/// more than that: it does no IO, wherever and whenever it happens, also after the runtime has ended.
#[derive(Debug, Clone)]
pub struct Gossip {
    asks: mpsc::Sender<Ask>,
    board: Arc<Board>,
    ended: watch::Receiver<Option<End>>,
}

impl Gossip {
    /// Starts a member on this socket, in `scope`: when that is cancelled, the member says goodbye and ends. `config.addr` is where others reach
    /// it, and with port 0 has the port of the socket. `on_event` is called with everything that happens.
    pub fn start(
        mut config: Config,
        socket: BoundUdp,
        on_event: Option<OnEvent>,
        scope: &Scope,
    ) -> Result<Self, GossipError> {
        if config.addr.port() == 0 {
            config.addr.set_port(socket.local_addr().map_err(GossipError::Socket)?.port());
        }
        config.clock = rt::time::wall();
        let mut seed = [0; 32];
        rt::entropy::fill(&mut seed);
        let swim = Swim::new(config, &seed, Moment::default())?;
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let board = Arc::new(Board::default());
        let (end, ended) = watch::channel(None);
        let driver = Driver {
            swim,
            asks: asked,
            board: Arc::clone(&board),
            on_event,
            cancelled: scope.cancelled(),
            start: Instant::now(),
        };
        drop(scope.spawn("gossip", async move {
            let life = rt::blocking::on_own_runtime("gossip", move || async move {
                let (how, waiting) = match socket.open().await {
                    Ok(socket) => driver.run(socket).await,
                    Err(error) => {
                        tracing::error!(%error, "the gossip socket cannot be opened");
                        (End::NoSocket, None)
                    }
                };
                // By now the socket is closed, and the callback is gone.
                end.send_replace(Some(how));
                if let Some(waiting) = waiting {
                    waiting.tell(how);
                }
            });
            // What happens there is this task's fate.
            if let Err(TaskEnd::Panicked(message)) = life.await {
                std::panic::resume_unwind(Box::new(message));
            }
        }));
        Ok(Self { asks, board, ended })
    }

    async fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Swim, Moment) -> R + Send + 'static,
    ) -> Result<R, GossipError> {
        let (answer, waiting) = oneshot::channel();
        let work = move |swim: &mut Swim, now: Moment| {
            // Whoever asked may have stopped waiting.
            drop(answer.send(work(swim, now)));
        };
        self.asks.send(Ask::Do(Box::new(work))).await.map_err(|_| GossipError::Ended)?;
        waiting.await.map_err(|_| GossipError::Ended)
    }

    async fn order(
        &self,
        work: impl FnOnce(&mut Swim, Moment) -> Result<(), SwimError> + Send + 'static,
    ) -> Result<(), GossipError> {
        Ok(self.ask(work).await??)
    }

    /// Who is known, by id; the member itself, the dead and those that have left among them.
    pub fn members(&self) -> Vec<Known> {
        self.board.members()
    }

    /// What is known of one.
    pub fn member(&self, id: &MemberId) -> Option<Known> {
        self.board.member(id)
    }

    /// Up to `limit` events after number `after`, the oldest first. The newest thousand are remembered: a gap in the numbers is what was missed.
    pub fn events(&self, after: u64, limit: usize) -> Vec<Told> {
        self.board.events(after, limit)
    }

    /// Tells the number of the newest event, whenever there is one.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.board.watch()
    }

    /// What went over the socket.
    pub fn counters(&self) -> Counters {
        self.board.counters()
    }

    /// Sends one ping to an address, and does not wait for an answer: how a group is joined. Not cancel-safe, as all that follows: it may be sent
    /// even if nobody waits any more.
    pub async fn probe(&self, addr: SocketAddr) -> Result<(), GossipError> {
        self.order(move |swim, now| swim.probe(now, addr)).await
    }

    /// Sends a ping to everybody on this machine's networks, to this port. Returns to how many networks.
    pub async fn broadcast(&self, port: u16) -> Result<usize, GossipError> {
        let networks = rt::net::broadcast_addresses().map_err(GossipError::Socket)?;
        for network in &networks {
            self.probe(SocketAddr::new((*network).into(), port)).await?;
        }
        Ok(networks.len())
    }

    /// Takes a member without having heard of it: if it is not there it will be found dead.
    pub async fn add_member(&self, id: MemberId, addr: SocketAddr) -> Result<(), GossipError> {
        self.order(move |swim, _| swim.add_member(id, addr)).await
    }

    /// Takes a member out of this one's table, and of no other: if it is alive it will be back.
    pub async fn remove_member(&self, id: MemberId) -> Result<(), GossipError> {
        self.order(move |swim, _| swim.remove_member(&id)).await
    }

    /// Replaces the addresses that are tried now and then as long as no member is there.
    pub async fn set_seeds(&self, seeds: Vec<SocketAddr>) -> Result<(), GossipError> {
        self.ask(move |swim, _| swim.set_seeds(seeds)).await
    }

    /// Replaces what this member tells all others of itself, up to 1200 bytes.
    pub async fn set_payload(&self, payload: Vec<u8>) -> Result<(), GossipError> {
        self.order(move |swim, _| swim.set_payload(&payload)).await
    }

    /// Is somebody else from now on; the old id is told to have left.
    pub async fn set_id(&self, id: MemberId) -> Result<(), GossipError> {
        self.order(move |swim, now| swim.set_id(now, id)).await
    }

    /// Encrypts with another key from now on, or not at all.
    pub async fn set_codec(&self, codec: Option<Codec>) -> Result<(), GossipError> {
        self.ask(move |swim, _| swim.set_codec(codec)).await
    }

    /// Replaces the keys of a group that signs; the first signs.
    pub async fn set_keys(&self, keys: Vec<GroupKey>) -> Result<(), GossipError> {
        self.order(move |swim, _| swim.set_keys(keys)).await
    }

    /// Leaves the group. Returns once the network has all farewells and the socket is closed: the process may end at once. Nobody is called back
    /// after that. Again, or after the end: nothing more happens.
    pub async fn quit(&self, within: Duration) -> Result<(), GossipError> {
        let (answer, waiting) = oneshot::channel();
        if self.asks.send(Ask::Quit { within, answer }).await.is_ok()
            && let Ok(told) = waiting.await
        {
            return told;
        }
        if rt::mutant!("gossip.wait-for-who-has-ended") {
            return std::future::pending().await;
        }
        match *self.ended.borrow() {
            Some(End::Quit { .. }) => Ok(()),
            _ => Err(GossipError::Ended),
        }
    }

    /// Begins to leave the group and does not wait: for a callback, which runs where the farewells are sent. False if the member has ended, or has so
    /// much to do that nothing more is taken.
    pub fn begin_quit(&self, within: Duration) -> bool {
        // Nobody waits for the answer.
        let (answer, _) = oneshot::channel();
        self.asks.try_send(Ask::Quit { within, answer }).is_ok()
    }

    /// Waits until the member has ended. Cancel-safe.
    pub async fn end(&self) {
        // A driver that is gone has ended, too.
        drop(self.ended.clone().wait_for(Option::is_some).await);
    }

    /// How the member has ended, if it has.
    pub fn ended(&self) -> Option<End> {
        *self.ended.borrow()
    }
}
