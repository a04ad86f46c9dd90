//! `lab shard`: one file a command.

mod balance;
mod exercise;
mod quorum;
mod random;
mod resize;
mod send;
mod start;
mod stop;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::labs::shard::nodes::Places;

/// The shard lab.
#[derive(Debug, Args)]
pub struct ShardArgs {
    #[command(subcommand)]
    command: ShardCommand,
}

#[derive(Debug, Subcommand)]
enum ShardCommand {
    Balance(balance::BalanceArgs),
    Quorum(quorum::QuorumArgs),
    Resize(resize::ResizeArgs),
    Send(send::SendArgs),
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Kill(stop::KillArgs),
    Status(start::StatusArgs),
    Random(random::RandomArgs),
}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ShardArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    match &args.command {
        ShardCommand::Balance(args) => balance::run(args, arguments),
        ShardCommand::Quorum(args) => quorum::run(args, arguments),
        ShardCommand::Resize(args) => resize::run(args, arguments),
        ShardCommand::Send(args) => send::run(args, arguments),
        ShardCommand::Start(args) => start::run(args),
        ShardCommand::Stop(args) => stop::run(args, arguments),
        ShardCommand::Kill(args) => stop::kill(args, arguments),
        ShardCommand::Status(args) => start::status(args),
        ShardCommand::Random(args) => random::run(args),
    }
}

/// The commands that people run a thousand times in a loop, parsed without building all the others' parsers, which
/// takes longer than what they do. `None` for anything else, help and wrong usage too: that is for the
/// whole parser, so that both say the same.
pub fn run_in_a_loop(arguments: &[OsString]) -> Option<anyhow::Result<ExitCode>> {
    #[derive(Debug, Parser)]
    #[command(name = "send", disable_help_flag = true)]
    struct Send {
        #[command(flatten)]
        args: send::SendArgs,
    }
    #[derive(Debug, Parser)]
    #[command(name = "random", disable_help_flag = true)]
    struct Random {
        #[command(flatten)]
        args: random::RandomArgs,
    }
    let [_, lab, command, ..] = arguments else { return None };
    if lab != "shard" {
        return None;
    }
    match command.to_str() {
        Some("send") => {
            let send = Send::try_parse_from(&arguments[2..]).ok()?;
            Some(send::run(&send.args, arguments))
        }
        Some("random") => {
            let random = Random::try_parse_from(&arguments[2..]).ok()?;
            Some(random::run(&random.args))
        }
        _ => None,
    }
}

/// Where the lab's files are.
#[derive(Clone, Debug, Args)]
struct PlacesArgs {
    /// The settings.
    #[arg(long, default_value = "scripts/shard/settings.cfg", value_name = "FILE")]
    settings: PathBuf,
    /// The folder of the logs, one file a node; `logs` beside the settings by default.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// The folder of the run files, by which nodes are found again; `run` beside the settings by default.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

impl PlacesArgs {
    fn places(&self) -> anyhow::Result<Places> {
        let settings = std::path::absolute(&self.settings)?;
        let beside = |folder: &str| settings.with_file_name(folder);
        let absolute = |given: &Option<PathBuf>, folder| match given {
            Some(path) => std::path::absolute(path),
            None => Ok(beside(folder)),
        };
        let program = std::env::current_exe()?;
        let programs = program.parent().context("expected this program in a folder")?.to_owned();
        Ok(Places {
            logs: absolute(&self.logs, "logs")?,
            run: absolute(&self.run, "run")?,
            settings,
            programs,
        })
    }
}
