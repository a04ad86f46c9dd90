//! Judging a history: the ladder, the witness against the first model that does not hold, and what the answers
//! were like. The command `lab check`, the demo and the simulator show the same.

use std::io::{self, Write};

use crate::check::atomic::{self, Found};
use crate::check::ladder::Ladder;
use crate::check::witness::{Witness, describe, shown};
use crate::check::{Answer, Budget, Model, Problem, convergent, staleness};
use crate::history::{Clock, History};
use crate::report::verdicts::{self, Verdicts};
use crate::view::{self, Mark, Page, VerdictLine};

/// What was found about a history.
#[derive(Debug)]
pub struct Judged {
    /// The verdicts.
    pub ladder: Ladder,
    /// The witness against the first model of the ladder that does not hold, from the bottom.
    pub witness: Option<(&'static Model, Witness)>,
    /// What is worth knowing beside, a sentence each.
    pub remarks: Vec<String>,
}

impl Judged {
    /// Judges a history by these models; a witness is made small within a budget of its own. `progress` is
    /// told what is being done.
    pub fn of(
        problem: &Problem<'_>,
        models: &[&'static Model],
        patience: Budget<'_>,
        progress: &dyn Fn(&str),
    ) -> Self {
        let ladder = Ladder::climb(problem, models, &|model| {
            progress(&format!("checking whether it is {}", model.title));
        });
        let claim = problem.history.claim.as_deref();
        let witness = ladder.first_broken(claim).and_then(|rung| match &rung.answer {
            Answer::Violation(core) => {
                progress(&format!("finding out why it is not {}", rung.model.title));
                let problem = Problem { budget: patience, ..*problem };
                Some((rung.model, Witness::find(&problem, rung.model, core)))
            }
            _ => None,
        });
        Self { ladder, witness, remarks: remarks(problem) }
    }

    /// The same, ready to be written.
    pub fn verdicts<'a>(&'a self, source: &'a str, history: &'a History) -> Verdicts<'a> {
        let witness = self.witness.as_ref().map(|(model, witness)| (*model, witness));
        Verdicts { source, history, ladder: &self.ladder, witness, remarks: &self.remarks }
    }

    /// Writes the history with its verdicts and the witness as one HTML page.
    ///
    /// # Errors
    /// Where `out` cannot be written.
    pub fn write_page(
        &self,
        title: &str,
        history: &History,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let remarks: Vec<String> = self.ladder.rungs.iter().map(verdicts::remark).collect();
        let line = |(rung, text): (&crate::check::ladder::Rung, &'_ String)| {
            let mark = match rung.answer {
                Answer::Valid => Mark::Holds,
                Answer::Violation(_) => Mark::Broken,
                Answer::Unknown(_) => Mark::Unknown,
            };
            (rung.model.title, mark, text.clone())
        };
        let lines: Vec<_> = self.ladder.rungs.iter().zip(&remarks).map(line).collect();
        let verdicts: Vec<VerdictLine<'_>> = lines
            .iter()
            .map(|(model, mark, text)| VerdictLine { model, mark: *mark, text })
            .collect();
        let mut story = Vec::new();
        if let Some((model, witness)) = &self.witness {
            story.push(format!("Witness against {} (1 → 2: 1 has to come before 2).", model.title));
            for (n, id) in witness.operations.iter().enumerate() {
                let operation = history.operation(*id);
                let process = shown(history.process(operation.process));
                let wrong = if witness.culprit == Some(*id) { "  ← this read" } else { "" };
                let what = describe(history, operation);
                story.push(format!("{}: {process} {what}{wrong}", n + 1));
            }
            story.extend(witness.why.iter().cloned());
            story.extend(verdicts::expected(witness));
        }
        let page = Page {
            title,
            history,
            verdicts: &verdicts,
            witness: self.witness.as_ref().map_or(&[], |(_, witness)| &witness.operations),
            culprit: self.witness.as_ref().and_then(|(_, witness)| witness.culprit),
            story: &story,
        };
        view::write_html(&page, out)
    }
}

/// How fast the replicas became equal, and how old the answers were.
fn remarks(problem: &Problem<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    let unit = |amount: u64| match problem.history.clock {
        Clock::Nanoseconds => format!("{:.3} ms", amount as f64 / 1e6),
        Clock::Steps | Clock::ProcessOrder => format!("{amount} events"),
    };
    let convergence = convergent::report(problem);
    if let Some(took) = convergence.took {
        remarks.push(format!("Converged {} after the last write.", unit(took)));
    }
    if problem.history.together.iter().any(|command| command.operations.len() > 1) {
        remarks.push(match atomic::find(problem) {
            Found::Whole(count) => {
                format!("Commands of several keys: {count}, and none of them was seen half.")
            }
            Found::Half(half) => half.why.join(" "),
            Found::Unknown(why) => format!("Whether a command was seen half is not known: {why}."),
        });
    }
    let staleness = staleness::profile(problem);
    let placed = staleness.fresh + staleness.stale;
    if placed > 0 && staleness.stale == 0 {
        remarks.push(format!("Stale reads: none of {placed}."));
    } else if placed > 0 {
        let share = staleness.stale as f64 * 100.0 / placed as f64;
        let (versions, behind) = (&staleness.versions, &staleness.behind);
        // The histogram of times is in microseconds, where there are times.
        let time = |amount: u64| match problem.history.clock {
            Clock::Nanoseconds => unit(amount.saturating_mul(1000)),
            _ => unit(amount),
        };
        remarks.push(format!(
            "Stale reads: {} of {placed} ({share:.1} %); p99 {} versions and {} behind, at most {} and {}.",
            staleness.stale,
            versions.value_at_quantile(0.99),
            time(behind.value_at_quantile(0.99)),
            versions.max(),
            time(behind.max()),
        ));
    }
    remarks
}
