//! The modes side by side: the same seeded work and the same faults for each, and one table of what it costs and what it
//! buys.
//!
//! ```text
//! scenario    one plan for all modes: a calm part, then a storm       measure    a history -> the figures of a row
//! simulate    the scenario in virtual time (the default)
//! real        the scenario on threads and sockets                       cluster    replicas that can be stopped
//!                                                                       relay      links that can fail
//! ```
//!
//! A row has latencies, throughput, the share of operations that were answered while a fault was in force, how old
//! reads were, how fast the replicas became equal, what a write costs between replicas, and which models the recorded
//! history keeps.

mod cluster;
mod measure;
mod real;
mod relay;
pub mod scenario;
mod simulate;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::judge::Judged;
use super::simulation::{Kept, SimulationError, save_recorded, verdict_name, write_summary};
use crate::client::ClientError;
use crate::history::History;
use crate::protocol::Mode;
use crate::report::{self, FolderError, FormatError, ModeRow, ModeTable, compare_svg};
use crate::runtime::StartError;
use crate::sim::{PlanError, Sync, Verdict};
use scenario::{Scenario, Settings, Unfair};

/// The files beside the folders of the modes.
pub const FILES: &[&str] = &["summary.json", "compare.csv", "compare.svg"];

/// Why modes could not be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A fault that was asked for cannot be had.
    #[error(transparent)]
    Unfair(#[from] Unfair),
    /// What was asked for makes no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A replica does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The replicas do not come together.
    #[error("the replicas of mode {0} have not found each other in time")]
    NotLive(&'static str),
    /// A replica did not answer while nothing failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What.
        action: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// A simulated run could not be kept.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A folder or file could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A table that is no CSV.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// What came of one mode.
#[derive(Debug)]
struct Compared {
    row: ModeRow,
    verdict: Verdict,
    run: Run,
}

/// The run that it came from.
#[derive(Debug)]
enum Run {
    Simulated(Box<Kept>),
    Recorded(Box<(History, Judged)>),
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The modes, weakest first.
    pub modes: Vec<&'static Mode>,
    /// The work and the faults.
    pub settings: Settings,
}

/// The modes, compared.
#[derive(Debug)]
pub struct Results {
    comparison: Comparison,
    compared: Vec<Compared>,
    /// The table.
    pub table: ModeTable,
}

impl Comparison {
    /// Runs every mode; `progress` is told each before.
    ///
    /// # Errors
    /// What was asked for makes no plan.
    pub fn run(self, progress: &dyn Fn(&'static Mode)) -> Result<Results, CompareError> {
        let scenario = self.settings.scenario();
        let mut compared = Vec::new();
        for mode in &self.modes {
            progress(mode);
            compared.push(match self.settings.real {
                false => simulate::compared(&scenario, mode)?,
                true => real::compared(&self.settings, &scenario, mode)?,
            });
        }
        let table = self.table(&scenario, compared.iter().map(|one| one.row.clone()).collect());
        Ok(Results { comparison: self, compared, table })
    }

    /// The name of its folder.
    pub fn name(&self) -> String {
        let real = if self.settings.real { "real-" } else { "" };
        format!("compare-{real}{}", self.settings.seed)
    }

    fn table(&self, scenario: &Scenario, rows: Vec<ModeRow>) -> ModeTable {
        let settings = &self.settings;
        let modes = if rows.len() == 1 { "mode" } else { "modes" };
        let faults = scenario.faults().len();
        let mut notes =
            vec!["latencies: of operations that were answered, from when they were due".to_owned()];
        if faults > 0 {
            notes.push(format!(
                "answered in faults: within 1 s, of those due while one of {faults} faults was in force"
            ));
        }
        if settings.real {
            notes.push(
                "stale: newer versions are those acknowledged later, a guess for concurrent writes; \
                 none where the history is linearizable"
                    .to_owned(),
            );
        }
        for row in rows.iter().filter(|row| row.faults < faults) {
            let left_out = faults - row.faults;
            notes.push(format!(
                "{}: {left_out} of {faults} faults could not come at their time",
                row.mode
            ));
        }
        let distance = match settings.real {
            true => "threads and sockets of one machine".to_owned(),
            false => format!("about {} ms from each other", settings.delay as f64 / 1e6),
        };
        ModeTable {
            title: format!("{} consistency {modes}, the same work and the same faults", rows.len()),
            subtitle: format!(
                "{} operations of {} clients on {} keys, {} replicas, {distance}; faults: {}; seed {}",
                settings.operations,
                settings.clients,
                settings.keys,
                settings.replicas,
                settings.faults.to_string().replace(',', ", "),
                settings.seed,
            ),
            rows,
            notes,
        }
    }
}

impl Results {
    /// The modes that did not keep what they promise, with what was found.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        let broken = |one: &&Compared| matches!(one.verdict, Verdict::Violation { .. });
        self.compared.iter().filter(broken).map(|one| (one.row.mode, &one.verdict))
    }

    /// The modes of which it could not be said.
    pub fn undecided(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        let undecided = |one: &&Compared| matches!(one.verdict, Verdict::Unknown(_));
        self.compared.iter().filter(undecided).map(|one| (one.row.mode, &one.verdict))
    }

    /// Writes [`FILES`], and a folder a mode with its run.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, folder: &Path, command_line: &[String]) -> Result<(), CompareError> {
        report::prepare(folder)?;
        let settings = &self.comparison.settings;
        let verdicts: serde_json::Map<String, serde_json::Value> = self
            .compared
            .iter()
            .map(|one| (one.row.mode.to_owned(), verdict_name(&one.verdict).into()))
            .collect();
        let summary = json!({
            "command_line": command_line,
            "driver": if settings.real { "threads and sockets" } else { "simulator" },
            "seed": settings.seed,
            "replicas": settings.replicas,
            "clients": settings.clients,
            "operations": settings.operations,
            "reads": settings.reads,
            "keys": settings.keys,
            "faults": settings.faults.to_string(),
            "sync": sync_name(settings.sync),
            "delay_ns": settings.delay,
            "verdicts": verdicts,
            "modes": self.table.json(),
            "notes": self.table.notes,
        });
        write_summary(folder, &summary)?;
        report::write_text(folder, "compare.csv", &self.table.csv()?)?;
        report::write_text(folder, "compare.svg", &compare_svg(&self.table))?;
        for one in &self.compared {
            let folder = folder.join(one.row.mode);
            match &one.run {
                Run::Simulated(kept) => kept.save(&folder, command_line)?,
                Run::Recorded(run) => {
                    let (history, judged) = &**run;
                    let title = format!("lab compare, {}", one.row.mode);
                    let more = serde_json::Map::new();
                    save_recorded(&folder, &title, history, judged, command_line, more)?;
                }
            }
        }
        Ok(())
    }

    /// Where the results are kept unless something else is asked for.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from("results").join(self.comparison.name())
    }
}

fn sync_name(sync: Sync) -> &'static str {
    match sync {
        Sync::Always => "always",
        Sync::Batch => "batch",
        Sync::Os => "os",
    }
}
