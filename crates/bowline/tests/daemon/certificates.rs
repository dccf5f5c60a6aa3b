//! Certificates that look after themselves: how they are renewed, and how a machine comes back whose certificate has expired.

use super::machine::{Machine, until};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The variable that makes certificates short-lived.
const LIFE: &str = "BOWLINE_CERTIFICATE_LIFE";

/// The node's certificate, as it lies on its disk.
pub(super) fn certificate(machine: &Machine) -> CertificateDer<'static> {
    let pem = std::fs::read(machine.state_dir().join("identity/node.pem")).unwrap();
    CertificateDer::from_pem_slice(&pem).unwrap()
}

/// The certificate with which a port for clients greets.
pub(super) fn shown(machine: &Machine, address: &str) -> CertificateDer<'static> {
    let ca = std::fs::read(machine.state_dir().join("identity/ca.pem")).unwrap();
    let ca = CertificateDer::from_pem_slice(&ca).unwrap();
    let config = rpc::pinned_client_config(rpc::fingerprint_of(&ca).unwrap()).unwrap();
    let name = rustls::pki_types::ServerName::try_from("any.bowline").unwrap();
    let greet = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(greet)
}

/// Writes a row after another through a machine until it is told to stop. Gives how many there are, and whatever went wrong.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    writing: std::thread::JoinHandle<(u64, Vec<String>)>,
}

impl Writer {
    /// Writes to `shop`, which it makes. On a connection of its own for each row.
    pub(super) fn start(machine: &Arc<Machine>) -> Self {
        machine.say(&["sql", "shop", "CREATE TABLE rows(n INTEGER PRIMARY KEY)"]).done();
        // Who fails takes the machine down with it, and what runs there.
        let (stop, machine) = (Arc::new(AtomicBool::new(false)), Arc::downgrade(machine));
        let stopping = Arc::clone(&stop);
        let writing = std::thread::spawn(move || {
            let (mut written, mut errors) = (0, Vec::new());
            while !stopping.load(Ordering::Acquire) {
                let Some(machine) = machine.upgrade() else { break };
                let body = format!(r#"{{"statements":[{{"sql":"INSERT INTO rows VALUES ({})"}}]}}"#, written + 1);
                let (status, answer) = machine.http("POST /v1/databases/shop/execute", "", &body);
                if status == 200 {
                    written += 1;
                } else {
                    errors.push(format!("{status} {answer}"));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (written, errors)
        });
        Self { stop, writing }
    }

    pub(super) fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.writing.join().unwrap()
    }
}

/// Three machines, one cluster.
pub(super) fn three(life_s: u64) -> [Arc<Machine>; 3] {
    let machines = [0; 3].map(|_| Arc::new(Machine::new().with(LIFE, &life_s.to_string())));
    machines[0].form(&["init", "--name", "box1"]).done();
    for (machine, name) in machines[1..].iter().zip(["box2", "box3"]) {
        let token = machines[0].say(&["token", "add"]).done();
        machine.form(&["join", token.trim(), "--name", name]).done();
    }
    machines
}

#[test]
fn certificates_are_renewed_again_and_again_under_open_connections_and_writes_without_an_error() {
    let machines = three(24);
    let writer = Writer::start(&machines[1]);
    let nodes = machines[0].json(&["node", "list"]);
    let address = |i: usize, door: &str| nodes[i][door].as_str().unwrap().to_owned();
    for round in 0..2 {
        let before: Vec<_> = machines.iter().map(|machine| certificate(machine)).collect();
        for (i, (machine, before)) in machines.iter().zip(&before).enumerate() {
            let renewed = until("a new certificate", || Some(certificate(machine)).filter(|now| now != before));
            // Each door greets with it, and never with one that is not on the disk.
            for door in ["https_address", "dqlite_address"] {
                until("a door greets with it", || {
                    let greets_with = shown(machine, &address(i, door));
                    (greets_with == renewed || greets_with == certificate(machine)).then_some(())
                });
            }
        }
        assert!(round < 2);
    }
    let (written, errors) = writer.stop();
    assert!(errors.is_empty() && written > 100, "{written} rows, {errors:?}");
    let count = machines[2].say(&["sql", "shop", "SELECT count(*) FROM rows"]).done();
    assert_eq!(count.trim(), written.to_string());

    // New connections everywhere: a machine that starts again is let in with what it has now.
    machines[0].kill();
    let _daemon = machines[0].start();
    machines[0].ready();
    until("all are there", || {
        let nodes = machines[2].json(&["node", "list"]);
        nodes.as_array().unwrap().iter().all(|node| node["health"] == "up").then_some(())
    });
    let (status, page) = machines[0].http("GET /metrics", "", "");
    let left = page.lines().find_map(|line| line.strip_prefix("bowline_certificate_expiry_seconds "));
    let left: f64 = left.unwrap_or_else(|| panic!("{status} {page}")).parse().unwrap();
    assert!((0.0..=24.0).contains(&left), "{left}");
    assert!(page.contains("\nbowline_ca_expiry_seconds 3"), "ten years, in seconds: {page}");
    let ends = machines[0].json(&["node", "list"])[1]["certificate_ends"].clone();
    assert!(ends.is_string(), "{ends}");
}

/// Waits until the certificate on the disk has expired.
fn wait_for_its_end(machine: &Machine) {
    use x509_parser::prelude::FromDer;
    let certificate = certificate(machine);
    let end = x509_parser::prelude::X509Certificate::from_der(&certificate).unwrap().1.validity().not_after.timestamp();
    until("its certificate has ended", || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        (now > end.cast_unsigned()).then_some(())
    });
}

#[test]
fn a_machine_that_was_off_until_its_certificate_had_expired_comes_back_by_itself() {
    let short = Machine::new().with(LIFE, "6");
    short.form(&["init", "--name", "alone"]).done();
    short.say(&["stop"]).done();
    wait_for_its_end(&short);
    let before = certificate(&short);
    let _daemon = short.start();
    short.ready();
    assert_ne!(certificate(&short), before);
    // What it has is good: another machine finds it so.
    let other = Machine::new();
    let token = short.say(&["token", "add"]).done();
    other.form(&["join", token.trim(), "--name", "other"]).done();
}

#[test]
fn a_machine_without_the_cas_key_gets_its_certificate_from_the_others_also_when_it_has_expired() {
    let first = Machine::new().with(LIFE, "8");
    first.form(&["init", "--name", "box1"]).done();
    let second = Machine::new().with(LIFE, "8");
    let token = first.say(&["token", "add"]).done();
    second.form(&["join", token.trim(), "--name", "box2"]).done();
    second.say(&["stop"]).done();
    std::fs::remove_file(second.state_dir().join("identity/ca.key")).unwrap();
    wait_for_its_end(&second);

    let daemon = second.start();
    second.ready();
    let expired = certificate(&second);
    let renewed = until("a certificate from the first", || Some(certificate(&second)).filter(|now| *now != expired));
    until("the first reaches it again", || {
        let nodes = first.json(&["node", "list"]);
        (nodes[1]["health"] == "up").then_some(())
    });
    assert!(!second.state_dir().join("identity/ca.key").exists(), "who had no key gets none in passing");
    // And again, before that one ends.
    until("another one", || Some(certificate(&second)).filter(|now| *now != renewed));

    // While nobody can give it one, it says so and why.
    first.say(&["stop"]).done();
    let status = until("it says why", || {
        let status = second.say(&["status", "-o", "json"]).out;
        status.contains("no member could renew this node's certificate").then_some(status)
    });
    assert!(status.contains("BL-CLU-043"), "{status}");
    daemon.terminate();
}

#[test]
fn a_certificate_that_does_not_name_the_nodes_addresses_is_made_anew() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    machine.say(&["stop"]).done();
    let path = machine.state_dir().join("identity/node.json");
    let record = std::fs::read_to_string(&path).unwrap();
    let moved = record.replace("\"https_address\": \"127.0.0.1:", "\"https_address\": \"localhost:");
    assert_ne!(moved, record);
    std::fs::write(&path, moved).unwrap();
    let before = certificate(&machine);
    let _daemon = machine.start();
    let now = until("a certificate with the new name", || Some(certificate(&machine)).filter(|now| *now != before));
    let has = |certificate: &[u8]| certificate.windows(9).any(|part| part == b"localhost");
    assert!(has(&now) && !has(&before));
}

/// A member that is off for good is warned of long before it matters.
#[test]
fn the_end_of_another_members_certificate_is_warned_of() {
    let started = Instant::now();
    let first = Machine::new().with(LIFE, "1123200");
    first.form(&["init", "--name", "box1"]).done();
    let second = Machine::new();
    let token = first.say(&["token", "add"]).done();
    second.form(&["join", token.trim(), "--name", "box2"]).done();
    until("its end is known and warned of", || {
        let status = first.say(&["status", "-o", "table"]).out;
        (status.contains("The certificate of box2 ends in 12 d") && status.contains("(BL-CLU-043).\n  Next: "))
            .then_some(())
    });
    assert!(started.elapsed() < super::machine::PATIENCE * 2);
}
