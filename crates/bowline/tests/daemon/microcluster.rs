//! What microcluster's clients do with real daemons: form a cluster, hand out tokens, look, and take a member out.

use super::https::{cluster, from_afar, https};
use super::machine::{Machine, until};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// The envelope that answers a call, and its status.
#[track_caller]
fn call(machine: &Machine, request: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = machine.http(request, "", &body);
    let envelope: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{request}: {error}: {answer}"));
    let is_error = envelope["type"] == "error";
    assert_eq!(is_error, status != 200, "{request}: {envelope}");
    assert_eq!(envelope["error_code"], if is_error { status } else { 0 }, "{request}: {envelope}");
    (status, envelope)
}

/// What was asked for.
#[track_caller]
fn done(machine: &Machine, request: &str, body: &Value) -> Value {
    let (status, envelope) = call(machine, request, body);
    assert_eq!(
        (status, &envelope["status"], &envelope["status_code"]),
        (200, &json!("Success"), &json!(200)),
        "{envelope}"
    );
    envelope["metadata"].clone()
}

/// It was refused with this status and code; gives the text.
#[track_caller]
fn refused(machine: &Machine, request: &str, body: &Value, status: u16, code: &str) -> String {
    let (answered, envelope) = call(machine, request, body);
    let text = envelope["error"].as_str().unwrap().to_owned();
    assert_eq!(answered, status, "{text}");
    assert!(text.ends_with(&format!("[{code}]")) && text.contains(". Next: "), "{text}");
    text
}

const NOTHING: Value = Value::Null;
const THREE_HOURS: i64 = 3 * 3600 * 1_000_000_000;

#[test]
fn a_cluster_is_formed_looked_at_and_left_with_their_calls_alone() {
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let daemons: Vec<_> = machines.iter().map(Machine::start).collect();
    let [one, two, three] = &machines;

    // Before there is a cluster a node has come up, and says that it has none with the status that clients look for.
    done(one, "GET /core/1.0/ready", &NOTHING);
    let server = done(one, "GET /core/1.0", &NOTHING);
    assert_eq!((&server["name"], &server["address"], &server["ready"]), (&json!(""), &json!(""), &json!(false)));
    refused(one, "GET /core/1.0/cluster", &NOTHING, 503, "BL-API-002");

    // The port is the one that the daemon has opened; who gives another is told which.
    let bootstrap = |address: &str| json!({"bootstrap": true, "name": "box1", "address": address, "config": null, "join_token": ""});
    let text = refused(one, "POST /core/control", &bootstrap("127.0.0.1:1"), 400, "BL-API-034");
    let address = text.split("Next: give ").nth(1).unwrap().split(',').next().unwrap();
    refused(one, "POST /core/control", &bootstrap("box1:7443"), 400, "BL-API-003");
    let with_config = json!({"bootstrap": true, "name": "box1", "config": {"ovn-services": "auto"}});
    assert!(refused(one, "POST /core/control", &with_config, 400, "BL-API-031").contains("ovn-services"));
    assert_eq!(done(one, "POST /core/control", &bootstrap(address)), json!({}));
    refused(one, "POST /core/control", &bootstrap(address), 409, "BL-CLU-013");
    let server = done(one, "GET /core/1.0", &NOTHING);
    assert_eq!(
        (&server["name"], &server["address"], &server["ready"]),
        (&json!("box1"), &json!(address), &json!(true))
    );

    let token = |name: &str| json!({"name": name, "expire_after": THREE_HOURS});
    for (machine, name) in [(two, "box2"), (three, "box3")] {
        let word = done(one, "POST /core/control/tokens", &token(name));
        let join = json!({"bootstrap": false, "name": name, "address": "", "config": {}, "join_token": word});
        done(machine, "POST /core/control", &join);
    }
    until("three members that answer", || {
        let members = done(two, "GET /core/1.0/cluster", &NOTHING);
        let all: Vec<_> = members
            .as_array()
            .unwrap()
            .iter()
            .map(|m| (m["name"].clone(), m["status"].clone(), m["role"].clone()))
            .collect();
        (all == ["box1", "box2", "box3"].map(|name| (json!(name), json!("ONLINE"), json!("voter")))).then_some(())
    });
    // The certificate is the member's own, and its address is where it shows it.
    let nodes = one.json(&["node", "list"]);
    for (member, node) in
        done(three, "GET /core/1.0/cluster", &NOTHING).as_array().unwrap().iter().zip(nodes.as_array().unwrap())
    {
        let certificate = CertificateDer::from_pem_slice(member["certificate"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(json!(rpc::node_of(&certificate).unwrap().0), node["id"]);
        assert_eq!(member["address"], node["https_address"]);
    }

    // Tokens go by the name of the machine.
    let word = done(two, "POST /core/control/tokens", &token("box4"));
    assert!(word.as_str().unwrap().starts_with("bl1."), "{word}");
    refused(one, "POST /core/control/tokens", &token("box4"), 409, "BL-API-032");
    refused(one, "POST /core/control/tokens", &json!({"name": "box5", "expire_after": 0}), 400, "BL-API-033");
    let tokens = done(three, "GET /core/control/tokens", &NOTHING);
    assert_eq!((tokens.as_array().unwrap().len(), &tokens[0]["name"]), (1, &json!("box4")));
    let expires: jiff::Timestamp = tokens[0]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((expires - jiff::Timestamp::now()).get_seconds() <= 3 * 3600, "{expires}");
    assert_eq!(done(one, "DELETE /core/1.0/tokens/box4", &NOTHING), json!({}));
    refused(one, "DELETE /core/1.0/tokens/box4", &NOTHING, 404, "BL-API-036");

    // A member that fell is still told of, and goes when that is forced.
    three.kill();
    let members = done(one, "GET /core/1.0/cluster", &NOTHING);
    assert_eq!(
        (&members[2]["status"], &members[2]["last_heartbeat"]),
        (&json!("UNREACHABLE"), &json!("0001-01-01T00:00:00Z"))
    );
    assert!(members[2]["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    refused(one, "DELETE /core/1.0/cluster/nobody", &NOTHING, 404, "BL-CLU-025");
    assert_eq!(done(one, "DELETE /core/1.0/cluster/box3?force=1", &NOTHING), json!({}));
    assert_eq!(done(one, "GET /core/1.0/cluster", &NOTHING).as_array().unwrap().len(), 2);
    let noted = one.say(&["audit", "-o", "json"]);
    assert!(noted.out.contains("DELETE /core/1.0/cluster/box3"), "{noted:?}");

    refused(one, "POST /core/internal/sql", &json!({"query": "SELECT 1"}), 404, "BL-API-030");
    done(two, "POST /core/control/shutdown", &NOTHING);
    let [_, second, _] = <[_; 3]>::try_from(daemons).ok().unwrap();
    assert!(second.ended_within(super::machine::PATIENCE).success());
}

#[test]
fn over_https_they_take_a_role_or_a_members_certificate() {
    let (machine, address) = cluster();
    let ask = |member, request: &str, headers: &str| {
        let request =
            format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n");
        let (head, body) = https(&machine, &address, member, &request);
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        // The body may come in chunks.
        let json = body.get(body.find('{').unwrap()..=body.rfind('}').unwrap()).unwrap();
        (status, serde_json::from_str::<Value>(json).unwrap())
    };
    let (status, stranger) = ask(false, "GET /core/1.0", "");
    assert_eq!((status, &stranger["type"], &stranger["error_code"]), (401, &json!("error"), &json!(401)));
    let (status, member) = ask(true, "GET /core/1.0/cluster", "");
    assert_eq!((status, &member["metadata"][0]["name"]), (200, &json!("box1")));
    let token = machine.say(&["access", "add", "anna"]).done();
    let viewer = format!("authorization: Bearer {}\r\n", token.trim());
    assert_eq!(ask(false, "GET /core/1.0/cluster", &viewer).0, 200);
    let (status, refused) = ask(false, "GET /core/control/tokens", &viewer);
    assert!(status == 403 && refused["error"].as_str().unwrap().contains("[BL-API-011]"), "{refused}");
    // The tokens of people are theirs still.
    assert_eq!(from_afar(&Machine::new(), Some(token.trim()), &["db", "list", "-o", "name"]).done(), "sys\n");
    machine.say(&["stop"]).done();
}
