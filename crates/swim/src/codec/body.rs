//! The body of a packet: its sender and its sections, in the order in which they came.

use super::error::{PacketError, Place};
use super::msgpack::{ArrayHead, Input, Output};
use super::record::{Record, member_id, present, put_id};
use crate::id::{Incarnation, MemberId};

/// The body of a packet. It was read to its end once, so that looking at it again meets nothing that is wrong.
#[derive(Debug, Clone)]
pub struct Body<'a> {
    /// Who sent it.
    pub source: MemberId,
    sections: Input<'a>,
    count: u64,
    bytes: &'a [u8],
}

/// A part of a body.
#[derive(Debug, Clone)]
pub enum Section<'a> {
    /// A part of what the sender knows of all members.
    AntiEntropy(Records<'a>),
    /// A ping or an answer to one.
    FailureDetection(FailureDetection),
    /// What is new.
    Dissemination(Records<'a>),
    /// The sender goes, in this incarnation.
    Quit(Incarnation),
}

/// A ping or an answer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureDetection {
    /// Which of the two.
    pub kind: Kind,
    /// The incarnation of who sends it.
    pub incarnation: Incarnation,
}

/// Question and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Are you alive?
    Ping,
    /// I am.
    Ack,
}

/// Records of a section, read one by one.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    input: Input<'a>,
    left: u64,
}

const BODY: &str = "body";
const DETECTION: &str = "failure detection section";
const QUIT: &str = "quit section";

impl<'a> Body<'a> {
    /// Reads a body to its end, and leaves `input` behind it.
    pub(crate) fn decode(input: &mut Input<'a>) -> Result<Self, PacketError> {
        let all = input.rest();
        let start = input.offset();
        let pairs = input.map(Place::of("packet", BODY))?;
        if pairs == 0 || input.uint(Place::of(BODY, "key"))? != 0 {
            return Err(PacketError::NoSender);
        }
        let place = Place::of(BODY, "sender");
        let source = present(member_id(input, place)?, place)?;
        let (sections, count) = (input.clone(), pairs - 1);
        for _ in 0..count {
            if let Section::AntiEntropy(records) | Section::Dissemination(records) = section(input)? {
                *input = records.skip_all()?;
            }
        }
        let bytes = all.get(..input.offset() - start).unwrap_or(all);
        Ok(Self { source, sections, count, bytes })
    }

    /// The body's own bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its sections, in their order.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + use<'a> {
        let (mut input, mut left) = (self.sections.clone(), self.count);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let section = section(&mut input).ok()?;
            if let Section::AntiEntropy(records) | Section::Dissemination(records) = &section {
                input = records.clone().skip_all().ok()?;
            }
            Some(section)
        })
    }

    /// The ping or ack in it, if there is one.
    pub fn detection(&self) -> Option<FailureDetection> {
        self.sections().find_map(|section| match section {
            Section::FailureDetection(detection) => Some(detection),
            _ => None,
        })
    }

    /// Writes it with the widths that Tarantool uses.
    pub(crate) fn encode(&self, out: &mut Output<'_>) {
        open_body(out, u8::try_from(self.count).unwrap_or(u8::MAX), &self.source);
        for section in self.sections() {
            match section {
                Section::AntiEntropy(records) => encode_records(out, AE_KEY, records),
                Section::Dissemination(records) => encode_records(out, NEWS_KEY, records),
                Section::FailureDetection(detection) => detection.encode(out),
                Section::Quit(incarnation) => encode_quit(out, incarnation),
            }
        }
    }
}

/// Reads a section; of those with records only the head. `input` is then at the first record.
fn section<'a>(input: &mut Input<'a>) -> Result<Section<'a>, PacketError> {
    Ok(match input.uint(Place::of(BODY, "key"))? {
        1 => Section::AntiEntropy(Records::open(input, Place::of(BODY, "anti-entropy section"))?),
        2 => Section::FailureDetection(FailureDetection::decode(input)?),
        3 => Section::Dissemination(Records::open(input, Place::of(BODY, "dissemination section"))?),
        4 => Section::Quit(decode_quit(input)?),
        key => return Err(PacketError::UnknownKey { map: BODY, key }),
    })
}

impl<'a> Records<'a> {
    fn open(input: &mut Input<'a>, place: Place) -> Result<Self, PacketError> {
        let left = input.array(place)?;
        Ok(Self { input: input.clone(), left })
    }

    /// What stands behind the last record.
    fn skip_all(mut self) -> Result<Input<'a>, PacketError> {
        while self.left > 0 {
            Record::decode(&mut self.input)?;
            self.left -= 1;
        }
        Ok(self.input)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        Record::decode(&mut self.input).ok()
    }
}

impl FailureDetection {
    fn decode(input: &mut Input<'_>) -> Result<Self, PacketError> {
        let (mut kind, mut incarnation) = (None, Incarnation::default());
        sized_map(input, DETECTION, 3)?;
        for _ in 0..3 {
            match input.uint(Place::of(DETECTION, "key"))? {
                0 => {
                    let place = Place::of(DETECTION, "type");
                    kind = Some(match input.uint(place)? {
                        0 => Kind::Ping,
                        1 => Kind::Ack,
                        _ => return Err(PacketError::Range { place }),
                    });
                }
                1 => incarnation.generation = input.uint(Place::of(DETECTION, "generation"))?,
                2 => incarnation.version = input.uint(Place::of(DETECTION, "version"))?,
                key => return Err(PacketError::UnknownKey { map: DETECTION, key }),
            }
        }
        let kind = kind.ok_or(PacketError::Missing { place: Place::of(DETECTION, "type") })?;
        Ok(Self { kind, incarnation })
    }

    pub(crate) fn encode(&self, out: &mut Output<'_>) {
        let kind = match self.kind {
            Kind::Ping => 0,
            Kind::Ack => 1,
        };
        out.put(&[2, 0x83, 0, kind]);
        out.put_u64(1, self.incarnation.generation);
        out.put_u64(2, self.incarnation.version);
    }
}

fn decode_quit(input: &mut Input<'_>) -> Result<Incarnation, PacketError> {
    let mut incarnation = Incarnation::default();
    sized_map(input, QUIT, 2)?;
    for _ in 0..2 {
        match input.uint(Place::of(QUIT, "key"))? {
            0 => incarnation.generation = input.uint(Place::of(QUIT, "generation"))?,
            1 => incarnation.version = input.uint(Place::of(QUIT, "version"))?,
            key => return Err(PacketError::UnknownKey { map: QUIT, key }),
        }
    }
    Ok(incarnation)
}

fn sized_map(input: &mut Input<'_>, name: &'static str, size: u64) -> Result<(), PacketError> {
    let place = Place::of(BODY, name);
    if input.map(place)? == size { Ok(()) } else { Err(PacketError::Range { place }) }
}

/// The key of the anti-entropy section.
pub(crate) const AE_KEY: u8 = 1;
/// The key of the dissemination section.
pub(crate) const NEWS_KEY: u8 = 3;

/// The head of a body with `sections` sections beside its sender, up to 14.
pub(crate) fn open_body(out: &mut Output<'_>, sections: u8, source: &MemberId) {
    let pairs = sections.saturating_add(1);
    if pairs < 16 {
        out.put(&[0x80 | pairs]);
    } else {
        out.put(&[0xde, 0, pairs]);
    }
    put_id(out, 0, source);
}

pub(crate) fn encode_quit(out: &mut Output<'_>, incarnation: Incarnation) {
    out.put(&[4, 0x82]);
    out.put_u64(0, incarnation.generation);
    out.put_u64(1, incarnation.version);
}

fn encode_records(out: &mut Output<'_>, key: u8, records: Records<'_>) {
    let mut head: ArrayHead = out.open_array(key);
    for record in records {
        record.encode(out);
        head.count = head.count.saturating_add(1);
    }
    out.close_array(&head);
}
