//! The client's end of a connection, sans-IO.

use bytes::{BufMut, BytesMut};

use crate::frame::{BodyLimit, Frame, FrameError, Version};
use crate::request::Request;
use crate::response::{Dialect, ResponseKind};
use crate::rows::{RowsPart, RowsStep};

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientState {
    /// Nothing is asked; [`ClientSession::send`] may be called.
    Idle,
    /// A request is out, and nothing of its answer has come.
    Waiting,
    /// Parts of a result set are coming.
    Streaming,
    /// INTERRUPT is out; all is dropped until its EMPTY.
    Draining,
    /// The server broke the protocol.
    Closed,
}

/// What has come from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The whole answer, or the last part of a result set. Read it with [`crate::Response::decode`].
    Answer(Frame),
    /// A part of a result set; more follow.
    Part(Frame),
    /// The INTERRUPT was answered.
    Interrupted,
}

/// How a server broke the protocol. Close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientViolation {
    /// A message cannot be taken from the stream.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message came that nothing asked for.
    #[error("a message of type {0} came that nothing asked for")]
    Unasked(u8),
    /// A ROWS message does not say whether another follows.
    #[error("rows without an end marker")]
    NoMarker,
}

/// The request cannot be sent now: another one is not answered yet, or the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is {0:?}, not idle")]
pub struct ClientMisuse(pub ClientState);

/// One connection as the client sees it.
#[derive(Debug)]
pub struct ClientSession {
    state: ClientState,
    limit: BodyLimit,
    dialect: Dialect,
}

impl ClientSession {
    /// A new connection: writes the handshake to `out`. `limit` bounds the answers that are accepted.
    pub fn new(version: Version, limit: BodyLimit, out: &mut BytesMut) -> Self {
        out.put_u64_le(version.number());
        Self { state: ClientState::Idle, limit, dialect: Dialect { version, ..Dialect::default() } }
    }

    /// Where the connection is.
    pub fn state(&self) -> ClientState {
        self.state
    }

    /// How the answer to the last request is to be read.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Appends a request to `out`. An INTERRUPT goes through [`Self::interrupt`], whatever the state.
    pub fn send(&mut self, request: &Request<'_>, out: &mut BytesMut) -> Result<(), ClientMisuse> {
        if let Request::Interrupt { .. } = request {
            return self.interrupt(out);
        }
        if self.state != ClientState::Idle {
            return Err(ClientMisuse(self.state));
        }
        if let Request::Cluster { format } = request {
            self.dialect.cluster = *format;
        }
        request.encode(out);
        self.state = ClientState::Waiting;
        Ok(())
    }

    /// Appends an INTERRUPT to `out`: what runs is stopped, and its answer dropped.
    pub fn interrupt(&mut self, out: &mut BytesMut) -> Result<(), ClientMisuse> {
        if matches!(self.state, ClientState::Draining | ClientState::Closed) {
            return Err(ClientMisuse(self.state));
        }
        Request::Interrupt { db: 0 }.encode(out);
        self.state = ClientState::Draining;
        Ok(())
    }

    /// Takes the next event from the front of `input`; `None` until more bytes come.
    pub fn poll(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, ClientViolation> {
        let event = self.take(input);
        if event.is_err() {
            self.state = ClientState::Closed;
        }
        event
    }

    fn take(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, ClientViolation> {
        while let Some(frame) = Frame::take(input, self.limit)? {
            let kind = ResponseKind::from_number(frame.header.kind);
            match (self.state, kind) {
                (ClientState::Draining, Some(ResponseKind::Empty)) => {
                    self.state = ClientState::Idle;
                    return Ok(Some(ClientEvent::Interrupted));
                }
                (ClientState::Draining, Some(_)) => {}
                (ClientState::Waiting | ClientState::Streaming, Some(ResponseKind::Rows)) => {
                    if RowsPart::ending(&frame.body).ok_or(ClientViolation::NoMarker)? == RowsStep::Done {
                        return Ok(Some(self.answered(frame)));
                    }
                    self.state = ClientState::Streaming;
                    return Ok(Some(ClientEvent::Part(frame)));
                }
                (ClientState::Waiting, Some(_)) | (ClientState::Streaming, Some(ResponseKind::Failure)) => {
                    return Ok(Some(self.answered(frame)));
                }
                _ => return Err(ClientViolation::Unasked(frame.header.kind)),
            }
        }
        Ok(None)
    }

    fn answered(&mut self, frame: Frame) -> ClientEvent {
        self.state = ClientState::Idle;
        ClientEvent::Answer(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ClusterFormat;
    use crate::response::{Response, ServerInfo};
    use crate::rows::RowsEncoder;
    use crate::value::ValueRef;

    fn client() -> (ClientSession, BytesMut, BytesMut) {
        let mut out = BytesMut::new();
        let session = ClientSession::new(Version::One, BodyLimit::DEFAULT, &mut out);
        assert_eq!(&out[..], 1u64.to_le_bytes());
        out.clear();
        (session, out, BytesMut::new())
    }

    #[test]
    fn parts_stream_until_the_last() {
        let (mut session, mut out, mut input) = client();
        session.send(&Request::QuerySql { db: 0, sql: "q", params: crate::Params::NONE }, &mut out).unwrap();
        let mut rows = RowsEncoder::new([("n", None)]);
        for n in 0..3 {
            rows.row(&mut input, [ValueRef::Integer(n)]).unwrap();
            rows.pause(&mut input);
        }
        rows.done(&mut input);
        for _ in 0..3 {
            assert!(matches!(session.poll(&mut input), Ok(Some(ClientEvent::Part(_)))));
            assert!(session.send(&Request::Leader, &mut out).is_err());
        }
        assert!(matches!(session.poll(&mut input), Ok(Some(ClientEvent::Answer(_)))));
        assert_eq!(session.state(), ClientState::Idle);
    }

    #[test]
    fn an_interrupt_drops_everything_before_its_empty() {
        let (mut session, mut out, mut input) = client();
        session.send(&Request::QuerySql { db: 0, sql: "q", params: crate::Params::NONE }, &mut out).unwrap();
        session.interrupt(&mut out).unwrap();
        let mut rows = RowsEncoder::new([("n", None)]);
        rows.row(&mut input, [ValueRef::Integer(1)]).unwrap();
        rows.pause(&mut input);
        assert_eq!(session.poll(&mut input), Ok(None));
        Response::Empty.encode(&mut input, session.dialect());
        assert_eq!(session.poll(&mut input), Ok(Some(ClientEvent::Interrupted)));
    }

    #[test]
    fn a_server_that_talks_unasked_is_cut_off() {
        let (mut session, mut out, mut input) = client();
        Response::Empty.encode(&mut input, session.dialect());
        assert_eq!(session.poll(&mut input), Err(ClientViolation::Unasked(8)));
        assert!(session.send(&Request::Leader, &mut out).is_err());
    }

    #[test]
    fn the_asked_cluster_format_decides_how_servers_are_read() {
        for (format, role) in [(ClusterFormat::Addresses, 0), (ClusterFormat::Roles, 2)] {
            let (mut session, mut out, mut input) = client();
            session.send(&Request::Cluster { format }, &mut out).unwrap();
            let servers =
                vec![ServerInfo { id: 3, address: "a:1", role: 2 }, ServerInfo { id: 4, address: "", role: 2 }];
            Response::Servers(servers.clone()).encode(&mut input, session.dialect());
            let Ok(Some(ClientEvent::Answer(frame))) = session.poll(&mut input) else { panic!() };
            let Ok(Response::Servers(read)) = Response::decode(&frame, session.dialect()) else { panic!() };
            assert_eq!(read, servers.into_iter().map(|s| ServerInfo { role, ..s }).collect::<Vec<_>>());
        }
    }
}
