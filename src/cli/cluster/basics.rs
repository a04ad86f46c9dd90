//! `lab cluster basics`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::target::Target;
use crate::labs::cluster::basics;
use crate::report::Style;

/// Tries every call, in its success and in its failure, and prints a checklist; exit code 1 where something is
/// not as it should be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster start mytable 3 && lab cluster basics mytable 3 2")]
pub struct BasicsArgs {
    #[command(flatten)]
    target: Target,
}

/// Makes the checks.
///
/// # Errors
/// N, K and the addresses do not fit together.
pub fn run(args: &BasicsArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.target.client()?;
    let (mut out, style) = (io::stdout().lock(), Style::of_stdout());
    let mut printed = Ok(());
    let mut failures = 0;
    let prefix = format!("basics-{}-", std::process::id());
    let good = basics::run(&mut client, &prefix, |checked| {
        let line = match &checked.result {
            Ok(()) => format!("{} {}", style.good("✓"), checked.name),
            Err(why) => {
                failures += 1;
                format!("{} {}\n    {why}", style.bad("✗"), checked.name)
            }
        };
        if printed.is_ok() {
            printed = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    });
    printed?;
    writeln!(out, "{} of {} as it should be", basics::count() - failures, basics::count())?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
