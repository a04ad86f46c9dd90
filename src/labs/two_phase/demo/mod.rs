//! Two-phase commit in four stories: a commit, an abort, and a coordinator that is lost between the phases, twice.
//!
//! The machines are those of `kvstore2pcsystem`; the time is virtual, so the output is the same every time. What
//! the text claims is checked against what the machines hold and have sent; the demo ends with an error at the
//! first claim that is not so.
//!
//! ```text
//! stories   what happens and what is claimed
//! world     the machines, the messages between them, the time
//! notes     what is kept of it: diagrams, history, trace
//! draw      the diagrams as text
//! words     what frames are called
//! ```

mod draw;
mod notes;
mod stories;
mod words;
mod world;

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;
use thiserror::Error;

use super::super::judge::Judged;
use super::super::simulation::{self, SimulationError};
use crate::check::spec::SPECS;
use crate::check::{Answer, Budget, MODELS, Problem, model};
use crate::history::{History, ValueId};
use crate::report::{self, FolderError, Style};
use stories::STORIES;
use world::World;

/// The files of the demo's folder.
pub const FILES: &[&str] = &["summary.json", "history.jsonl", "trace.jsonl", "timeline.html"];

/// Why the demo ended early.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A claim is not so.
    #[error("{story}: it is not so that {claim}; this is an error of the lab")]
    Claim {
        /// In which story.
        story: &'static str,
        /// The claim.
        claim: String,
    },
    /// The machines did something that none of them does.
    #[error("{0}; this is an error of the lab")]
    Machine(String),
    /// A file could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file could not be written.
    #[error(transparent)]
    Saving(#[from] SimulationError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl DemoError {
    /// Whether the lab is wrong, not the system it runs on.
    pub fn is_ours(&self) -> bool {
        matches!(self, DemoError::Claim { .. } | DemoError::Machine(_))
    }
}

/// The demo.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Where its files go.
    pub folder: PathBuf,
    /// The command line, for `summary.json`.
    pub command_line: Vec<String>,
}

/// Where the text goes and what is checked.
struct Stage<'a> {
    out: &'a mut dyn Write,
    style: Style,
    world: World,
    story: &'static str,
    /// The lines of its diagrams.
    drawn: Vec<draw::Row>,
    claims: u32,
}

impl Stage<'_> {
    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Draws what has happened since the last time.
    fn draw(&mut self) -> Result<(), DemoError> {
        let rows = std::mem::take(&mut self.world.notes.rows);
        let text = draw::draw(&rows, self.style);
        self.drawn.extend(rows);
        self.say(&format!("\n{text}"))
    }

    /// Says that something is so, or ends the demo.
    fn claim(&mut self, claim: &str, holds: bool) -> Result<(), DemoError> {
        let style = self.style;
        if !holds {
            self.say(&format!("  {} {claim}", style.bad("✗")))?;
            return Err(DemoError::Claim { story: self.story, claim: claim.to_owned() });
        }
        self.claims += 1;
        self.say(&format!("  {} {claim}", style.good("✓")))
    }
}

impl Demo {
    /// Tells the stories on `out` and writes [`FILES`].
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn run(&self, out: &mut impl Write, style: Style) -> Result<(), DemoError> {
        let (world, story) = (World::new(), "the start");
        let mut stage = Stage { out, style, world, story, drawn: Vec::new(), claims: 0 };
        stories::begin(&mut stage)?;
        for (number, story) in (1..).zip(STORIES) {
            stage.story = story.title;
            stage.drawn.clear();
            let heading = format!("{number}. {}", story.title);
            let line = style.dim(&"─".repeat(heading.chars().count()));
            stage.say(&format!("\n{}\n{line}\n{}", style.bold(&heading), story.before))?;
            (story.tell)(&mut stage)?;
        }
        self.judge_and_save(stage)
    }

    /// The history of all stories, judged and written.
    fn judge_and_save(&self, mut stage: Stage<'_>) -> Result<(), DemoError> {
        stage.story = "all stories";
        let world = std::mem::replace(&mut stage.world, World::new());
        let virtual_time = world.notes.now;
        let (history, trace) = world.notes.finish();
        let judged = judge(&history);
        let rung = model("linearizable").and_then(|model| judged.ladder.rung(model));
        let linearizable = rung.is_some_and(|rung| rung.answer == Answer::Valid);
        stage.say(&format!("\n{}", stage.style.bold("All that the client saw")))?;
        stage.claim("what the client was told is linearizable", linearizable)?;
        let mut more = serde_json::Map::new();
        more.insert("stories".to_owned(), STORIES.iter().map(|story| story.title).collect());
        more.insert("participants".to_owned(), json!(world::PARTICIPANTS));
        more.insert("claims_checked".to_owned(), json!(stage.claims));
        more.insert("virtual_time_ms".to_owned(), json!(virtual_time));
        let title = "lab 2pc demo: commit, abort, and a coordinator lost between the phases. \
                     0 to 2 are the participants, 3 is the coordinator";
        simulation::save_recorded(
            &self.folder,
            title,
            &history,
            &judged,
            &self.command_line,
            more,
        )?;
        report::write_text(&self.folder, "trace.jsonl", &trace)?;
        let place = stage.style.bold(&format!("{}/", self.folder.display()));
        stage.say(&format!("\n{place} {}", FILES.join(" ")))
    }
}

fn judge(history: &History) -> Judged {
    let budget = Budget::unlimited();
    let problem = Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget };
    Judged::of(&problem, &MODELS.iter().collect::<Vec<_>>(), budget, &|_| ())
}
