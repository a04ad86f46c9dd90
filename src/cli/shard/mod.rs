//! `lab shard`: one file a command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The shard lab.
#[derive(Debug, Args)]
pub struct ShardArgs {
    #[command(subcommand)]
    command: ShardCommand,
}

#[derive(Debug, Subcommand)]
enum ShardCommand {}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ShardArgs, _arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match args.command {}
}
