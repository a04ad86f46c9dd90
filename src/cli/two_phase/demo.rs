//! `lab 2pc demo`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::labs::two_phase::demo;
use crate::report::Style;

/// Tell four short stories of two-phase commit: commit, abort, and a coordinator that is lost between the phases.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lab 2pc demo
  lab 2pc demo --out /tmp/stories    # where the pages go

Runs the machines of kvstore2pcsystem in virtual time: nothing is started, and every run is the same.
Exit codes: 0 all came out as it says, 1 it did not, 64 wrong usage.")]
pub struct DemoArgs {
    /// The folder for the runs, one below it for each story.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Something did not come out as the story says, or could not be kept.
pub fn run(args: &DemoArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    demo::tell(&args.out, &words, &mut io::stdout().lock(), Style::of_stdout())?;
    Ok(ExitCode::SUCCESS)
}
