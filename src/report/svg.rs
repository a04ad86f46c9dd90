//! What the pictures drawn by hand share: colours that follow the reader's scheme, and text.

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
