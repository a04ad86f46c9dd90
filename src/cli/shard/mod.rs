//! `lab shard`: one file a command.

mod balance;
mod exercise;
mod resize;

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
enum ShardCommand {
    Balance(balance::BalanceArgs),
    Resize(resize::ResizeArgs),
}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ShardArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match &args.command {
        ShardCommand::Balance(args) => balance::run(args, arguments),
        ShardCommand::Resize(args) => resize::run(args, arguments),
    }
}
