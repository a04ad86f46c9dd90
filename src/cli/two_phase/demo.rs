//! `lab 2pc demo`: two-phase commit, drawn.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::exercise;
use crate::labs::two_phase::demo::Demo;
use crate::report::Style;

/// Show two-phase commit in four stories: a commit, an abort, and a coordinator lost between the phases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab 2pc demo
  NO_COLOR=1 lab 2pc demo | less
  lab 2pc demo --out demo && xdg-open demo/timeline.html

Runs the production coordinator and participants in virtual time; nothing is started.
The output is the same every time.
Exit codes: 0 all came out as it says, 1 it did not, 64 wrong usage, 74 the system refused.")]
pub struct DemoArgs {
    /// The folder for what is kept; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &DemoArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let folder = exercise::folder(args.out.as_deref(), "2pc-demo")?;
    let demo = Demo { folder, command_line: exercise::words(arguments) };
    match demo.run(&mut io::stdout().lock(), Style::of_stdout()) {
        Err(error) if error.is_ours() => {
            let _ = writeln!(io::stderr(), "lab: error: {error}");
            Ok(ExitCode::FAILURE)
        }
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}
