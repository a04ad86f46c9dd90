//! What the commands of the labs share that leave figures behind: their progress, and where their files go.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    labs::exercise::Exercise,
    report::{self, Style},
};

/// The folder in which runs have theirs.
const RESULTS: &str = "results";

/// A bar for work of so many steps; hidden unless standard error is a terminal.
pub fn progress(length: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}} of {{len}} {what}, {{eta}} to go");
    match ProgressStyle::with_template(&template) {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(length).with_style(style),
        _ => ProgressBar::hidden(),
    }
}

/// Writes the files of an exercise and says where they are.
pub fn save(
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
