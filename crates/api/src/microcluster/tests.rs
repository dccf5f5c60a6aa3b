//! The exact JSON that microcluster's clients decode, and that the guide tells of what is answered.

use super::envelope::{Envelope, Sync};
use super::routes::ANSWERED;
use super::types::{EXTENSIONS, Server, TokenRecord, members};
use crate::control::{Face, Faces, Health, NodeInfo, PAGES, Problem, ProblemKind, TokenInfo, TokenState};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base::{NodeId, Role};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

async fn answered(answer: impl Serialize) -> String {
    let body = Sync(answer).into_response().into_body();
    String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn node(id: u64, https_address: &str, health: Health) -> NodeInfo {
    NodeInfo {
        id: NodeId(id),
        name: format!("box{id}"),
        role: if id == 3 { Role::StandBy } else { Role::Voter },
        witness: false,
        health,
        leader: id == 1,
        address: "box:7440".to_owned(),
        dqlite_address: "box:9000".to_owned(),
        https_address: https_address.to_owned(),
        version: None,
        failure_domain: 0,
        weight: 0,
        certificate_ends: None,
        clock_ahead_ms: None,
    }
}

#[tokio::test]
async fn members_are_told_as_clients_decode_them() {
    let certificate = |bytes: &'static [u8]| CertificateDer::from(bytes);
    let faces = Faces {
        authority: Some(certificate(b"the authority's")),
        members: vec![
            Face {
                node: NodeId(1),
                address: Some("10.0.0.1:7443".parse().unwrap()),
                certificate: Some(certificate(&[7; 60])),
            },
            Face { node: NodeId(2), address: None, certificate: None },
        ],
    };
    let nodes = vec![
        // A name is answered with the numbers that it was found to be.
        node(1, "box1:7443", Health::Up),
        node(2, "[fd00::2]:7443", Health::Down),
        node(3, "box3:7443", Health::Unknown),
    ];
    let told = answered(members(nodes, &faces, Timestamp::from_second(1_800_000_000).unwrap())).await;
    insta::assert_snapshot!(told.replace("},{", "},\n{"), @r##"
    {"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":[{"name":"box1","address":"10.0.0.1:7443","certificate":"-----BEGIN CERTIFICATE-----\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\nBwcHBwcHBwcHBwcH\n-----END CERTIFICATE-----\n","role":"voter","schema_internal_version":0,"schema_external_version":0,"last_heartbeat":"2027-01-15T08:00:00Z","status":"ONLINE","extensions":["internal:runtime_extension_v1","internal:rename_core_endpoints"],"secret":""},
    {"name":"box2","address":"[fd00::2]:7443","certificate":"-----BEGIN CERTIFICATE-----\ndGhlIGF1dGhvcml0eSdz\n-----END CERTIFICATE-----\n","role":"voter","schema_internal_version":0,"schema_external_version":0,"last_heartbeat":"0001-01-01T00:00:00Z","status":"UNREACHABLE","extensions":["internal:runtime_extension_v1","internal:rename_core_endpoints"],"secret":""},
    {"name":"box3","address":"","certificate":"-----BEGIN CERTIFICATE-----\ndGhlIGF1dGhvcml0eSdz\n-----END CERTIFICATE-----\n","role":"stand-by","schema_internal_version":0,"schema_external_version":0,"last_heartbeat":"0001-01-01T00:00:00Z","status":"UNREACHABLE","extensions":["internal:runtime_extension_v1","internal:rename_core_endpoints"],"secret":""}]}
    "##);
}

#[tokio::test]
async fn what_clients_ask_of_a_node_is_told_as_they_decode_it() {
    let server = Server {
        name: "box1".to_owned(),
        address: "10.0.0.1:7443".to_owned(),
        version: "1.2.3".to_owned(),
        ready: true,
        extensions: EXTENSIONS,
    };
    let token = |name: Option<&str>| TokenInfo {
        id: "00c0ffee".to_owned(),
        state: TokenState::Open,
        name: name.map(str::to_owned),
        created: Timestamp::UNIX_EPOCH,
        expires: Timestamp::from_second(1_800_000_000).unwrap(),
        used_by: None,
        used_by_name: None,
    };
    let tokens = [token(Some("box2")), token(None)].map(TokenRecord::of);
    let told =
        [answered(server).await, answered("bl1.eyJ9").await, answered(tokens).await, answered(Sync::done().0).await];
    insta::assert_snapshot!(told.join("\n"), @r##"
    {"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{"name":"box1","address":"10.0.0.1:7443","version":"1.2.3","ready":true,"extensions":["internal:runtime_extension_v1","internal:rename_core_endpoints"]}}
    {"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":"bl1.eyJ9"}
    {"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":[{"name":"box2","token":"00c0ffee","expires_at":"2027-01-15T08:00:00Z"},{"name":"00c0ffee","token":"00c0ffee","expires_at":"2027-01-15T08:00:00Z"}]}
    {"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{}}
    "##);
}

#[test]
fn an_error_says_in_its_text_what_a_person_needs_and_carries_the_rest() {
    let problem = Problem::new(&PAGES[2], ProblemKind::NotReady, "the node is starting")
        .because("it waits for store")
        .next("`bowline status --units` shows\nwhat it waits for");
    let told = serde_json::to_string(&Envelope::error(StatusCode::SERVICE_UNAVAILABLE, problem)).unwrap();
    insta::assert_snapshot!(told, @r##"
    {"type":"error","status":"","status_code":0,"operation":"","error_code":503,"error":"the node is starting: it waits for store. Next: `bowline status --units` shows what it waits for [BL-API-003]","metadata":{"code":"BL-API-003","kind":"not-ready","message":"the node is starting","cause":"it waits for store","next":"`bowline status --units` shows\nwhat it waits for"}}
    "##);
}

#[test]
fn the_guide_tells_what_is_answered() {
    let rows = ANSWERED.iter().map(|(method, path, role)| format!("| {method} `{path}` | {role} |"));
    let page = include_str!("../../../../docs/guide/how-to/point-microcluster-clients-here.md");
    for row in rows {
        assert!(page.contains(&row), "the page needs a row that begins {row}");
    }
}
