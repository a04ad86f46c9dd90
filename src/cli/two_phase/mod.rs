//! `lab 2pc`: one file a command.

mod demo;
mod sim;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::exit;

/// The two-phase commit lab.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab 2pc demo                        # commit, abort, and a coordinator that is lost, drawn
  lab 2pc sim --seed 17               # one run under faults, saved with its picture
  lab 2pc sim --seeds 0..10000        # many, on all cores, to the first failure")]
pub struct TwoPhaseArgs {
    #[command(subcommand)]
    command: TwoPhaseCommand,
}

#[derive(Debug, Subcommand)]
enum TwoPhaseCommand {
    Demo(demo::DemoArgs),
    Sim(sim::SimArgs),
}

/// Runs the command.
pub fn run(args: &TwoPhaseArgs, arguments: &[OsString]) -> ExitCode {
    match &args.command {
        TwoPhaseCommand::Demo(args) => exit::finish("lab", demo::run(args, arguments)),
        TwoPhaseCommand::Sim(args) => exit::finish_verdict("lab", sim::run(args, arguments)),
    }
}
