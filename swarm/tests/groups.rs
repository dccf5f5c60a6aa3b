//! Groups under faults, a history a seed: what each has to reach. The full runs are `cargo run --profile sweep -p swarm`.

#![cfg(test)]

use swarm::{Chaos, Clock, Detect, Freeze, Join, Outcome, Slow, Split, Storm, Streams};
use swim::LocalHealth;

#[track_caller]
fn number(outcome: &Outcome, name: &str) -> f64 {
    outcome.number(name).unwrap_or_else(|| panic!("no {name} in {outcome:?}"))
}

fn detect(nodes: usize, loss: f64) -> Detect {
    Detect { nodes, loss, secs: 60.0, crashes: 6, shared_timer: false, streams: Streams::SentAgain }
}

#[test]
fn deaths_are_found_and_known_by_all_in_groups_of_any_size() {
    for (nodes, crashes, first, spread) in [(3, 1, 4.0, 1.0), (10, 3, 5.0, 1.0), (100, 6, 8.0, 2.0), (300, 6, 8.0, 2.0)]
    {
        let outcome = Detect { crashes, ..detect(nodes, 0.0) }.run(1);
        assert!(
            (number(&outcome, "known_by_all") - f64::from(u8::try_from(crashes).unwrap())).abs() < 0.5,
            "{outcome:?}"
        );
        assert!(number(&outcome, "first_detection_p99_s") < first, "{outcome:?}");
        assert!(number(&outcome, "all_know_after_first_max_s") < spread, "{outcome:?}");
        assert!(number(&outcome, "false_death_views_per_node_hour") == 0.0, "{outcome:?}");
    }
}

#[test]
fn loss_makes_no_false_deaths() {
    for loss in [0.05, 0.1, 0.3] {
        let outcome = detect(100, loss).run(2);
        assert!(number(&outcome, "false_deaths_per_node_hour") <= if loss < 0.2 { 0.0 } else { 0.6 }, "{outcome:?}");
        assert!(number(&outcome, "detected") > 5.5, "{outcome:?}");
    }
}

/// The original's mistake: one timer for all answers, wound up anew at each ping.
#[test]
fn the_shared_timer_of_the_original_never_finds_anybody_dead() {
    let well = detect(10, 0.0);
    let ill = Detect { shared_timer: true, ..well };
    for seed in 1..4 {
        assert!(number(&well.run(seed), "detected") > 4.5);
        assert!(number(&ill.run(seed), "detected") < 0.5, "the simulator does not see the mistake");
    }
}

#[test]
fn members_that_freeze_again_and_again_get_nobody_declared_dead_and_come_back() {
    for rest_secs in [10.0, 0.2] {
        let freeze_secs = (1.0, 10.0);
        let local_health = LocalHealth::On;
        let outcome =
            Freeze { nodes: 100, share: 0.05, secs: 60.0, freeze_secs, clock: Clock::Runs, rest_secs, local_health }
                .run(3);
        assert!(number(&outcome, "sick") > 0.5, "{outcome:?}");
        assert!(number(&outcome, "healthy_false_deaths") == 0.0, "{outcome:?}");
        assert!(number(&outcome, "heal_p99_s") < 2.0, "{outcome:?}");
    }
}

/// What local health is for: without it the same history has many false suspicions, or this would show nothing.
#[test]
fn members_that_see_everything_late_accuse_the_others_hardly_ever() {
    let well = Slow { nodes: 50, share: 0.05, late_secs: (1.0, 5.0), secs: 20.0, local_health: LocalHealth::On };
    let blind = Slow { local_health: LocalHealth::Off, ..well };
    let (well, blind) = (well.run(9), blind.run(9));
    assert!(number(&blind, "healthy_suspected") >= 30.0, "{blind:?}");
    assert!(number(&well, "healthy_suspected") < number(&blind, "healthy_suspected") / 5.0, "{well:?} {blind:?}");
    assert!(number(&well, "healthy_false_deaths") == 0.0, "{well:?}");
}

/// Where many see everything late, what is late is not only suspected: without local health the slow declare the others dead.
#[test]
fn where_many_see_everything_late_nobody_is_declared_dead_for_it() {
    let well = Slow { nodes: 60, share: 0.4, late_secs: (1.0, 5.0), secs: 30.0, local_health: LocalHealth::On };
    let blind = Slow { local_health: LocalHealth::Off, ..well };
    let (well, blind) = (well.run(10), blind.run(10));
    assert!(number(&blind, "healthy_false_deaths") >= 5.0, "{blind:?}");
    assert!(number(&well, "healthy_false_deaths") == 0.0, "{well:?}");
}

#[test]
fn all_that_join_at_once_know_each_other_soon() {
    for (nodes, bound) in [(10, 2.0), (50, 2.0), (200, 13.0)] {
        let outcome = Join { nodes }.run(4);
        assert!(number(&outcome, "full_view_s") < bound, "{outcome:?}");
    }
}

#[test]
fn a_cut_of_an_hour_heals_by_itself() {
    let outcome = Split { nodes: 20, secs: 3600.0 }.run(5);
    assert_eq!(outcome.0.iter().find(|(name, _)| *name == "were_apart").unwrap().1, true);
    assert!(number(&outcome, "whole_again_s") < 60.0, "{outcome:?}");
}

#[test]
fn a_storm_of_payloads_does_not_hold_up_news_of_a_death() {
    let outcome = Storm { nodes: 100 }.run(6);
    assert!(number(&outcome, "all_know_after_first_s") < number(&outcome, "bound_s"), "{outcome:?}");
    assert!(number(&outcome, "first_detection_s") < 8.0, "{outcome:?}");
}

/// `BOWLINE_SWARM_SEEDS=1000` makes it a thousand histories.
#[test]
fn after_everything_went_wrong_the_group_is_whole_again() {
    let seeds = std::env::var("BOWLINE_SWARM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    for seed in 0..seeds {
        let outcome = Chaos { nodes: 9, secs: 60.0 }.run(seed);
        assert!(outcome.number("healed_s").is_some(), "seed {seed}: {outcome:?}");
        assert!(number(&outcome, "members_that_never_were") == 0.0, "seed {seed}: {outcome:?}");
        assert!(number(&outcome, "faults") > 5.0);
    }
}

#[test]
fn one_seed_is_one_history() {
    let run = |seed| format!("{:?}", Chaos { nodes: 7, secs: 30.0 }.run(seed));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
