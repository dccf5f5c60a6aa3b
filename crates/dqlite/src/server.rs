//! The server's end of a connection, sans-IO: bytes in, events out.

use base::Reader;
use bytes::{Buf, BytesMut};

use crate::failure::FailureCode;
use crate::frame::{BodyLimit, Frame, FrameError, VERSION_LEN, Version};
use crate::request::{ClusterFormat, RequestKind};
use crate::response::{Dialect, Response};

/// Where a connection is.
///
/// ```text
///              Version            Request             Part
///  Handshake ----------> Idle --------------> Executing ---> Streaming --.
///      |                 ^ ^ |                 |  |           |  |  ^    | Part
///      | WrongVersion    | | | Interrupt       |  | Interrupt |  |  `----'
///      v                 | | v                 |  v           |  |
///    Closed <--Broken--- | | Stopping <--------+--------------'  |
///                        | `----' Answer (written as EMPTY)      |
///                        `-----------------------------------------' Answer
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The version has not come yet.
    Handshake,
    /// Nothing runs; the next message is looked at.
    Idle,
    /// A request runs, and nothing of its answer is out.
    Executing,
    /// A request runs, and at least one part of its rows is out.
    Streaming,
    /// An INTERRUPT has come; one EMPTY is owed, and nothing else.
    Stopping,
    /// The stream broke the protocol; nothing more is read.
    Closed,
}

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The client sent a version that the server speaks.
    Version,
    /// The client sent any other version.
    WrongVersion,
    /// The client sent a whole message that is not INTERRUPT.
    Request,
    /// The client sent INTERRUPT.
    Interrupt,
    /// The client sent what can be no message.
    Broken,
    /// The server wrote a part of a result set that is not the last.
    Part,
    /// The server wrote the whole answer, or its end.
    Answer,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// From here,
    pub from: State,
    /// on this,
    pub input: Input,
    /// to there. `None`: it does not happen; what the client sent waits in the buffer until it can.
    pub to: Option<State>,
}

/// Where `input` leads from `from`.
pub const fn transition(from: State, input: Input) -> Option<State> {
    Some(match (from, input) {
        (State::Handshake, Input::Version) | (State::Executing | State::Streaming | State::Stopping, Input::Answer) => {
            State::Idle
        }
        (State::Handshake, Input::WrongVersion) | (State::Idle, Input::Broken) => State::Closed,
        (State::Idle, Input::Request) => State::Executing,
        (State::Idle | State::Executing | State::Streaming, Input::Interrupt) => State::Stopping,
        (State::Executing | State::Streaming, Input::Part) => State::Streaming,
        _ => return None,
    })
}

/// The whole table.
pub fn transitions() -> impl Iterator<Item = Transition> {
    const STATES: [State; 6] =
        [State::Handshake, State::Idle, State::Executing, State::Streaming, State::Stopping, State::Closed];
    const INPUTS: [Input; 7] = [
        Input::Version,
        Input::WrongVersion,
        Input::Request,
        Input::Interrupt,
        Input::Broken,
        Input::Part,
        Input::Answer,
    ];
    STATES
        .into_iter()
        .flat_map(|from| INPUTS.into_iter().map(move |input| Transition { from, input, to: transition(from, input) }))
}

/// How a client broke the protocol. Answer with [`Self::failure`], if it gives one, and close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The handshake asks for a version that does not exist.
    #[error("unknown protocol version {0:#x}")]
    UnknownVersion(u64),
    /// A message cannot be taken from the stream.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Violation {
    /// The code of the FAILURE to send before closing; `None` to close without a word, as clients that try versions expect.
    pub const fn failure(&self) -> Option<FailureCode> {
        match self {
            Self::UnknownVersion(_) => None,
            Self::Frame(_) => Some(FailureCode::PROTO),
        }
    }
}

/// What the client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done. There is nothing to answer.
    Handshake(Version),
    /// A request: read it with [`crate::Request::decode`], then answer it. It may turn out unreadable.
    Request(Frame),
    /// Stop what runs, if anything does, and write nothing more of it; then [`ServerSession::answer`] writes the one EMPTY.
    Interrupt,
    /// The connection must be closed.
    Violation(Violation),
}

/// One connection as the server sees it. See [`State`] for the diagram.
///
/// At most one request runs. A client that sends another one early is not punished: its bytes wait in the input buffer,
/// unless the next message is an INTERRUPT, which is seen at once.
#[derive(Debug)]
pub struct ServerSession {
    state: State,
    limit: BodyLimit,
    dialect: Dialect,
}

impl ServerSession {
    /// A new connection, which accepts messages up to `limit`.
    pub fn new(limit: BodyLimit) -> Self {
        Self { state: State::Handshake, limit, dialect: Dialect::default() }
    }

    /// Where the connection is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The version the client asked for.
    pub fn version(&self) -> Version {
        self.dialect.version
    }

    fn step(&mut self, input: Input) -> bool {
        match transition(self.state, input) {
            Some(to) => {
                self.state = to;
                true
            }
            None => false,
        }
    }

    /// Takes the next event from the front of `input`. `None`: more bytes must come, or the running request must be
    /// answered first.
    pub fn poll(&mut self, input: &mut BytesMut) -> Option<Event> {
        match self.state {
            State::Handshake => self.poll_handshake(input),
            State::Idle => self.poll_message(input),
            State::Executing | State::Streaming => {
                let next = Frame::peek(input)?.kind == RequestKind::Interrupt.number();
                if next { self.poll_interrupt(input) } else { None }
            }
            State::Stopping | State::Closed => None,
        }
    }

    /// How many bytes [`Self::poll`] still wants in `input`, at least, so that a reader can make room for a large message.
    pub fn wants(&self, input: &[u8]) -> usize {
        match self.state {
            State::Handshake => VERSION_LEN.saturating_sub(input.len()),
            _ => Frame::missing(input, self.limit),
        }
    }

    fn poll_handshake(&mut self, input: &mut BytesMut) -> Option<Event> {
        let number = Reader::new(input).u64().ok()?;
        input.advance(VERSION_LEN);
        if let Some(version) = Version::from_number(number) {
            self.step(Input::Version);
            self.dialect.version = version;
            Some(Event::Handshake(version))
        } else {
            self.step(Input::WrongVersion);
            Some(Event::Violation(Violation::UnknownVersion(number)))
        }
    }

    fn poll_message(&mut self, input: &mut BytesMut) -> Option<Event> {
        let frame = match Frame::take(input, self.limit) {
            Ok(frame) => frame?,
            Err(error) => {
                self.step(Input::Broken);
                return Some(Event::Violation(error.into()));
            }
        };
        if frame.header.kind == RequestKind::Interrupt.number() {
            self.step(Input::Interrupt);
            return Some(Event::Interrupt);
        }
        if frame.header.kind == RequestKind::Cluster.number() {
            let old = frame.body.first_chunk() == Some(&[0; 8]);
            self.dialect.cluster = if old { ClusterFormat::Addresses } else { ClusterFormat::Roles };
        }
        self.step(Input::Request);
        Some(Event::Request(frame))
    }

    fn poll_interrupt(&mut self, input: &mut BytesMut) -> Option<Event> {
        // One that is too long waits as any other message would, and breaks the connection in its turn.
        Frame::take(input, self.limit).ok().flatten()?;
        self.step(Input::Interrupt);
        Some(Event::Interrupt)
    }

    /// Says that a part of a result set, not the last, was written. `false`: an INTERRUPT was seen, or nothing runs; write
    /// no part.
    #[must_use]
    pub fn part(&mut self) -> bool {
        self.step(Input::Part)
    }

    /// Ends the running request: `write` appends the answer, or its end, to `out`. After an INTERRUPT, EMPTY is written
    /// instead. If nothing runs, nothing is written, and the answer is `false`.
    pub fn settle(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut, Dialect)) -> bool {
        let stopping = self.state == State::Stopping;
        if !self.step(Input::Answer) {
            return false;
        }
        if stopping {
            Response::Empty.encode(out, self.dialect);
        } else {
            write(out, self.dialect);
        }
        true
    }

    /// Ends the running request with `response`; see [`Self::settle`].
    pub fn answer(&mut self, out: &mut BytesMut, response: &Response<'_>) -> bool {
        self.settle(out, |out, dialect| response.encode(out, dialect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;
    use crate::response::ResponseKind;
    use std::fmt::Write;

    fn shaken() -> (ServerSession, BytesMut) {
        let mut session = ServerSession::new(BodyLimit::DEFAULT);
        let mut input = BytesMut::from(&Version::One.number().to_le_bytes()[..]);
        assert_eq!(session.poll(&mut input), Some(Event::Handshake(Version::One)));
        (session, input)
    }

    fn kinds(mut out: BytesMut) -> Vec<ResponseKind> {
        std::iter::from_fn(|| Frame::take(&mut out, BodyLimit::MAX).unwrap())
            .map(|f| ResponseKind::from_number(f.header.kind).unwrap())
            .collect()
    }

    #[test]
    fn the_transition_table_is_as_reviewed() {
        let mut table = String::new();
        for t in transitions() {
            let to = t.to.map_or("-".to_owned(), |to| format!("{to:?}"));
            writeln!(table, "{:<10} {:<13} {to}", format!("{:?}", t.from), format!("{:?}", t.input)).unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn an_interrupt_of_nothing_is_answered_with_one_empty() {
        let (mut session, mut input) = shaken();
        Request::Interrupt { db: 0 }.encode(&mut input);
        assert_eq!(session.poll(&mut input), Some(Event::Interrupt));
        let mut out = BytesMut::new();
        assert!(session.answer(&mut out, &Response::Empty));
        assert!(!session.answer(&mut out, &Response::Empty));
        assert_eq!(kinds(out), [ResponseKind::Empty]);
        assert_eq!(session.state(), State::Idle);
    }

    #[test]
    fn an_interrupted_answer_is_replaced_by_one_empty() {
        for parts in 0..2 {
            let (mut session, mut input) = shaken();
            Request::QuerySql { db: 0, sql: "SELECT 1", params: crate::Params::NONE }.encode(&mut input);
            assert!(matches!(session.poll(&mut input), Some(Event::Request(_))));
            for _ in 0..parts {
                assert!(session.part());
            }
            assert_eq!(session.poll(&mut input), None);
            Request::Interrupt { db: 0 }.encode(&mut input);
            Request::Leader.encode(&mut input);
            assert_eq!(session.poll(&mut input), Some(Event::Interrupt));
            assert!(!session.part(), "no part follows an INTERRUPT");
            assert_eq!(session.poll(&mut input), None, "the next request waits for the EMPTY");
            let mut out = BytesMut::new();
            assert!(session.answer(&mut out, &Response::failure(FailureCode::INTERRUPT, "interrupted")));
            assert_eq!(kinds(out), [ResponseKind::Empty]);
            assert!(matches!(session.poll(&mut input), Some(Event::Request(_))));
        }
    }

    #[test]
    fn an_early_request_waits_for_its_turn() {
        let (mut session, mut input) = shaken();
        Request::Leader.encode(&mut input);
        Request::Client { id: 7 }.encode(&mut input);
        Request::Interrupt { db: 0 }.encode(&mut input);
        assert!(matches!(session.poll(&mut input), Some(Event::Request(f)) if f.header.kind == 0));
        assert_eq!(session.poll(&mut input), None);
        let mut out = BytesMut::new();
        session.answer(&mut out, &Response::Server { id: 1, address: "a" });
        assert!(matches!(session.poll(&mut input), Some(Event::Request(f)) if f.header.kind == 1));
        assert_eq!(session.poll(&mut input), Some(Event::Interrupt));
        assert_eq!(session.state(), State::Stopping);
    }

    #[test]
    fn unknown_versions_and_oversized_bodies_end_the_connection() {
        let mut session = ServerSession::new(BodyLimit::DEFAULT);
        let mut input = BytesMut::from(&2u64.to_le_bytes()[..]);
        let Some(Event::Violation(violation)) = session.poll(&mut input) else { panic!() };
        assert_eq!(violation.failure(), None);
        assert_eq!(session.state(), State::Closed);

        let (mut session, mut input) = shaken();
        input.extend_from_slice(&[0xff; 8]);
        let Some(Event::Violation(violation)) = session.poll(&mut input) else { panic!() };
        assert_eq!(violation.failure(), Some(FailureCode::PROTO));
        assert_eq!(session.poll(&mut input), None);
    }
}
