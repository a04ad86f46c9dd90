//! `lab cluster`: one file a command.

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
enum ClusterCommand {}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ClusterArgs, _arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match args.command {}
}
