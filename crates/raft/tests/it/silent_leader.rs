//! A leader hands a group over to a node that has fallen, and says nothing from then on: its engine waits for the other one for ever. The group
//! follows another one, so that its members leave the lead to others for a while; it must not be for ever.

use crate::toy::{Peek, Toy};
use base::{GroupId, NodeId};
use bytes::Bytes;
use lifecycle::Scope;
use raft::{Group, GroupOptions, GroupState, HostConfig, RaftHost};
use rpc::{Handlers, Identity, Mesh, Service};
use rt::sim::{Dice, Disk, Node, Points, Trace};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NODES: [u64; 3] = [1, 2, 3];
/// The group that follows [`GroupId::SYS`].
const FOLLOWING: GroupId = GroupId(2);

#[derive(Default)]
struct State {
    /// Who leads both groups.
    leads: BTreeSet<u64>,
    /// Who shall hand the following group over, and to whom.
    order: Option<(u64, u64)>,
    /// How many proposals to the following group were acknowledged.
    acknowledged: u64,
}

type Shared = Arc<Mutex<State>>;

async fn live(n: u64, state: Shared) {
    let scope = Scope::new(&format!("n{n}"));
    let mesh = Mesh::new(Identity::Plain { node: NodeId(n) }, &scope).unwrap();
    let listener = rt::net::Listener::bind("0.0.0.0:7440").await.unwrap();
    rt::fs::create_dir_all("/data".as_ref()).unwrap();
    let host = RaftHost::open(HostConfig::new(NodeId(n), "/data/raft"), Arc::clone(&mesh), &scope).await.unwrap();
    mesh.serve(listener, Handlers::new().with(Service::Raft, host.handler()));
    let open = async |group: GroupId, follow| {
        let toy = Toy::open(format!("/data/toy{group}").into(), Peek::default());
        host.open_group(group, Box::new(toy), GroupOptions { follow }).await.unwrap()
    };
    let (leading, following) = (open(GroupId::SYS, None).await, open(FOLLOWING, Some(GroupId::SYS)).await);
    if n == 1 {
        for group in [&leading, &following] {
            let members = NODES.iter().map(|m| (NodeId(*m), format!("n{m}:7440"))).collect();
            group.initialize(members).await.unwrap();
        }
    }
    let is_leading = |group: &Group| group.status().state == GroupState::Leader;
    let tell = async {
        loop {
            rt::time::sleep(Duration::from_millis(5)).await;
            let order = {
                let mut state = state.lock().unwrap();
                if is_leading(&leading) && is_leading(&following) {
                    state.leads.insert(n);
                } else {
                    state.leads.remove(&n);
                }
                state.order.take_if(|(from, _)| *from == n)
            };
            if let Some((_, to)) = order {
                // It cannot end well.
                drop(following.transfer_leadership(Some(NodeId(to))).await);
            }
        }
    };
    let write = async {
        loop {
            rt::time::sleep(Duration::from_millis(20)).await;
            let asked = rt::time::timeout(Duration::from_secs(1), following.propose(Bytes::from("item"))).await;
            if matches!(asked, Ok(Ok(_))) {
                state.lock().unwrap().acknowledged += 1;
            }
        }
    };
    tokio::join!(tell, write);
}

/// Whether the group goes on after its leader has handed it over to a node that had fallen.
fn goes_on(seed: u64, mutant: Option<&str>) -> bool {
    let mut dice = Dice::new(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(dice.roll())
        .simulation_duration(Duration::from_mins(5))
        .max_message_latency(Duration::from_millis(8))
        .build();
    let (state, points) = (Shared::default(), Points::default());
    if let Some(mutant) = mutant {
        points.switch_on(mutant);
    }
    let nodes = NODES.map(|n| {
        let disk = Disk::new(dice.roll());
        let node = Node::new(&format!("n{n}"), n, dice.roll(), disk, Trace::default(), points.clone());
        let (on, state) = (node.clone(), Arc::clone(&state));
        sim.host(node.name().to_owned(), move || {
            let (on, state) = (on.clone(), Arc::clone(&state));
            async move {
                on.run("main", live(n, state)).await;
                Ok(())
            }
        });
        node
    });
    let mut run_until = |limit: Duration, is_so: &dyn Fn(&State) -> bool| {
        let end = sim.elapsed() + limit;
        while sim.elapsed() < end && !is_so(&state.lock().unwrap()) {
            sim.step().unwrap();
        }
        let state = state.lock().unwrap();
        (state.acknowledged, state.leads.first().copied())
    };
    let (acknowledged, leader) = run_until(Duration::from_secs(20), &|s| s.acknowledged > 20 && s.leads.len() == 1);
    let leader = leader.expect("somebody leads both groups");
    assert!(acknowledged > 20);
    let fallen = NODES.into_iter().find(|n| *n != leader).unwrap();
    let victim = nodes.iter().find(|node| node.name() == format!("n{fallen}")).unwrap();
    victim.disk().power_cut();
    victim.kill();
    sim.crash(victim.name().to_owned());
    state.lock().unwrap().order = Some((leader, fallen));
    let mut run_for = |time: Duration| {
        let end = sim.elapsed() + time;
        while sim.elapsed() < end {
            sim.step().unwrap();
        }
        state.lock().unwrap().acknowledged
    };
    let settled = run_for(Duration::from_secs(15));
    run_for(Duration::from_secs(5)) > settled + 20
}

#[test]
fn a_group_goes_on_when_its_leader_waits_for_one_that_has_fallen() {
    for seed in 0..3 {
        assert!(goes_on(seed, None), "seed {seed}");
    }
}

#[test]
fn a_leader_that_waits_for_ever_to_hand_over_is_caught() {
    for seed in 0..3 {
        assert!(!goes_on(seed, Some("raft.wait-for-the-silent")), "seed {seed}");
    }
}
