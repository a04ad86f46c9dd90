//! A recorded history as one HTML page: `timeline.html`.
//!
//! The page needs no network and no other file. What matters most is plain HTML and is there without
//! JavaScript: the verdicts, the story of the witness and a table of its operations. The picture is drawn by
//! the script beside it, on a canvas, from the history's data, which stand in the page as JSON.
//!
//! | file | holds |
//! |---|---|
//! | `part.rs` | which part of a long history is shown |
//! | `timeline.rs` | the data that the script draws, as columns of small numbers |
//! | `sections.rs` | the static sections |
//! | `text.rs` | words for operations and times; cutting and escaping |
//! | `page/` | the page's frame, its style, and its script in the order of its files' names |
//!
//! # Bounds
//!
//! A page shows at most [`MAX_OPERATIONS`] operations, those around the witness, and at most
//! [`MAX_MARKS`] deliveries and as many messages; where something is left out, the page says so. Texts are cut
//! too (see `text.rs`). The same input gives the same bytes.
//!
//! # Hostile text
//!
//! Keys and values may hold anything. In HTML they are escaped; in the JSON, `<`, `>` and `&` are written as
//! `\u003c` and so on, so that no text can end the script element. Characters that control the terminal, the
//! line or the direction of writing are shown as their code points.

mod part;
mod sections;
mod text;
mod timeline;

use std::io::{self, Write};

use crate::history::{History, OpId};
use part::Part;

pub use part::{MAX_MARKS, MAX_OPERATIONS};
pub use sections::MAX_TABLE_ROWS;

/// What is shown on one page.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The heading.
    pub title: &'a str,
    /// What happened.
    pub history: &'a History,
    /// What the checkers say, a line a model.
    pub verdicts: &'a [VerdictLine<'a>],
    /// The operations that break a model by themselves; empty where none is to be shown.
    pub witness: &'a [OpId],
    /// The one among them that could not be explained.
    pub culprit: Option<OpId>,
    /// The witness in plain words, a sentence a line.
    pub story: &'a [String],
}

/// What a checker says about one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictLine<'a> {
    /// The model's name for people.
    pub model: &'a str,
    /// The verdict in one sign.
    pub mark: Mark,
    /// The verdict in one line.
    pub text: &'a str,
}

/// A verdict in one sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// ✓: the history keeps the model's promise.
    Holds,
    /// ✗: it does not.
    Broken,
    /// ?: it could not be decided.
    Unknown,
}

const FRAME: &str = include_str!("page/frame.html");
const STYLE: &str = include_str!("page/timeline.css");

/// The script, in the order in which its files build on each other.
const SCRIPT: &[&str] = &[
    include_str!("page/1_model.js"),
    include_str!("page/2_words.js"),
    include_str!("page/3_view.js"),
    include_str!("page/4_draw.js"),
    include_str!("page/5_marks.js"),
    include_str!("page/6_input.js"),
];

/// Writes the page.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write_html(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let part = Part::of(page);
    let mut out = io::BufWriter::new(out);
    let mut rest = FRAME;
    while let Some((before, after)) = rest.split_once("{{") {
        let (slot, after) = after.split_once("}}").expect("every slot of the frame is closed");
        out.write_all(before.as_bytes())?;
        fill(slot, page, &part, &mut out)?;
        rest = after;
    }
    out.write_all(rest.as_bytes())?;
    out.flush()
}

/// Writes what belongs into one slot of the frame.
fn fill(slot: &str, page: &Page<'_>, part: &Part, out: &mut dyn Write) -> io::Result<()> {
    match slot {
        "title" => write!(out, "{}", text::Html(page.title)),
        "style" => out.write_all(STYLE.as_bytes()),
        "summary" => sections::summary(page, out),
        "notices" => sections::notices(page, part, out),
        "verdicts" => sections::verdicts(page, out),
        "story" => sections::story(page, out),
        "witness" => sections::witness(page, out),
        "data" => timeline::write_data(page, part, out),
        "script" => SCRIPT.iter().try_for_each(|file| out.write_all(file.as_bytes())),
        unknown => unreachable!("the frame has no slot {unknown}"),
    }
}

#[cfg(test)]
mod tests;
