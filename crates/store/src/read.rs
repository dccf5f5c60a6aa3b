//! How fresh a read must be, by name.

use std::str::FromStr;
use std::time::Duration;

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadLevel {
    /// The read sees every write that was acknowledged before it began, on whatever member it runs.
    #[default]
    Linearizable,
    /// This member's own copy, if it has heard from the leader within the bound.
    Bounded(Duration),
    /// This member's own copy, however old.
    Local,
}

/// Not the name of a read level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no read level: it is linearizable, local, or bounded:DURATION such as bounded:5s")]
pub struct UnknownReadLevel(String);

impl FromStr for ReadLevel {
    type Err = UnknownReadLevel;

    fn from_str(name: &str) -> Result<Self, UnknownReadLevel> {
        match name.split_once(':') {
            None if name == "linearizable" => Ok(Self::Linearizable),
            None if name == "local" => Ok(Self::Local),
            Some(("bounded", bound)) => {
                duration(bound).map(Self::Bounded).ok_or_else(|| UnknownReadLevel(name.to_owned()))
            }
            _ => Err(UnknownReadLevel(name.to_owned())),
        }
    }
}

/// Reads `250ms`, `5s` or `2m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let number: u32 = number.parse().ok()?;
    let one = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return None,
    };
    Some(one * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_name() {
        assert_eq!("linearizable".parse(), Ok(ReadLevel::Linearizable));
        assert_eq!("local".parse(), Ok(ReadLevel::Local));
        assert_eq!("bounded:250ms".parse(), Ok(ReadLevel::Bounded(Duration::from_millis(250))));
        assert_eq!("bounded:2m".parse(), Ok(ReadLevel::Bounded(Duration::from_mins(2))));
        for bad in ["", "bounded", "bounded:", "bounded:5", "bounded:s", "bounded:-1s", "stale", "local:1s"] {
            assert!(bad.parse::<ReadLevel>().is_err(), "{bad:?}");
        }
    }
}
