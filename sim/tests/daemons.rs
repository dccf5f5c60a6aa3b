//! The whole daemon in the simulator, on every change: a seed of each scenario twice, and old mistakes that must be caught. The
//! sweep of hundreds of seeds is a step of its own in `cargo xtask check`.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use sim::run::{run, run_twice};
use sim::scenarios::find;

fn one_seed_is_one_history(name: &str, seeds: std::ops::Range<u64>) {
    let scenario = find(name).unwrap();
    for seed in seeds {
        let outcome = run_twice(scenario, seed, None);
        assert!(outcome.broken.is_none(), "{outcome:#?}\nrepeat with: {}", outcome.repeat_line());
        assert!(outcome.events > 1_000, "hardly anything happened");
    }
}

#[test]
fn daemons_keep_their_promises_under_all_faults() {
    one_seed_is_one_history("cluster", 0..1);
}

#[test]
fn daemons_keep_their_promises_when_the_power_goes() {
    one_seed_is_one_history("power", 30..31);
}

#[test]
fn daemons_keep_their_promises_while_the_cluster_forms() {
    one_seed_is_one_history("forming", 3..4);
}

#[test]
fn daemons_keep_their_promises_on_a_disk_that_changes_pages() {
    one_seed_is_one_history("rot", 3..4);
}

#[test]
fn daemons_keep_their_promises_while_machines_get_copies_and_give_them_up() {
    one_seed_is_one_history("spares", 3..4);
}

#[test]
fn daemons_answer_nobody_before_they_are_ready() {
    one_seed_is_one_history("opening", 3..4);
}

#[test]
fn daemons_keep_their_promises_when_machines_are_lost_for_good() {
    one_seed_is_one_history("lost", 3..4);
}

#[test]
fn daemons_keep_their_promises_while_one_joins_and_another_stops() {
    one_seed_is_one_history("joining", 3..4);
}

#[test]
fn watchers_are_told_every_change_in_order() {
    one_seed_is_one_history("watching", 3..4);
}

#[test]
fn daemons_keep_their_promises_with_two_machines_and_a_witness() {
    one_seed_is_one_history("witness", 3..4);
}

#[test]
fn members_of_a_gossip_group_end_in_whatever_order() {
    one_seed_is_one_history("teardown", 3..4);
}

/// An oracle that its mutant passes is none. The first seed is known to show it; every change of the product makes other histories, so
/// that some more are tried.
fn is_caught(scenario: &str, mutant: &str, seeds: std::ops::Range<u64>) {
    let scenario = find(scenario).unwrap();
    assert!(scenario.mutants.contains(&mutant));
    let caught = seeds.clone().find_map(|seed| run(scenario, seed, Some(mutant)).broken);
    assert!(caught.is_some(), "{mutant} passes the seeds {seeds:?} of {}", scenario.name);
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    is_caught("cluster", "raft.acknowledge-before-sync", 100..140);
}

#[test]
fn answers_of_a_node_that_is_not_ready_are_caught() {
    is_caught("opening", "api.answer-before-ready", 0..100);
}

#[test]
fn a_lease_that_never_ends_is_caught() {
    is_caught("cluster", "raft.lease-for-ever", 52..112);
}

#[test]
fn a_database_left_behind_by_the_leader_of_sys_is_caught() {
    is_caught("forming", "cluster.leave-others-behind", 7..107);
}

#[test]
fn a_recovery_from_any_copy_at_hand_is_caught() {
    is_caught("lost", "cluster.recover-from-here", 4..44);
}

#[test]
fn a_witness_that_votes_for_who_lacks_what_it_has_is_caught() {
    is_caught("witness", "raft.witness-votes-for-anybody", 0..40);
}

#[test]
fn a_token_that_lets_two_machines_in_is_caught() {
    is_caught("joining", "cluster.trust-the-look", 6..106);
}

#[test]
fn a_change_of_voters_that_nobody_ends_is_caught() {
    is_caught("joining", "cluster.leave-joint", 5..105);
}

#[test]
fn a_quit_that_waits_for_who_has_ended_is_caught() {
    is_caught("teardown", "gossip.wait-for-who-has-ended", 0..40);
}

#[test]
fn an_end_before_the_farewells_is_caught() {
    is_caught("teardown", "gossip.end-before-the-farewells", 0..40);
}

#[test]
fn a_watch_that_begins_at_the_newest_change_is_caught() {
    is_caught("watching", "store.watch-from-the-newest", 0..20);
}

#[test]
fn an_update_by_one_who_has_not_seen_the_newest_is_caught() {
    is_caught("watching", "store.update-unseen", 0..20);
}

#[test]
fn pages_taken_as_the_disk_gives_them_are_caught() {
    is_caught("rot", "sqlite.trust-the-disk", 0..2);
}
