//! INC-3: every order in which the runtime, the handles, the farewell and a callback can end.
//!
//! In the original the worker ended first, and the finalizer of the object then cancelled a worker that was none any more.

use crate::kit::{PERIOD, id, member};
use gossip::{Gossip, OnEvent};
use lifecycle::Scope;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    StopRuntime,
    CancelScope,
    DropHandle,
    Quit,
    QuitAgain,
}

const ACTS: [Act; 5] = [Act::StopRuntime, Act::CancelScope, Act::DropHandle, Act::Quit, Act::QuitAgain];

/// What a callback does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    Nothing,
    Quits,
    DropsItsHandle,
    Panics,
    Dawdles,
}

const CALLED: [Called; 5] = [Called::Nothing, Called::Quits, Called::DropsItsHandle, Called::Panics, Called::Dawdles];

/// As much as any of this may take.
const BOUND: Duration = Duration::from_secs(5);

/// Shows that something was dropped, and how often.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn orders(acts: &[Act]) -> Vec<Vec<Act>> {
    if acts.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (n, act) in acts.iter().enumerate() {
        let rest: Vec<Act> = acts.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, act)| *act).collect();
        all.extend(orders(&rest).into_iter().map(|order| [vec![*act], order].concat()));
    }
    all
}

struct Watched {
    /// A quit has returned: nobody may be called back any more.
    is_over: Arc<AtomicBool>,
    called_late: Arc<AtomicBool>,
    dropped: Arc<AtomicUsize>,
    handle: Arc<Mutex<Option<Gossip>>>,
}

fn callback(called: Called) -> (OnEvent, Watched) {
    let watched = Watched {
        is_over: Arc::default(),
        called_late: Arc::default(),
        dropped: Arc::default(),
        handle: Arc::default(),
    };
    let (is_over, called_late) = (Arc::clone(&watched.is_over), Arc::clone(&watched.called_late));
    let (handle, guard) = (Arc::clone(&watched.handle), Dropped(Arc::clone(&watched.dropped)));
    let on_event = Box::new(move |_: &gossip::Told| {
        let _kept = &guard;
        if is_over.load(Ordering::SeqCst) {
            called_late.store(true, Ordering::SeqCst);
        }
        match called {
            Called::Nothing => {}
            Called::Quits => {
                if let Some(handle) = &*handle.lock().unwrap() {
                    handle.begin_quit(BOUND);
                }
            }
            Called::DropsItsHandle => drop(handle.lock().unwrap().take()),
            Called::Panics => std::panic::panic_any("a callback that panics"),
            Called::Dawdles => std::thread::sleep(Duration::from_millis(5)),
        }
    });
    (on_event, watched)
}

fn play(order: &[Act], called: Called, is_pending: bool, elsewhere: &tokio::runtime::Runtime) {
    let case = format!("{order:?}, the callback {called:?}, input pending: {is_pending}");
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (on_event, watched) = callback(called);
    let scope = Scope::new("torn down");
    let (gossip, addr) = runtime.block_on(member(1, Some(on_event), &scope));
    if called == Called::Quits || called == Called::DropsItsHandle {
        *watched.handle.lock().unwrap() = Some(gossip.clone());
    }
    let (mut gossip, mut runtime, mut scope) = (Some(gossip), Some(runtime), Some(scope));
    if is_pending {
        send_news(addr);
    }
    for act in order {
        match act {
            Act::StopRuntime => runtime.take().unwrap().shutdown_timeout(BOUND),
            Act::CancelScope => scope.take().unwrap().cancel(),
            Act::DropHandle => {
                drop(gossip.take());
                drop(watched.handle.lock().unwrap().take());
            }
            Act::Quit | Act::QuitAgain => {
                let Some(gossip) = gossip.clone() else { continue };
                let quit = async { rt::time::timeout(BOUND, gossip.quit(BOUND)).await };
                let done = runtime.as_ref().unwrap_or(elsewhere).block_on(quit);
                assert!(done.is_ok(), "a quit waits for ever: {case}");
                if matches!(done, Ok(Ok(()))) {
                    watched.is_over.store(true, Ordering::SeqCst);
                }
            }
        }
    }
    // All that is left of it ends with its thread: the socket is closed, once, and what the callback held is dropped, once.
    while watched.dropped.load(Ordering::SeqCst) == 0 || UdpSocket::bind(addr).is_err() {
        assert!(began.elapsed() < BOUND, "something of it is left: {case}");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(watched.dropped.load(Ordering::SeqCst), 1, "{case}");
    assert!(!watched.called_late.load(Ordering::SeqCst), "called back after a quit had returned: {case}");
}

/// Datagrams of another member, which cause events.
fn send_news(to: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = swim::Config::new(id(9), socket.local_addr().unwrap(), 1);
    let mut other = swim::Swim::new(config, &[9; 32], swim::Moment::default()).unwrap();
    let mut buf = [0; swim::DATAGRAM_LEN_MAX];
    for n in 0..4_u64 {
        other.set_payload(&n.to_be_bytes()).unwrap();
        other.probe(swim::Moment(PERIOD * u32::try_from(n).unwrap()), to).unwrap();
        while let Some(transmit) = other.poll_transmit(&mut buf) {
            socket.send_to(&buf[..transmit.len], transmit.to).unwrap();
        }
    }
}

#[test]
fn in_whatever_order_its_parts_end_all_of_it_ends() {
    // What panics here does so on purpose.
    std::panic::set_hook(Box::new(|_| {}));
    let elsewhere = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut played = 0;
    for order in orders(&ACTS) {
        // The runtime that is dropped at the end, and what is stopped before: each order has its turn.
        for called in CALLED {
            for is_pending in [false, true] {
                play(&order, called, is_pending, &elsewhere);
                played += 1;
            }
        }
    }
    drop(std::panic::take_hook());
    assert_eq!(played, 120 * 5 * 2);
}

#[test]
fn a_handle_may_be_dropped_anywhere() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Gossip>> = const { std::cell::RefCell::new(None) };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scope = Scope::new("test");
    let (gossip, addr) = runtime.block_on(member(1, None, &scope));
    // By the destructor of a thread's own data, and while a thread unwinds.
    let kept = gossip.clone();
    std::thread::spawn(move || KEPT.set(Some(kept))).join().unwrap();
    let kept = gossip.clone();
    let unwinds = std::thread::spawn(move || {
        let _kept = kept;
        std::panic::panic_any("unwinds");
    });
    assert!(unwinds.join().is_err());
    // After its runtime.
    runtime.shutdown_timeout(BOUND);
    drop(scope);
    drop(gossip);
    let began = Instant::now();
    while UdpSocket::bind(addr).is_err() {
        assert!(began.elapsed() < BOUND);
        std::thread::sleep(Duration::from_millis(1));
    }
}
