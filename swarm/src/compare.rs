//! Three rules in the same worlds, side by side: ours, memberlist's and foca's, as tables and plots.

use crate::foca::Foca;
use crate::memberlist::Memberlist;
use crate::network::Streams;
use crate::plot::{Line, Panel, Plot, Scale, Series, number};
use crate::scenario::{Detect, Freeze, Outcome, Slow, float};
use crate::world::Clock;
use serde_json::{Value, json};
use swim::LocalHealth;

/// Whose rules the members of a group follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those of [`swim::Swim`], which is run itself.
    Ours,
    /// Those of [`Memberlist`].
    Memberlist,
    /// Those of [`Foca`].
    Foca,
}

impl Rules {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Memberlist, Self::Foca];

    /// What they are called in tables and plots.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Memberlist => "memberlist",
            Self::Foca => "foca",
        }
    }

    /// Members that follow them crash.
    pub fn detect(self, scenario: &Detect, seed: u64) -> Outcome {
        match self {
            Self::Ours => scenario.run(seed),
            Self::Memberlist => scenario.run_on::<Memberlist>(seed, ()),
            Self::Foca => scenario.run_on::<Foca>(seed, ()),
        }
    }

    /// Members that follow them are slow.
    pub fn slow(self, scenario: &Slow, seed: u64) -> Outcome {
        match self {
            Self::Ours => scenario.run(seed),
            Self::Memberlist => scenario.run_on::<Memberlist>(seed, ()),
            Self::Foca => scenario.run_on::<Foca>(seed, ()),
        }
    }

    /// Members that follow them freeze.
    pub fn freeze(self, scenario: &Freeze, seed: u64) -> Outcome {
        match self {
            Self::Ours => scenario.run(seed),
            Self::Memberlist => scenario.run_on::<Memberlist>(seed, ()),
            Self::Foca => scenario.run_on::<Foca>(seed, ()),
        }
    }
}

/// The same scenarios with all rules.
#[derive(Debug, Clone)]
pub struct Compare {
    /// How many members, in each group.
    pub sizes: Vec<usize>,
    /// The shares of packets that are lost.
    pub losses: Vec<f64>,
    /// How long each history is, in seconds.
    pub secs: f64,
    /// How many members crash in each.
    pub crashes: usize,
    /// The shares of members that are slow, in the smallest group.
    pub slow_shares: Vec<f64>,
}

/// What came of it.
#[derive(Debug)]
pub struct Comparison {
    sizes: Vec<usize>,
    losses: Vec<f64>,
    crashes: Vec<Row>,
    ailing: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// What goes wrong beside crashes.
    trouble: String,
    rules: &'static str,
    nodes: usize,
    outcome: Outcome,
}

/// Whose judgement is looked at where some members are ill.
const JUDGES: [(&str, Rules, LocalHealth); 4] = [
    ("ours", Rules::Ours, LocalHealth::On),
    ("ours without local health", Rules::Ours, LocalHealth::Off),
    ("memberlist", Rules::Memberlist, LocalHealth::On),
    ("foca", Rules::Foca, LocalHealth::On),
];

impl Compare {
    /// Runs all.
    pub fn run(&self, seed: u64) -> Comparison {
        let (mut crashes, mut ailing) = (Vec::new(), Vec::new());
        for nodes in self.sizes.iter().copied() {
            crashes.extend(self.losses.iter().flat_map(|loss| self.crashes(seed, nodes, *loss)));
            ailing.extend(self.freezes(seed, nodes));
        }
        if let Some(nodes) = self.sizes.iter().copied().min() {
            ailing.extend(self.slow_shares.iter().flat_map(|share| self.slow(seed, nodes, *share)));
        }
        Comparison { sizes: self.sizes.clone(), losses: self.losses.clone(), crashes, ailing }
    }

    fn crashes(&self, seed: u64, nodes: usize, loss: f64) -> [Row; 3] {
        let (secs, crashes) = (self.secs, self.crashes);
        let scenario = Detect { nodes, loss, secs, crashes, shared_timer: false, streams: Streams::SentAgain };
        Rules::ALL.map(|rules| {
            let trouble = if loss > 0.0 { format!("{} %", number(loss * 100.0)) } else { "none".to_owned() };
            Row { trouble, rules: rules.name(), nodes, outcome: rules.detect(&scenario, seed) }
        })
    }

    fn freezes(&self, seed: u64, nodes: usize) -> [Row; 4] {
        let (share, freeze_secs, clock) = (0.05, (1.0, 10.0), Clock::Runs);
        JUDGES.map(|(name, rules, local_health)| {
            let scenario = Freeze { nodes, share, secs: self.secs, freeze_secs, clock, rest_secs: 10.0, local_health };
            Row { trouble: "5 % freeze".to_owned(), rules: name, nodes, outcome: rules.freeze(&scenario, seed) }
        })
    }

    fn slow(&self, seed: u64, nodes: usize, share: f64) -> [Row; 4] {
        JUDGES.map(|(name, rules, local_health)| {
            let scenario = Slow { nodes, share, late_secs: (1.0, 5.0), secs: self.secs, local_health };
            let trouble = format!("{} % slow", number(share * 100.0));
            Row { trouble, rules: name, nodes, outcome: rules.slow(&scenario, seed) }
        })
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} s"))
}

impl Row {
    fn get(&self, name: &str) -> Option<f64> {
        self.outcome.number(name)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).map_or_else(|| "-".to_owned(), number)
    }

    fn members(&self) -> String {
        u32::try_from(self.nodes).map_or_else(|_| self.nodes.to_string(), |nodes| number(f64::from(nodes)))
    }
}

impl Comparison {
    /// Both tables, in Markdown.
    pub fn tables(&self) -> String {
        let head = "| members | loss | rules | found, of all | known to all | first to know, median | slowest | all know, median | slowest | false deaths per node-hour \
             | packets a second from each | bytes |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        let mut text = vec![head.to_owned()];
        for row in &self.crashes {
            let cells = [
                row.members(),
                row.trouble.clone(),
                row.rules.to_owned(),
                format!("{} of {}", row.text("detected"), row.text("crashes")),
                row.text("known_by_all"),
                seconds(row.get("first_detection_p50_s")),
                seconds(row.get("first_detection_p99_s")),
                seconds(row.get("all_know_p50_s")),
                seconds(row.get("all_know_max_s")),
                row.text("false_deaths_per_node_hour"),
                row.text("packets_per_node_s"),
                row.text("bytes_per_node_s"),
            ];
            text.push(format!("| {} |\n", cells.join(" | ")));
        }
        let head = "\n| members | what is wrong | rules | healthy ones suspected | declared dead, per node-hour | so many believe that, together | frozen ones declared dead \
             | packets a second from each |\n|---|---|---|---|---|---|---|---|\n";
        text.push(head.to_owned());
        for row in &self.ailing {
            let cells = [
                row.members(),
                row.trouble.clone(),
                row.rules.to_owned(),
                row.text("healthy_suspected"),
                row.text("healthy_false_deaths_per_node_hour"),
                row.text("healthy_false_death_views"),
                row.text("sick_declared_dead"),
                row.text("packets_per_node_s"),
            ];
            text.push(format!("| {} |\n", cells.join(" | ")));
        }
        text.concat()
    }

    fn loss_marks(&self) -> Vec<(f64, String)> {
        let most = self.losses.iter().copied().fold(0.01, f64::max);
        self.losses.iter().map(|loss| (loss / most, number(loss * 100.0))).collect()
    }

    fn over_loss(&self, nodes: usize, rules: Rules, figure: &str) -> Vec<Option<f64>> {
        let rows = self.crashes.iter().filter(|row| row.nodes == nodes && row.rules == rules.name());
        rows.map(|row| row.get(figure)).collect()
    }

    fn title(nodes: usize) -> String {
        u32::try_from(nodes).map_or_else(|_| nodes.to_string(), |nodes| format!("{} members", number(f64::from(nodes))))
    }

    /// How soon a death is known, by loss, as SVG.
    pub fn detection(&self) -> String {
        let panel = |nodes: &usize| {
            let lines = [("first_detection_p50_s", Line::Full), ("all_know_p50_s", Line::Broken)];
            let series: Vec<Series> = (0..)
                .zip(Rules::ALL)
                .flat_map(|(name, rules)| {
                    lines.map(|(figure, line)| Series { name, line, values: self.over_loss(*nodes, rules, figure) })
                })
                .collect();
            let most = series.iter().flat_map(|series| series.values.iter().flatten()).copied().fold(5.0, f64::max);
            let step = if most > 25.0 { 10.0 } else { 5.0 };
            Panel {
                title: Self::title(*nodes),
                x_title: "packets lost, %",
                y_title: "seconds after the crash, median",
                x_marks: self.loss_marks(),
                scale: Scale::Linear { max: (most / step).ceil() * step, step },
                series,
            }
        };
        Plot {
            description: "How soon a death is known to the first member and to all, by loss".to_owned(),
            names: Rules::ALL.map(Rules::name).to_vec(),
            lines: Some(("the first knows", "all know")),
            panels: self.sizes.iter().map(panel).collect(),
        }
        .svg()
    }

    /// How often members are declared dead that run, by loss and where some freeze, as SVG.
    pub fn false_deaths(&self) -> String {
        let y_title = "false deaths per node-hour";
        let scale = Scale::Logarithmic { min: -2, max: 3 };
        let panel = |nodes: &usize| {
            let values = |rules| self.over_loss(*nodes, rules, "false_deaths_per_node_hour");
            let series = (0..).zip(Rules::ALL);
            let series = series.map(|(name, rules)| Series { name, line: Line::Full, values: values(rules) }).collect();
            let (title, x_marks) = (Self::title(*nodes), self.loss_marks());
            Panel { title, x_title: "packets lost, %", y_title, x_marks, scale, series }
        };
        let mut panels: Vec<Panel> = self.sizes.iter().map(panel).collect();
        if let Some(nodes) = self.sizes.iter().copied().min() {
            panels.push(self.ailing_panel(nodes, y_title, scale));
        }
        Plot {
            description: "How often members that run are declared dead, by loss and where some freeze".to_owned(),
            names: Rules::ALL.map(Rules::name).to_vec(),
            lines: None,
            panels,
        }
        .svg()
    }

    /// How often healthy members are declared dead where others are ill.
    fn ailing_panel(&self, nodes: usize, y_title: &'static str, scale: Scale) -> Panel {
        let rows = |name: &'static str| self.ailing.iter().filter(move |row| row.nodes == nodes && row.rules == name);
        let troubles: Vec<&Row> = rows(Rules::Ours.name()).collect();
        let places = (0_u32..).map(|n| f64::from(2 * n + 1) / (2.0 * float(troubles.len())));
        let x_marks = places.zip(&troubles).map(|(place, row)| (place, row.trouble.clone())).collect();
        let values =
            |rules: Rules| rows(rules.name()).map(|row| row.get("healthy_false_deaths_per_node_hour")).collect();
        let series = (0..).zip(Rules::ALL);
        let series = series.map(|(name, rules)| Series { name, line: Line::Apart, values: values(rules) }).collect();
        let title = format!("{}, some of them ill, no loss", Self::title(nodes));
        Panel { title, x_title: "what is wrong with some; deaths of the others", y_title, x_marks, scale, series }
    }

    /// All figures.
    pub fn json(&self) -> Value {
        let rows = |rows: &[Row]| -> Vec<Value> {
            let object = |row: &Row| json!({"trouble": row.trouble, "rules": row.rules, "figures": row.outcome.json()});
            rows.iter().map(object).collect()
        };
        json!({"crashes": rows(&self.crashes), "ailing": rows(&self.ailing)})
    }
}
