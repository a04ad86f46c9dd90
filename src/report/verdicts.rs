//! The ladder of models for people and for programs.

use serde_json::{Value, json};

use super::lanes::lanes;
use super::style::Style;
use crate::check::ladder::{Ladder, Rung};
use crate::check::witness::{self, Witness};
use crate::check::{Answer, Model, claimed};
use crate::history::{Clock, History, OpId};

/// What was found about one history.
#[derive(Debug)]
pub struct Verdicts<'a> {
    /// Where it was read.
    pub source: &'a str,
    /// The history.
    pub history: &'a History,
    /// The verdicts.
    pub ladder: &'a Ladder,
    /// The witness against a model, if one does not hold.
    pub witness: Option<(&'static Model, &'a Witness)>,
    /// A sentence each about what is worth knowing beside: convergence, staleness.
    pub remarks: &'a [String],
}

/// A witness of more operations than this is not drawn as text: its lines would be too long.
const WORTH_DRAWING: usize = 8;

/// `✓`, `✗` or `?`.
pub fn mark(answer: &Answer) -> &'static str {
    match answer {
        Answer::Valid => "✓",
        Answer::Violation(_) => "✗",
        Answer::Unknown(_) => "?",
    }
}

/// One line on a rung: what the model promises, or why it is not known whether it holds.
pub fn remark(rung: &Rung) -> String {
    match (&rung.answer, rung.because_of) {
        (Answer::Unknown(why), _) => why.clone(),
        (Answer::Violation(_), Some(by)) => format!("since {} does not hold", by.title),
        _ => rung.model.promise.to_owned(),
    }
}

/// The ladder as text, a line a model, then the strongest that holds and the witness.
pub fn text(verdicts: &Verdicts<'_>, style: Style) -> String {
    let mut out = format!("{}\n\n", summary(verdicts));
    let rungs = &verdicts.ladder.rungs;
    let width = rungs.iter().map(|r| r.model.title.chars().count()).max().unwrap_or(0);
    for rung in rungs {
        let mark = painted(&rung.answer, style);
        let title = format!("{:width$}", rung.model.title);
        out += &format!("  {mark} {}  {}\n", style.bold(&title), style.dim(&remark(rung)));
    }
    out += &format!("\n{}\n", strongest(verdicts.ladder));
    for remark in verdicts.remarks {
        out += &format!("{remark}\n");
    }
    if let Some((model, witness)) = verdicts.witness {
        out += &format!("\n{}", witness_text(verdicts.history, model, witness, style));
        if witness.operations.len() <= WORTH_DRAWING {
            out += &format!("\n{}\n", lanes(verdicts.history, &witness.operations));
        }
    }
    out
}

/// One history in one line: the verdicts that count, and its source.
pub fn line(verdicts: &Verdicts<'_>, judges: &[&'static Model], style: Style) -> String {
    let mark = |model: &&'static Model| {
        let rung = verdicts.ladder.rung(model)?;
        Some(format!("{} {}", painted(&rung.answer, style), model.title))
    };
    let marks: Vec<String> = judges.iter().filter_map(mark).collect();
    format!("{}  {}\n", marks.join("  "), verdicts.source)
}

/// The mark of an answer, in its colour.
pub fn painted(answer: &Answer, style: Style) -> String {
    match answer {
        Answer::Valid => style.good(mark(answer)),
        Answer::Violation(_) => style.bad(mark(answer)),
        Answer::Unknown(_) => style.warning(mark(answer)),
    }
}

/// The strongest models that hold, in a sentence.
pub fn strongest(ladder: &Ladder) -> String {
    let titles: Vec<&str> = ladder.strongest().iter().map(|model| model.title).collect();
    match titles.as_slice() {
        [] => "None of these models is known to hold.".to_owned(),
        [one] => format!("The strongest model that holds: {one}."),
        several => format!("The strongest models that hold: {}.", several.join(", ")),
    }
}

fn summary(verdicts: &Verdicts<'_>) -> String {
    let history = verdicts.history;
    let mut parts = vec![
        count(history.operations.len(), "operation"),
        match history.processes.len() {
            1 => "1 process".to_owned(),
            n => format!("{n} processes"),
        },
        count(history.keys.len(), "key"),
    ];
    if let Some(claim) = &history.claim {
        let known = if claimed(claim).is_empty() { ", which is no model here" } else { "" };
        parts.push(format!("claims to be {}{known}", witness::shown(claim)));
    }
    format!("{}: {}", verdicts.source, parts.join(", "))
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The witness: the operations as a table, the read that is wrong, what would have been right, and why.
pub fn witness_text(history: &History, model: &Model, witness: &Witness, style: Style) -> String {
    let title = style.bold(&format!("Witness against {}", model.title));
    let arrows = witness.why.iter().any(|line| line.contains('→'));
    let legend = if arrows { " (1 → 2: 1 has to come before 2)" } else { "" };
    let mut out = format!("{title}{}\n\n", style.dim(legend));
    let rows: Vec<[String; 4]> = witness.operations.iter().map(|id| row(history, *id)).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for (n, row) in rows.iter().enumerate() {
        let [process, what, replica, when] = row;
        let line = format!(
            "  {:>2}  {process:w0$}  {what:w1$}  {replica:w2$}  {when:w3$}",
            n + 1,
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
        );
        let line = line.trim_end();
        if witness.culprit == Some(witness.operations[n]) {
            out += &format!("{}  {}\n", style.bad(line), style.bad("← this read"));
        } else {
            out += &format!("{line}\n");
        }
    }
    out.push('\n');
    for line in &witness.why {
        out += &format!("  {line}\n");
    }
    if let Some(line) = expected(witness) {
        out += &format!("  {line}\n");
    }
    out
}

/// What the wrong read should have returned, in a sentence that names it by its number.
pub fn expected(witness: &Witness) -> Option<String> {
    let place = witness.operations.iter().position(|id| Some(*id) == witness.culprit)? + 1;
    match witness.expected.as_slice() {
        [] => None,
        [one] => Some(format!("Operation {place} should have returned {one}.")),
        several => {
            Some(format!("Operation {place} should have returned one of {}.", several.join(", ")))
        }
    }
}

fn row(history: &History, id: OpId) -> [String; 4] {
    let operation = history.operation(id);
    let replica = operation.replica.map_or(String::new(), |r| format!("replica {r}"));
    let when = match history.clock {
        Clock::ProcessOrder => String::new(),
        _ => witness::interval(history, operation),
    };
    let process = witness::shown(history.process(operation.process));
    [process, witness::describe(history, operation), replica, when]
}

/// The verdicts as one JSON object.
pub fn json(verdicts: &Verdicts<'_>) -> Value {
    let history = verdicts.history;
    let rung = |rung: &Rung| {
        let verdict = match &rung.answer {
            Answer::Valid => "valid",
            Answer::Violation(_) => "violation",
            Answer::Unknown(_) => "unknown",
        };
        let mut object = json!({ "model": rung.model.name, "verdict": verdict });
        if let Answer::Unknown(why) = &rung.answer {
            object["reason"] = json!(why);
        }
        if let Some(by) = rung.because_of {
            object["because_of"] = json!(by.name);
        }
        object
    };
    let witness = verdicts.witness.map(|(model, witness)| {
        json!({
            "model": model.name,
            "operations": witness.operations.iter().map(|id| operation(history, *id)).collect::<Vec<_>>(),
            "culprit": witness.culprit.map(|id| id.0),
            "expected": witness.expected,
            "why": witness.why,
        })
    });
    json!({
        "source": verdicts.source,
        "operations": history.operations.len(),
        "processes": history.processes.len(),
        "keys": history.keys.len(),
        "claim": history.claim,
        "models": verdicts.ladder.rungs.iter().map(rung).collect::<Vec<_>>(),
        "strongest": verdicts.ladder.strongest().iter().map(|m| m.name).collect::<Vec<_>>(),
        "witness": witness,
        "remarks": verdicts.remarks,
    })
}

fn operation(history: &History, id: OpId) -> Value {
    let operation = history.operation(id);
    json!({
        "id": id.0,
        "process": history.process(operation.process),
        "what": witness::describe(history, operation),
        "replica": operation.replica.map(|replica| replica.0),
        "invoked_at": operation.invoked_at,
        "completed_at": operation.completed_at,
    })
}
