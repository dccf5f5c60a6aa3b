//! The simulator's own proof, on every change: the small store of registers keeps its promises, each of its old mistakes is
//! caught, and one seed is one history.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use sim::run::{Outcome, corpus, run, run_twice};
use sim::scenarios::find;
use std::path::Path;

fn assert_kept(outcome: &Outcome) {
    assert!(outcome.broken.is_none(), "{outcome:#?}\nrepeat with: {}", outcome.repeat_line());
}

#[test]
fn the_registers_tell_the_truth_and_one_seed_is_one_history() {
    let scenario = find("registers").unwrap();
    for seed in 0..8 {
        let outcome = run_twice(scenario, seed, None);
        assert_kept(&outcome);
        assert!(outcome.events > 500, "hardly anything happened");
    }
}

#[test]
fn seeds_that_failed_once_are_kept() {
    for scenario in sim::scenarios::ALL {
        for seed in corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"), scenario.name) {
            assert_kept(&run_twice(scenario, seed, None));
        }
    }
}

#[test]
fn two_seeds_are_two_histories() {
    let scenario = find("registers").unwrap();
    assert_ne!(run(scenario, 1, None).hash, run(scenario, 2, None).hash);
}

/// An oracle that its mutant passes is none.
fn assert_caught(mutant: &str) {
    let scenario = find("registers").unwrap();
    assert!(scenario.mutants.contains(&mutant));
    let caught = (0..1000).map(|seed| run(scenario, seed, Some(mutant))).find_map(|o| o.broken);
    let how = caught.unwrap_or_else(|| panic!("{mutant} passes a thousand seeds"));
    assert!(how.starts_with("history") || how.starts_with("liveness"), "caught for another reason: {how}");
}

#[test]
fn an_answer_before_the_write_is_caught() {
    assert_caught("registers.answer-before-write");
}

#[test]
fn an_answer_that_shows_a_failed_write_is_caught() {
    assert_caught("registers.show-what-failed");
}
