//! Tells four short stories of two-phase commit: the production machines in virtual time, drawn as text, checked, and
//! kept as runs like any other.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::diagram::draw;
use super::events::events;
use super::stories::{BEGIN, PARTICIPANTS, STORIES, Seen, Story};
use crate::labs::simulation::{FILES, Kept, SimulationError};
use crate::report::Style;
use crate::sim::Verdict;
use crate::sim::two_phase::Plan;

/// Why a story was not told to its end.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A run could not be kept.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// What was to be printed could not be.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// Something came out otherwise than the story says.
    #[error("{story}: expected: {expected} The run is in {}", folder.display())]
    Otherwise {
        /// The story.
        story: &'static str,
        /// What should have been.
        expected: String,
        /// Where the run is kept.
        folder: PathBuf,
    },
}

/// Tells all stories and keeps each in a folder below `out`.
///
/// # Errors
/// A claim that does not hold, or what the system says.
pub fn tell(
    out: &Path,
    command_line: &[String],
    print: &mut dyn Write,
    style: Style,
) -> Result<(), DemoError> {
    writeln!(
        print,
        "Two-phase commit: a coordinator C and three participants. Every message takes 1 ms, between a client and C\n\
         half of one. ● sends, ✗ never arrives, ◆ carries out, † dies. The machines are those that kvstore2pcsystem runs."
    )?;
    for (number, story) in (1..).zip(STORIES) {
        let heading = format!("{number}. {}", story.title);
        writeln!(print, "\n{}\n\n{}\n", style.bold(&heading), story.before)?;
        tell_one(story, out, command_line, print, style)?;
    }
    Ok(())
}

fn tell_one(
    story: &'static Story,
    out: &Path,
    command_line: &[String],
    print: &mut dyn Write,
    style: Style,
) -> Result<(), DemoError> {
    let kept: Kept<Plan> = Kept::run((story.plan)())?;
    let folder = out.join(format!("2pc-{}", story.name));
    kept.save(&folder, command_line)?;
    let otherwise = |expected: String| DemoError::Otherwise {
        story: story.title,
        expected,
        folder: folder.clone(),
    };
    let events = events(&kept.outcome.history, &kept.outcome.trace, BEGIN);
    write!(print, "{}", draw(&events, PARTICIPANTS, BEGIN, style))?;
    writeln!(print)?;
    let seen = Seen { events: &events };
    for claim in story.claims {
        if !(claim.holds)(&seen) {
            return Err(otherwise(claim.words.to_owned()));
        }
        writeln!(print, "{} {}", style.good("✓"), claim.words)?;
    }
    if kept.outcome.verdict != Verdict::Holds {
        return Err(otherwise(format!(
            "a run in which nothing is wrong, not {}.",
            kept.outcome.verdict
        )));
    }
    let path = style.accent(&folder.join("").display().to_string());
    writeln!(print, "{path} has {}", FILES.join(", "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_comes_out_as_it_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut told = Vec::new();
        tell(folder.path(), &[], &mut told, Style::default()).expect("all claims hold");
        let told = String::from_utf8(told).expect("text");
        let told = told.replace(&folder.path().join("").display().to_string(), "RESULTS/");
        insta::assert_snapshot!(told);
        for story in STORIES {
            for file in FILES {
                assert!(folder.path().join(format!("2pc-{}", story.name)).join(file).exists());
            }
        }
    }
}
