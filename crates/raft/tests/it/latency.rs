//! How long a proposal takes beside what the disk takes for it. Printed, not judged: run it with
//! `cargo test --release -p raft --test it latency -- --ignored --nocapture`.

use crate::world::World;
use bytes::Bytes;
use rt::time::Instant;
use std::time::Duration;

fn percentile(all: &mut [Duration], p: usize) -> Duration {
    all.sort_unstable();
    all[(all.len() - 1) * p / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn latency_of_one_proposal_at_a_time() {
    let payload = Bytes::from(vec![7; 4200]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raw");
    let sized = payload.len();
    let mut raw = rt::blocking::run(move || {
        let file = rt::fs::File::create(&path).unwrap();
        file.write_all_at(&vec![0; 4 << 20], 0).unwrap();
        file.sync_data().unwrap();
        let bytes = vec![7; sized];
        (0..700u64)
            .map(|i| {
                let start = Instant::now();
                file.write_all_at(&bytes, i * 4296).unwrap();
                file.sync_data().unwrap();
                start.elapsed()
            })
            .collect::<Vec<_>>()
    })
    .await
    .unwrap();
    println!("raw write+fdatasync p50 {:?} p99 {:?}", percentile(&mut raw, 50), percentile(&mut raw, 99));
    for nodes in [1, 3] {
        let world = World::new(nodes).await;
        world.initialize(&(1..=nodes).collect::<Vec<_>>()).await;
        world.propose("warm").await;
        let leader = world.leader().await;
        let mut all = Vec::new();
        for _ in 0..2000 {
            let start = Instant::now();
            leader.group.propose(payload.clone()).await.unwrap();
            all.push(start.elapsed());
        }
        println!("{nodes} nodes p50 {:?} p99 {:?}", percentile(&mut all, 50), percentile(&mut all, 99));
        let start = Instant::now();
        let many = (0..64).map(|_| async {
            for _ in 0..200 {
                leader.group.propose(payload.clone()).await.unwrap();
            }
        });
        futures::future::join_all(many).await;
        println!("{nodes} nodes, 64 at once: {:.0} proposals/s", 12_800.0 / start.elapsed().as_secs_f64());
        let mut leases = Duration::MAX;
        let start = Instant::now();
        for _ in 0..10_000 {
            leader.group.lease().unwrap();
        }
        leases = leases.min(start.elapsed() / 10_000);
        println!("{nodes} nodes, lease(): {leases:?}");
        world.end().await;
    }
}
