//! What the bench knows of serf: the events in its agent's log, and the call with which an agent joins.

use super::view::Belief;
use crate::bench::error::BenchError;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What an agent prints when it answers calls.
pub(super) const READY: &str = "Serf agent running!";

const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// Who a line of the log is about, and what the agent believes now.
pub(super) fn event(line: &str) -> Option<(&str, Belief)> {
    let (_, event) = line.split_once("serf: EventMember")?;
    let (what, rest) = event.split_once(": ")?;
    let belief = match what {
        "Join" => Belief::There,
        "Failed" | "Leave" | "Reap" => Belief::Gone,
        _ => return None,
    };
    Some((rest.split_whitespace().next()?, belief))
}

/// Tells the agent that answers calls at `at` to join through `through`. It does so while the connection that is returned is open; the bench does
/// not wait for its answer.
pub(super) fn join(at: SocketAddr, through: SocketAddr) -> Result<TcpStream, BenchError> {
    let failed = |e: std::io::Error| BenchError::failed(format!("asking serf's agent at {at} to join"), e.to_string());
    let mut stream = TcpStream::connect_timeout(&at, CALL_PATIENCE).map_err(failed)?;
    stream.write_all(&calls(&through.to_string())).map_err(failed)?;
    Ok(stream)
}

/// The greeting and the call, in MessagePack: maps of short strings and small numbers.
fn calls(through: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |start: &[u8], text: &str| {
        bytes.extend(start);
        // A string of up to 31 bytes, which an address of IPv4 is.
        bytes.push(0xa0 | u8::try_from(text.len()).unwrap_or(0x1f));
        bytes.extend(text.as_bytes());
    };
    put(&[0x82], "Command");
    put(&[], "handshake");
    put(&[], "Seq");
    put(&[0x00, 0x81], "Version");
    put(&[0x01, 0x82], "Command");
    put(&[], "join");
    put(&[], "Seq");
    put(&[0x01, 0x82], "Existing");
    put(&[0x91], through);
    put(&[], "Replay");
    bytes.push(0xc2);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_the_log() {
        let line = |what: &str| format!("    2026/11/26 19:00:00 [INFO] serf: EventMember{what}: m12 127.0.0.1");
        assert_eq!(event(&line("Join")), Some(("m12", Belief::There)));
        assert_eq!(event(&line("Failed")), Some(("m12", Belief::Gone)));
        assert_eq!(event(&line("Update")), None);
        assert_eq!(event("    2026/11/26 19:00:00 [INFO] memberlist: Suspect m12 has failed, no acks received"), None);
    }

    #[test]
    fn a_call_to_join_is_a_greeting_and_four_maps() {
        let calls = calls("127.0.0.1:7001");
        assert_eq!(calls[..9], *b"\x82\xa7Command");
        assert_eq!(calls[9..19], *b"\xa9handshake");
        assert!(calls.ends_with(b"\x82\xa8Existing\x91\xae127.0.0.1:7001\xa6Replay\xc2"), "{calls:?}");
    }
}
