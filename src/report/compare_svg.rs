//! The table of the modes as one picture: a row a mode, made to be read from the back of a lecture hall.
//!
//! From the left: what a client waits (a dot at the median, a bar to the 99th percentile, a line to the 99.9th, on a
//! logarithmic axis), what is answered while faults are in force, how many reads are stale, what a write costs, and the
//! ladder of models, full where it held and hollow where it did not. Like the other pictures it follows the reader's
//! light or dark scheme and brings a background of its own.

use super::Kind;
use super::compare_modes::{ModeRow, ModeTable, percent, short, three_digits};
use super::format_svg::latency_label;
use super::svg::{Colour, Frame, Svg};
use super::table::grouped;
use crate::check::{Answer, MODELS};

const WIDTH: f64 = 1280.0;
const MARGIN: f64 = 28.0;
/// Above the first row, and the height of each.
const HEAD: f64 = 214.0;
const ROW: f64 = 104.0;
/// Below the last row: the axis, the legend.
const AXIS: f64 = 26.0;
const LEGEND: f64 = 44.0;
const NOTE: f64 = 20.0;
/// The columns: from and to.
const LATENCY: (f64, f64) = (216.0, 596.0);
const ANSWERED: (f64, f64) = (636.0, 736.0);
const STALE: (f64, f64) = (766.0, 866.0);
const NETWORK: f64 = 906.0;
const LADDER: f64 = 1050.0;
const RUNG: f64 = 17.0;
const RADIUS: f64 = 6.0;

const STYLE: &str = "\
text { font: 13.5px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
text.title { font-size: 22px; font-weight: 650; } text.mode { font-size: 18px; font-weight: 650; }
text.heading { font-size: 14px; font-weight: 650; } text.figure { font-size: 15px; font-weight: 600; }
text.small, text.axis { font-size: 12px; } .rule { fill: none; stroke-width: 1; }
text.over { font-size: 12.5px; font-weight: 600; paint-order: stroke; stroke-width: 3.5px; stroke-linejoin: round; }
.thin-read, .thin-write { fill: none; stroke-width: 2; stroke-linecap: round; }
.bar-read, .bar-write { fill: none; stroke-width: 11; stroke-linecap: round; stroke-opacity: 0.42; }
.held { stroke-width: 1.6; } .broken { fill: none; stroke-width: 1.6; }
.unknown { fill: none; stroke-width: 1.6; stroke-dasharray: 2 2.4; }
";

const COLOURS: &[Colour] = &[
    (".paper", "fill", "#fcfcf9", "#15191e"),
    ("text", "fill", "#20262e", "#e8ebee"),
    ("text.dim, text.axis, text.small", "fill", "#5d6670", "#a3adb8"),
    ("text.over", "stroke", "#fcfcf9", "#15191e"),
    (".rule", "stroke", "#dcdcd4", "#333b44"),
    (".track", "fill", "#e9e9e2", "#2a313a"),
    (".dot-read", "fill", "#0067a8", "#62b6ee"),
    (".bar-read, .thin-read", "stroke", "#0067a8", "#62b6ee"),
    (".dot-write", "fill", "#c04a00", "#ff9a56"),
    (".bar-write, .thin-write", "stroke", "#c04a00", "#ff9a56"),
    (".answered", "fill", "#2c8f6a", "#48d0a6"),
    (".stale", "fill", "#b06a98", "#e6a3c8"),
    (".held", "fill", "#20262e", "#e8ebee"),
    (".held, .broken, .unknown", "stroke", "#20262e", "#e8ebee"),
];

/// The text of the picture's file.
pub fn compare_svg(table: &ModeTable) -> String {
    let rows = table.rows.len() as f64;
    let bottom = HEAD + ROW * rows;
    let height = bottom + AXIS + LEGEND + NOTE * table.notes.len() as f64 + 14.0;
    let mut svg = Svg::begin(&Frame {
        size: (WIDTH, height),
        title: &table.title,
        description: &description(table),
        rules: STYLE,
        colours: COLOURS,
    });
    svg.words(MARGIN, 40.0, "title", "start", &table.title);
    svg.words(MARGIN, 64.0, "dim", "start", &table.subtitle);
    headings(&mut svg);
    let axis = Axis::of(table);
    axis.draw(&mut svg, bottom);
    for (number, row) in table.rows.iter().enumerate() {
        draw_row(&mut svg, row, &axis, HEAD + ROW * number as f64);
    }
    legend(&mut svg, table, bottom + AXIS);
    svg.end()
}

/// The table in words, for who cannot see the picture.
fn description(table: &ModeTable) -> String {
    let row = |row: &ModeRow| {
        let answered = row.availability().map_or("no faults".to_owned(), |share| {
            format!("{} answered in faults", percent(share))
        });
        let strongest: Vec<&str> = row.ladder.strongest().iter().map(|model| model.title).collect();
        format!(
            "{}: reads {} ms and writes {} ms at the median, {answered}, {} of reads stale, strongest model {}.",
            row.mode,
            three_digits(row.reads.percentile_us(50.0) / 1e3),
            three_digits(row.writes.percentile_us(50.0) / 1e3),
            percent(row.stale_share()),
            if strongest.is_empty() { "none".to_owned() } else { strongest.join(" and ") }
        )
    };
    let rows: Vec<String> = table.rows.iter().map(row).collect();
    format!("{}. {}", table.subtitle, rows.join(" "))
}

fn headings(svg: &mut Svg) {
    let mut heading = |x: f64, first: &str, second: &str| {
        svg.words(x, HEAD - 34.0, "heading", "start", first);
        svg.words(x, HEAD - 16.0, "small", "start", second);
    };
    heading(MARGIN, "mode", "operations a second");
    heading(LATENCY.0, "what a client waits", "median to 99.9th percentile, logarithmic");
    heading(ANSWERED.0, "answered", "while a fault is on");
    heading(STALE.0, "stale reads", "and the worst");
    heading(NETWORK, "a write costs", "and: equal after");
    for (number, model) in MODELS.iter().enumerate() {
        let x = LADDER + RUNG * number as f64 + 4.0;
        let y = HEAD - 14.0;
        svg.line(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"small\" transform=\"rotate(-62 {x:.1} {y:.1})\">{}</text>",
            short(model.name)
        ));
    }
}

/// The logarithmic axis of latencies, in microseconds.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Whole decades around all that is shown.
    fn of(table: &ModeTable) -> Self {
        let tallies = table.rows.iter().flat_map(|row| [&row.reads, &row.writes]);
        let shown = tallies.filter(|tally| !tally.latency.is_empty());
        let ends = |tally: &super::Tally| (tally.percentile_us(50.0), tally.percentile_us(99.9));
        let (low, high) = shown
            .map(ends)
            .fold((f64::INFINITY, 1.0_f64), |(low, high), (a, b)| (low.min(a), high.max(b)));
        let low = if low.is_finite() { low.max(1.0) } else { 100.0 };
        let low = 10f64.powf(low.log10().floor());
        Self { low, high: 10f64.powf(high.max(low * 10.0).log10().ceil()) }
    }

    fn x(&self, us: f64) -> f64 {
        let share = (us.max(self.low) / self.low).log10() / (self.high / self.low).log10();
        LATENCY.0 + share.min(1.0) * (LATENCY.1 - LATENCY.0)
    }

    fn draw(&self, svg: &mut Svg, bottom: f64) {
        let decades = (self.high / self.low).log10().round() as i32;
        for decade in 0..=decades {
            let us = self.low * 10f64.powi(decade);
            let x = self.x(us);
            svg.rule("rule", (x, HEAD), (x, bottom + 6.0));
            svg.words(x, bottom + 21.0, "axis", "middle", &latency_label(us));
        }
    }
}

fn draw_row(svg: &mut Svg, row: &ModeRow, axis: &Axis, top: f64) {
    svg.rule("rule", (MARGIN, top), (WIDTH - MARGIN, top));
    svg.words(MARGIN, top + 36.0, "mode", "start", row.mode);
    let throughput = format!("{} /s", grouped(row.throughput.round() as u64));
    svg.words(MARGIN, top + 58.0, "dim", "start", &throughput);
    draw_latency(svg, row, Kind::Read, axis, top + 32.0);
    draw_latency(svg, row, Kind::Write, axis, top + 66.0);
    svg.words(MARGIN, top + 92.0, "small", "start", row.promise);
    let middle = top + 40.0;
    match row.availability() {
        Some(share) => {
            svg.words(ANSWERED.0, middle - 6.0, "figure", "start", &percent(share));
            gauge(svg, "answered", ANSWERED, middle + 6.0, share);
            let (served, due) = row.served.unwrap_or_default();
            let of = format!("{served} of {due}");
            svg.words(ANSWERED.0, middle + 34.0, "small", "start", &of);
        }
        None => svg.words(ANSWERED.0, middle - 6.0, "dim", "start", "no faults"),
    }
    svg.words(STALE.0, middle - 6.0, "figure", "start", &percent(row.stale_share()));
    gauge(svg, "stale", STALE, middle + 6.0, row.stale_share());
    if row.staleness.stale > 0 {
        let (versions, ms) = row.most_stale();
        let plural = if versions == 1 { "" } else { "s" };
        let worst = format!("{versions} version{plural}, {}", latency_label(ms * 1e3));
        svg.words(STALE.0, middle + 34.0, "small", "start", &worst);
    }
    let messages = format!("{:.1} messages", row.write_cost.messages);
    svg.words(NETWORK, middle - 6.0, "figure", "start", &messages);
    let bytes = format!("{} bytes", grouped(row.write_cost.bytes.round() as u64));
    svg.words(NETWORK, middle + 14.0, "small", "start", &bytes);
    let equal = row.convergence.map_or("never equal".to_owned(), |took| {
        format!("equal after {}", latency_label(took.as_secs_f64() * 1e6))
    });
    svg.words(NETWORK, middle + 34.0, "small", "start", &equal);
    for (number, model) in MODELS.iter().enumerate() {
        let answer = row.ladder.rung(model).map(|rung| &rung.answer);
        draw_rung(svg, answer, (LADDER + RUNG * number as f64, middle));
    }
}

/// One kind's latencies on the axis.
fn draw_latency(svg: &mut Svg, row: &ModeRow, kind: Kind, axis: &Axis, y: f64) {
    let tally = row.tally(kind);
    let name = kind.name();
    svg.words(LATENCY.0 - 12.0, y + 4.5, "small", "end", &format!("{name}s"));
    if tally.latency.is_empty() {
        return svg.words(LATENCY.0 + 8.0, y + 4.5, "small", "start", "none was answered");
    }
    let [p50, p99, p999] = super::compare_modes::SHOWN.map(|p| tally.percentile_us(p));
    svg.rule(&format!("thin-{name}"), (axis.x(p50), y), (axis.x(p999), y));
    svg.rule(&format!("bar-{name}"), (axis.x(p50), y), (axis.x(p99), y));
    svg.line(&format!(
        "<circle class=\"dot-{name}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\"/>",
        axis.x(p50)
    ));
    let middle = axis.x(p50).max(LATENCY.0 + 18.0);
    svg.words(middle, y - 10.0, "over", "middle", &latency_label(p50));
}

/// A bar in its track, full at 1.
fn gauge(svg: &mut Svg, class: &str, column: (f64, f64), y: f64, share: f64) {
    let width = column.1 - column.0;
    svg.rect("track", (column.0, y), (width, 9.0));
    if share > 0.0 {
        svg.rect(class, (column.0, y), ((width * share.min(1.0)).max(1.5), 9.0));
    }
}

fn draw_rung(svg: &mut Svg, answer: Option<&Answer>, (x, y): (f64, f64)) {
    let class = match answer {
        Some(Answer::Valid) => "held",
        Some(Answer::Violation(_)) => "broken",
        Some(Answer::Unknown(_)) | None => "unknown",
    };
    svg.line(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\"/>"));
}

fn legend(svg: &mut Svg, table: &ModeTable, top: f64) {
    let y = top + 22.0;
    svg.rule("rule", (MARGIN, top), (WIDTH - MARGIN, top));
    let mut x = LATENCY.0;
    for kind in Kind::ALL {
        let name = kind.name();
        svg.rule(&format!("thin-{name}"), (x, y), (x + 54.0, y));
        svg.rule(&format!("bar-{name}"), (x, y), (x + 34.0, y));
        svg.line(&format!("<circle class=\"dot-{name}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>"));
        let words = format!("{name}s: median, 99 %, 99.9 %");
        svg.words(x + 64.0, y + 4.5, "small", "start", &words);
        x += 280.0;
    }
    let mut x = LADDER;
    let answers = [
        (Some(Answer::Valid), "held", 56.0),
        (Some(Answer::Violation(Vec::new())), "broken", 68.0),
        (None, "not decided", 0.0),
    ];
    for (answer, words, width) in &answers {
        draw_rung(svg, answer.as_ref(), (x, y));
        svg.words(x + 11.0, y + 4.5, "small", "start", words);
        x += width;
    }
    for (number, note) in table.notes.iter().enumerate() {
        let y = top + LEGEND + NOTE * number as f64 + 12.0;
        svg.words(MARGIN, y, "small", "start", note);
    }
}
