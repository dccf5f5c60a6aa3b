//! The API over HTTPS: who is let in from afar, and how far.

use super::machine::{Machine, Said, say};
use rpc::TlsIdentity;
use rustls::pki_types::ServerName;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// `bowline WORDS` of a person who sits elsewhere and keeps their contexts in `desk`.
pub(crate) fn from_afar(desk: &Machine, token: Option<&str>, words: &[&str]) -> Said {
    say(&mut from_afar_command(desk, token, words))
}

/// The same, to be run.
pub(crate) fn from_afar_command(desk: &Machine, token: Option<&str>, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.args(words).env("NO_COLOR", "1");
    for variable in ["BOWLINE_SOCKET", "BOWLINE_STATE_DIR", "BOWLINE_HOST", "BOWLINE_CONTEXT", "BOWLINE_TOKEN"] {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", desk.path("config")).env("XDG_STATE_HOME", desk.path("state"));
    if let Some(token) = token {
        command.env("BOWLINE_TOKEN", token);
    }
    command
}

/// A machine with a cluster of its own, and where it answers over HTTPS.
pub(crate) fn cluster() -> (Machine, String) {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    let nodes = machine.json(&["node", "list"]);
    let address = nodes[0]["https_address"].as_str().unwrap().to_owned();
    (machine, address)
}

fn identity(machine: &Machine) -> TlsIdentity {
    let read = |name: &str| std::fs::read(machine.state_dir().join("identity").join(name)).unwrap();
    TlsIdentity::from_pem(&read("node.pem"), &read("node.key"), &read("ca.pem")).unwrap()
}

/// What is answered to a request of one who trusts the CA of `machine` and nobody else, as `curl --cacert` would: the head and the body.
/// With `member`, the node's own certificate is shown.
pub(crate) fn https(machine: &Machine, address: &str, member: bool, request: &str) -> (String, String) {
    let TlsIdentity { chain, key, roots } = identity(machine);
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add_parsable_certificates(roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted);
    let config = if member { config.with_client_auth_cert(chain, key).unwrap() } else { config.with_no_client_auth() };
    // The name on the certificate is the one that is dialled: a browser would be content.
    let host = ServerName::try_from(address.rsplit_once(':').unwrap().0.to_owned()).unwrap();
    let talk = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(talk);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_person_elsewhere_does_what_their_role_lets_them_until_it_is_revoked() {
    let (machine, address) = cluster();
    let desk = Machine::new();
    let bowline = |words: &[&str]| from_afar(&desk, None, words);
    let token = machine.say(&["access", "add", "anna", "--valid", "1d"]).done();
    assert!(token.starts_with("ba1."), "{token}");
    machine.say(&["access", "add", "anna"]).refused(1, "BL-CLU-029", "anna has access already");

    let added = bowline(&["context", "add", "shop", token.trim()]);
    assert!(added.err.contains("you are anna there, with the role viewer"), "{added:?}");
    let kept = desk.path("config").join("bowline/contexts.toml");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(kept).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    assert!(bowline(&["status", "--context", "shop"]).done().contains("box1"));
    assert_eq!(bowline(&["db", "list", "--context", "shop", "-o", "name"]).done(), "sys\n");
    bowline(&["db", "create", "orders", "--context", "shop"]).refused(1, "BL-API-011", "it takes the role operator");
    bowline(&["token", "add", "--context", "shop"]).refused(1, "BL-API-011", "it takes the role admin");
    bowline(&["db", "list", "--context", "nowhere"]).refused(1, "BL-CLI-012", "there is no context nowhere");

    // The context in use is for questions; what is done to a machine is done to this one.
    bowline(&["db", "list"]).refused(3, "BL-API-005", "no Bowline daemon answers");
    bowline(&["context", "use", "shop"]).done();
    assert_eq!(bowline(&["db", "list", "-o", "name"]).done(), "sys\n");
    bowline(&["stop"]).refused(3, "BL-API-005", "no Bowline daemon answers");
    assert_eq!(bowline(&["stop", "--context", "shop"]).code, Some(2));

    // The database is not there, and a viewer makes none.
    bowline(&["sql", "shop", "select 1"]).refused(1, "BL-STORE-007", "shop");
    assert_eq!(bowline(&["sql", "sys", "select name from nodes"]).done(), "box1\n");

    machine.say(&["access", "revoke", "anna"]).done();
    bowline(&["status"]).refused(1, "BL-API-010", "this client is not known");

    // Contexts that make no sense hinder nobody from mending them, and no daemon.
    let kept = desk.path("config").join("bowline/contexts.toml");
    std::fs::write(&kept, "current = \"gone\"\n").unwrap();
    bowline(&["status"]).refused(1, "BL-CLI-012", "there is no context gone");
    bowline(&["stop"]).refused(3, "BL-API-005", "no Bowline daemon answers");
    bowline(&["context", "use", "local"]).done();
    bowline(&["status"]).refused(3, "BL-API-005", "no Bowline daemon answers");

    // A token in the environment is enough; with --host it is used there.
    let token = machine.say(&["access", "add", "bob", "--role", "operator"]).done();
    let token = Some(token.trim());
    from_afar(&desk, token, &["db", "create", "orders", "--host", &address]).done();
    assert_eq!(from_afar(&desk, token, &["db", "list", "-o", "name"]).done(), "sys\norders\n");
    from_afar(&desk, token, &["access", "list"]).refused(1, "BL-API-011", "it takes the role admin");
}

#[test]
fn a_program_shows_a_token_or_a_members_certificate_and_strangers_see_only_whether_it_lives() {
    let (machine, address) = cluster();
    let get = |member, path: &str, headers: &str| {
        https(
            &machine,
            &address,
            member,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"),
        )
    };
    let (head, body) = get(false, "/livez", "");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("alive"), "{head}");
    assert!(get(false, "/readyz", "").0.starts_with("HTTP/1.1 200 "));
    for path in ["/metrics", "/v1/status", "/v1/nodes"] {
        let (head, body) = get(false, path, "");
        assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("www-authenticate: Bearer"), "{head}");
        assert!(body.contains("BL-API-010"), "{body}");
    }
    let (head, body) = get(true, "/v1/whoami", "");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains(r#"{"name":"box1","role":"admin"}"#), "{body}");

    let token = machine.say(&["access", "add", "grafana"]).done();
    let bearer = format!("authorization: Bearer {}\r\n", token.trim());
    assert!(get(false, "/metrics", &bearer).1.contains("bowline_ready 1"));
    // Who sends a token is judged by it, whatever certificate the connection has.
    assert!(get(true, "/v1/whoami", &bearer).1.contains(r#"{"name":"grafana","role":"viewer"}"#));
    assert!(get(true, "/v1/whoami", "authorization: Bearer ba1.x\r\n").0.starts_with("HTTP/1.1 401 "));

    // The cluster's own database says who has access: changing it is for admins.
    let operator = machine.say(&["access", "add", "ops", "--role", "operator"]).done();
    let post = |database: &str, sql: &str| {
        let body = format!(r#"{{"statements":[{{"sql":"{sql}"}}]}}"#);
        let length = body.len();
        let request = format!(
            "POST /v1/databases/{database}/execute HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
             authorization: Bearer {}\r\n\r\n{body}",
            operator.trim()
        );
        https(&machine, &address, false, &request)
    };
    let (head, body) = post("sys", "UPDATE access SET role = 'admin'");
    assert!(head.starts_with("HTTP/1.1 403 ") && body.contains("BL-API-011"), "{head} {body}");
    machine.say(&["db", "create", "shop"]).done();
    assert!(post("shop", "CREATE TABLE t(a)").0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn nobody_takes_another_cluster_for_theirs() {
    let ((machine, address), (other, other_address)) = (cluster(), cluster());
    let desk = Machine::new();
    let token = machine.say(&["access", "add", "anna"]).done();
    from_afar(&desk, Some(token.trim()), &["status", "--host", &other_address]).refused(
        3,
        "BL-API-012",
        "its certificate is not of this cluster",
    );
    // A member of one cluster is a stranger in another.
    let TlsIdentity { chain, key, .. } = identity(&other);
    let config = rpc::pinned_client_config(rpc::fingerprint_of(&identity(&machine).roots[0]).unwrap()).unwrap();
    let provider = config.crypto_provider().clone();
    let trusted = rustls::RootCertStore { roots: identity(&machine).roots.iter().map(anchor).collect() };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let talk = async {
        let stream = tokio::net::TcpStream::connect(&address).await?;
        let host = ServerName::try_from("box1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await?;
        stream.write_all(b"GET /v1/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(talk);
    assert!(answer.is_err(), "{answer:?}");
}

fn anchor(root: &rustls::pki_types::CertificateDer<'static>) -> rustls::pki_types::TrustAnchor<'static> {
    let mut store = rustls::RootCertStore::empty();
    store.add(root.clone()).unwrap();
    store.roots.remove(0)
}

#[test]
fn noise_on_the_port_costs_nobody_else_anything() {
    use std::io::{Read, Write};
    let (machine, address) = cluster();
    let knock = |bytes: &[u8]| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let plain = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut open: Vec<_> = [&plain[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff, 1], b""].into_iter().map(knock).collect();
    // What is no handshake is closed; what might become one is waited for, and disturbs nobody.
    for stream in &mut open[..2] {
        stream.set_read_timeout(Some(super::machine::PATIENCE)).unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
    let request = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(https(&machine, &address, false, request).0.starts_with("HTTP/1.1 200 "));
    machine.say(&["stop"]).done();
}
