//! `lab shard balance`: how evenly keys in strides lie on the nodes.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::exercise;
use crate::{
    cli::{Lab, usage},
    client::routing::Function,
    labs::shard::balance::{Balance, Plan},
    report::Style,
};

/// The most strides of one run: so many panels fit side by side.
const MOST_STRIDES: usize = 6;

/// Show how evenly strided keys lie on the nodes, with each placement function.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab shard balance                                          # strides 3, 10 and 12
  lab shard balance --stride 7 --nodes 14
  lab shard balance --stride 1 --keys 100000 --function ring --function jump

The keys are START, START+STRIDE, START+2*STRIDE, … up to KEYS, as `seq START STRIDE KEYS` prints them.
Shows a bar a node, the fullest node against the mean, the coefficient of variation (cv), and chi-square with
its p; leaves them as CSV with a picture below results/.
Exit codes: 0 shown, 1 an error, 64 wrong usage.")]
pub struct BalanceArgs {
    /// The distance from key to key; may be given up to 6 times [default: 3, 10, 12].
    #[arg(long = "stride", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    strides: Vec<u64>,
    /// The last key, at most; up to 10 million.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// The first key.
    #[arg(long, value_name = "N", default_value = "1")]
    start: u64,
    /// How many nodes, up to 1000.
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: u16,
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
pub fn run(args: &BalanceArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let strides = match args.strides.as_slice() {
        [] => vec![3, 10, 12],
        strides => strides.to_vec(),
    };
    let repeated = (1..strides.len()).any(|n| strides[..n].contains(&strides[n]));
    let wrong = if strides.len() > MOST_STRIDES {
        Some(format!("expected --stride {MOST_STRIDES} times at most, found {}", strides.len()))
    } else if repeated {
        Some("expected each --stride once".to_owned())
    } else if args.start > args.keys {
        let (start, keys) = (args.start, args.keys);
        Some(format!("expected --start up to --keys, found {start} and {keys}: that leaves no key"))
    } else {
        None
    };
    if let Some(message) = wrong {
        return Ok(usage::wrong_usage::<Lab>(&message, arguments));
    }
    let functions = exercise::functions(&args.functions);
    let nodes = usize::from(args.nodes);
    let plan = Plan { start: args.start, last: args.keys, strides, nodes, functions };
    let bar = exercise::progress(plan.work(), "keys placed");
    let balance = Balance::run(plan, &|placed| bar.set_position(placed));
    bar.finish_and_clear();
    let style = Style::of_stdout();
    writeln!(io::stdout(), "{}", balance.text(style))?;
    exercise::save(&balance.exercise(), args.out.as_deref(), arguments, style)?;
    Ok(ExitCode::SUCCESS)
}
