//! Scope: nothing is spawned bare.
//!
//! A scope names its tasks, keeps their panics as values, tells them to end, and waits for them until a deadline, naming
//! those that do not end. Scopes nest: stopping one stops its children, and a failure is seen by every scope around it.

use crate::cancel::Cancelled;
use futures::FutureExt;
use rt::sync::watch;
use rt::task::{AbortHandle, Task, TaskEnd, panic_message};
use rt::time::Instant;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a stop names those it still waits for.
const NAME_STRAGGLERS_EVERY: Duration = Duration::from_secs(5);
/// How long an aborted task may take to reach its next await before it is reported as stuck.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// Failures that a scope remembers; later ones are logged only.
const FAILURES_MAX: usize = 16;

/// A named set of tasks that ends as a whole.
///
/// ```text
///   Open --cancel--> Cancelled --last task ends--> Stopped
/// ```
///
/// Cloning gives another handle to the same scope. When the last handle is dropped the scope is cancelled and its tasks
/// are aborted at their next await: tasks never outlive the one who answers for them.
#[derive(Clone)]
pub struct Scope(Arc<Handle>);

struct Handle(Arc<Board>);

/// What tasks and scopes share. Tasks keep it alive; only [`Handle`] ends them.
struct Board {
    path: String,
    parent: Option<Arc<Board>>,
    cancel: watch::Sender<bool>,
    cancelled: Cancelled,
    /// Tasks running here and in all children.
    busy: watch::Sender<usize>,
    failed: watch::Sender<Option<Failure>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<u64, Entry>,
    children: Vec<Weak<Board>>,
    next_task: u64,
    /// Tasks that start from now on end at once.
    aborting: bool,
    failures: Vec<Failure>,
}

struct Entry {
    name: &'static str,
    since: Instant,
    abort: Option<AbortHandle>,
}

/// A task panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{task} panicked: {message}")]
pub struct Failure {
    /// The task, with the scopes around it.
    pub task: String,
    /// The text of the panic.
    pub message: String,
}

/// A task that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The task, with the scopes around it.
    pub task: String,
    /// For how long it has been running.
    pub age: Duration,
}

/// How a scope ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Tasks that had not ended at the deadline and were aborted.
    pub stragglers: Vec<Running>,
    /// Stragglers that did not even reach an await after that. They hold whatever they hold.
    pub stuck: Vec<Running>,
    /// Panics over the scope's whole life, the first sixteen.
    pub failures: Vec<Failure>,
}

impl StopReport {
    /// Whether all tasks ended by themselves and without a panic.
    pub fn is_clean(&self) -> bool {
        self.stragglers.is_empty() && self.failures.is_empty()
    }
}

impl Scope {
    /// A scope of its own.
    pub fn new(name: &str) -> Self {
        Self::with_parent(name.to_owned(), None)
    }

    /// A scope inside this one, which is cancelled and stopped with it. In a cancelled scope it is born cancelled.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let board = self.board();
        let child = Self::with_parent(format!("{}/{name}", board.path), Some(Arc::clone(board)));
        let mut state = board.state();
        state.children.retain(|c| c.strong_count() > 0);
        state.children.push(Arc::downgrade(child.board()));
        let aborting = state.aborting;
        drop(state);
        // Registered first, looked at second: a cancel in between reaches the child one way or the other.
        if board.cancelled.is_cancelled() {
            child.cancel();
        }
        if aborting {
            child.board().abort_all();
        }
        child
    }

    fn with_parent(path: String, parent: Option<Arc<Board>>) -> Self {
        let (cancel, cancelled) = Cancelled::new();
        Self(Arc::new(Handle(Arc::new(Board {
            path,
            parent,
            cancel,
            cancelled,
            busy: watch::channel(0).0,
            failed: watch::channel(None).0,
            state: Mutex::default(),
        }))))
    }

    fn board(&self) -> &Arc<Board> {
        &self.0.0
    }

    /// The scope's name, with the scopes around it.
    pub fn path(&self) -> &str {
        &self.board().path
    }

    /// Starts a task. It runs until it ends by itself, so it has to watch [`cancelled`](Self::cancelled); a task that
    /// may simply be dropped at any await is started with [`spawn_droppable`](Self::spawn_droppable). In a cancelled
    /// scope nothing starts: the future is dropped and the handle says `Cancelled`. A panic ends the task only; it is kept
    /// as a [`Failure`].
    pub fn spawn<F>(&self, name: &'static str, future: F) -> Spawned<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let board = self.board();
        if board.cancelled.is_cancelled() {
            return Spawned(None);
        }
        let sign_out = board.sign_in(name);
        let id = sign_out.id;
        let task = rt::task::spawn(name, async move {
            let end = AssertUnwindSafe(future).catch_unwind().await;
            end.map_err(|panic| {
                let message = panic_message(panic.as_ref());
                sign_out
                    .board
                    .fail(&Failure { task: format!("{}/{name}", sign_out.board.path), message: message.clone() });
                TaskEnd::Panicked(message)
            })
        });
        board.remember(id, task.abort_handle());
        Spawned(Some(task))
    }

    /// Starts a task that is dropped at its next await when the scope is cancelled.
    pub fn spawn_droppable<F>(&self, name: &'static str, future: F) -> Spawned<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cancelled = self.cancelled();
        self.spawn(name, async move {
            tokio::select! {
                biased;
                () = cancelled.wait() => None,
                output = future => Some(output),
            }
        })
    }

    /// Tells all tasks, here and in the children, to end. Does not wait.
    pub fn cancel(&self) {
        self.board().cancel_all();
    }

    /// The token that tells when this scope is cancelled.
    pub fn cancelled(&self) -> Cancelled {
        self.board().cancelled.clone()
    }

    /// The tasks that run now, here and in the children.
    pub fn running(&self) -> Vec<Running> {
        let mut all = Vec::new();
        self.board().collect_running(&mut all);
        all
    }

    /// Waits for the first failure of a task, here or in the children. Cancel-safe.
    pub async fn failed(&self) -> Failure {
        let mut receiver = self.board().failed.subscribe();
        loop {
            let failure = receiver.borrow_and_update().clone();
            if let Some(failure) = failure {
                return failure;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until no task runs here or in the children. Cancel-safe.
    pub async fn idle(&self) {
        let mut busy = self.board().busy.subscribe();
        // This handle keeps the sender, so the wait cannot fail.
        drop(busy.wait_for(|n| *n == 0).await);
    }

    /// Cancels, and waits for all tasks until `deadline`; names the late ones every five seconds; then aborts them.
    /// Dropping the future leaves the scope cancelled; `stop` can be called again.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        self.stop_by(&crate::Deadline::after(deadline)).await
    }

    /// Like [`stop`](Self::stop), with a deadline that may be moved nearer meanwhile.
    pub async fn stop_by(&self, deadline: &crate::Deadline) -> StopReport {
        self.cancel();
        let mut report = StopReport::default();
        loop {
            tokio::select! {
                biased;
                () = self.idle() => break,
                () = deadline.passed() => {
                    report.stragglers = self.running();
                    break;
                }
                () = rt::time::sleep(NAME_STRAGGLERS_EVERY) => self.name_stragglers(deadline),
            }
        }
        if !report.stragglers.is_empty() {
            tracing::warn!(scope = self.path(), stragglers = %names(&report.stragglers), "aborting tasks that did not end in time");
            self.board().abort_all();
            if rt::time::timeout(ABORT_GRACE, self.idle()).await.is_err() {
                report.stuck = self.running();
                tracing::error!(scope = self.path(), stuck = %names(&report.stuck), "tasks are stuck outside any await");
            }
        }
        report.failures.clone_from(&self.board().state().failures);
        report
    }

    fn name_stragglers(&self, deadline: &crate::Deadline) {
        let left = deadline.remaining();
        tracing::warn!(scope = self.path(), running = %names(&self.running()), ?left, "waiting for tasks to end");
    }
}

fn names(running: &[Running]) -> String {
    running.iter().map(|r| r.task.as_str()).collect::<Vec<_>>().join(", ")
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign_in(self: &Arc<Self>, name: &'static str) -> SignOut {
        let mut state = self.state();
        let id = state.next_task;
        state.next_task += 1;
        state.tasks.insert(id, Entry { name, since: Instant::now(), abort: None });
        drop(state);
        self.count(|n| n + 1);
        SignOut { board: Arc::clone(self), id }
    }

    /// Keeps the abort handle of a task, unless it has ended already.
    fn remember(&self, id: u64, abort: AbortHandle) {
        let mut state = self.state();
        if state.aborting {
            drop(state);
            abort.abort();
        } else if let Some(entry) = state.tasks.get_mut(&id) {
            entry.abort = Some(abort);
        }
    }

    fn count(&self, change: impl Fn(usize) -> usize + Copy) {
        let mut board = Some(self);
        while let Some(b) = board {
            b.busy.send_modify(|n| *n = change(*n));
            board = b.parent.as_deref();
        }
    }

    fn fail(&self, failure: &Failure) {
        tracing::error!(task = failure.task, message = failure.message, "a task panicked");
        let mut board = Some(self);
        while let Some(b) = board {
            let mut state = b.state();
            if state.failures.len() < FAILURES_MAX {
                state.failures.push(failure.clone());
            }
            drop(state);
            b.failed.send_if_modified(|first| {
                let is_first = first.is_none();
                if is_first {
                    *first = Some(failure.clone());
                }
                is_first
            });
            board = b.parent.as_deref();
        }
    }

    fn children(&self) -> Vec<Arc<Board>> {
        self.state().children.iter().filter_map(Weak::upgrade).collect()
    }

    fn cancel_all(&self) {
        self.cancel.send_replace(true);
        for child in self.children() {
            child.cancel_all();
        }
    }

    fn abort_all(&self) {
        let mut state = self.state();
        state.aborting = true;
        let handles: Vec<_> = state.tasks.values().filter_map(|e| e.abort.clone()).collect();
        drop(state);
        for handle in handles {
            handle.abort();
        }
        for child in self.children() {
            child.abort_all();
        }
    }

    fn collect_running(&self, all: &mut Vec<Running>) {
        for (id, entry) in &self.state().tasks {
            let task = format!("{}/{}#{id}", self.path, entry.name);
            all.push(Running { task, age: entry.since.elapsed() });
        }
        for child in self.children() {
            child.collect_running(all);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.cancel_all();
        self.0.abort_all();
    }
}

/// Takes a task off the board when it ends, in whatever way.
struct SignOut {
    board: Arc<Board>,
    id: u64,
}

impl Drop for SignOut {
    fn drop(&mut self) {
        self.board.state().tasks.remove(&self.id);
        self.board.count(|n| n.saturating_sub(1));
    }
}

/// The result of a task to come. Dropping it leaves the task to its scope, and nobody waits for the result.
pub struct Spawned<T>(Option<Task<Result<T, TaskEnd>>>);

impl<T> Spawned<T> {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(Task::is_finished)
    }
}

impl<T> Future for Spawned<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx).map(Result::flatten),
            None => Poll::Ready(Err(TaskEnd::Cancelled)),
        }
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scope({}, {} running)", self.path(), *self.board().busy.borrow())
    }
}

impl<T> std::fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spawned")
    }
}
