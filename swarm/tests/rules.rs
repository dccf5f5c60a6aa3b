//! The models of memberlist's and foca's rules: each finds deaths and takes back false ones, and one seed is one history.

#![cfg(test)]

use swarm::{Clock, Detect, Freeze, Outcome, Rules, Streams};
use swim::LocalHealth;

const MODELS: [Rules; 2] = [Rules::Memberlist, Rules::Foca];

const DETECT: Detect =
    Detect { nodes: 50, loss: 0.0, secs: 80.0, crashes: 4, shared_timer: false, streams: Streams::SentAgain };

const FREEZE: Freeze = Freeze {
    nodes: 60,
    share: 0.1,
    secs: 60.0,
    freeze_secs: (8.0, 20.0),
    clock: Clock::Runs,
    rest_secs: 20.0,
    local_health: LocalHealth::On,
};

#[track_caller]
fn number(outcome: &Outcome, name: &str) -> f64 {
    outcome.number(name).unwrap_or_else(|| panic!("no {name} in {outcome:?}"))
}

/// After what time: a round of probes that fail for a second, then the whole time of a suspicion, which is 4 s times the logarithm.
#[test]
fn each_model_finds_deaths_in_the_time_that_its_rules_give() {
    for rules in MODELS {
        let outcome = rules.detect(&DETECT, 1);
        assert!(number(&outcome, "known_by_all") > 3.5, "{rules:?}: {outcome:?}");
        assert!((6.8..12.0).contains(&number(&outcome, "first_detection_p50_s")), "{rules:?}: {outcome:?}");
        assert!(number(&outcome, "false_deaths_per_node_hour") == 0.0, "{rules:?}: {outcome:?}");
    }
}

#[test]
fn each_model_takes_back_false_deaths() {
    for rules in MODELS {
        let outcome = rules.freeze(&FREEZE, 2);
        assert!(number(&outcome, "sick_declared_dead") > 1.5, "{rules:?}: {outcome:?}");
        assert!(number(&outcome, "heal_p99_s") < 30.0, "{rules:?}: {outcome:?}");
        assert!(number(&outcome, "open_wounds") < 0.5, "{rules:?}: {outcome:?}");
    }
}

/// The ping over TCP is what keeps memberlist from suspecting at random where datagrams are lost.
#[test]
fn what_memberlist_sends_over_tcp_is_late_where_packets_are_lost() {
    let lossy = Detect { loss: 0.3, ..DETECT };
    let spared = Detect { streams: Streams::Spared, ..lossy };
    let suspicions = |scenario: &Detect| number(&Rules::Memberlist.detect(scenario, 3), "suspicions_per_node_hour");
    assert!(suspicions(&lossy) > 10.0 * suspicions(&spared));
}

#[test]
fn one_seed_is_one_history_by_any_rules() {
    let scenario = Detect { loss: 0.1, secs: 30.0, ..DETECT };
    for rules in Rules::ALL {
        let run = |seed| format!("{:?}", rules.detect(&scenario, seed));
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
