//! `lab shard resize`: how many keys move when the number of nodes changes.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::exercise;
use crate::{
    client::routing::Function,
    labs::shard::resize::{Plan, Resize},
    report::Style,
};

/// Show how many keys move when nodes are added or taken away, with each placement function.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab shard resize --from 12 --to 13
  lab shard resize --from 12 --to 6 --keys 100000 --function ring

The keys are the integers from 1 to KEYS. Leaves a CSV and a picture below results/.
Exit codes: 0 shown, 1 an error, 64 wrong usage.")]
pub struct ResizeArgs {
    /// How many nodes there are, up to 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    from: u16,
    /// How many there will be, up to 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    to: u16,
    /// How many keys, up to 10 million.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// A placement function; may be given several times [default: all].
    #[arg(long = "function", value_name = "NAME", value_parser = exercise::function)]
    functions: Vec<&'static Function>,
    /// The folder for the files; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The files could not be written.
pub fn run(args: &ResizeArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        from: args.from.into(),
        to: args.to.into(),
        keys: args.keys,
        functions: exercise::functions(&args.functions),
    };
    let bar = exercise::progress(plan.keys * plan.functions.len() as u64, "keys placed");
    let resize = Resize::run(plan, &|placed| bar.set_position(placed));
    bar.finish_and_clear();
    let style = Style::of_stdout();
    writeln!(io::stdout(), "{}", resize.text(style))?;
    exercise::save(&resize.exercise(), args.out.as_deref(), arguments, style)?;
    Ok(ExitCode::SUCCESS)
}
