//! One chart: lines over an axis, drawn as SVG, with its figures as a table for those who do not see it.
//!
//! Lines are told apart by colour (a palette that colour-blind people can tell apart), by dashes and by a label at their end.

use core::fmt::Write as _;

use maud::{Markup, html};

use super::scale::Scale;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 78.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
/// Between two labels of lines, at least.
const LABEL: f64 = 13.0;
/// Points of a line that are drawn, at most: more than a screen can tell apart.
const POINTS_MAX: usize = 800;
/// Rows of a chart's table, at most.
const ROWS_MAX: usize = 24;

/// An axis.
pub struct Axis {
    /// What it is, with its unit.
    pub label: String,
    /// How it is spread.
    pub scale: Scale,
    /// Where it is marked.
    pub ticks: Vec<f64>,
    /// How a value is written.
    pub says: fn(f64) -> String,
}

/// A line; a point without a value is a hole.
pub struct Line {
    /// At its end.
    pub name: String,
    /// Its colour and dashes, 0 to 5.
    pub style: usize,
    /// x and y, x rising.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A chart.
pub struct Chart {
    /// For references within the page.
    pub id: &'static str,
    /// Above it.
    pub title: &'static str,
    /// Below the title.
    pub note: String,
    /// Along the bottom.
    pub x: Axis,
    /// Along the left side.
    pub y: Axis,
    /// Drawn in order, the last on top.
    pub lines: Vec<Line>,
    /// Phases: from, to, name.
    pub bands: Vec<(f64, f64, &'static str)>,
    /// Values that something is judged by: y and name.
    pub limits: Vec<(f64, String)>,
}

impl Chart {
    /// The chart with title, note and table.
    pub fn markup(&self) -> Markup {
        html! {
            figure.card id=(self.id) {
                figcaption { h3 { (self.title) } p.note { (self.note) } }
                @if self.lines.iter().all(|line| line.points.iter().all(|p| p.1.is_none())) {
                    p.empty { "Nothing was measured." }
                } @else {
                    (self.drawing())
                    (self.table())
                }
            }
        }
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn drawing(&self) -> Markup {
        let (title, described) = (format!("{}-t", self.id), format!("{}-d", self.id));
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{title} {described}")) {
                title id=(title) { (self.title) }
                desc id=(described) { (self.described()) }
                @for (place, (from, to, name)) in self.bands.iter().enumerate() {
                    (self.band(place, *from, *to, name))
                }
                @for tick in &self.y.ticks {
                    @let y = at(self.y_at(*tick));
                    line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { ((self.y.says)(*tick)) }
                }
                @for tick in &self.x.ticks {
                    @let x = at(self.x_at(*tick));
                    line.mark x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                    text.tick x=(x) y=(bottom + 15.0) text-anchor="middle" { ((self.x.says)(*tick)) }
                }
                line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                text.axis-label x=(at((LEFT + right) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (self.x.label) }
                text.axis-label x=(4) y=(11) { (self.y.label) }
                @for (limit, name) in &self.limits { (self.limit(*limit, name)) }
                @for line in &self.lines { (self.line(line)) }
                (self.labels())
            }
        }
    }

    fn band(&self, place: usize, from: f64, to: f64, name: &str) -> Markup {
        let (x, end) = (self.x_at(from), self.x_at(to));
        // About how wide the name is.
        let fits = end - x > name.len() as f64 * 5.5 + 6.0;
        html! {
            @if place % 2 == 1 {
                rect.band x=(at(x)) y=(TOP) width=(at(end - x)) height=(HEIGHT - TOP - BOTTOM) {}
            }
            @if fits { text.band-label x=(at(x + 4.0)) y=(TOP - 4.0) { (name) } }
        }
    }

    fn limit(&self, value: f64, name: &str) -> Markup {
        let y = at(self.y_at(value));
        html! {
            line.limit x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
            text.limit-label x=(WIDTH - RIGHT - 4.0) y=(y) dy="-4" text-anchor="end" { (name) }
        }
    }

    fn line(&self, line: &Line) -> Markup {
        let class = format!("line s{}", line.style % 6);
        let points = thinned(&line.points);
        let mut path = String::new();
        let mut pen_down = false;
        for (place, (x, y)) in points.iter().enumerate() {
            let Some(y) = y else {
                pen_down = false;
                continue;
            };
            let (x, y) = (at(self.x_at(*x)), at(self.y_at(*y)));
            let _ = write!(path, "{}{x} {y}", if pen_down { "L" } else { "M" });
            // A point between two holes is a dot.
            if !pen_down && points.get(place + 1).is_none_or(|next| next.1.is_none()) {
                path.push_str("h0.01");
            }
            pen_down = true;
        }
        html! { path class=(class) d=(path) {} }
    }

    /// The lines' names at their ends, pushed apart where they would lie over each other.
    fn labels(&self) -> Markup {
        let mut labels: Vec<(f64, &Line)> = self
            .lines
            .iter()
            .filter_map(|line| Some((self.y_at(line.points.iter().rev().find_map(|point| point.1)?), line)))
            .collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lowest = HEIGHT - BOTTOM;
        for place in 0..labels.len() {
            let least = if place == 0 { TOP } else { labels[place - 1].0 + LABEL };
            let most = lowest - (labels.len() - 1 - place) as f64 * LABEL;
            labels[place].0 = labels[place].0.max(least).min(most);
        }
        html! {
            @for (y, line) in labels {
                text class=(format!("name t{}", line.style % 6)) x=(WIDTH - RIGHT + 5.0) y=(at(y)) dy="0.32em" { (line.name) }
            }
        }
    }

    /// Each line's range, in words.
    fn described(&self) -> String {
        let range = |line: &Line| {
            let values = line.points.iter().filter_map(|point| point.1);
            let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(v), most.max(v)));
            (least <= most).then(|| format!("{}: {} to {}", line.name, (self.y.says)(least), (self.y.says)(most)))
        };
        let ranges: Vec<String> = self.lines.iter().filter_map(range).collect();
        format!("{} over {}. {}.", self.y.label, self.x.label, ranges.join("; "))
    }

    fn table(&self) -> Markup {
        let longest = self.lines.iter().max_by_key(|line| line.points.len());
        let all = longest.map(|line| line.points.as_slice()).unwrap_or_default();
        let every = all.len().div_ceil(ROWS_MAX).max(1);
        let value = |line: &Line, x: f64| {
            let found = line.points.iter().find(|point| point.0 >= x).and_then(|point| point.1);
            found.map_or_else(|| "–".to_owned(), |y| (self.y.says)(y))
        };
        html! {
            details {
                summary { "Figures" @if every > 1 { " (one of each " (every) ")" } }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { (self.x.label) } @for line in &self.lines { th.n scope="col" { (line.name) } } } }
                        tbody {
                            @for (x, _) in all.iter().step_by(every) {
                                tr {
                                    th scope="row" { ((self.x.says)(*x)) }
                                    @for line in &self.lines { td.n { (value(line, *x)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// At most [`POINTS_MAX`] points: of each stretch the lowest and the highest stay, in their order.
fn thinned(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS_MAX / 2);
    let ends = |part: &[(f64, Option<f64>)]| {
        let known = || part.iter().enumerate().filter_map(|(place, point)| Some((place, point.1?)));
        let low = known().min_by(|a, b| a.1.total_cmp(&b.1)).map(|p| p.0);
        let high = known().max_by(|a, b| a.1.total_cmp(&b.1)).map(|p| p.0);
        let mut places = vec![low.unwrap_or(0), high.unwrap_or(0)];
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| part[place]).collect::<Vec<_>>()
    };
    points.chunks(stretch).flat_map(ends).collect()
}

/// A place in the drawing: a tenth of a unit is fine enough.
fn at(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    fn chart(lines: Vec<Line>) -> Chart {
        let axis = |label: &str| Axis {
            label: label.to_owned(),
            scale: Scale::Linear { low: 0.0, high: 100.0 },
            ticks: vec![0.0, 100.0],
            says: words::number,
        };
        let (x, y) = (axis("time, s"), axis("rate, 1/s"));
        Chart { id: "c", title: "A <title>", note: String::new(), x, y, lines, bands: Vec::new(), limits: Vec::new() }
    }

    fn line(name: &str, points: &[(f64, Option<f64>)]) -> Line {
        Line { name: name.to_owned(), style: 0, points: points.to_vec() }
    }

    #[test]
    fn a_drawing_has_a_title_a_description_and_a_table() {
        let text = chart(vec![line("a & b", &[(0.0, Some(0.0)), (100.0, Some(50.0))])]).markup().into_string();
        assert!(text.contains("A &lt;title&gt;") && text.contains("a &amp; b"), "{text}");
        assert!(text.contains("aria-labelledby=\"c-t c-d\"") && text.contains("a &amp; b: 0 to 50."), "{text}");
        assert!(text.contains(">time, s</") && text.contains(">rate, 1/s</"), "axes name their units: {text}");
        assert!(text.contains("<th scope=\"row\">100</th><td class=\"n\">50</td>"), "{text}");
    }

    #[test]
    fn a_hole_breaks_the_line_and_a_lonely_point_is_a_dot() {
        let points = [(0.0, Some(0.0)), (25.0, None), (50.0, Some(100.0)), (75.0, None)];
        let text = chart(vec![line("a", &points)]).markup().into_string();
        assert!(text.contains("d=\"M54 230h0.01M228 26h0.01\""), "{text}");
        assert!(chart(vec![line("a", &[(0.0, None)])]).markup().into_string().contains("Nothing was measured"));
    }

    #[test]
    fn labels_do_not_lie_over_each_other() {
        let lines = (0..4).map(|n| line(&format!("l{n}"), &[(100.0, Some(100.0))])).collect();
        let text = chart(lines).markup().into_string();
        let places: Vec<f64> = text
            .split("class=\"name t0\"")
            .skip(1)
            .map(|part| part.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(places, [26.0, 39.0, 52.0, 65.0]);
    }

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let points: Vec<_> = (0..10_000).map(|n| (f64::from(n), Some(if n == 4_321 { 99.0 } else { 1.0 }))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS_MAX && thin.contains(&(4_321.0, Some(99.0))), "{} points", thin.len());
        assert!(thin.is_sorted_by(|a, b| a.0 < b.0));
    }
}
