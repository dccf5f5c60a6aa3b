//! Openraft's runtime on our seam: its tasks, clocks and random numbers are the node's own, so that the simulator has them.

use openraft::async_runtime::watch::{RecvError, SendError};
use openraft::{OptionalSend, OptionalSync, async_runtime};
use rt::sync::watch;
use rt::time::Elapsed;
use std::convert::Infallible;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The runtime under openraft. Its other channels are tokio's, which need no runtime; all else goes
/// through `rt`.
#[derive(Debug)]
pub(crate) struct BowlineRuntime(());

/// `rt`'s instant, with the operators that openraft wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) rt::time::Instant);

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0 + d)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0 - d)
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, d: Duration) {
        *self = *self - d;
    }
}

impl openraft::Instant for Moment {
    fn now() -> Self {
        Self(rt::time::Instant::now())
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project_lite::pin_project! {
    /// A future with a deadline.
    pub(crate) struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}

/// Random numbers from the node's entropy.
pub(crate) struct Entropy;

impl rand::TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        rt::entropy::fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(rt::entropy::u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        rt::entropy::fill(bytes);
        Ok(())
    }
}

/// Openraft's watches are `rt`'s, which wake in order.
#[derive(Debug)]
pub(crate) struct Watches;

/// The end that sets the value.
pub(crate) struct WatchSender<T>(watch::Sender<T>);

/// The end that sees the value.
pub(crate) struct WatchReceiver<T>(watch::Receiver<T>);

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl async_runtime::Watch for Watches {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let (sender, receiver) = watch::channel(init);
        (WatchSender(sender), WatchReceiver(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> async_runtime::WatchSender<Watches, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value).map_err(|error| SendError(error.0))
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.0.send_if_modified(modify)
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        WatchReceiver(self.0.subscribe())
    }
}

impl<T: OptionalSend + OptionalSync> async_runtime::WatchReceiver<Watches, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        self.0.changed().await.map_err(|_| RecvError(()))
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}

impl openraft::AsyncRuntime for BowlineRuntime {
    type JoinError = rt::task::TaskEnd;
    type JoinHandle<T: Send + 'static> = rt::task::Task<T>;
    type Sleep = Sleep;
    type Instant = Moment;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = Timeout<T>;
    type ThreadLocalRng = Entropy;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        // Openraft joins its own tasks when it shuts down, which the group's owner waits for.
        rt::task::spawn("openraft", future)
    }

    fn sleep(duration: Duration) -> Sleep {
        Box::pin(rt::time::sleep(duration))
    }

    fn sleep_until(deadline: Moment) -> Sleep {
        Box::pin(rt::time::sleep_until(deadline.0))
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future, sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Moment, future: F) -> Timeout<F> {
        Timeout { future, sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(end: &Self::JoinError) -> bool {
        matches!(end, rt::task::TaskEnd::Panicked(_))
    }

    fn thread_rng() -> Entropy {
        Entropy
    }

    type Mpsc = openraft_rt_tokio::TokioMpsc;
    type Watch = Watches;
    type Oneshot = openraft_rt_tokio::TokioOneshot;
    type Mutex<T: Send + 'static> = openraft_rt_tokio::TokioMutex<T>;

    fn new(_threads: usize) -> Self {
        Self(())
    }

    /// Openraft calls this in its own tests only.
    #[expect(
        clippy::panic,
        reason = "a runtime inside the runtime would hide from the simulator, and nobody calls this"
    )]
    fn block_on<F, T>(&mut self, _future: F) -> T
    where
        F: Future<Output = T>,
    {
        panic!("openraft does not own the runtime")
    }
}
