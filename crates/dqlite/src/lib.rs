//! The dqlite client protocol: codec and session state machines, for both ends of a connection.
//!
//! Ring 0: no IO, no async, no clock. Bytes come in, messages and events go out. Every decoder is total: any input gives a
//! value or a typed error, in time and memory bounded by the input's length.
//!
//! * [`Request`] and [`Response`]: the messages, borrowed from the bytes they were read from.
//! * [`RowsEncoder`] and [`RowsPart`]: result sets, in parts.
//! * [`ServerSession`] and [`ClientSession`]: the two ends of one connection, sans-IO.
//!
//! Everything is little-endian; the unit is the word of eight bytes. The format is written down in
//! `docs/formats/dqlite.md`.

mod client;
mod failure;
mod frame;
mod params;
mod request;
mod response;
mod rows;
mod server;
mod value;
mod wire;

pub use client::{ClientEvent, ClientMisuse, ClientSession, ClientState, ClientViolation};
pub use failure::FailureCode;
pub use frame::{BodyLimit, Frame, FrameError, HEADER_LEN, Header, VERSION_LEN, Version};
pub use params::{Params, ParamsIter};
pub use request::{ClusterFormat, Request, RequestKind, Tail};
pub use response::{Dialect, DumpHead, File, Response, ResponseKind, ServerInfo};
pub use rows::{Declared, PART_LIMIT, RowTooLarge, RowsEncoder, RowsPart, RowsStep};
pub use server::{Event, Input, ServerSession, State, Transition, Violation, transition, transitions};
pub use value::{TypeCode, Value, ValueRef};
pub use wire::DecodeError;
