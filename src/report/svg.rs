//! What the pictures drawn by hand share: the frame, colours that follow the reader's scheme, lines and text.

use std::fmt::Write;

/// Selector, property, and its colour on light and on dark. Plain rules, not CSS variables: not every
/// program that shows an SVG knows those.
pub(super) type Colour = (&'static str, &'static str, &'static str, &'static str);

/// A style sheet: the rules that do not depend on the scheme, and the colours of both.
pub(super) fn sheet(rules: &str, colours: &[Colour]) -> String {
    let lines = |colour: fn(&Colour) -> &'static str| {
        let line = |row: &Colour| format!("{} {{ {}: {}; }}\n", row.0, row.1, colour(row));
        colours.iter().map(line).collect::<String>()
    };
    let (light, dark) = (lines(|row| row.2), lines(|row| row.3));
    format!("{rules}{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n")
}

/// Text as it may stand between tags.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What stands around a picture.
pub(super) struct Frame<'a> {
    /// Width and height.
    pub(super) size: (f64, f64),
    /// What a screen reader says first.
    pub(super) title: &'a str,
    /// What it says then.
    pub(super) description: &'a str,
    /// The rules that do not depend on the scheme.
    pub(super) rules: &'a str,
    /// Those that do; `.paper` is the background.
    pub(super) colours: &'a [Colour],
}

/// A picture in the making.
pub(super) struct Svg {
    /// Its text so far.
    pub(super) text: String,
}

impl Svg {
    /// The frame and the background.
    pub(super) fn begin(frame: &Frame<'_>) -> Self {
        let (width, height) = frame.size;
        let mut svg = Self { text: String::new() };
        svg.line(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">"
        ));
        svg.line(&format!("<title id=\"title\">{}</title>", escape(frame.title)));
        svg.line(&format!("<desc id=\"description\">{}</desc>", escape(frame.description)));
        svg.line(&format!("<style>\n{}</style>", sheet(frame.rules, frame.colours)));
        svg.line(&format!(
            "<rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"
        ));
        svg
    }

    /// The text of the picture's file.
    pub(super) fn end(mut self) -> String {
        self.line("</svg>");
        self.text
    }

    /// Appends an element.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Appends words; `anchor` is `start`, `middle` or `end`.
    pub(super) fn words(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    /// Appends a rectangle from its left upper corner.
    pub(super) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64)) {
        let ((x, y), (width, height)) = (corner, size);
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    /// Appends a straight line.
    pub(super) fn rule(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((a, b), (c, d)) = (from, to);
        let _ =
            writeln!(self.text, "<path class=\"{class}\" d=\"M {a:.1} {b:.1} L {c:.1} {d:.1}\"/>");
    }
}

/// The distance of an axis' figures: 1, 2 or 5 of a power of ten, `most` of them above 0 at the most.
pub(super) fn step(end: f64, most: f64) -> f64 {
    let end = end.max(1e-9);
    let power = 10f64.powf((end / most).log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| power * times * most >= end);
    power * times.unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_few_figures() {
        for (end, most, expected) in [
            (1.0, 5.0, 0.2),
            (100.0, 5.0, 20.0),
            (84.0, 5.0, 20.0),
            (250.0, 5.0, 50.0),
            (334.0, 5.0, 100.0),
            (9.3, 12.0, 1.0),
            (12.0, 12.0, 1.0),
            (13.0, 12.0, 2.0),
            (40.0, 12.0, 5.0),
            (2000.0, 12.0, 200.0),
        ] {
            let found = step(end, most);
            assert!((found - expected).abs() < 1e-9, "{end}: {found}");
        }
    }
}
