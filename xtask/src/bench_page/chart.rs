//! One chart as SVG: a figure over the entries, its spread, and its budget.

use std::fmt::Write as _;

/// Size of a chart and room around the plot, SVG units.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 28.0;
/// Grid lines above zero, at most.
const STEPS: f64 = 4.0;

/// A figure of one entry.
pub struct Point {
    /// The entry.
    pub name: String,
    /// The middle of its runs.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// One figure over the entries.
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Of what.
    pub unit: &'static str,
    /// It should be at most this.
    pub budget: Option<f64>,
    /// One an entry; `None`: that entry has no such figure.
    pub points: Vec<Option<Point>>,
    /// The entries' names.
    pub names: Vec<String>,
}

impl Chart {
    /// A figure with heading and caption.
    pub fn draw(&self) -> String {
        let mut out = String::from("<figure>\n");
        let (title, unit) = (escape(&self.title), escape(self.unit));
        let said = self.said();
        let _ = writeln!(out, "<figcaption><strong>{title}</strong> <span>{unit}</span></figcaption>");
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {}\">",
            escape(&said)
        );
        let top = self.top();
        self.grid(top, &mut out);
        self.series(top, &mut out);
        let _ = writeln!(out, "</svg>\n<p>{}</p>\n</figure>", escape(&said));
        out
    }

    /// The newest figure in words.
    fn said(&self) -> String {
        let Some(last) = self.points.iter().rev().flatten().next() else { return "not measured yet".to_owned() };
        let now = number(last.median);
        match self.budget {
            None => format!("{now} in {}", last.name),
            Some(budget) if last.median <= budget => format!("{now} in {}, within {}", last.name, number(budget)),
            Some(budget) => {
                format!("{now} in {}, {:.1} times the budget of {}", last.name, last.median / budget, number(budget))
            }
        }
    }

    /// The highest value drawn.
    fn top(&self) -> f64 {
        let most = self.points.iter().flatten().map(|point| point.max).chain(self.budget).fold(0.0, f64::max);
        if most > 0.0 { most * 1.12 } else { 1.0 }
    }

    fn grid(&self, top: f64, out: &mut String) {
        let step = step(top);
        let mut value = 0.0;
        while value <= top {
            let at = y(value, top);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
            let _ = writeln!(
                out,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                at + 3.5,
                number(value)
            );
            value += step;
        }
        if let Some(budget) = self.budget {
            let at = y(budget, top);
            let _ = writeln!(
                out,
                "<line class=\"budget\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
            let _ = writeln!(
                out,
                "<text class=\"budget\" x=\"{:.1}\" y=\"{:.1}\">budget {}</text>",
                LEFT + 4.0,
                at - 4.0,
                number(budget)
            );
        }
        // The ends are named; the rest is in the tooltips and the table.
        let ends = [(0, "start"), (self.names.len().saturating_sub(1), "end")];
        let shown = if self.names.len() < 2 { 1 } else { 2 };
        for (place, anchor) in ends.into_iter().take(shown) {
            if let Some(name) = self.names.get(place) {
                let at = if anchor == "start" { LEFT } else { WIDTH - RIGHT };
                let _ = writeln!(
                    out,
                    "<text class=\"name\" text-anchor=\"{anchor}\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                    HEIGHT - 8.0,
                    escape(name)
                );
            }
        }
    }

    fn series(&self, top: f64, out: &mut String) {
        let at = |place: usize| x(place, self.points.len());
        let drawn = || self.points.iter().enumerate().filter_map(|(place, point)| Some((place, point.as_ref()?)));
        let line: Vec<String> =
            drawn().map(|(place, point)| format!("{:.1},{:.1}", at(place), y(point.median, top))).collect();
        let _ = writeln!(out, "<polyline class=\"line\" points=\"{}\"/>", line.join(" "));
        for (place, point) in drawn() {
            let class = if self.budget.is_some_and(|budget| point.median > budget) { "dot over" } else { "dot" };
            let (at, high, low) = (at(place), y(point.max, top), y(point.min, top));
            let _ = writeln!(
                out,
                "<line class=\"spread\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{high:.1}\" y2=\"{low:.1}\"/>"
            );
            let _ = writeln!(
                out,
                "<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {} ({} to {})</title></circle>",
                y(point.median, top),
                escape(&point.name),
                number(point.median),
                number(point.min),
                number(point.max)
            );
        }
    }
}

fn x(place: usize, count: usize) -> f64 {
    let width = WIDTH - LEFT - RIGHT;
    LEFT + width * (place as f64 + 0.5) / count.max(1) as f64
}

fn y(value: f64, top: f64) -> f64 {
    let height = HEIGHT - TOP - BOTTOM;
    TOP + height * (1.0 - value / top)
}

/// A round distance of grid lines.
fn step(top: f64) -> f64 {
    let rough = top / STEPS;
    let scale = 10f64.powf(rough.log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0];
    rounds.into_iter().map(|round| round * scale).find(|step| *step >= rough).unwrap_or(10.0 * scale)
}

/// Three digits that count, grouped.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { out } else { format!("{out}.{rest}") }
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
