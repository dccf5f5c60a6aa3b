//! The simulated back end: a node's disk, clocks, entropy, sockets and tasks, all from one seed.
//!
//! A [`Node`] stands for one machine. Code that runs "in" a node (inside [`Node::enter`], or in a task that such code
//! started) gets that node's disk from [`fs`](crate::fs), its clocks from [`time`](crate::time), and so on. Worlds of several
//! nodes on a network are the business of the `sim` crate; storage code that only wants a disk that can lose power uses
//! [`run_blocking`] and [`every_cut`].

mod apart;
mod clock;
mod cuts;
mod dice;
mod disk;
mod net;
mod node;
mod points;
mod task;
mod trace;

pub use apart::block_on;
pub use cuts::{every_cut, every_fault, run_blocking};
pub use dice::Dice;
pub use disk::{Disk, DiskProfile, Fault, SimFile};
pub(crate) use net::resolve;
pub use net::{SimListener, SimStream, SimUdp};
pub use node::{Jitter, Node, current};
pub use points::{Handler, Points, Strike};
pub(crate) use task::SimTask;
pub use trace::Trace;
