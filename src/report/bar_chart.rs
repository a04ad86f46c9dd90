//! Bar charts in panels, as an SVG: the same things under several conditions, one panel a condition, all of a
//! chart with one look.
//!
//! Like [`super::space_time`] the picture follows the reader's light or dark scheme and brings a background of
//! its own, so that it can be read on any page. Its looks differ in hue and lightness, not in red and green
//! alone.

use std::fmt::Write;

use super::svg::{self, Colour, Svg, step};

/// Panels in a grid, with one legend.
#[derive(Clone, Debug, Default)]
pub struct BarChart {
    /// The heading, and what a screen reader says first.
    pub title: String,
    /// What it says then.
    pub description: String,
    /// How many panels stand side by side.
    pub columns: usize,
    /// How high the bars' area of a panel is, in pixels.
    pub height: f64,
    /// The panels, row by row.
    pub panels: Vec<BarPanel>,
    /// What the looks mean.
    pub legend: Vec<(BarLook, String)>,
    /// The last lines, below the legend.
    pub notes: Vec<String>,
}

/// One group of bars beside the other over one axis.
#[derive(Clone, Debug, Default)]
pub struct BarPanel {
    /// Its heading.
    pub heading: String,
    /// What the heading means.
    pub subheading: String,
    /// The groups, from the left.
    pub groups: Vec<BarGroup>,
    /// Where the axis ends; no value is greater.
    pub top: f64,
    /// A value that is marked by a dashed line.
    pub mark: Option<f64>,
}

/// Bars that belong together: one, or one a look.
#[derive(Clone, Debug, Default)]
pub struct BarGroup {
    /// What stands below it.
    pub label: String,
    /// The bars.
    pub bars: Vec<(f64, BarLook)>,
}

/// How a bar looks; the legend says what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarLook {
    /// The usual bar.
    Plain,
    /// Another kind of bar beside it.
    Other,
    /// A third kind of bar beside both.
    Third,
    /// A bar to look at.
    Notable,
    /// The dashed line.
    Mark,
}

impl BarLook {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Other => "other",
            Self::Third => "third",
            Self::Notable => "notable",
            Self::Mark => "mark",
        }
    }
}

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
/// Between panels, and the figures at the left of each.
const GAP: f64 = 22.0;
const FIGURES: f64 = 34.0;
/// Above the first panels, above the bars of a panel (its headings), and below them (their labels).
const TITLE: f64 = 44.0;
const HEAD: f64 = 56.0;
const FOOT: f64 = 30.0;
/// The legend, and each line of notes below it.
const LEGEND: f64 = 36.0;
const NOTE: f64 = 19.0;
/// How wide a character is, about.
const CHARACTER: f64 = 6.6;

/// What does not depend on the scheme.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
text.title { font-size: 18px; font-weight: 600; } text.heading { font-size: 15px; font-weight: 600; }
text.figure, text.value { font-size: 12px; } .rule { fill: none; stroke-width: 1; }
text.value { paint-order: stroke; stroke-width: 3px; stroke-linejoin: round; }
.mark { fill: none; stroke-width: 1.6; stroke-dasharray: 5 4; }
";

const COLOURS: &[Colour] = &[
    (".paper", "fill", "#fcfcf9", "#15191e"),
    ("text", "fill", "#20262e", "#e8ebee"),
    ("text.dim, text.figure", "fill", "#5d6670", "#a3adb8"),
    ("text.value", "stroke", "#fcfcf9", "#15191e"),
    (".rule", "stroke", "#dcdcd4", "#333b44"),
    (".plain", "fill", "#0067a8", "#62b6ee"),
    (".other", "fill", "#7fc7a9", "#1f8f6b"),
    (".third", "fill", "#b06a98", "#e6a3c8"),
    (".notable", "fill", "#c04a00", "#ff9a56"),
    (".mark", "stroke", "#20262e", "#e8ebee"),
];

/// The text of the picture's file.
pub fn bar_chart(chart: &BarChart) -> String {
    let columns = chart.columns.max(1);
    let rows = chart.panels.len().div_ceil(columns);
    let panel_height = HEAD + chart.height + FOOT;
    let legend = TITLE + panel_height * rows as f64;
    let height = legend + LEGEND + NOTE * chart.notes.len() as f64 + 8.0;
    let mut svg = Svg::begin(&svg::Frame {
        size: (WIDTH, height),
        title: &chart.title,
        description: &chart.description,
        rules: STYLE,
        colours: COLOURS,
    });
    svg.words(MARGIN, 32.0, "title", "start", &chart.title);
    let width = (WIDTH - 2.0 * MARGIN - GAP * (columns - 1) as f64) / columns as f64;
    for (number, panel) in chart.panels.iter().enumerate() {
        let (row, column) = (number / columns, number % columns);
        let left = MARGIN + (width + GAP) * column as f64;
        let top = TITLE + panel_height * row as f64;
        let frame = Frame {
            left: left + FIGURES,
            right: left + width,
            top: top + HEAD,
            bottom: top + HEAD + chart.height,
            scale: chart.height / panel.top.max(1e-9),
        };
        svg.words(left, top + 20.0, "heading", "start", &panel.heading);
        svg.words(left, top + 37.0, "dim", "start", &panel.subheading);
        frame.draw(&mut svg, panel);
    }
    draw_legend(&mut svg, chart, legend);
    svg.end()
}

/// Where the bars of one panel are.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    scale: f64,
}

impl Frame {
    fn y(&self, value: f64) -> f64 {
        self.bottom - value * self.scale
    }

    fn draw(&self, svg: &mut Svg, panel: &BarPanel) {
        let step = step(panel.top, 5.0);
        // `step` leaves six of them at the most.
        for number in 0..=(panel.top / step).round() as usize {
            let value = number as f64 * step;
            let y = self.y(value);
            if y < self.top - 0.5 {
                break;
            }
            let (left, right) = (self.left, self.right);
            let _ =
                writeln!(svg.text, "<path class=\"rule\" d=\"M {left:.1} {y:.1} H {right:.1}\"/>");
            svg.words(left - 6.0, y + 4.0, "figure", "end", &figure(value));
        }
        let room = (self.right - self.left) / panel.groups.len().max(1) as f64;
        let longest = panel.groups.iter().map(|group| group.label.chars().count()).max();
        // Where not all labels fit, every second, third … has one.
        let every = ((longest.unwrap_or(0) + 1) as f64 * CHARACTER / room).ceil().max(1.0) as usize;
        for (number, group) in panel.groups.iter().enumerate() {
            let left = self.left + room * number as f64;
            for (bar, x, each) in places(group, left, room) {
                let (look, y) = (bar.1.class(), self.y(bar.0));
                let height = self.bottom - y;
                svg.rect(look, (x, y), (each, height));
            }
            if number % every == 0 {
                let (x, y) = (left + room / 2.0, self.bottom + 15.0);
                svg.words(x, y, "figure", "middle", &group.label);
            }
        }
        if let Some(mark) = panel.mark {
            let (left, right, y) = (self.left, self.right, self.y(mark));
            let _ =
                writeln!(svg.text, "<path class=\"mark\" d=\"M {left:.1} {y:.1} H {right:.1}\"/>");
        }
        // Figures over all else; all of them or none.
        let each = |group: &BarGroup| room * 0.8 / group.bars.len().max(1) as f64;
        let fits = |group: &BarGroup| {
            let figures = group.bars.iter().map(|(value, _)| figure(*value).chars().count());
            figures.max().unwrap_or(0) as f64 * CHARACTER <= each(group) * 1.25
        };
        if !panel.groups.iter().all(fits) {
            return;
        }
        for (number, group) in panel.groups.iter().enumerate() {
            for (bar, x, each) in places(group, self.left + room * number as f64, room) {
                let above = self.y(bar.0) - 3.0;
                svg.words(x + each / 2.0, above, "value", "middle", &figure(bar.0));
            }
        }
    }
}

/// The bars of a group with their left edges and their width.
fn places(
    group: &BarGroup,
    left: f64,
    room: f64,
) -> impl Iterator<Item = ((f64, BarLook), f64, f64)> {
    let each = room * 0.8 / group.bars.len().max(1) as f64;
    let bars = group.bars.iter().enumerate();
    bars.map(move |(number, bar)| (*bar, left + room * 0.1 + each * number as f64, each))
}

fn draw_legend(svg: &mut Svg, chart: &BarChart, top: f64) {
    let y = top + 14.0;
    let _ = writeln!(
        svg.text,
        "<path class=\"rule\" d=\"M {MARGIN} {top:.1} H {:.1}\"/>",
        WIDTH - MARGIN
    );
    let mut x = MARGIN;
    for (look, meaning) in &chart.legend {
        let class = look.class();
        let _ = match look {
            BarLook::Mark => {
                writeln!(svg.text, "<path class=\"mark\" d=\"M {x:.1} {:.1} h 24\"/>", y + 6.0)
            }
            _ => writeln!(
                svg.text,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"14\" height=\"12\"/>"
            ),
        };
        x += if *look == BarLook::Mark { 32.0 } else { 22.0 };
        svg.words(x, y + 10.5, "dim", "start", meaning);
        x += meaning.chars().count() as f64 * CHARACTER + 28.0;
    }
    let mut below = top + LEGEND + 10.0;
    for note in &chart.notes {
        svg.words(MARGIN, below, "dim", "start", note);
        below += NOTE;
    }
}

/// With two decimals at the most; `12.5k` and `1.2M` where it is long.
fn figure(value: f64) -> String {
    let short = |value: f64, unit: &str| {
        let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    if value >= 1e6 {
        return short(value / 1e6, "M");
    }
    if value >= 1e4 {
        return short(value / 1e3, "k");
    }
    ((value * 100.0).round() / 100.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_draw_is_an_empty_picture() {
        for columns in [0, 3] {
            let panels = vec![BarPanel { heading: "<a & b>".to_owned(), ..BarPanel::default() }];
            let text = bar_chart(&BarChart { columns, panels, ..BarChart::default() });
            assert!(text.contains("&lt;a &amp; b&gt;"));
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            assert!(text.ends_with("</svg>\n"));
        }
    }
}
