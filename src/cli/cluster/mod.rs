//! `lab cluster`: one file a command.

mod diverge;
mod outliers;
mod perf;
pub mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The cluster lab.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Perf(perf::PerfArgs),
    Outliers(outliers::OutliersArgs),
    Diverge(diverge::DivergeArgs),
}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ClusterArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClusterCommand::Perf(args) => perf::run(args, arguments),
        ClusterCommand::Outliers(args) => outliers::run(args, arguments),
        ClusterCommand::Diverge(args) => diverge::run(args, arguments),
    }
}
