//! What the exercises' commands share: their functions, their progress, and where their files go.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    client::routing::{self, FUNCTIONS, Function, function_names},
    labs::shard::exercise::Exercise,
    report::{self, Style},
};

/// The folder in which runs have theirs.
const RESULTS: &str = "results";

/// Parses the name of a function.
pub(super) fn function(text: &str) -> Result<&'static Function, String> {
    routing::function(text).ok_or_else(|| format!("expected one of {}", function_names()))
}

/// The functions that were asked for, each once; all where none was.
pub(super) fn functions(asked: &[&'static Function]) -> Vec<&'static Function> {
    let all = FUNCTIONS.iter();
    let is_asked = |function: &&Function| {
        asked.is_empty() || asked.iter().any(|asked| asked.name == function.name)
    };
    all.filter(is_asked).collect()
}

/// A bar for work of so many steps; hidden unless standard error is a terminal.
pub(super) fn progress(length: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}} of {{len}} {what}, {{eta}} to go");
    match ProgressStyle::with_template(&template) {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(length).with_style(style),
        _ => ProgressBar::hidden(),
    }
}

/// Writes the files of an exercise and says where they are.
pub(super) fn save(
    exercise: &Exercise,
    out: Option<&Path>,
    arguments: &[OsString],
    style: Style,
) -> anyhow::Result<()> {
    let folder = match out {
        Some(folder) => folder.to_owned(),
        None => {
            let root = PathBuf::from(RESULTS);
            let name = report::numbered(&root, exercise.name)?;
            root.join(name)
        }
    };
    let words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let files = exercise.save(&folder, &words)?;
    let place = style.bold(&format!("{}/", folder.display()));
    writeln!(io::stdout(), "{place} {}", files.join(" "))?;
    Ok(())
}
