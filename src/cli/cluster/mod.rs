//! `lab cluster`: one file a command.

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
}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ClusterArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClusterCommand::Perf(args) => perf::run(args, arguments),
    }
}
