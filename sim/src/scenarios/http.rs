//! A client over HTTP: a connection for each request.

use super::cluster::HTTPS_PORT;
use crate::world::host;
use rt::net::Stream;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// It says when to come again.
    pub(super) says_when: bool,
    pub(super) body: String,
}

/// An answer that has begun: its status, and what came with its head; the rest comes on the connection, until it ends.
pub(super) struct Begun {
    pub(super) stream: Stream,
    pub(super) status: u16,
    pub(super) said: Vec<u8>,
}

/// Sends a request to a node. Of this version of HTTP an answer ends where the connection does.
async fn send(node: u64, request: &str, body: &str) -> io::Result<Stream> {
    let mut stream = Stream::connect(&format!("{}:{HTTPS_PORT}", host(node))).await?;
    let length = body.len();
    let head = format!("{request} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    Ok(stream)
}

fn status(head: &str) -> io::Result<u16> {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks a node, and reads the whole answer.
pub(super) async fn exchange(node: u64, request: &str, body: &str) -> io::Result<Answer> {
    let mut stream = send(node, request, body).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let says_when = head.to_ascii_lowercase().contains("\r\nretry-after: ");
    Ok(Answer { status: status(head)?, says_when, body: body.to_owned() })
}

/// Asks a node, and reads the head of an answer that goes on.
pub(super) async fn begin(node: u64, request: &str) -> io::Result<Begun> {
    const END: &[u8] = b"\r\n\r\n";
    let mut stream = send(node, request, "").await?;
    let mut said = Vec::new();
    let end = loop {
        if let Some(end) = said.windows(END.len()).position(|window| window == END) {
            break end;
        }
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = said.split_off(end + END.len());
    let status = status(&String::from_utf8_lossy(&said))?;
    Ok(Begun { stream, status, said: rest })
}
