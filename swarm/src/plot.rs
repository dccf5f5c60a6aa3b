//! Plots as SVG: panels side by side, on a light or dark ground as the reader's system has it, without scripts.

/// A plot.
#[derive(Debug)]
pub(crate) struct Plot {
    /// What is read to those who do not see it.
    pub(crate) description: String,
    /// What each colour and form stands for, in this order in all panels.
    pub(crate) names: Vec<&'static str>,
    /// What a full and a broken line stand for, where both are used.
    pub(crate) lines: Option<(&'static str, &'static str)>,
    pub(crate) panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x_title: &'static str,
    pub(crate) y_title: &'static str,
    /// Where on the axis, from 0 to 1, and what is written there.
    pub(crate) x_marks: Vec<(f64, String)>,
    pub(crate) scale: Scale,
    pub(crate) series: Vec<Series>,
}

/// Values over the marks of the horizontal axis.
#[derive(Debug)]
pub(crate) struct Series {
    /// Which of the names.
    pub(crate) name: usize,
    pub(crate) line: Line,
    pub(crate) values: Vec<Option<f64>>,
}

/// How values are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Full,
    Broken,
    /// Not at all, and each has its number beside it.
    Apart,
}

/// The vertical axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale {
    /// From 0 to a number, with a mark at each step.
    Linear { max: f64, step: f64 },
    /// Powers of ten from one to another, and a place for nothing at all below them.
    Logarithmic { min: i32, max: i32 },
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 52.0;
/// How far the place for nothing is from the least power of ten, as a share of the axis.
const GAP: f64 = 0.12;

const STYLE: &str = "
.ground{fill:#fff}.axis{stroke:#57606a;fill:none}.grid{stroke:#d8dee4;fill:none}
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:13px}
.c0{stroke:#0060a8;fill:#0060a8}.c1{stroke:#c04a00;fill:#c04a00}.c2{stroke:#00795a;fill:#00795a}
path.line{fill:none;stroke-width:2}.broken{stroke-dasharray:5 4}.open{fill:#fff}
.value{font-size:11px}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}.axis{stroke:#8b949e}.grid{stroke:#30363d}text{fill:#e6edf3}
.c0{stroke:#58b0f5;fill:#58b0f5}.c1{stroke:#f0934e;fill:#f0934e}.c2{stroke:#45c79d;fill:#45c79d}path.line{fill:none}.open{fill:#0d1117}}
";

impl Scale {
    /// How far up a value is, from 0 to 1.
    fn height(self, value: f64) -> f64 {
        match self {
            Self::Linear { max, .. } => (value / max).clamp(0.0, 1.0),
            Self::Logarithmic { .. } if value <= 0.0 => 0.0,
            Self::Logarithmic { min, max } => {
                let share = (value.log10() - f64::from(min)) / f64::from(max - min);
                GAP + (1.0 - GAP) * share.clamp(0.0, 1.0)
            }
        }
    }

    fn marks(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { max, step } => {
                let steps = (0_u32..).map(|n| f64::from(n) * step).take_while(|value| *value <= max);
                steps.map(|value| (value, number(value))).collect()
            }
            Self::Logarithmic { min, max } => {
                let powers = (min..=max).map(|power| 10.0_f64.powi(power)).map(|value| (value, number(value)));
                std::iter::once((0.0, "0".to_owned())).chain(powers).collect()
            }
        }
    }
}

/// A number with commas between thousands, and with no more digits than it needs.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        below if below >= 10.0 || below == 0.0 => 0,
        below if below >= 1.0 => 1,
        below if below >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let mut digits = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) && digits != "-" {
            digits.push(',');
        }
        digits.push(digit);
    }
    if rest.is_empty() { digits } else { format!("{digits}.{rest}") }
}

impl Plot {
    /// The file.
    pub(crate) fn svg(&self) -> String {
        let panels = (0_u32..).zip(&self.panels).map(|(n, panel)| (f64::from(n) * WIDTH, panel));
        let width = WIDTH * f64::from(u32::try_from(self.panels.len()).unwrap_or(1));
        let head = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" \
             role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{HEIGHT}\"/>\n",
            self.description
        );
        let mut svg = vec![head, self.legend()];
        for (x, panel) in panels {
            svg.push(format!("<g transform=\"translate({x} 0)\">\n{}</g>\n", panel.svg()));
        }
        svg.push("</svg>\n".to_owned());
        svg.concat()
    }

    fn legend(&self) -> String {
        let mut svg = Vec::new();
        let mut x = LEFT;
        for (n, name) in self.names.iter().enumerate() {
            svg.push(format!("{}<text x=\"{}\" y=\"26\">{name}</text>\n", mark(n, x, 22.0, false), x + 12.0));
            x += 130.0;
        }
        if let Some((full, broken)) = self.lines {
            for (class, text) in [("axis", full), ("axis broken", broken)] {
                svg.push(format!(
                    "<path class=\"{class}\" stroke-width=\"2\" d=\"M{x} 22h26\"/><text x=\"{}\" y=\"26\">{text}</text>\n",
                    x + 33.0
                ));
                x += 160.0;
            }
        }
        svg.concat()
    }
}

/// The form of a name: a circle, a square or a triangle.
fn mark(name: usize, x: f64, y: f64, is_open: bool) -> String {
    let class = format!("c{name}{}", if is_open { " open" } else { "" });
    match name {
        0 => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" stroke-width=\"1.5\"/>"),
        1 => format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" stroke-width=\"1.5\"/>",
            x - 3.5,
            y - 3.5
        ),
        _ => format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}l4.5 8h-9z\" stroke-width=\"1.5\"/>", y - 5.0),
    }
}

impl Panel {
    fn x(&self, mark: usize) -> f64 {
        let share = self.x_marks.get(mark).map_or(0.0, |(share, _)| *share);
        LEFT + 14.0 + share * (WIDTH - LEFT - RIGHT - 28.0)
    }

    fn y(&self, value: f64) -> f64 {
        let height = HEIGHT - TOP - BOTTOM;
        TOP + height * (1.0 - self.scale.height(value))
    }

    fn svg(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = vec![format!("<text class=\"title\" x=\"{LEFT}\" y=\"58\">{}</text>\n", self.title)];
        for (value, text) in self.scale.marks() {
            let y = self.y(value);
            svg.push(format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n",
                LEFT - 7.0,
                y + 4.0
            ));
        }
        for (n, (_, text)) in self.x_marks.iter().enumerate() {
            let x = self.x(n);
            svg.push(format!(
                "<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>\n",
                bottom + 18.0
            ));
        }
        let (middle_x, middle_y) = (f64::midpoint(LEFT, right), f64::midpoint(TOP, bottom));
        svg.push(format!(
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n\
             <text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
            bottom + 40.0,
            self.x_title,
            self.y_title
        ));
        self.series.iter().for_each(|series| svg.push(self.draw(series)));
        svg.concat()
    }

    fn draw(&self, series: &Series) -> String {
        // Beside each other, or those of equal value would hide one another.
        let way = if series.line == Line::Apart { 24.0 } else { 4.0 };
        let shift = [-way, 0.0, way].get(series.name).copied().unwrap_or(0.0);
        let place = |(n, value): (usize, &Option<f64>)| {
            let value = (*value)?;
            Some((self.x(n) + shift, self.y(value), value))
        };
        let points: Vec<(f64, f64, f64)> = series.values.iter().enumerate().filter_map(place).collect();
        let mut svg = Vec::new();
        if series.line != Line::Apart && !points.is_empty() {
            let way: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1} {y:.1}")).collect();
            let broken = if series.line == Line::Broken { " broken" } else { "" };
            svg.push(format!("<path class=\"line c{}{broken}\" d=\"M{}\"/>\n", series.name, way.join("L")));
        }
        for (x, y, value) in points {
            svg.push(mark(series.name, x, y, series.line == Line::Broken));
            if series.line == Line::Apart {
                svg.push(format!(
                    "<text class=\"value\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    y - 9.0,
                    number(value)
                ));
            }
            svg.push("\n".to_owned());
        }
        svg.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.001, "0.001"),
            (0.25, "0.25"),
            (4.0, "4"),
            (4.26, "4.3"),
            (1234.5, "1,234"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn nothing_has_a_place_of_its_own_below_all_powers_of_ten() {
        let scale = Scale::Logarithmic { min: -2, max: 3 };
        assert!(scale.height(0.0) < scale.height(0.01));
        assert!((scale.height(1000.0) - 1.0).abs() < 1e-9);
        assert_eq!(scale.marks().len(), 7);
    }
}
