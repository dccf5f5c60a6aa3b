//! Doors on real sockets.

use super::fake::{Answer, Client, Fake};
use crate::dqlite::{Door, DoorOptions, Trust};
use ::dqlite::{Request, ResponseKind, Version};
use lifecycle::{Ready, Scope};
use rt::net::{Listener, Stream};
use std::time::Duration;

async fn door(address: &str, options: DoorOptions) -> (Scope, Fake, String) {
    let listener = Listener::bind(address).await.unwrap();
    let address = listener.local_addr().map_or(address.to_owned(), |a| a.to_string());
    let backend = Fake::default();
    let scope = Scope::new("door");
    Door::new(listener, Trust::Local, options, Ready::announce("fake", backend.clone())).open(&scope);
    (scope, backend, address)
}

async fn call(address: &str) -> Client<Stream> {
    Client::new(Stream::connect(address).await.unwrap(), Version::One)
}

#[tokio::test]
async fn tcp_and_abstract_unix_sockets_serve_alike() {
    let name = format!("@bowline-door-test-{}", std::process::id());
    for address in ["127.0.0.1:0", &name] {
        let (scope, _, address) = door(address, DoorOptions::default()).await;
        let mut client = call(&address).await;
        client.open().await;
        assert!(matches!(client.query("rows 3").await, Answer::Rows { parts: 1, .. }));
        assert!(scope.stop(Duration::from_secs(5)).await.is_clean());
        assert_eq!(client.event().await, None);
        assert!(Stream::connect(&address).await.is_err(), "a stopped door does not listen");
    }
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_no_other() {
    let (scope, _, address) = door("127.0.0.1:0", DoorOptions::default()).await;
    let (mut unlucky, mut other) = (call(&address).await, call(&address).await);
    unlucky.open().await;
    other.open().await;
    unlucky.send(&Request::ExecSql { db: 0, sql: "panic", params: ::dqlite::Params::NONE }).await;
    assert_eq!(unlucky.event().await, None);
    assert!(matches!(other.exec("write").await, Answer::Other(ResponseKind::Result, _)));
    drop(other);
    assert!(scope.stop(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let options = DoorOptions { connections_max: 1, ..DoorOptions::default() };
    let (_scope, _, address) = door("127.0.0.1:0", options).await;
    let mut first = call(&address).await;
    first.open().await;
    let mut second = call(&address).await;
    second.send(&Request::Leader).await;
    assert!(rt::time::timeout(Duration::from_millis(50), second.event()).await.is_err());
    drop(first);
    assert!(matches!(second.answer().await, Answer::Other(ResponseKind::Server, _)));
}

#[tokio::test]
async fn clients_that_speak_something_else_are_let_go() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_scope, _, address) = door("127.0.0.1:0", DoorOptions::default()).await;
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &2u64.to_le_bytes()] {
        let mut stream = Stream::connect(&address).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn the_legacy_handshake_gets_a_leader_without_an_id() {
    let (_scope, _, address) = door("127.0.0.1:0", DoorOptions::default()).await;
    let mut client = Client::new(Stream::connect(&address).await.unwrap(), Version::Legacy);
    let Answer::Other(ResponseKind::Server, frame) = client.ask(&Request::Leader).await else { panic!() };
    assert_eq!(&frame.body[..], b"box1:9000\0\0\0\0\0\0\0");
}
