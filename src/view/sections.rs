//! The sections of the page that are plain HTML: they can be read without JavaScript.

use std::io::{self, Write};

use super::part::Part;
use super::text::{Deed, Html, moment, named, nanoseconds, outcome};
use super::{Mark, Page};
use crate::history::{Clock, OpId, Operation};

/// The most operations of a witness in its table.
pub const MAX_TABLE_ROWS: usize = 500;

/// How much happened, in one line.
pub(super) fn summary(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let history = page.history;
    write!(out, "{}", counted(history.operations.len(), "operation"))?;
    write!(out, " by {}", counted(history.processes.len(), "process"))?;
    write!(out, " on {}", counted(history.keys.len(), "key"))?;
    let starts = history.operations.iter().map(|operation| operation.invoked_at);
    let ends = history.operations.iter().filter_map(|operation| operation.completed_at);
    let span = starts.clone().chain(ends).max().zip(starts.min());
    match (history.clock, span) {
        (Clock::Nanoseconds, Some((end, start))) => write!(out, " in {}", nanoseconds(end - start)),
        (Clock::Nanoseconds, None) => Ok(()),
        (Clock::Steps, _) => out.write_all(b"; no times, only the order of the events"),
        (Clock::ProcessOrder, _) => {
            out.write_all(b"; no times, only the order within each process")
        }
    }?;
    if let Some(claim) = &history.claim {
        write!(out, "; recorded as <bdi>{}</bdi>", Html(claim))?;
    }
    Ok(())
}

/// `1 operation`, `12,345 operations`.
fn counted(count: usize, noun: &str) -> String {
    let plural = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{plural}", grouped(count))
}

/// A number with its thousands set apart.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is left out.
pub(super) fn notices(page: &Page<'_>, part: &Part, out: &mut dyn Write) -> io::Result<()> {
    let history = page.history;
    let around = if page.witness.is_empty() { "the last ones" } else { "those around the witness" };
    let timed = history.clock != Clock::ProcessOrder;
    let kinds = [
        ("operations", part.operations.len(), history.operations.len()),
        ("deliveries", part.deliveries.len(), history.deliveries.len()),
        ("messages", part.messages.len(), if timed { history.messages.len() } else { 0 }),
    ];
    for (noun, shown, all) in kinds {
        if shown < all {
            let (shown, all) = (grouped(shown), grouped(all));
            writeln!(
                out,
                "<p class=\"notice\">The picture shows {shown} of {all} {noun}, {around}.</p>"
            )?;
        }
    }
    Ok(())
}

/// The verdicts, a line a model.
pub(super) fn verdicts(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    if page.verdicts.is_empty() {
        return Ok(());
    }
    out.write_all(b"<section class=\"card\" aria-labelledby=\"verdicts\">\n")?;
    out.write_all(b"<h2 id=\"verdicts\">Verdicts</h2>\n<ul class=\"verdicts\">\n")?;
    for line in page.verdicts {
        let (class, sign, word) = match line.mark {
            Mark::Holds => ("holds", '✓', "holds"),
            Mark::Broken => ("broken", '✗', "broken"),
            Mark::Unknown => ("undecided", '?', "undecided"),
        };
        let (model, text) = (Html(line.model), Html(line.text));
        write!(out, "<li class=\"{class}\"><span class=\"mark\" role=\"img\" ")?;
        write!(out, "aria-label=\"{word}\">{sign}</span><b>{model}</b>")?;
        writeln!(out, "<span class=\"why\">{text}</span></li>")?;
    }
    out.write_all(b"</ul>\n</section>\n")
}

/// The witness in words.
pub(super) fn story(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    if page.story.is_empty() {
        return Ok(());
    }
    out.write_all(b"<section class=\"card\" aria-labelledby=\"story\">\n")?;
    out.write_all(b"<h2 id=\"story\">What happened</h2>\n<ul class=\"story\">\n")?;
    for sentence in page.story {
        writeln!(out, "<li>{}</li>", Html(sentence))?;
    }
    out.write_all(b"</ul>\n</section>\n")
}

/// The operations of the witness as a table.
pub(super) fn witness(page: &Page<'_>, out: &mut dyn Write) -> io::Result<()> {
    let known = |id: &OpId| id.index() < page.history.operations.len();
    let mut ids: Vec<OpId> = page.witness.iter().chain(&page.culprit).copied().collect();
    ids.retain(known);
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    out.write_all(b"<section class=\"card\" aria-labelledby=\"witness\">\n")?;
    out.write_all(b"<h2 id=\"witness\">The operations of the witness</h2>\n")?;
    out.write_all(b"<div class=\"scroll\" tabindex=\"0\" aria-labelledby=\"witness\"><table>\n")?;
    out.write_all(b"<thead><tr>")?;
    for head in ["#", "process", "operation", "replica", "outcome", "invoked", "completed"] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    out.write_all(b"</tr></thead>\n<tbody>\n")?;
    let origin = super::part::origin(page.history);
    for (place, id) in (1..).zip(ids.iter().take(MAX_TABLE_ROWS)) {
        row(page, place, *id, origin, out)?;
    }
    out.write_all(b"</tbody></table></div>\n")?;
    if ids.len() > MAX_TABLE_ROWS {
        let more = counted(ids.len() - MAX_TABLE_ROWS, "operation");
        writeln!(out, "<p class=\"notice\">{more} more are left out here.</p>")?;
    }
    out.write_all(b"</section>\n")
}

fn row(
    page: &Page<'_>,
    place: usize,
    id: OpId,
    origin: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    let history = page.history;
    let operation: &Operation = history.operation(id);
    let culprit = page.culprit == Some(id);
    let class = if culprit { " class=\"culprit\"" } else { "" };
    let process = Html(named(history.process(operation.process)));
    let replica = operation.replica.map_or("–".to_owned(), |replica| replica.to_string());
    let time = |at| moment(history.clock, at, origin);
    let completed = operation.completed_at.map_or("never".to_owned(), time);
    write!(out, "<tr{class} data-op=\"{}\"><th scope=\"row\">{place}</th>", id.0)?;
    write!(out, "<td><bdi>{process}</bdi></td><td>{}", Deed(history, operation))?;
    if culprit {
        out.write_all(b" <em>cannot be explained</em>")?;
    }
    write!(out, "</td><td>{replica}</td><td>{}</td>", outcome(operation))?;
    writeln!(out, "<td>{}</td><td>{completed}</td></tr>", time(operation.invoked_at))
}
