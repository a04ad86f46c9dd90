//! What the commands of the labs share that leave figures behind: their progress, and where their files go.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    labs::exercise::Exercise,
    report::{self, FolderError, Style},
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

/// What is set when the user asks to stop (SIGINT, SIGTERM). With `abrupt` a second time ends the process at once;
/// not so where servers of our own would be left behind.
///
/// # Errors
/// The system refuses to say when.
pub fn stop_flag(abrupt: bool) -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if abrupt {
            let flag = Arc::clone(&stop);
            signal_hook::flag::register_conditional_shutdown(signal, 130, flag)?;
        }
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// The folder of a run: the one that was asked for, or a new one below `results/`.
///
/// # Errors
/// It cannot be made.
pub fn folder(out: Option<&Path>, name: &str) -> Result<PathBuf, FolderError> {
    match out {
        Some(folder) => report::prepare(folder).map(|()| folder.to_owned()),
        None => {
            let root = PathBuf::from(RESULTS);
            let name = report::numbered(&root, name)?;
            Ok(root.join(name))
        }
    }
}

/// The command line, for `summary.json`.
pub fn words(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Writes the files of an exercise and says where they are.
pub fn save(
    exercise: &Exercise,
    out: Option<&Path>,
    arguments: &[OsString],
    style: Style,
) -> anyhow::Result<()> {
    let folder = folder(out, exercise.name)?;
    let words = words(arguments);
    let files = exercise.save(&folder, &words)?;
    let place = style.bold(&format!("{}/", folder.display()));
    writeln!(io::stdout(), "{place} {}", files.join(" "))?;
    Ok(())
}
