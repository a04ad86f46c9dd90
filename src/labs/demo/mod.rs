//! The demo: both modes in turn, for real, in this process; what a client sees, which replica has what,
//! which messages pass, and what the stronger promise costs.
//!
//! Everything printed is what the replicas answered. What the text claims is checked, and a demo that does
//! not come out as it says ends with an error. Replicas listen on ports of the system's choice and keep
//! their data in a temporary folder; both are gone when the demo ends, however it ends.

mod costs;
mod flow;
mod proof;
mod tour;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::compared_modes;
use super::picture::picture;
use super::replicas::{Lab, LabError, members_on};
use super::simulation::SimulationError;
use super::trace::{INITIAL, KEY, TraceError};
use crate::bench::BenchError;
use crate::client::ClientError;
use crate::protocol::Mode;
use crate::report::{self, FolderError, Style};
use crate::runtime::{InitialValue, Settings};

/// How many replicas the demo starts.
const REPLICAS: u16 = 3;

/// The file of the space-time diagram, below the demo's folder.
const PICTURE: &str = "replicas.svg";

/// What to show.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Where figures and pictures go.
    pub out: PathBuf,
    /// How long a write that could be delivered waits, in the part where someone watches.
    pub write_delay: Duration,
    /// How many pairs of a write and a read are measured.
    pub pairs: u64,
    /// Seeds the replicas' hash tables.
    pub seed: u64,
    /// The command line, for `summary.json`.
    pub command_line: Vec<String>,
}

/// Why the demo ended early.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The replicas do not start.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A replica does not answer, or answers with an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The comparison could not be run.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The messages could not be traced.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Files could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The recorded run could not be saved.
    #[error(transparent)]
    Recorded(#[from] SimulationError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// The system refused what the demo needs.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A replica answered otherwise than its mode promises.
    #[error("{mode}: expected {what} to be {expected}, found {found}; this is an error of the lab")]
    Surprise {
        /// The mode.
        mode: &'static str,
        /// What was looked at.
        what: String,
        /// What the mode promises.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The machine took longer over a request than the write delay, so nothing could be shown.
    #[error(
        "{mode}: the machine took {} over a request, longer than the write delay; \
         try again with a longer --write-delay",
        humantime::format_duration(*took)
    )]
    TooSlow {
        /// The mode.
        mode: &'static str,
        /// How long.
        took: Duration,
    },
    /// It was told to stop.
    #[error("stopped")]
    Interrupted,
}

/// Where the text goes, how, and whether to go on.
struct Stage<'a, W> {
    out: &'a mut W,
    style: Style,
    stop: &'a AtomicBool,
}

impl<W: Write> Stage<'_, W> {
    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    fn heading(&mut self, text: &str) -> Result<(), DemoError> {
        let line = "─".repeat(text.chars().count());
        self.say(&format!("\n{}\n{}", self.style.bold(text), self.style.dim(&line)))
    }
}

impl Demo {
    /// Runs the demo, telling on `out` what happens, until its end or until `stop` is set.
    ///
    /// # Errors
    /// Whatever keeps it from coming out as it should; see [`DemoError`].
    pub fn run(
        &self,
        out: &mut impl Write,
        style: Style,
        stop: &AtomicBool,
    ) -> Result<(), DemoError> {
        // Before anything else, so that a folder that cannot be written costs no one the tour.
        report::prepare(&self.out)?;
        let mut stage = Stage { out, style, stop };
        stage.say(&style.bold("The consistency lab"))?;
        stage.say(
            "Three replicas of a small key-value store. A write to one of them goes to all.\n\
             What a client may rely on meanwhile is the consistency mode. Here are two.",
        )?;
        let mut recorded = Vec::new();
        for (number, mode) in (1..).zip(compared_modes()) {
            stage.heading(&format!("{number}. {}", mode.name))?;
            stage.say(&format!("{}\n", mode.promise))?;
            tour::show(self, mode, &mut stage)?;
            recorded.push(proof::show(self, mode, &mut stage)?);
        }
        stage.heading("3. What the difference costs")?;
        costs::show(self, &mut stage)?;
        self.say_where(&recorded, &mut stage)
    }

    fn say_where<W: Write>(
        &self,
        recorded: &[PathBuf],
        stage: &mut Stage<'_, W>,
    ) -> Result<(), DemoError> {
        let path = self.out.join(PICTURE);
        std::fs::write(&path, picture()?)
            .map_err(|source| FolderError::Io { path: path.clone(), source })?;
        stage.heading("Pictures and figures")?;
        let mut file = |path: PathBuf, what: &str| {
            let name = stage.style.accent(&format!("{:<38}", path.display()));
            stage.say(&format!("  {name} {what}"))
        };
        file(path, "both modes as a space-time diagram")?;
        file(self.out.join("performance.svg"), "their latencies by percentile")?;
        for folder in recorded {
            file(folder.join("timeline.html"), "what was recorded, and its witness")?;
        }
        for mode in compared_modes() {
            file(report::pairs_folder(&self.out, mode.name).join(""), "figures and histograms")?;
        }
        stage.say("\nThe replicas are stopped. docs/replicas.md goes through all of this by hand.")
    }

    /// Starts replicas in this process, hands their client addresses to `body`, and stops them.
    fn with_replicas<R>(
        &self,
        mode: &'static Mode,
        write_delay: Duration,
        body: impl FnOnce(&[String]) -> Result<R, DemoError>,
    ) -> Result<R, DemoError> {
        let folder = tempfile::Builder::new().prefix("consistency-lab-").tempdir();
        let folder = folder
            .map_err(|source| DemoError::System { action: "make a temporary folder", source })?;
        let host = Lab {
            members: members_on("127.0.0.1", REPLICAS, 0, 0)?,
            only: None,
            data: folder.path().to_owned(),
            init: vec![InitialValue {
                key: KEY.as_bytes().into(),
                data: INITIAL.as_bytes().into(),
            }],
            history: None,
            settings: Settings { write_delay, hash_seed: self.seed, ..Settings::new(mode) },
        }
        .start()?;
        let addresses: Vec<String> =
            host.addresses().iter().map(|address| address.clients.to_string()).collect();
        let result = body(&addresses);
        host.stop();
        result
    }
}
