//! Simulated runs as the lab keeps them: judged by the checker of the mode's own claim, saved with their
//! history, their trace and a picture, and made small where they fail.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;

use super::judge::Judged;
use crate::check::spec::SPECS;
use crate::check::{Answer, Budget, MODELS, Model, Problem, claimed};
use crate::history::{History, ValueId, jsonl};
use crate::report::{self, FolderError};
use crate::sim::plan::PlannedFault;
use crate::sim::{self, Detail, Finding, Outcome, Plan, PlanError, Verdict, two_phase};

/// How often a search may ask whether it is to end. A count, not a time: so a verdict depends on the history
/// alone. No run of a few hundred operations comes near it.
const PATIENCE: u64 = 20_000;

/// The files of a run's folder.
pub const FILES: &[&str] =
    &["summary.json", "plan.json", "history.jsonl", "trace.jsonl", "timeline.html"];

/// Why a run could not be kept.
#[derive(Debug, Error)]
pub enum SimulationError {
    /// The plan says something impossible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A folder could not be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file could not be written.
    #[error("cannot write {}: {source}; choose another folder with --out", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A plan could not be read.
    #[error("cannot read the plan {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was read is no plan.
    #[error("{}: expected a plan as `lab sim` writes it to plan.json: {source}", path.display())]
    NoPlan {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the checkers of what the history claims.
pub fn checker(history: &History) -> Finding {
    let claim = history.claim.as_deref().unwrap_or("linearizable");
    with_problem(history, |problem| {
        for model in claimed(claim) {
            match model.check(problem) {
                Answer::Valid => {}
                Answer::Violation(_) => {
                    return Finding::Violation(format!("the history is not {}", model.title));
                }
                // One replica is equal to itself.
                Answer::Unknown(_) if model.name == "convergent" && replicas(history) < 2 => {}
                Answer::Unknown(why) => return Finding::Unknown(why),
            }
        }
        Finding::Holds
    })
}

fn replicas(history: &History) -> usize {
    let ids: std::collections::BTreeSet<_> =
        history.operations.iter().filter_map(|operation| operation.replica).collect();
    ids.len()
}

/// Lends a history as a problem whose search may ask so often that a verdict depends on the history alone.
pub(super) fn with_problem<R>(history: &History, use_it: impl FnOnce(&Problem<'_>) -> R) -> R {
    let asked = AtomicU64::new(0);
    let spent = || asked.fetch_add(1, Ordering::Relaxed) >= PATIENCE;
    let budget = Budget::new(&spent);
    use_it(&Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget })
}

/// A plan of any lab that can be run and described.
pub trait Planned: Serialize + DeserializeOwned {
    /// Runs it and keeps everything.
    ///
    /// # Errors
    /// It says something impossible.
    fn run(&self) -> Result<Outcome, PlanError>;

    /// The seed that it was made from.
    fn seed(&self) -> u64;

    /// The mutant, if it is not the real protocol.
    fn mutant(&self) -> Option<&str>;

    /// What kind of protocol it runs.
    fn protocol(&self) -> &str;

    /// What there is how many of, and its name in the summary: operations, clients, replicas …
    fn sizes(&self) -> Vec<(&'static str, usize)>;

    /// The same in words.
    fn sizes_in_words(&self) -> String;

    /// The faults.
    fn faults(&self) -> &[PlannedFault];
}

impl Planned for Plan {
    fn run(&self) -> Result<Outcome, PlanError> {
        sim::run(self, Detail::Everything, &checker)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn mutant(&self) -> Option<&str> {
        self.mutant.as_deref()
    }

    fn protocol(&self) -> &str {
        &self.mode
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("replicas", usize::from(self.replicas)),
            ("clients", self.clients.len()),
            ("operations", self.operations()),
        ]
    }

    fn sizes_in_words(&self) -> String {
        let (clients, replicas) = (self.clients.len(), self.replicas);
        format!("{} operations, {clients} clients, {replicas} replicas", self.operations())
    }

    fn faults(&self) -> &[PlannedFault] {
        &self.faults
    }
}

impl Planned for two_phase::Plan {
    fn run(&self) -> Result<Outcome, PlanError> {
        two_phase::run(self, Detail::Everything)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn mutant(&self) -> Option<&str> {
        self.mutant.as_deref()
    }

    fn protocol(&self) -> &str {
        "2pc"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("participants", usize::from(self.participants)),
            ("clients", self.clients.len()),
            ("operations", self.operations()),
        ]
    }

    fn sizes_in_words(&self) -> String {
        let durable = if self.durable { ", with logs" } else { "" };
        let (clients, participants) = (self.clients.len(), self.participants);
        let operations = self.operations();
        format!("{operations} commands, {clients} clients, {participants} participants{durable}")
    }

    fn faults(&self) -> &[PlannedFault] {
        &self.faults
    }
}

/// A run with everything that is known of it.
#[derive(Debug)]
pub struct Kept<P = Plan> {
    /// What it depended on.
    pub plan: P,
    /// What came of it.
    pub outcome: Outcome,
    /// What the checkers of all models say.
    pub judged: Judged,
}

impl<P: Planned> Kept<P> {
    /// Runs a plan and judges it.
    ///
    /// # Errors
    /// A plan that says something impossible.
    pub fn run(plan: P) -> Result<Self, SimulationError> {
        let outcome = plan.run()?;
        let models: Vec<&'static Model> = MODELS.iter().collect();
        let judged = with_problem(&outcome.history, |problem| {
            Judged::of(problem, &models, problem.budget, &|_| ())
        });
        Ok(Self { plan, outcome, judged })
    }

    /// What kind of run it was, in one line.
    pub fn title(&self) -> String {
        let plan = &self.plan;
        let mutant = plan.mutant().map_or(String::new(), |name| format!(", mutant {name}"));
        format!(
            "{}{mutant}, seed {}: {}, {} faults, {} events, {:.3} s of virtual time",
            plan.protocol(),
            plan.seed(),
            plan.sizes_in_words(),
            plan.faults().len(),
            self.outcome.events,
            self.outcome.virtual_time as f64 / 1e9,
        )
    }

    /// Writes [`FILES`] into a folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, folder: &Path, command_line: &[String]) -> Result<(), SimulationError> {
        report::prepare(folder)?;
        let history = &self.outcome.history;
        write(folder, "plan.json", |out| {
            serde_json::to_writer_pretty(&mut *out, &self.plan)?;
            writeln!(out)
        })?;
        write(folder, "history.jsonl", |out| jsonl::write(history, out))?;
        write(folder, "trace.jsonl", |out| out.write_all(self.outcome.trace.as_bytes()))?;
        write(folder, "timeline.html", |out| self.judged.write_page(&self.title(), history, out))?;
        let plan = &self.plan;
        let mut summary = json!({
            "command_line": command_line,
            "mode": plan.protocol(),
            "mutant": plan.mutant(),
            "seed": plan.seed(),
            "verdict": verdict_name(&self.outcome.verdict),
            "why": self.outcome.verdict.to_string(),
            "faults": plan.faults().len(),
            "events": self.outcome.events,
            "virtual_time_ns": self.outcome.virtual_time,
            "strongest": self.judged.ladder.strongest().iter().map(|m| m.name).collect::<Vec<_>>(),
        });
        for (name, count) in plan.sizes() {
            summary[name] = count.into();
        }
        write_summary(folder, &summary)
    }
}

/// Writes `summary.json`, `history.jsonl` and `timeline.html` of a run that was recorded for real; `more` goes into
/// the summary too.
///
/// # Errors
/// What the system says.
pub fn save_recorded(
    folder: &Path,
    title: &str,
    history: &History,
    judged: &Judged,
    command_line: &[String],
    more: serde_json::Map<String, serde_json::Value>,
) -> Result<(), SimulationError> {
    report::prepare(folder)?;
    write(folder, "history.jsonl", |out| jsonl::write(history, out))?;
    write(folder, "timeline.html", |out| judged.write_page(title, history, out))?;
    let strongest: Vec<&str> = judged.ladder.strongest().iter().map(|model| model.name).collect();
    let mut summary = json!({
        "command_line": command_line,
        "claim": history.claim,
        "operations": history.operations.len(),
        "strongest": strongest,
        "witness_against": judged.witness.as_ref().map(|(model, _)| model.name),
    });
    for (name, value) in more {
        summary[name] = value;
    }
    write_summary(folder, &summary)
}

/// Writes the `summary.json` of a folder.
///
/// # Errors
/// What the system says.
pub fn write_summary(folder: &Path, summary: &serde_json::Value) -> Result<(), SimulationError> {
    report::prepare(folder)?;
    write(folder, "summary.json", |out| writeln!(out, "{summary:#}"))
}

fn write(
    folder: &Path,
    name: &str,
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), SimulationError> {
    let path = folder.join(name);
    let written = File::create(&path).and_then(|file| {
        let mut out = BufWriter::new(file);
        body(&mut out)?;
        out.flush()
    });
    written.map_err(|source| SimulationError::Write { path, source })
}

/// `valid`, `violation` or `unknown`.
pub fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "valid",
        Verdict::Violation { .. } => "violation",
        Verdict::Unknown(_) => "unknown",
    }
}

/// Reads a plan that was saved.
///
/// # Errors
/// A file that cannot be read, or is no plan.
pub fn read_plan<P: Planned>(path: &Path) -> Result<P, SimulationError> {
    let read = |source| SimulationError::Read { path: path.to_owned(), source };
    let text = fs::read(path).map_err(read)?;
    serde_json::from_slice(&text)
        .map_err(|source| SimulationError::NoPlan { path: path.to_owned(), source })
}
