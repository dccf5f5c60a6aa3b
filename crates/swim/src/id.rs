//! Who a member is, which of its lives it is in, and what is believed of it.

use std::fmt;
use std::str::FromStr;

/// A member's id: a UUID, as the 16 bytes that are sent.
///
/// The first three groups are little-endian on the wire, because Tarantool sends its own structure as it lies in memory:
/// the text `00112233-4455-…` is sent as `33 22 11 00 55 44 …`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub [u8; 16]);

impl MemberId {
    /// The id of nobody.
    pub const NIL: Self = Self([0; 16]);

    /// Whether this is the id of nobody.
    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }

    /// The id whose text has these 16 bytes in their order.
    pub const fn from_text_order(bytes: [u8; 16]) -> Self {
        Self(swap(bytes))
    }

    /// Two numbers that the id is made of.
    pub(crate) const fn halves(&self) -> [u64; 2] {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b @ ..] = self.0;
        [u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]), u64::from_be_bytes(b)]
    }

    /// The 16 bytes in the order of the text.
    pub const fn text_order(&self) -> [u8; 16] {
        swap(self.0)
    }
}

/// Turns the order of the wire into that of the text, and back.
const fn swap(bytes: [u8; 16]) -> [u8; 16] {
    let [t0, t1, t2, t3, m0, m1, h0, h1, rest @ ..] = bytes;
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rest;
    [t3, t2, t1, t0, m1, m0, h1, h0, r0, r1, r2, r3, r4, r5, r6, r7]
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.text_order().iter().enumerate() {
            let dash = if matches!(n, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID of the form `8-4-4-4-12` in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UUID")]
pub struct InvalidId(pub String);

impl FromStr for MemberId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId(text.to_owned());
        let dashes_are_right =
            text.len() == 36 && text.bytes().enumerate().all(|(n, b)| (b == b'-') == matches!(n, 8 | 13 | 18 | 23));
        if !dashes_are_right {
            return Err(wrong());
        }
        let mut bytes = [0_u8; 16];
        let digits = text.bytes().filter(|b| *b != b'-').map(|b| char::from(b).to_digit(16));
        for (n, digit) in digits.enumerate() {
            let digit = digit.and_then(|digit| u8::try_from(digit).ok()).ok_or_else(wrong)?;
            let byte = bytes.get_mut(n / 2).ok_or_else(wrong)?;
            *byte = *byte << 4 | digit;
        }
        Ok(Self::from_text_order(bytes))
    }
}

/// Which life of a member, and which change in it: what is newer about a member wins. Ordered by generation, then version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation {
    /// Set when the member starts: by default the microseconds of its clock.
    pub generation: u64,
    /// Counts the changes of one life: payload, address, and rumours refuted.
    pub version: u64,
}

impl Incarnation {
    /// What no generation of another member may be above. A clock gets there in 400,000 years. Without a bound, one packet could
    /// drive a member to the last number there is, and it could never again say that it is alive.
    pub const GENERATION_MAX: u64 = (1 << 63) + (1 << 62);

    /// What no generation that others tell a member of itself may be above. The distance to [`Self::GENERATION_MAX`] is more than anybody
    /// can drive it up in single steps.
    pub(crate) const TOLD_GENERATION_MAX: u64 = 1 << 63;

    /// The next one after it: always greater, as long as it is below the bounds above.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.version < 1 << 63 {
            Self { generation: self.generation, version: self.version + 1 }
        } else {
            Self { generation: self.generation.saturating_add(1), version: 0 }
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.version)
    }
}

/// What is believed of a member. Ordered: in one incarnation the greater one wins over the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It answers.
    Alive,
    /// It has not answered one member at least, and has time to say that it is alive.
    Suspected,
    /// It has not answered for long enough.
    Dead,
    /// It said that it goes.
    Left,
}

impl Status {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Suspected, Self::Dead, Self::Left];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Suspected => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }

    /// The status with that number on the wire.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Alive),
            1 => Some(Self::Suspected),
            2 => Some(Self::Dead),
            3 => Some(Self::Left),
            _ => None,
        }
    }

    /// Whether the member counts as one of the group: it is alive, or may be.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Alive | Self::Suspected)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Suspected => "suspected",
            Self::Dead => "dead",
            Self::Left => "left",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sent_as_tarantool_has_them_in_memory() {
        let id: MemberId = "00112233-4455-6677-8899-aabbccddee01".parse().unwrap();
        assert_eq!(id.0[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(id.to_string(), "00112233-4455-6677-8899-aabbccddee01");
        for wrong in [
            "",
            "00112233-4455-6677-8899-aabbccddee0",
            "00112233445566778899aabbccddee010000",
            "0011223g-4455-6677-8899-aabbccddee01",
        ] {
            assert!(wrong.parse::<MemberId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_incarnation_is_greater_up_to_the_end() {
        for generation in [0, 1, Incarnation::TOLD_GENERATION_MAX] {
            for version in [0, 7, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX] {
                let incarnation = Incarnation { generation, version };
                assert!(incarnation.next() > incarnation, "{incarnation}");
                assert!(incarnation.next().generation < Incarnation::GENERATION_MAX);
            }
        }
    }
}
