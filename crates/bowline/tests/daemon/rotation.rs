//! One CA takes the place of another while the cluster is in use.

use super::certificates::{Writer, certificate, three};
use super::machine::{Machine, Said, say, until};
use std::process::Command;
use std::sync::Arc;

/// `bowline WORDS` of somebody elsewhere who has a token.
fn from_afar(desk: &Machine, token: &str, words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.args(words).env("NO_COLOR", "1").env("BOWLINE_TOKEN", token.trim());
    for variable in ["BOWLINE_SOCKET", "BOWLINE_STATE_DIR", "BOWLINE_HOST", "BOWLINE_CONTEXT"] {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", desk.path("config")).env("XDG_STATE_HOME", desk.path("state"));
    say(&mut command)
}

/// The CAs that a machine trusts, by its disk.
fn cas(machine: &Machine) -> String {
    std::fs::read_to_string(machine.state_dir().join("identity/ca.pem")).unwrap()
}

fn is_done(machine: &Machine) -> bool {
    machine.json(&["ca", "show"])["rotation"].is_null()
}

/// One CA, the same everywhere, made all certificates.
#[track_caller]
fn one_ca(machines: &[Arc<Machine>]) -> String {
    // Each tells of its certificate once it runs.
    let shown = until("all have told of theirs", || {
        let shown = machines[0].json(&["ca", "show"]);
        shown["members"].as_array().unwrap().iter().all(|member| member["issuer"].is_string()).then_some(shown)
    });
    let [ca] = &shown["authorities"].as_array().unwrap()[..] else { panic!("{shown}") };
    let ca = ca["fingerprint"].as_str().unwrap().to_owned();
    for member in shown["members"].as_array().unwrap() {
        assert_eq!(member["issuer"], serde_json::json!(ca), "{shown}");
        assert_eq!(member["trusts"], serde_json::json!([ca]), "{shown}");
    }
    for machine in machines {
        assert_eq!(cas(machine), cas(&machines[0]));
        assert_eq!(cas(machine).matches("BEGIN CERTIFICATE").count(), 1);
    }
    ca
}

/// Every member answers every other one.
#[track_caller]
fn all_know_each_other(machines: &[Arc<Machine>]) {
    for machine in machines {
        until("all answer", || {
            let nodes = machine.json(&["node", "list"]);
            nodes.as_array().unwrap().iter().all(|node| node["health"] == "up").then_some(())
        });
    }
}

#[test]
fn the_ca_is_replaced_under_writes_while_a_machine_falls_and_tokens_pin_the_old_one_to_the_end() {
    let machines = three(31_536_000);
    let old = one_ca(&machines);
    let desk = Machine::new();
    let anna = machines[0].say(&["access", "add", "anna"]).done();
    let writer = Writer::start(&machines[0]);

    // One machine is down when it begins: nobody waits but the plan.
    machines[2].kill();
    let begun = machines[0].say(&["ca", "rotate", "--timeout", "3"]);
    assert!(begun.out.contains("box3 has not done it yet"), "{begun:?}");
    let status = machines[1].say(&["status", "-o", "table"]).out;
    assert!(status.contains("The CA is being replaced, and that waits for box3 (BL-CLU-047)."), "{status}");
    // It comes back in the middle, and falls again while it catches up.
    for _ in 0..2 {
        drop(machines[2].start());
    }
    let _third = machines[2].start();
    let shown = until("only tokens are waited for", || {
        let shown = machines[1].json(&["ca", "show"]);
        (shown["rotation"]["state"] == "waiting").then_some(shown)
    });
    assert_eq!(shown["rotation"]["access"], serde_json::json!(["anna"]), "{shown}");
    assert_eq!(shown["authorities"].as_array().unwrap().len(), 2);

    // A token of before works, one of now too, and a machine that joins gets both CAs.
    assert!(from_afar(&desk, &anna, &["status"]).done().contains("box1"));
    let bob = machines[1].say(&["access", "add", "bob"]).done();
    assert!(from_afar(&desk, &bob, &["status"]).done().contains("box1"));
    let fourth = Arc::new(Machine::new());
    let token = machines[1].say(&["token", "add"]).done();
    fourth.form(&["join", token.trim(), "--name", "box4"]).done();

    let finished = machines[0].say(&["ca", "rotate", "--finish"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let all: Vec<Arc<Machine>> = machines.iter().chain([&fourth]).cloned().collect();
    until("it is done", || all.iter().all(|machine| is_done(machine)).then_some(()));
    let new = one_ca(&all);
    assert_ne!(new, old);

    let (written, errors) = writer.stop();
    assert!(errors.is_empty() && written > 50, "{written} rows, {errors:?}");
    let count = machines[1].say(&["sql", "shop", "SELECT count(*) FROM rows"]).done();
    assert_eq!(count.trim(), written.to_string());

    // Who still has the old token is told what became of it.
    from_afar(&desk, &anna, &["status"]).refused(3, "BL-API-012", "has replaced the CA that the token pins");
    assert!(from_afar(&desk, &bob, &["status"]).done().contains("box4"));

    // Everybody starts again and trusts the new one alone.
    for machine in &all {
        machine.say(&["stop"]).done();
    }
    until("all are down", || all.iter().all(|machine| machine.daemons().is_empty()).then_some(()));
    let _daemons: Vec<_> = all.iter().map(|machine| machine.start()).collect();
    all_know_each_other(&all);
    // And again: the second one is replaced as the first was, at once, as no token pins it any more but bob's.
    machines[0].say(&["access", "revoke", "bob"]).done();
    machines[0].say(&["access", "revoke", "anna"]).done();
    let again = machines[2].say(&["ca", "rotate"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    until("it is done again", || all.iter().all(|machine| is_done(machine)).then_some(()));
    let newest = one_ca(&all);
    assert!(newest != new && newest != old);
}

#[test]
fn a_machine_that_is_given_up_comes_back_after_the_rotation_is_over() {
    let machines = three(31_536_000);
    let old = certificate(&machines[2]);
    let old_cas = cas(&machines[2]);
    machines[2].say(&["stop"]).done();
    until("it is down", || machines[2].daemons().is_empty().then_some(()));
    let refused = machines[0].say(&["ca", "rotate", "--without", "box9"]);
    assert!(refused.err.starts_with("error BL-CLU-025"), "{refused:?}");
    machines[0].say(&["ca", "rotate", "--without", "box3"]).done();
    until("it is done without it", || machines[..2].iter().all(|machine| is_done(machine)).then_some(()));
    assert_ne!(cas(&machines[0]), old_cas);
    assert_eq!(cas(&machines[2]), old_cas);

    let _third = machines[2].start();
    let new = until("a new certificate", || Some(certificate(&machines[2])).filter(|now| *now != old));
    all_know_each_other(&machines);
    assert_eq!(cas(&machines[2]), cas(&machines[0]));
    assert_ne!(new, old);
    one_ca(&machines);
    machines[2].ready();
}

#[test]
fn a_member_without_the_cas_key_gets_its_certificate_by_the_new_one_from_the_others() {
    let first = Arc::new(Machine::new());
    first.form(&["init", "--name", "box1"]).done();
    let second = Arc::new(Machine::new());
    let token = first.say(&["token", "add"]).done();
    second.form(&["join", token.trim(), "--name", "box2"]).done();
    second.say(&["stop"]).done();
    until("it is down", || second.daemons().is_empty().then_some(()));
    std::fs::remove_file(second.state_dir().join("identity/ca.key")).unwrap();
    let _second = second.start();
    second.ready();
    let refused = second.say(&["ca", "rotate"]);
    assert!(refused.err.starts_with("error BL-CLU-014"), "who has no key begins none: {refused:?}");
    first.say(&["ca", "rotate"]).done();
    let both = [first, second];
    until("it is done", || both.iter().all(|machine| is_done(machine)).then_some(()));
    one_ca(&both);
    assert!(!both[1].state_dir().join("identity/ca.key").exists());
    all_know_each_other(&both);
}
