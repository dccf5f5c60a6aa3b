//! Who is alive: a member that is killed is found dead by the others within seconds, with a reason; one that stops says goodbye; one that comes
//! back is back.

use super::machine::{Machine, until};
use serde_json::Value;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A member as another one sees it.
fn seen(by: &Machine, name: &str) -> Option<Value> {
    let members = by.json(&["member", "list"]);
    members.as_array().unwrap().iter().find(|member| member["name"] == name).cloned()
}

fn is_seen_as(by: &[&Machine], name: &str, status: &str) -> Option<()> {
    by.iter().all(|by| seen(by, name).is_some_and(|member| member["status"] == status)).then_some(())
}

#[test]
fn a_member_that_is_killed_is_found_dead_and_told_of_and_one_that_stops_says_goodbye() {
    let machines @ [one, two, three] = &Machine::three();
    for name in ["box1", "box2", "box3"] {
        until("all are alive for all", || is_seen_as(&machines.each_ref(), name, "alive"));
    }
    three.say(&["member", "payload", "rack 4"]).done();
    until("the payload is known", || (seen(one, "box3")?["payload"] == "cmFjayA0").then_some(()));

    let killed = Instant::now();
    three.kill();
    until("it is found dead", || is_seen_as(&[one, two], "box3", "dead"));
    // Ten probes and more: much else runs on this machine.
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    let why = seen(one, "box3").unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("found it silent") || why.contains("said so"), "{why}");
    let status = one.say(&["status", "-o", "table"]).done();
    assert!(status.contains("box3 is dead for") && status.contains("BL-CLU-052"), "{status}");
    let told = one.say(&["explain", "box3", "-o", "table"]).done();
    assert!(told.starts_with("box3 is dead since") && told.contains("What this node has seen of it"), "{told}");
    one.say(&["explain", "box9"]).refused(1, "BL-CLI-008", "no node of that name");
    let reasons = || -> String {
        let select = "SELECT group_concat(reason) FROM events WHERE name = 'box3' AND reason IN ('Died', 'Back')";
        two.say(&["sql", "sys", select]).out.trim().to_owned()
    };
    until("the cluster notes that it died", || (reasons() == "Died").then_some(()));

    let daemon = three.start();
    until("it is back", || is_seen_as(&[one, two], "box3", "alive"));
    until("the cluster notes that it is back", || (reasons() == "Died,Back").then_some(()));

    let after = one.json(&["member", "list"]);
    assert_eq!(after.as_array().unwrap().len(), 3, "{after}");
    daemon.terminate();
    assert!(daemon.ended_within(Duration::from_secs(30)).success());
    until("it has left", || is_seen_as(&[one, two], "box3", "left"));
    let (status, events) = one.http("GET /v1/members/events?after=0&limit=1000", "", "");
    let events: Value = serde_json::from_str(&events).unwrap();
    let of_three = events.as_array().unwrap().iter().filter(|event| event["name"] == "box3");
    let statuses: Vec<&str> = of_three.map(|event| event["status"].as_str().unwrap()).collect();
    assert!(status == 200 && statuses.ends_with(&["left"]), "{events}");
    // Who stopped in order is not told to have died.
    assert_eq!(reasons(), "Died,Back");
}

#[test]
fn a_stranger_on_the_gossip_port_is_refused_and_counted() {
    let machine = Machine::new();
    machine.form(&["init", "--name", "box1"]).done();
    let address = seen(&machine, "box1").unwrap()["address"].as_str().unwrap().to_owned();
    assert_eq!(machine.json(&["node", "list"])[0]["address"], address, "the port is that of the calls");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // Garbage, and a ping of a member that does not sign.
    let mut swim = {
        let config = swim::Config::new(swim::MemberId([7; 16]), stranger.local_addr().unwrap(), 1);
        swim::Swim::new(config, &[7; 32], swim::Moment::default()).unwrap()
    };
    swim.probe(swim::Moment::default(), address.parse().unwrap()).unwrap();
    let mut ping = [0; swim::DATAGRAM_LEN_MAX];
    let len = swim.poll_transmit(&mut ping).unwrap().len;
    for datagram in [&ping[..len], &[0xc1; 700], &[]] {
        stranger.send_to(datagram, &address).unwrap();
    }
    until("it is counted", || {
        let (_, page) = machine.http("GET /metrics", "", "");
        let line = page.lines().find(|line| line.starts_with("bowline_gossip_refused_packets_total"))?;
        (line.ends_with(" 3.0") || line.ends_with(" 3")).then_some(())
    });
    assert!(stranger.recv_from(&mut ping).is_err(), "a stranger gets no answer");
    assert_eq!(machine.json(&["member", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_role_goes_to_another_member_as_soon_as_was_set() {
    let machines: [Machine; 4] = std::array::from_fn(|_| Machine::new());
    machines[0].form(&["init", "--name", "box1"]).done();
    for (number, machine) in machines.iter().enumerate().skip(1) {
        let token = machines[0].say(&["token", "add"]).done();
        machine.form(&["join", token.trim(), "--name", &format!("box{}", number + 1)]).done();
    }
    machines[0].say(&["node", "roles", "--dead-after", "1"]).refused(1, "BL-CLU-035", "dead after");
    let said = machines[0].say(&["node", "roles", "--dead-after", "3", "-o", "table"]).done();
    assert!(said.contains("away for 3.0 s"), "{said}");
    assert_eq!(machines[2].json(&["node", "roles"])["dead_after_s"], 3);
    let killed = Instant::now();
    machines[2].kill();
    until("the stand-by votes", || {
        let nodes = machines[0].json(&["node", "list"]);
        let four = nodes.as_array().unwrap().iter().find(|node| node["name"] == "box4")?;
        (four["role"] == "voter").then_some(())
    });
    assert!(killed.elapsed() > Duration::from_secs(3), "{:?}: a restart takes as long", killed.elapsed());
}

/// How many farewells there are: some, or what BOWLINE_FAREWELLS says (with `cargo test`, then: nextest gives a test five minutes).
fn farewells() -> u32 {
    std::env::var("BOWLINE_FAREWELLS").ok().and_then(|number| number.parse().ok()).unwrap_or(6)
}

#[test]
fn every_stop_is_heard_by_the_others_as_a_farewell() {
    let machines @ [one, two, three] = &Machine::three();
    one.say(&["sql", "shop", "CREATE TABLE t(x)"]).done();
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let insert = r#"{"statements":[{"sql":"INSERT INTO t VALUES (1)"}]}"#;
            while !over.load(Ordering::SeqCst) {
                drop(one.try_http("POST /v1/databases/shop/execute", "", insert));
            }
        });
        let [first] = three.daemons()[..] else { panic!("one daemon runs") };
        rustix::process::kill_process(first, rustix::process::Signal::TERM).unwrap();
        for number in 0..farewells() {
            until("it has left", || is_seen_as(&[one, two], "box3", "left"));
            let daemon = three.start();
            until("it is back", || is_seen_as(&machines.each_ref(), "box3", "alive"));
            std::thread::sleep(Duration::from_millis(u64::from(number * 67 % 300)));
            let asked = Instant::now();
            daemon.terminate();
            let status = daemon.ended_within(Duration::from_secs(30));
            assert_eq!(status.code(), Some(0), "stop {number}");
            longest = longest.max(asked.elapsed());
        }
        until("it has left", || is_seen_as(&[one, two], "box3", "left"));
        over.store(true, Ordering::SeqCst);
        writer.join().unwrap();
    });
    println!("{} farewells, the longest stop took {longest:?}", farewells());
}
