//! The table of gossip groups for people, and the JSON line for everybody else.

use super::results::{Results, Row};
use super::{PERIOD, System};
use crate::bench::results::{median, quantile};
use serde_json::{Map, Value, json};

/// A figure of Bowline's with a goal.
struct Goal {
    key: String,
    value: Option<f64>,
    /// It was measured, and there is no figure because something never came.
    is_missed: bool,
    aim: &'static str,
    met: fn(f64) -> bool,
}

impl Goal {
    fn is_met(&self) -> Option<bool> {
        self.value.map(self.met).or(self.is_missed.then_some(false))
    }
}

/// Prints the table to standard error, and then the one JSON line to standard output.
pub(super) fn print(results: &Results) {
    table(results);
    eprintln!("\n{:<28} {:>10}   goal", "figure of bowline", "measured");
    for goal in goals(results) {
        let mark = match goal.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        };
        eprintln!("{:<28} {:>10}   {:<24} {mark}", goal.key, digits(goal.value, 3), goal.aim);
    }
    println!("{}", json_line(results));
}

fn goals(results: &Results) -> Vec<Goal> {
    let ours = |members| results.row(System::Bowline, members);
    let mut goals: Vec<Goal> = [3, 10, 50]
        .into_iter()
        .map(|members| Goal {
            key: format!("all_see_death_s_{members}"),
            value: ours(members).and_then(|row| worst(&row.all_see_death_s())),
            is_missed: ours(members).is_some_and(Row::is_blind),
            aim: "at most 4",
            met: |v| v <= 4.0,
        })
        .collect();
    goals.push(Goal {
        key: "full_view_s_50".to_owned(),
        value: ours(50).and_then(|row| worst(&row.full_view_s)),
        is_missed: false,
        aim: "under 2",
        met: |v| v < 2.0,
    });
    goals.push(Goal {
        key: "idle_packets_per_s".to_owned(),
        value: idle_packets(results, System::Bowline),
        is_missed: false,
        aim: "at most 4, sent by each",
        met: |v| v <= 4.0,
    });
    goals
}

/// The most that an idle member sends in a group of any size.
fn idle_packets(results: &Results, system: System) -> Option<f64> {
    let of = results.rows.iter().filter(|row| row.system == system);
    worst(&of.filter_map(|row| Some(row.idle.as_ref()?.packets_per_s)).collect::<Vec<_>>())
}

fn worst(values: &[f64]) -> Option<f64> {
    quantile(values.to_vec(), 1.0)
}

/// The figures of one system at one size, by their names without both.
fn figures(row: &Row) -> Vec<(&'static str, Option<f64>)> {
    let idle = row.idle.as_ref();
    let deaths = row.all_see_death_s();
    vec![
        ("all_see_death_s", worst(&deaths)),
        ("all_see_death_median_s", median(deaths)),
        ("full_view_s", worst(&row.full_view_s)),
        ("full_view_median_s", median(row.full_view_s.clone())),
        ("rejoin_median_s", median(row.rejoin_s.clone())),
        ("idle_packets_per_s", idle.map(|idle| idle.packets_per_s)),
        ("idle_bytes_per_s", idle.map(|idle| idle.bytes_per_s)),
        ("idle_cpu_ms_per_s", idle.map(|idle| idle.cpu_ms_per_s)),
        ("idle_rss_mib", idle.map(|idle| mib(idle.rss_bytes))),
        ("false_deaths", Some(f64::from(row.false_deaths))),
    ]
}

/// What is compared with peers: Bowline's share of what the peer has, so that less than 1 is better.
const COMPARED: [&str; 5] =
    ["all_see_death_median_s", "full_view_median_s", "idle_packets_per_s", "idle_bytes_per_s", "idle_cpu_ms_per_s"];

fn json_line(results: &Results) -> Value {
    let mut line = Map::new();
    let goals = goals(results);
    for goal in &goals {
        line.insert(goal.key.clone(), number(goal.value));
    }
    let met = goals.iter().filter_map(|goal| Some((goal.key.clone(), json!(goal.is_met()?)))).collect();
    for members in results.sizes() {
        let ours = results.row(System::Bowline, members).map(figures).unwrap_or_default();
        for (name, value) in &ours {
            line.insert(format!("{name}_{members}"), number(*value));
        }
        for peer in System::ALL.into_iter().filter(|system| *system != System::Bowline) {
            let Some(row) = results.row(peer, members) else { continue };
            for (name, theirs) in figures(row) {
                line.insert(format!("{name}_{members}_{}", peer.name()), number(theirs));
                let our = ours.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value);
                if COMPARED.contains(&name)
                    && let (Some(our), Some(theirs)) = (our, theirs)
                    && theirs > 0.0
                {
                    line.insert(format!("{name}_{members}_vs_{}", peer.name()), number(Some(our / theirs)));
                }
            }
        }
    }
    for peer in System::ALL.into_iter().filter(|system| *system != System::Bowline) {
        if let Some(theirs) = idle_packets(results, peer) {
            line.insert(format!("idle_packets_per_s_{}", peer.name()), number(Some(theirs)));
        }
    }
    line.insert("goals_met".to_owned(), Value::Object(met));
    line.insert("period_s".to_owned(), json!(PERIOD.as_secs_f64()));
    let settings = System::ALL.iter().map(|system| (system.name().to_owned(), json!(system.settings()))).collect();
    line.insert("settings".to_owned(), Value::Object(settings));
    line.insert("raw".to_owned(), json!(results));
    Value::Object(line)
}

/// Three digits after the point say all that a measurement knows.
fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| json!((value * 1000.0).round() / 1000.0))
}

fn digits(value: Option<f64>, after_point: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.after_point$}"))
}

#[expect(clippy::cast_precision_loss, reason = "the memory of a process")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn table(results: &Results) {
    let machine = &results.machine;
    eprintln!(
        "\n{} x {}, {} MiB, Linux {}, {}, commit {}, load {} before, {} after",
        machine.cores,
        machine.cpu,
        machine.memory_mib,
        machine.kernel,
        machine.date,
        machine.commit,
        machine.load_before,
        results.load_after
    );
    eprintln!("counted by {}", results.counted_by);
    for system in System::ALL.into_iter().filter(|system| results.rows.iter().any(|row| row.system == *system)) {
        eprintln!("{}: {}", system.name(), system.settings());
    }
    eprintln!(
        "\n{:<8} {:<18} {:>15} {:>15} {:>8} {:>9} {:>8} {:>9} {:>8} {:>6}",
        "members", "", "all see death s", "full view s", "rejoin s", "packets/s", "bytes/s", "CPU ms/s", "MiB", "false"
    );
    eprintln!("{:<8} {:<18} {:>15} {:>15} {:>8}", "", "", "median / worst", "median / worst", "median");
    for row in &results.rows {
        let pair = |values: &[f64], after| {
            format!("{} / {}", digits(median(values.to_vec()), after), digits(worst(values), after))
        };
        let deaths = if row.is_blind() { "not all".to_owned() } else { pair(&row.all_see_death_s(), 2) };
        let idle = |figure: fn(&super::results::Idle) -> f64, after| digits(row.idle.as_ref().map(figure), after);
        eprintln!(
            "{:<8} {:<18} {:>15} {:>15} {:>8} {:>9} {:>8} {:>9} {:>8} {:>6}",
            row.members,
            row.system.name(),
            deaths,
            pair(&row.full_view_s, 3),
            digits(median(row.rejoin_s.clone()), 3),
            idle(|idle| idle.packets_per_s, 2),
            idle(|idle| idle.bytes_per_s, 0),
            idle(|idle| idle.cpu_ms_per_s, 2),
            idle(|idle| mib(idle.rss_bytes), 1),
            row.false_deaths
        );
    }
    for problem in &results.problems {
        eprintln!("problem  {problem}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::{Death, Idle};
    use super::*;
    use crate::bench::machine::Machine;
    use std::path::Path;

    const PROMISED: [&str; 5] =
        ["all_see_death_s_3", "all_see_death_s_10", "all_see_death_s_50", "full_view_s_50", "idle_packets_per_s"];

    fn nothing() -> Results {
        Results::new(Machine::look(Path::new("/")), true, true)
    }

    fn death(all_s: Option<f64>) -> Death {
        Death { first_s: all_s, all_s, unseen_by: usize::from(all_s.is_none()), within_s: 60.0 }
    }

    fn idle(packets_per_s: f64) -> Idle {
        Idle { packets_per_s, bytes_per_s: 100.0, cpu_ms_per_s: 0.5, rss_bytes: 1 << 20, length_s: 30.0 }
    }

    #[test]
    fn the_json_line_holds_every_promised_figure_and_null_for_what_was_not_measured() {
        let line = json_line(&nothing());
        for key in PROMISED {
            assert_eq!(line.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(line["goals_met"], json!({}));
    }

    #[test]
    fn the_worst_death_counts_and_the_medians_are_compared() {
        let mut results = nothing();
        let seen = |times: &[f64]| times.iter().map(|time| death(Some(*time))).collect();
        results.rows.push(Row {
            deaths: seen(&[2.0, 4.5, 1.0]),
            idle: Some(idle(2.0)),
            ..Row::new(System::Bowline, 10)
        });
        results.rows.push(Row { deaths: seen(&[8.0]), idle: Some(idle(4.0)), ..Row::new(System::Serf, 10) });
        let line = json_line(&results);
        assert_eq!((&line["all_see_death_s_10"], &line["all_see_death_median_s_10"]), (&json!(4.5), &json!(2.0)));
        assert_eq!(line["goals_met"], json!({ "all_see_death_s_10": false, "idle_packets_per_s": true }));
        assert_eq!(line["all_see_death_s_10_serf"], json!(8.0));
        assert_eq!(line["all_see_death_median_s_10_vs_serf"], json!(0.25));
        assert_eq!((&line["idle_packets_per_s"], &line["idle_packets_per_s_serf"]), (&json!(2.0), &json!(4.0)));
    }

    #[test]
    fn a_death_that_one_did_not_see_is_a_missed_goal_and_no_figure() {
        let mut results = nothing();
        results.rows.push(Row { deaths: vec![death(Some(1.0)), death(None)], ..Row::new(System::Bowline, 3) });
        let line = json_line(&results);
        assert_eq!(line["all_see_death_s_3"], Value::Null);
        assert_eq!(line["goals_met"], json!({ "all_see_death_s_3": false }));
    }
}
