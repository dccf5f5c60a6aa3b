//! One request over a node's control socket, with an outcome that is never a guess.

use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Certainly nothing was done.
    Refused(String),
    /// It may have been done or not.
    Unknown(String),
}

/// Asks the daemon behind `socket`; its answer if it says that it did what was asked.
///
/// Statuses are read as the API promises: 500 and 504 leave open what happened, all others that are no success mean that nothing did.
pub(crate) fn ask(socket: &Path, request: &str, body: &str, patience: Duration) -> Result<Value, Trouble> {
    let until = Instant::now() + patience;
    let refused = |error: std::io::Error| Trouble::Refused(error.to_string());
    let unknown = |error: std::io::Error| Trouble::Unknown(error.to_string());
    let mut stream = UnixStream::connect(socket).map_err(refused)?;
    stream.set_write_timeout(Some(patience)).map_err(refused)?;
    // Of this version an answer ends where the connection does.
    let head = format!("{request} HTTP/1.0\r\nhost: node\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).map_err(unknown)?;
    let mut bytes = Vec::new();
    let mut part = [0; 1 << 14];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Unknown("no answer in time".to_owned()));
        }
        stream.set_read_timeout(Some(left)).map_err(unknown)?;
        match stream.read(&mut part).map_err(unknown)? {
            0 => return read(&bytes),
            count => bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Value, Trouble> {
    let text = String::from_utf8_lossy(bytes);
    let cut = || Trouble::Unknown("the answer is cut off".to_owned());
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(cut)?;
    let value: Option<Value> = serde_json::from_str(body).ok();
    match (status, value) {
        (200..=299, Some(value)) => Ok(value),
        (200..=299, None) if body.is_empty() => Ok(Value::Null),
        (200..=299, None) => Err(cut()),
        (500 | 504, _) => Err(Trouble::Unknown(told(status, body))),
        _ => Err(Trouble::Refused(told(status, body))),
    }
}

/// The status, the code and the message of a problem.
fn told(status: u16, body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{status} {} {}", word("code"), word("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_success_a_refusal_or_unknown() {
        let answer = |text: &str| read(text.as_bytes());
        assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\n{\"a\":1}"), Ok(serde_json::json!({"a": 1})));
        for refused in ["400 Bad", "404 Not", "409 Conflict", "413 Large", "503 Not now"] {
            assert!(matches!(answer(&format!("HTTP/1.0 {refused}\r\n\r\n{{}}")), Err(Trouble::Refused(_))));
        }
        for unknown in ["504 Late\r\n\r\n{}", "500 Bug\r\n\r\n{}", "200 OK\r\n\r\n{\"a\"", "200 OK\r\n"] {
            assert!(matches!(answer(&format!("HTTP/1.0 {unknown}")), Err(Trouble::Unknown(_))), "{unknown}");
        }
        let told = answer("HTTP/1.0 503 No\r\n\r\n{\"code\":\"BL-X-1\",\"message\":\"why\"}");
        assert_eq!(told, Err(Trouble::Refused("503 BL-X-1 why".to_owned())));
    }
}
