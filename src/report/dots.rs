//! Latency over time: a dot an operation, one colour a kind, bands for what went on beside.
//!
//! Time runs to the right, latency is on a logarithmic axis. Dots that would fall on the same spot are drawn
//! once, so a picture of a million operations has no more dots than a screen has room for. The operations
//! that matter, the slowest, are drawn on top and larger.

use std::collections::HashSet;

use super::format_svg::latency_label;
use super::svg::{Colour, Frame, Svg, step};

/// A picture of panels one above the other, with one legend.
#[derive(Clone, Debug, Default)]
pub struct DotChart {
    /// The heading.
    pub title: String,
    /// Below the heading.
    pub subtitle: String,
    /// The kinds of operations, each with its dots.
    pub series: Vec<Dots>,
    /// What the bands are.
    pub band_name: String,
    /// The bands.
    pub bands: Vec<Band>,
    /// What the larger dots are.
    pub marked_name: String,
    /// The panels: each shows a stretch of time.
    pub panels: Vec<DotPanel>,
    /// The last lines.
    pub notes: Vec<String>,
}

/// The operations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Dots {
    /// Its name.
    pub name: String,
    /// Times in seconds, latencies in microseconds, and whether the dot is marked.
    pub dots: Vec<(f64, f64, bool)>,
}

/// A stretch of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Its begin.
    pub from: f64,
    /// Its end.
    pub to: f64,
}

/// What part of the time is shown.
#[derive(Clone, Debug)]
pub struct DotPanel {
    /// Its heading.
    pub heading: String,
    /// The time, in seconds.
    pub span: Band,
}

const WIDTH: f64 = 960.0;
const HEAD: f64 = 96.0;
const NOTE: f64 = 20.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 28.0;
/// The height of a panel, and what is above and below its field.
const PANEL: f64 = 300.0;
const TOP: f64 = 30.0;
const FOOT: f64 = 52.0;
/// Dots whose centres fall into one cell of this size are drawn once.
const CELL: f64 = 1.5;
/// A band narrower than this could not be seen.
const NARROWEST: f64 = 0.6;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
text.title { font-size: 19px; font-weight: 600; } text.heading { font-size: 15px; font-weight: 600; }
text.axis { font-size: 12px; } .rule { fill: none; stroke-width: 1; }
.series-0, .series-1, .series-2, .series-3 { fill-opacity: 0.55; }
.marked { fill-opacity: 1; stroke-width: 1.2; }
";

const COLOURS: &[Colour] = &[
    (".paper", "fill", "#fcfcf9", "#15191e"),
    ("text", "fill", "#20262e", "#e8ebee"),
    ("text.dim, text.axis", "fill", "#5d6670", "#a3adb8"),
    (".rule", "stroke", "#dcdcd4", "#333b44"),
    (".band", "fill", "#f3dfae", "#4d3d14"),
    (".marked", "stroke", "#20262e", "#e8ebee"),
    (".series-0", "fill", "#0072b2", "#62b6ee"),
    (".series-1", "fill", "#009e73", "#48d0a6"),
    (".series-2", "fill", "#cc79a7", "#e6a3c8"),
    (".series-3", "fill", "#d55e00", "#ff9a56"),
];

/// So many series have a colour of their own; then they come again.
const SERIES: usize = 4;

/// The text of the picture's file.
pub fn dot_chart(chart: &DotChart) -> String {
    let panels = chart.panels.len() as f64;
    let height = HEAD + panels * PANEL + NOTE * chart.notes.len() as f64 + 8.0;
    let mut svg = Svg::begin(&Frame {
        size: (WIDTH, height),
        title: &chart.title,
        description: &chart.subtitle,
        rules: STYLE,
        colours: COLOURS,
    });
    svg.words(24.0, 34.0, "title", "start", &chart.title);
    svg.words(24.0, 56.0, "dim", "start", &chart.subtitle);
    legend(&mut svg, chart);
    for (index, panel) in chart.panels.iter().enumerate() {
        let top = HEAD + PANEL * index as f64;
        let dots = || chart.series.iter().flat_map(|series| &series.dots);
        let field = Field::of(panel, top, dots());
        field.frame(&mut svg, panel);
        field.bands(&mut svg, &chart.bands);
        for marked in [false, true] {
            for (number, series) in chart.series.iter().enumerate() {
                field.dots(&mut svg, number, series, marked);
            }
        }
    }
    for (index, note) in chart.notes.iter().enumerate() {
        let y = HEAD + panels * PANEL + NOTE * index as f64 + 8.0;
        svg.words(24.0, y, "dim", "start", note);
    }
    svg.end()
}

fn legend(svg: &mut Svg, chart: &DotChart) {
    let mut x = 30.0;
    let advance = |svg: &mut Svg, x: &mut f64, name: &str| {
        svg.words(*x + 12.0, 82.0, "", "start", name);
        *x += 12.0 + name.chars().count() as f64 * 7.4 + 26.0;
    };
    for (number, series) in chart.series.iter().enumerate() {
        circle(svg, &class(number), (x, 78.0), 5.0);
        advance(svg, &mut x, &series.name);
    }
    if !chart.marked_name.is_empty() {
        circle(svg, "paper marked", (x, 78.0), 4.5);
        advance(svg, &mut x, &chart.marked_name);
    }
    if !chart.band_name.is_empty() {
        svg.rect("band", (x - 5.0, 71.0), (12.0, 14.0));
        advance(svg, &mut x, &chart.band_name);
    }
}

fn class(series: usize) -> String {
    format!("series-{}", series % SERIES)
}

fn circle(svg: &mut Svg, class: &str, at: (f64, f64), radius: f64) {
    svg.line(&format!(
        "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"/>",
        at.0, at.1
    ));
}

/// Where things are in one panel.
struct Field {
    span: Band,
    /// Powers of ten of microseconds at the bottom and at the top.
    low: f64,
    high: f64,
    top: f64,
}

impl Field {
    fn of<'a>(
        panel: &DotPanel,
        top: f64,
        dots: impl Iterator<Item = &'a (f64, f64, bool)>,
    ) -> Self {
        let span = Band { from: panel.span.from, to: panel.span.to.max(panel.span.from + 1e-6) };
        let within = |x: f64| (span.from..=span.to).contains(&x);
        let (mut least, mut most) = (f64::INFINITY, 1.0f64);
        for (_, us, _) in dots.filter(|(x, _, _)| within(*x)) {
            (least, most) = (least.min(*us), most.max(*us));
        }
        let least = if least.is_finite() { least.max(0.1) } else { 1.0 };
        let (low, high) = (least.log10().floor(), most.log10().ceil());
        Self { span, low, high: high.max(low + 1.0), top: top + TOP }
    }

    fn x(&self, seconds: f64) -> f64 {
        let share = (seconds - self.span.from) / (self.span.to - self.span.from);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, us: f64) -> f64 {
        let share = (us.max(1e-3).log10() - self.low) / (self.high - self.low);
        self.bottom() - share.clamp(0.0, 1.0) * (self.bottom() - self.top)
    }

    fn bottom(&self) -> f64 {
        self.top + PANEL - TOP - FOOT
    }

    fn frame(&self, svg: &mut Svg, panel: &DotPanel) {
        svg.words(24.0, self.top - 12.0, "heading", "start", &panel.heading);
        let mut power = self.low;
        while power <= self.high {
            let us = 10f64.powf(power);
            svg.rule("rule", (LEFT, self.y(us)), (WIDTH - RIGHT, self.y(us)));
            svg.words(LEFT - 8.0, self.y(us) + 4.0, "axis", "end", &latency_label(us));
            power += 1.0;
        }
        let by = step(self.span.to - self.span.from, 12.0);
        let mut at = (self.span.from / by).ceil() * by;
        let decimals = (-by.log10().floor()).max(0.0) as usize;
        while at <= self.span.to {
            svg.rule("rule", (self.x(at), self.bottom()), (self.x(at), self.bottom() + 4.0));
            let figure = format!("{at:.decimals$}");
            svg.words(self.x(at), self.bottom() + 17.0, "axis", "middle", &figure);
            at += by;
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let axis =
            "seconds since the first operation began (each dot stands where its operation began)";
        svg.words(middle, self.bottom() + 35.0, "dim", "middle", axis);
    }

    /// Bands that touch on the screen are drawn as one.
    fn bands(&self, svg: &mut Svg, bands: &[Band]) {
        let mut sorted: Vec<&Band> = bands
            .iter()
            .filter(|band| band.to >= self.span.from && band.from <= self.span.to)
            .collect();
        sorted.sort_by(|a, b| a.from.total_cmp(&b.from));
        let mut open: Option<(f64, f64)> = None;
        for band in sorted {
            let from = self.x(band.from);
            let to = self.x(band.to).max(from + NARROWEST);
            open = match open {
                Some((start, end)) if from <= end + 0.2 => Some((start, end.max(to))),
                Some(whole) => {
                    self.band(svg, whole);
                    Some((from, to))
                }
                None => Some((from, to)),
            };
        }
        if let Some(whole) = open {
            self.band(svg, whole);
        }
    }

    fn band(&self, svg: &mut Svg, (from, to): (f64, f64)) {
        svg.rect("band", (from, self.top), (to - from, self.bottom() - self.top));
    }

    fn dots(&self, svg: &mut Svg, number: usize, series: &Dots, marked: bool) {
        let class = if marked { class(number) + " marked" } else { class(number) };
        let radius = if marked { 4.0 } else { 1.6 };
        let mut drawn = HashSet::new();
        for (x, us, _) in series.dots.iter().filter(|(_, _, it_is)| *it_is == marked) {
            if !(self.span.from..=self.span.to).contains(x) {
                continue;
            }
            let at = (self.x(*x), self.y(*us));
            if drawn.insert(((at.0 / CELL) as i64, (at.1 / CELL) as i64)) {
                circle(svg, &class, at, radius);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(dots: Vec<(f64, f64, bool)>, bands: Vec<Band>) -> DotChart {
        let panel = DotPanel { heading: "all".to_owned(), span: Band { from: 0.0, to: 1.0 } };
        let series = vec![Dots { name: "insert".to_owned(), dots }];
        DotChart { series, bands, panels: vec![panel], ..DotChart::default() }
    }

    #[test]
    fn many_dots_on_one_spot_are_one() {
        let text = dot_chart(&chart(vec![(0.5, 100.0, false); 10_000], Vec::new()));
        // One in the legend, one in the field.
        assert_eq!(text.matches("<circle").count(), 2);
    }

    #[test]
    fn bands_that_touch_are_one_and_those_outside_are_none() {
        let band = |from, to| Band { from, to };
        let bands = vec![band(0.2, 0.3), band(0.3, 0.4), band(0.8, 0.9), band(1.5, 1.6)];
        let text = dot_chart(&chart(Vec::new(), bands));
        assert_eq!(text.matches("class=\"band\"").count(), 2);
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }
}
