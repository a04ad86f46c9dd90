//! Space-time diagrams (Lamport's): a lane for each process, time to the right, a slanted arrow for each
//! message. Replica lanes are coloured by whether their value is current; a client's operation is a box
//! from its request to its answer.
//!
//! The picture is a plain SVG of its own colours, which follow the reader's light or dark scheme
//! (`prefers-color-scheme`), with the system's own font. It draws what it is given and knows nothing of
//! protocols.

use std::fmt::Write;

use super::svg::{Colour, Frame, Svg, step};

/// A picture: panels one above the other, with one legend.
#[derive(Clone, Debug, Default)]
pub struct Diagram {
    /// What a screen reader says first.
    pub title: String,
    /// What it says then.
    pub description: String,
    /// The panels, from above.
    pub panels: Vec<Panel>,
    /// The last lines, below the legend.
    pub notes: Vec<String>,
}

/// One run of the processes. Times are in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Its heading.
    pub heading: String,
    /// What the heading means.
    pub subheading: String,
    /// The processes, from above.
    pub lanes: Vec<Lane>,
    /// The messages.
    pub arrows: Vec<Arrow>,
    /// The time at the left edge; it may be negative, the axis begins at 0.
    pub start: f64,
    /// The time at the right edge.
    pub end: f64,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What it does over time.
    pub spans: Vec<Span>,
}

/// A stretch of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// From when.
    pub from: f64,
    /// Until when.
    pub to: f64,
    /// What it means.
    pub look: Look,
    /// What is written in it.
    pub text: String,
}

/// What a stretch of a lane means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A replica with the value of before.
    Before,
    /// A replica that does not have a value that was written already.
    Stale,
    /// A replica that has it; it begins with a delivery.
    Current,
    /// A client's operation.
    Operation,
    /// A client's read that returned a stale value.
    StaleRead,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    /// The lane it leaves from, and when.
    pub from: (usize, f64),
    /// The lane it comes to, and when.
    pub to: (usize, f64),
    /// What it is.
    pub kind: ArrowKind,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrowKind {
    /// Between a client and its replica.
    Client,
    /// A write on its way to another replica.
    Write,
    /// An acknowledgement.
    Ack,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 28.0;
/// From one lane to the next, and half the height of a lane.
const PITCH: f64 = 64.0;
const HALF: f64 = 11.0;
/// Above the first lane of a panel (its headings), and below the last (its axis).
const HEAD: f64 = 82.0;
const FOOT: f64 = 48.0;
/// The legend, and each line of notes below it.
const LEGEND: f64 = 46.0;
const NOTE: f64 = 20.0;

/// What does not depend on the scheme.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
text.heading { font-size: 17px; font-weight: 600; } text.axis { font-size: 12px; }
text.in-stale-read { font-weight: 600; } .rule, .arrow { fill: none; stroke-width: 1.2; }
.arrow.client { stroke-width: 1.5; } .arrow.write { stroke-width: 2.2; }
.arrow.ack { stroke-width: 1.5; stroke-dasharray: 5 4; }
.operation, .mark { stroke-width: 1.5; } .stale-read { stroke-width: 2.5; }
";

const COLOURS: &[Colour] = &[
    (".paper, .operation, .stale-read", "fill", "#fcfcf9", "#15191e"),
    (".mark", "stroke", "#fcfcf9", "#15191e"),
    ("text", "fill", "#20262e", "#e8ebee"),
    ("text.dim, text.axis", "fill", "#5d6670", "#a3adb8"),
    (".rule", "stroke", "#dcdcd4", "#333b44"),
    (".before", "fill", "#e4e6e8", "#3a424b"),
    (".stale", "fill", "#f7c873", "#8a5c0d"),
    ("text.in-stale", "fill", "#5a3a00", "#ffe7bd"),
    (".current", "fill", "#a9dcc8", "#14614a"),
    ("text.in-current", "fill", "#00442f", "#d3f5e8"),
    (".mark", "fill", "#00795a", "#48d0a6"),
    (".operation, .client", "stroke", "#20262e", "#e8ebee"),
    (".head-client", "fill", "#20262e", "#e8ebee"),
    (".stale-read", "stroke", "#c04a00", "#ff9a56"),
    ("text.in-stale-read", "fill", "#c04a00", "#ff9a56"),
    (".write", "stroke", "#0067a8", "#62b6ee"),
    (".head-write", "fill", "#0067a8", "#62b6ee"),
    (".ack", "stroke", "#7c858f", "#8b96a2"),
    (".head-ack", "fill", "#7c858f", "#8b96a2"),
];

/// The text of the picture's file.
pub fn space_time(diagram: &Diagram) -> String {
    let heights: Vec<f64> = diagram.panels.iter().map(height).collect();
    let height = heights.iter().sum::<f64>() + LEGEND + NOTE * diagram.notes.len() as f64;
    let mut svg = Svg::begin(&Frame {
        size: (WIDTH, height),
        title: &diagram.title,
        description: &diagram.description,
        rules: STYLE,
        colours: COLOURS,
    });
    let mut top = 0.0;
    for (panel, height) in diagram.panels.iter().zip(heights) {
        svg.panel(panel, top);
        top += height;
    }
    svg.legend(top, &diagram.notes);
    svg.end()
}

fn height(panel: &Panel) -> f64 {
    HEAD + PITCH * panel.lanes.len().saturating_sub(1) as f64 + FOOT
}

/// Where things are in one panel.
struct Places {
    top: f64,
    start: f64,
    scale: f64,
}

impl Places {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (ms - self.start) * self.scale
    }

    fn y(&self, lane: usize) -> f64 {
        self.top + HEAD + PITCH * lane as f64
    }
}

impl Svg {
    fn panel(&mut self, panel: &Panel, top: f64) {
        let start = panel.start;
        let scale = (WIDTH - LEFT - RIGHT) / (panel.end - start).max(1e-9);
        let places = Places { top, start, scale };
        if top > 0.0 {
            let _ = writeln!(
                self.text,
                "<path class=\"rule\" d=\"M 24 {top:.1} H {:.1}\"/>",
                WIDTH - 24.0
            );
        }
        self.words(24.0, top + 30.0, "heading", "start", &panel.heading);
        self.words(24.0, top + 50.0, "dim", "start", &panel.subheading);
        self.axis(panel, &places);
        for (number, lane) in panel.lanes.iter().enumerate() {
            let y = places.y(number);
            self.words(LEFT - 14.0, y + 4.5, "", "end", &lane.name);
            let _ = writeln!(
                self.text,
                "<path class=\"rule\" d=\"M {LEFT:.1} {y:.1} H {:.1}\"/>",
                WIDTH - RIGHT
            );
        }
        // Lanes over arrows, so that an arrow passes behind the lanes it has nothing to do with.
        for arrow in &panel.arrows {
            self.arrow(arrow, &places);
        }
        for (number, lane) in panel.lanes.iter().enumerate() {
            for span in &lane.spans {
                self.span(span, places.y(number), &places);
            }
        }
    }

    fn axis(&mut self, panel: &Panel, places: &Places) {
        let Some(last) = panel.lanes.len().checked_sub(1) else { return };
        let (above, below) = (places.y(0) - HALF, places.y(last) + HALF + 6.0);
        let mut ms = 0.0;
        while ms <= panel.end {
            let x = places.x(ms);
            let _ = writeln!(
                self.text,
                "<path class=\"rule\" stroke-dasharray=\"1 5\" d=\"M {x:.1} {above:.1} V {below:.1}\"/>"
            );
            let unit = if ms == 0.0 { " ms" } else { "" };
            self.words(x, below + 15.0, "axis", "middle", &format!("{ms}{unit}"));
            ms += step(panel.end, 12.0);
        }
    }

    fn span(&mut self, span: &Span, y: f64, places: &Places) {
        let (left, right) = (places.x(span.from), places.x(span.to));
        let (class, ink, round) = match span.look {
            Look::Before => ("before", "dim", 0.0),
            Look::Stale => ("stale", "in-stale", 0.0),
            Look::Current => ("current", "in-current", 0.0),
            Look::Operation => ("operation", "", 5.0),
            Look::StaleRead => ("stale-read", "in-stale-read", 5.0),
        };
        let (width, height) = (right - left, 2.0 * HALF);
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
             height=\"{height}\" rx=\"{round}\"/>",
            y - HALF
        );
        if span.look == Look::Current {
            self.mark(left, y);
            self.words(left + 13.0, y + 4.5, ink, "start", &span.text);
        } else {
            self.words((left + right) / 2.0, y + 4.5, ink, "middle", &span.text);
        }
    }

    /// A delivery.
    fn mark(&mut self, x: f64, y: f64) {
        let _ = writeln!(
            self.text,
            "<path class=\"mark\" d=\"M {x:.1} {:.1} l 8 8 l -8 8 l -8 -8 z\"/>",
            y - 8.0
        );
    }

    fn arrow(&mut self, arrow: &Arrow, places: &Places) {
        let down = arrow.to.0 > arrow.from.0;
        let edge = if down { HALF } else { -HALF };
        let start = (places.x(arrow.from.1), places.y(arrow.from.0) + edge);
        let end = (places.x(arrow.to.1), places.y(arrow.to.0) - edge);
        self.shaft(start, end, arrow.kind);
    }

    fn shaft(&mut self, start: (f64, f64), end: (f64, f64), kind: ArrowKind) {
        let class = match kind {
            ArrowKind::Client => "client",
            ArrowKind::Write => "write",
            ArrowKind::Ack => "ack",
        };
        let (dx, dy) = (end.0 - start.0, end.1 - start.1);
        let length = dx.hypot(dy).max(1e-9);
        let (dx, dy) = (dx / length, dy / length);
        // The shaft ends inside the head, so that its blunt end does not show.
        let neck = (end.0 - 7.0 * dx, end.1 - 7.0 * dy);
        let back = (end.0 - 9.0 * dx, end.1 - 9.0 * dy);
        let side = (-4.2 * dy, 4.2 * dx);
        let _ = writeln!(
            self.text,
            "<path class=\"arrow {class}\" d=\"M {:.1} {:.1} L {:.1} {:.1}\"/>\n\
             <path class=\"head-{class}\" d=\"M {:.1} {:.1} L {:.1} {:.1} L {:.1} {:.1} z\"/>",
            start.0,
            start.1,
            neck.0,
            neck.1,
            end.0,
            end.1,
            back.0 + side.0,
            back.1 + side.1,
            back.0 - side.0,
            back.1 - side.1,
        );
    }

    fn legend(&mut self, top: f64, notes: &[String]) {
        let y = top + 20.0;
        let _ =
            writeln!(self.text, "<path class=\"rule\" d=\"M 24 {top:.1} H {:.1}\"/>", WIDTH - 24.0);
        let mut x = 24.0;
        for (kind, text, width) in
            [(ArrowKind::Write, "write", 78.0), (ArrowKind::Ack, "acknowledgement", 166.0)]
        {
            self.shaft((x, y), (x + 32.0, y), kind);
            self.words(x + 40.0, y + 4.5, "dim", "start", text);
            x += width + 10.0;
        }
        self.mark(x + 8.0, y);
        self.words(x + 24.0, y + 4.5, "dim", "start", "delivery");
        x += 94.0;
        for (class, text, width) in [
            ("stale", "x is old: not delivered here yet", 236.0),
            ("current", "x is current", 112.0),
        ] {
            let _ = writeln!(
                self.text,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"24\" height=\"14\"/>",
                y - 7.0
            );
            self.words(x + 32.0, y + 4.5, "dim", "start", text);
            x += width + 10.0;
        }
        let _ = writeln!(
            self.text,
            "<rect class=\"stale-read\" x=\"{x:.1}\" y=\"{:.1}\" width=\"24\" height=\"14\" rx=\"3\"/>",
            y - 7.0
        );
        self.words(x + 32.0, y + 4.5, "dim", "start", "a stale read");
        let mut below = y + 30.0;
        for note in notes {
            self.words(24.0, below, "dim", "start", note);
            below += NOTE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_the_picture() {
        let lane = Lane { name: "<a & b>".to_owned(), spans: Vec::new() };
        let panel = Panel { lanes: vec![lane], end: 1.0, ..Panel::default() };
        let text = space_time(&Diagram { panels: vec![panel], ..Diagram::default() });
        assert!(text.contains("&lt;a &amp; b&gt;"));
        assert!(text.ends_with("</svg>\n"));
    }
}
