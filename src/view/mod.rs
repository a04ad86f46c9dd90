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
mod tests {
    use super::*;
    use crate::base::ReplicaId;
    use crate::history::{
        Action, Builder, Clock, Completion, Fault, Invocation, Message, Outcome, Told,
    };
    use proptest::prelude::*;
    use serde_json::Value;

    /// Texts that would break a careless page.
    const HOSTILE: &str = "</script><script>alert(1)</script><!-- \" ' & \u{202e}gnp.exe \u{2028} \0 \n <img src=x onerror=y>";

    fn history(clock: Clock, operations: usize, text: &str) -> History {
        let mut builder = Builder::new(clock);
        let key = builder.key(text);
        let value = builder.value(Some(text));
        for _ in 0..operations {
            let replica = Some(ReplicaId(1));
            let action = Action::Write(value);
            builder
                .invoke(Invocation { process: text, key, action, replica, at: None })
                .expect("fits");
            let told = Told::Nothing;
            let outcome = Outcome::Ok;
            builder.complete(Completion { process: text, outcome, told, at: None }).expect("fits");
            builder.deliver(ReplicaId(1), key, value, 1);
        }
        let mut history = builder.finish();
        let (from, to) = (ReplicaId(0), ReplicaId(1));
        history.messages =
            vec![Message { from, to, sent: 0, received: None, label: text.to_owned() }];
        history.faults =
            vec![Fault { name: text.to_owned(), replicas: vec![to], from: 0, until: None }];
        history
    }

    fn page<'a>(history: &'a History, witness: &'a [OpId], text: &'a str) -> Page<'a> {
        Page { title: text, history, verdicts: &[], witness, culprit: None, story: &[] }
    }

    fn html(page: &Page<'_>) -> String {
        let mut bytes = Vec::new();
        write_html(page, &mut bytes).expect("memory does not fail");
        String::from_utf8(bytes).expect("the page is UTF-8")
    }

    /// The JSON in the page.
    fn data(html: &str) -> Value {
        let (_, rest) = html.split_once("id=\"data\">").expect("the page has data");
        let (data, _) = rest.split_once("</script>").expect("they end");
        serde_json::from_str(data).expect("they are JSON")
    }

    #[test]
    fn hostile_text_stays_text() {
        let history = history(Clock::Steps, 1, HOSTILE);
        let verdicts = [VerdictLine { model: HOSTILE, mark: Mark::Broken, text: HOSTILE }];
        let story = [HOSTILE.to_owned()];
        let witness = [OpId(0)];
        let page = Page {
            title: HOSTILE,
            history: &history,
            verdicts: &verdicts,
            witness: &witness,
            culprit: Some(OpId(0)),
            story: &story,
        };
        let html = html(&page);
        assert_eq!(html.matches("</script").count(), 2, "only the page's own scripts end");
        assert!(!html.contains("<img") && !html.contains("<!-- "), "no markup comes in");
        assert!(!html.contains('\u{202e}'), "nothing turns the direction of writing");
        assert!(html.contains("&lt;img src=x onerror=y&gt;"));
        let data = data(&html);
        let shown = data["values"][0].as_str().expect("a text");
        assert!(shown.starts_with("</script><script>"), "the script gets the text itself: {shown}");
        assert!(shown.contains("\\u{202e}gnp.exe \\u{2028} \\u{0} ⏎ <img"), "{shown}");
        for names in ["processes", "keys", "labels"] {
            assert_eq!(data[names][0], shown, "{names}");
        }
        assert_eq!(data["faults"][0][0], shown);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "ä".repeat(100_000);
        let history = history(Clock::Steps, 1, &long);
        let html = html(&page(&history, &[OpId(0)], &long));
        let shown = data(&html)["values"][0].as_str().expect("a text").to_owned();
        assert_eq!(shown.chars().count(), text::MAX_TEXT + 1);
        assert!(shown.ends_with('…') && html.len() < 200_000);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let make = || html(&page(&history(Clock::Nanoseconds, 50, "x"), &[OpId(3)], "twice"));
        assert_eq!(make(), make());
    }

    #[test]
    fn a_page_can_be_read_without_javascript() {
        let history = history(Clock::Nanoseconds, 2, "x");
        let verdicts = [
            VerdictLine { model: "linearizable", mark: Mark::Broken, text: "a stale read" },
            VerdictLine { model: "causal", mark: Mark::Holds, text: "proved" },
        ];
        let story = ["One writes.".to_owned(), "The other does not see it.".to_owned()];
        let witness = [OpId(0), OpId(1)];
        let page = Page {
            title: "Run",
            history: &history,
            verdicts: &verdicts,
            witness: &witness,
            culprit: Some(OpId(1)),
            story: &story,
        };
        let html = html(&page);
        for part in [
            "aria-label=\"broken\">✗</span><b>linearizable</b>",
            "<li>The other does not see it.</li>",
            "<tr class=\"culprit\" data-op=\"1\">",
            "write <bdi>x</bdi> ← <bdi>x</bdi>",
        ] {
            assert!(html.contains(part), "the page lacks {part}");
        }
        assert!(!html.contains("{{"), "every slot is filled");
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(
                !html.contains(outside),
                "the page needs nothing from outside, but has {outside}"
            );
        }
    }

    #[test]
    fn a_long_history_is_shown_around_its_witness() {
        let history = history(Clock::Steps, 1_000, "x");
        let witness = [OpId(2), OpId(600), OpId(610)];
        let page = Page { culprit: Some(OpId(610)), ..page(&history, &witness, "long") };
        let part = Part::within(&page, 100, 30);
        assert_eq!(part.operations.len(), 101, "the far operation comes on top");
        assert_eq!(part.operations[..2], [OpId(2), OpId(560)]);
        assert_eq!(part.operations.last(), Some(&OpId(659)));
        let mut bytes = Vec::new();
        timeline::write_data(&page, &part, &mut bytes).expect("memory does not fail");
        let data: Value = serde_json::from_slice(&bytes).expect("it is JSON");
        assert_eq!(data["witness"], serde_json::json!([0, 41, 51]));
        assert_eq!(data["culprit"], 51);
        assert_eq!(data["ids"][51], 610);
        let mut notices = Vec::new();
        sections::notices(&page, &part, &mut notices).expect("memory does not fail");
        let notices = String::from_utf8(notices).expect("it is UTF-8");
        assert!(notices.contains("101 of 1,000 operations, those around the witness"), "{notices}");
    }

    #[test]
    fn an_empty_history_and_a_witness_from_elsewhere_are_shown() {
        let empty = History::default();
        let elsewhere = [OpId(7), OpId(u32::MAX)];
        let page = Page { culprit: Some(OpId(9)), ..page(&empty, &elsewhere, "") };
        let data = data(&html(&page));
        assert_eq!(data["witness"], serde_json::json!([]));
        assert_eq!(data["culprit"], -1);
    }

    proptest! {
        #[test]
        fn any_text_and_any_times_give_valid_data(text in any::<String>(), times in any::<[u64; 4]>()) {
            let mut history = history(Clock::Nanoseconds, 2, &text);
            history.operations[0].invoked_at = times[0];
            history.operations[1].completed_at = Some(times[1]);
            history.deliveries[0].at = times[2];
            history.messages[0].received = Some(times[3]);
            let html = html(&page(&history, &[OpId(0)], &text));
            prop_assert_eq!(html.matches("</script").count(), 2);
            prop_assert_eq!(&data(&html)["clock"], "ns");
        }
    }
}
