//! Words for what happened, and text that is safe to show.

use std::fmt;

use crate::history::{Action, Clock, History, Operation, Outcome, ValueId};

/// The most characters of one text on the page; the rest is an ellipsis.
pub(super) const MAX_TEXT: usize = 1_000;

/// The fewest characters to which a text is cut, however many there are.
const MIN_TEXT: usize = 40;

/// The characters that all texts of one kind may have together (each at least [`MIN_TEXT`]).
const ALL_TEXTS: usize = 8 << 20;

/// The bound for each of so many texts.
pub(super) fn bound(texts: usize) -> usize {
    (ALL_TEXTS / texts.max(1)).clamp(MIN_TEXT, MAX_TEXT)
}

/// A text cut to so many characters, with what would control its surroundings shown as code points.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max + 4));
    for (count, c) in text.chars().enumerate() {
        if count == max {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push('⏎'),
            '\t' => shown.push('⇥'),
            c if is_control(c) => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => shown.push(c),
        }
    }
    shown
}

/// The name of a key, a value or a process, so that an empty one can be seen.
pub(super) fn named(text: &str) -> &str {
    if text.is_empty() { "\"\"" } else { text }
}

/// Control characters, and those that change the direction of writing, break lines or cannot be seen.
fn is_control(c: char) -> bool {
    let format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c.is_control() || format
}

/// Text in HTML, in an element or in a quoted attribute; cut, too.
#[derive(Clone, Copy)]
pub(super) struct Html<'a>(pub &'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in cut(self.0, MAX_TEXT).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_str(c.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

/// Text as a JSON string that may stand in a script element.
pub(super) fn json(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// What an operation was, as HTML: `write <bdi>x</bdi> ← <bdi>42</bdi>`. The direction of writing in a key or a
/// value stays inside its own `bdi`.
pub(super) struct Deed<'a>(pub &'a History, pub &'a Operation);

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deed(history, operation) = *self;
        let key = Html(named(history.key(operation.key)));
        let value = |id: ValueId| Html(named(history.value(id)));
        match operation.action {
            Action::Read(_) if operation.outcome != Outcome::Ok => {
                write!(f, "read <bdi>{key}</bdi> → ?")
            }
            Action::Read(found) => write!(f, "read <bdi>{key}</bdi> → <bdi>{}</bdi>", value(found)),
            Action::Write(ValueId::NIL) => write!(f, "delete <bdi>{key}</bdi>"),
            Action::Write(to) => write!(f, "write <bdi>{key}</bdi> ← <bdi>{}</bdi>", value(to)),
            Action::Cas { from, to, swapped } => {
                let found = match (operation.outcome, swapped) {
                    (Outcome::Ok, false) => " (found another value)",
                    _ => "",
                };
                let (from, to) = (value(from), value(to));
                write!(
                    f,
                    "compare-and-set <bdi>{key}</bdi>: <bdi>{from}</bdi> ⇒ <bdi>{to}</bdi>{found}"
                )
            }
            Action::Append(tail) => {
                write!(f, "append <bdi>{}</bdi> to <bdi>{key}</bdi>", value(tail))
            }
            Action::Other(name) => write!(f, "<bdi>{}</bdi> <bdi>{key}</bdi>", value(name)),
        }
    }
}

/// The outcome in words.
pub(super) fn outcome(operation: &Operation) -> &'static str {
    match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "failed: it did not happen",
        Outcome::Unknown => "unknown: it may take effect later",
    }
}

/// A moment, counted from the page's time 0.
pub(super) fn moment(clock: Clock, at: u64, origin: u64) -> String {
    let (sign, since) = if at < origin { ("−", origin - at) } else { ("", at - origin) };
    match clock {
        Clock::Nanoseconds => format!("{sign}{}", nanoseconds(since)),
        Clock::Steps => format!("step {sign}{since}"),
        Clock::ProcessOrder => "not known".to_owned(),
    }
}

/// A duration in the unit that suits it.
pub(super) fn nanoseconds(count: u64) -> String {
    let (divisor, unit) = match count {
        0..1_000 => return format!("{count} ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    // Whole numbers all the way, so that nothing is rounded up into the next unit.
    let thousandths = (count % divisor) / (divisor / 1_000);
    let digits = format!("{}.{thousandths:03}", count / divisor);
    format!("{} {unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}
