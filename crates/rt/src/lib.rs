//! The seam: every task, clock, socket, file, blocking call and random number of the product goes through here, so that
//! the same code runs on a real machine and in the simulator.
//!
//! Which back end serves a call is decided when it is made: a task that the simulator started carries its simulated node;
//! any other task is real. Nothing above ring 1 names tokio's tasks, time, sockets or files, `std::fs`, threads or a random source.

pub mod blocking;
pub mod entropy;
pub mod fs;
pub mod net;
pub mod point;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sync;
pub mod task;
pub mod time;
