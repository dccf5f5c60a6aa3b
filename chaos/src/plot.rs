//! A run as a picture: calls a second and their latency over time, with the faults shaded. SVG, written by hand.

use crate::client::{Outcome, Sample};
use crate::run::Fault;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 45.0;
/// The latency axis, in decades of milliseconds: 1 ms to 10 s.
const DECADES: u32 = 4;

/// One second of a run.
#[derive(Default, Clone)]
struct Second {
    answered: Vec<u64>,
    refused: u64,
    unknown: u64,
}

/// Draws a run of that title.
pub(crate) fn draw(title: &str, samples: &[Sample], faults: &[Fault]) -> String {
    let seconds = by_second(samples);
    let length = number(seconds.len().max(1));
    let x = |second: f64| LEFT + second / length * (WIDTH - LEFT - RIGHT);
    let calls_max = seconds.iter().map(|s| number(s.answered.len()) + small(s.refused + s.unknown)).fold(1.0, f64::max);
    let height = 2.0 * PANEL + 3.0 * GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"13\">{}</text>\n",
        escaped(title)
    );
    let (top, bottom) = (GAP, 2.0 * GAP + PANEL);
    for fault in faults {
        let (from, to) = (x(small(fault.from_ms) / 1000.0), x(small(fault.to_ms) / 1000.0));
        let what = escaped(&fault.what);
        for y in [top, bottom] {
            put(
                &mut svg,
                &format!(
                    "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{PANEL}\" fill=\"#f3c9c9\" \
                     opacity=\"0.6\"><title>{what}</title></rect>",
                    (to - from).max(1.0)
                ),
            );
        }
    }
    let rate = |value: f64| top + PANEL * (1.0 - value / calls_max);
    let bars = |svg: &mut String, of: &dyn Fn(&Second) -> (f64, f64), colour: &str| {
        for (second, seen) in seconds.iter().enumerate() {
            let (low, high) = of(seen);
            if high > low {
                let (left, right) = (x(number(second)), x(number(second) + 0.9));
                let (y, tall) = (rate(high), rate(low) - rate(high));
                put(
                    svg,
                    &format!(
                        "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{colour}\"/>",
                        right - left
                    ),
                );
            }
        }
    };
    bars(&mut svg, &|s| (0.0, number(s.answered.len())), "#4878a8");
    bars(&mut svg, &|s| (number(s.answered.len()), number(s.answered.len()) + small(s.refused)), "#d9a441");
    bars(
        &mut svg,
        &|s| {
            let below = number(s.answered.len()) + small(s.refused);
            (below, below + small(s.unknown))
        },
        "#b03030",
    );
    axis(&mut svg, top, &[(rate(0.0), "0".to_owned()), (rate(calls_max), format!("{calls_max:.0}"))]);
    label(&mut svg, top, "calls a second: answered (blue), refused (yellow), of unknown outcome (red); faults shaded");
    let depth = |us: u64| {
        let decade = (small(us) / 1000.0).max(1.0).log10() / f64::from(DECADES);
        bottom + PANEL * (1.0 - decade.min(1.0))
    };
    for (share, colour) in [(50, "#4878a8"), (99, "#b03030")] {
        let mut points = String::new();
        for (second, seen) in seconds.iter().enumerate() {
            if let Some(us) = quantile(&seen.answered, share) {
                // To write to a string does not fail.
                write!(points, "{:.1},{:.1} ", x(number(second) + 0.45), depth(us)).ok();
            }
        }
        put(&mut svg, &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\"/>"));
    }
    let marks: Vec<(f64, String)> = (0..=DECADES)
        .map(|decade| {
            let ms = 10_u64.pow(decade);
            (depth(ms * 1000), if ms < 1000 { format!("{ms} ms") } else { format!("{} s", ms / 1000) })
        })
        .collect();
    axis(&mut svg, bottom, &marks);
    label(&mut svg, bottom, "latency of answered calls: median (blue) and 99th percentile (red)");
    for second in (0..=seconds.len()).step_by((seconds.len() / 10).max(1)) {
        let (at, y) = (x(number(second)), bottom + PANEL + 15.0);
        put(&mut svg, &format!("<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{second} s</text>"));
    }
    svg + "</svg>\n"
}

fn by_second(samples: &[Sample]) -> Vec<Second> {
    let mut seconds: Vec<Second> = Vec::new();
    for sample in samples {
        let at = usize::try_from((sample.begun_ms + sample.took_us / 1000) / 1000).unwrap_or_default();
        if seconds.len() <= at {
            seconds.resize(at + 1, Second::default());
        }
        let Some(second) = seconds.get_mut(at) else { continue };
        match sample.outcome {
            Outcome::Answered => second.answered.push(sample.took_us),
            Outcome::Refused => second.refused += 1,
            Outcome::Unknown => second.unknown += 1,
        }
    }
    seconds
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn quantile(values: &[u64], share: usize) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn axis(svg: &mut String, top: f64, marks: &[(f64, String)]) {
    let foot = top + PANEL;
    put(svg, &format!("<line x1=\"{LEFT}\" y1=\"{top}\" x2=\"{LEFT}\" y2=\"{foot}\" stroke=\"#888\"/>"));
    put(svg, &format!("<line x1=\"{LEFT}\" y1=\"{foot}\" x2=\"{}\" y2=\"{foot}\" stroke=\"#888\"/>", WIDTH - RIGHT));
    for (y, text) in marks {
        put(svg, &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, y + 4.0));
    }
}

fn label(svg: &mut String, top: f64, text: &str) {
    put(svg, &format!("<text x=\"{LEFT}\" y=\"{}\" fill=\"#444\">{}</text>", top - 6.0, escaped(text)));
}

fn put(svg: &mut String, line: &str) {
    svg.push_str(line);
    svg.push('\n');
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn number(count: usize) -> f64 {
    small(u64::try_from(count).unwrap_or(u64::MAX))
}

/// A count, a time or a size that fits: more than that is as good as that.
fn small(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Kind;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!([50, 99, 100].map(|share| quantile(&values, share)), [Some(50), Some(99), Some(100)]);
        assert_eq!((quantile(&[7], 50), quantile(&[], 50)), (Some(7), None));
    }

    #[test]
    fn a_picture_has_each_fault_and_escapes_what_is_told() {
        let sample = |begun_ms, outcome| Sample {
            begun_ms,
            took_us: 1500,
            kind: Kind::Read,
            outcome,
            client: 1,
            why: String::new(),
        };
        let samples = [sample(10, Outcome::Answered), sample(1200, Outcome::Refused), sample(2500, Outcome::Unknown)];
        let fault = Fault { from_ms: 1000, to_ms: 2000, what: "n1 <| n2 & n3".to_owned() };
        let svg = draw("bank & kill", &samples, &[fault]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<title>n1 &lt;| n2 &amp; n3</title>").count(), 2);
        for colour in ["#4878a8", "#d9a441", "#b03030"] {
            assert!(svg.contains(&format!("fill=\"{colour}\"")), "{colour}");
        }
    }
}
