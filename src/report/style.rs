//! Colours, for a terminal only.

use std::io::IsTerminal;

/// Whether text may carry ANSI colours; by default it may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set (see no-color.org).
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !refused && std::io::stdout().is_terminal() }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What is less important.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A bar of a histogram, or a good figure.
    pub fn accent(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What needs attention.
    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
