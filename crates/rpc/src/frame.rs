//! Frames: the unit of the wire format (docs/formats/rpc.md). Encoding and a total decoder, without any IO.

use crate::{Class, Fingerprint, Refusal};
use base::{Disposition, NodeId, Reader, Truncated};
use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use std::time::Duration;

/// The version of the format that this code speaks.
pub const VERSION: u16 = 1;
/// The longest body of a call or an answer, in bytes.
pub const BODY_LEN_MAX: usize = 32 << 20;
/// The longest frame after its length field: a body and what stands before it.
pub const FRAME_LEN_MAX: usize = BODY_LEN_MAX + 64;
/// The longest frame that a stranger may send.
pub const STRANGER_FRAME_LEN_MAX: usize = 64 << 10;

const MAGIC: u32 = u32::from_le_bytes(*b"BLRP");
const TEXT_LEN_MAX: usize = 16 << 10;
/// Kind and id: what every frame has after its length.
const HEAD_LEN: usize = 9;

/// One frame, without its length and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of a connection, from the side that made it.
    Hello(Hello),
    /// The answer to a hello that is accepted: from here on calls may follow.
    Welcome {
        /// The version both will speak: at most the one that the hello named.
        version: u16,
        /// The node that answers.
        node: NodeId,
    },
    /// A call. The frame's id names it until its answer.
    Call {
        /// The number of the service, known or not.
        service: u16,
        /// The method of the service.
        method: u16,
        /// How long the caller waits from now on.
        deadline_ms: u32,
        /// The arguments.
        body: Bytes,
    },
    /// The answer to the call with the frame's id.
    Answer(Bytes),
    /// The refusal of the call with the frame's id.
    Refused(Refusal),
    /// The caller no longer waits for the call with the frame's id. No answer is owed; one that is under way is thrown away.
    Cancel,
    /// No further calls on this connection. Calls under way are still answered.
    Goodbye(String),
    /// Asks for a pong, to see that the other side is there.
    Ping,
    /// Answers a ping.
    Pong,
}

/// The reason of a goodbye to a node that is no member any more. It never will be again under its id: who hears this need not come
/// back.
pub const NO_MEMBER: &str = "this node is no longer a member";

/// What the side that makes a connection says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The highest version it speaks.
    pub version: u16,
    /// What the connection is for.
    pub class: Class,
    /// Who it is; under TLS this must be what its certificate says. None for a stranger.
    pub node: Option<NodeId>,
    /// Whom it wants to reach; none if it does not know (a stranger).
    pub wanted: Option<NodeId>,
    /// Its key. Means something only on the simulator's plain transport; under TLS the certificate has it.
    pub fingerprint: Fingerprint,
}

/// Why bytes are not a frame. The connection they came on is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than allowed here.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLong {
        /// The length it claims.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The frame ends before its fields do.
    #[error("a frame is too short: {0}")]
    Short(#[from] Truncated),
    /// The frame goes on after its last field.
    #[error("a frame of kind {kind} has {left} bytes too many")]
    Long {
        /// Its kind.
        kind: u8,
        /// How many.
        left: usize,
    },
    /// No such kind of frame in this version.
    #[error("frames of kind {0} are not known")]
    Kind(u8),
    /// A hello that does not start with the magic number: the other side speaks something else.
    #[error("the other side does not speak Bowline's node protocol")]
    Magic,
    /// A field has a value that it cannot have.
    #[error("the field {field} cannot be {value}")]
    Field {
        /// Its name in the format's document.
        field: &'static str,
        /// The value.
        value: u64,
    },
    /// Text that is not UTF-8 or is too long.
    #[error("the field {0} is not UTF-8 text of an allowed length")]
    Text(&'static str),
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const CALL: u8 = 3;
const ANSWER: u8 = 4;
const REFUSED: u8 = 5;
const CANCEL: u8 = 6;
const GOODBYE: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;

impl Frame {
    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Welcome { .. } => WELCOME,
            Self::Call { .. } => CALL,
            Self::Answer(_) => ANSWER,
            Self::Refused(_) => REFUSED,
            Self::Cancel => CANCEL,
            Self::Goodbye(_) => GOODBYE,
            Self::Ping => PING,
            Self::Pong => PONG,
        }
    }

    /// Appends the frame to `out`, all but a body, which is returned and must follow at once. The caller keeps bodies within
    /// [`BODY_LEN_MAX`]; text that is too long is cut.
    pub(crate) fn encode_head(&self, id: u64, out: &mut BytesMut) -> Option<Bytes> {
        let start = out.len();
        out.put_u32_le(0);
        out.put_u8(self.kind());
        out.put_u64_le(id);
        let body = match self {
            Self::Hello(hello) => {
                hello.encode(out);
                None
            }
            Self::Welcome { version, node } => {
                out.put_u16_le(*version);
                out.put_u64_le(node.0);
                None
            }
            Self::Call { service, method, deadline_ms, body } => {
                out.put_u16_le(*service);
                out.put_u16_le(*method);
                out.put_u32_le(*deadline_ms);
                Some(body.clone())
            }
            Self::Answer(body) => Some(body.clone()),
            Self::Refused(refusal) => {
                encode_refusal(refusal, out);
                None
            }
            Self::Goodbye(why) => {
                out.put_slice(cut(why, TEXT_LEN_MAX).as_bytes());
                None
            }
            Self::Cancel | Self::Ping | Self::Pong => None,
        };
        let len = out.len().saturating_sub(start + 4) + body.as_ref().map_or(0, Bytes::len);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&len.to_le_bytes());
        }
        body
    }

    /// Appends the whole frame to `out`.
    pub fn encode(&self, id: u64, out: &mut BytesMut) {
        if let Some(body) = self.encode_head(id, out) {
            out.put_slice(&body);
        }
    }

    /// Reads what follows the length field: id and frame. Total; a body is a slice of `payload`, not a copy.
    pub fn decode(payload: &Bytes) -> Result<(u64, Self), FrameError> {
        let mut reader = Reader::new(payload);
        let kind = reader.u8()?;
        let id = reader.u64()?;
        let frame = match kind {
            HELLO => Self::Hello(Hello::decode(&mut reader)?),
            WELCOME => Self::Welcome { version: reader.u16()?, node: NodeId(reader.u64()?) },
            CALL => {
                let (service, method, deadline_ms) = (reader.u16()?, reader.u16()?, reader.u32()?);
                Self::Call { service, method, deadline_ms, body: payload.slice(take_rest(&mut reader)?) }
            }
            ANSWER => Self::Answer(payload.slice(take_rest(&mut reader)?)),
            REFUSED => Self::Refused(decode_refusal(&mut reader)?),
            CANCEL => Self::Cancel,
            GOODBYE => Self::Goodbye(text(&mut reader, "reason")?),
            PING => Self::Ping,
            PONG => Self::Pong,
            other => return Err(FrameError::Kind(other)),
        };
        match reader.rest().len() {
            0 => Ok((id, frame)),
            left => Err(FrameError::Long { kind, left }),
        }
    }
}

/// Cuts the next frame's payload off the front of `input`, if it is there in full. `len_max` bounds what follows the length field.
/// When it is not, says how many bytes are missing at least.
pub fn split(input: &mut BytesMut, len_max: usize) -> Result<Result<Bytes, usize>, FrameError> {
    let Some(field) = input.get(..4).and_then(|field| <[u8; 4]>::try_from(field).ok()) else {
        return Ok(Err(4 - input.len()));
    };
    let len = usize::try_from(u32::from_le_bytes(field)).unwrap_or(usize::MAX);
    if len > len_max {
        return Err(FrameError::TooLong { len, max: len_max });
    }
    if len < HEAD_LEN {
        return Err(FrameError::Short(Truncated { offset: 4, wanted: HEAD_LEN, left: len }));
    }
    match (len + 4).checked_sub(input.len()) {
        None | Some(0) => {
            let mut frame = input.split_to(len + 4);
            Ok(Ok(frame.split_off(4).freeze()))
        }
        Some(missing) => Ok(Err(missing)),
    }
}

impl Hello {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32_le(MAGIC);
        out.put_u16_le(self.version);
        out.put_u8(self.class.code());
        out.put_u64_le(self.node.map_or(0, |node| node.0));
        out.put_u64_le(self.wanted.map_or(0, |node| node.0));
        out.put_slice(&self.fingerprint.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        if reader.u32()? != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = reader.u16()?;
        let class = reader.u8()?;
        let class = Class::from_code(class).ok_or(FrameError::Field { field: "class", value: u64::from(class) })?;
        let node = some_node(reader.u64()?);
        let wanted = some_node(reader.u64()?);
        Ok(Self { version, class, node, wanted, fingerprint: Fingerprint(reader.array()?) })
    }
}

/// Zero stands for no node: no node has that id.
fn some_node(id: u64) -> Option<NodeId> {
    (id != 0).then_some(NodeId(id))
}

fn encode_refusal(refusal: &Refusal, out: &mut BytesMut) {
    let (disposition, after) = match refusal.disposition {
        Disposition::Retry { after } => (0, after),
        Disposition::Refuse => (1, Duration::ZERO),
        Disposition::Gone => (2, Duration::ZERO),
        Disposition::Corrupt => (3, Duration::ZERO),
        Disposition::Bug => (4, Duration::ZERO),
        Disposition::Unknown => (5, Duration::ZERO),
    };
    out.put_u8(disposition);
    out.put_u32_le(u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
    let code = cut(&refusal.code, usize::from(u8::MAX));
    out.put_u8(u8::try_from(code.len()).unwrap_or(u8::MAX));
    out.put_slice(code.as_bytes());
    out.put_slice(cut(&refusal.message, TEXT_LEN_MAX).as_bytes());
}

fn decode_refusal(reader: &mut Reader<'_>) -> Result<Refusal, FrameError> {
    let disposition = reader.u8()?;
    let after = Duration::from_millis(u64::from(reader.u32()?));
    let disposition = match disposition {
        0 => Disposition::Retry { after },
        1 => Disposition::Refuse,
        2 => Disposition::Gone,
        3 => Disposition::Corrupt,
        4 => Disposition::Bug,
        5 => Disposition::Unknown,
        other => return Err(FrameError::Field { field: "disposition", value: u64::from(other) }),
    };
    let code_len = usize::from(reader.u8()?);
    let code = std::str::from_utf8(reader.take(code_len)?).map_err(|_| FrameError::Text("code"))?.to_owned();
    Ok(Refusal { code: Cow::Owned(code), disposition, message: text(reader, "message")? })
}

/// The range of everything that is left.
fn take_rest(reader: &mut Reader<'_>) -> Result<std::ops::RangeFrom<usize>, FrameError> {
    let from = reader.offset();
    reader.take(reader.rest().len())?;
    Ok(from..)
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, FrameError> {
    let bytes = reader.take(reader.rest().len())?;
    if bytes.len() > TEXT_LEN_MAX {
        return Err(FrameError::Text(field));
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| FrameError::Text(field))
}

/// The longest front of `text` that has at most `max` bytes and ends between characters.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
