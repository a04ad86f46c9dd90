//! `lab shard quorum`: which updates and reads succeed when nodes are down.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::exercise;
use crate::{
    cli::{Lab, usage},
    client::routing::{FUNCTIONS, Function},
    labs::shard::quorum::{MOST_NODES, Plan, Quorum},
    report::Style,
};

/// Take nodes down one by one, and show which updates and reads still succeed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab shard quorum
  lab shard quorum --nodes 5 --replicas 2 --function md5

Starts its own nodes on free ports of loopback and stops them: once with the simple handler, and twice with the
fault tolerant one, where adjacent nodes go down and where nodes far apart do. Leaves a CSV and a picture below
results/.
Exit codes: 0 shown, 1 an error, 64 wrong usage.")]
pub struct QuorumArgs {
    /// How many nodes, from 2 to 32.
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u16).range(2..=i64::from(MOST_NODES)))]
    nodes: u16,
    /// On how many nodes a pair is, from 2 to the number of nodes.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(2..))]
    replicas: u16,
    /// The placement function.
    #[arg(long, value_name = "NAME", default_value = FUNCTIONS[0].name, value_parser = exercise::function)]
    function: &'static Function,
    /// The folder for the files; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The nodes could not be started, or the files not written.
pub fn run(args: &QuorumArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    if args.replicas > args.nodes {
        let (replicas, nodes) = (args.replicas, args.nodes);
        let message = format!("expected --replicas up to --nodes, found {replicas} and {nodes}");
        return Ok(usage::wrong_usage::<Lab>(&message, arguments));
    }
    let plan = Plan { nodes: args.nodes, replicas: args.replicas, function: args.function };
    let bar = exercise::progress(plan.work(), "rows");
    let quorum = Quorum::run(plan, &|| bar.inc(1));
    bar.finish_and_clear();
    let (quorum, style) = (quorum?, Style::of_stdout());
    writeln!(io::stdout(), "{}", quorum.text(style))?;
    exercise::save(&quorum.exercise(), args.out.as_deref(), arguments, style)?;
    Ok(ExitCode::SUCCESS)
}
