//! Arguments as typed → built configuration; one file a command.
//!
//! Exit codes: 64 for wrong usage, with one line that says what was expected; 0 for success; otherwise
//! as the command's `--help` says.

pub mod bench;
pub mod check;
pub mod client;
mod client_history;
pub mod cluster;
pub mod compare;
pub mod demo;
pub mod draw;
pub mod exercise;
pub mod exit;
mod generate;
pub mod gossip;
pub mod kvstore;
pub mod log;
pub mod master;
pub mod progress;
pub mod servers;
pub mod shard;
pub mod sim;
mod simulate;
pub mod two_phase;
pub mod usage;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

/// Run, see, measure and prove what consistency means in replicated systems.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    version,
    after_help = "Examples:
  lab                        # the tour, the same as lab demo
  lab client set x 42        # one command
  lab client                 # interactive
  lab bench --clients 50     # measure
  lab check history.jsonl    # which consistency models a recorded history keeps
  lab sim --consistency sequential --seeds 0..1000    # faults in virtual time
  lab master < commands.txt  # servers, clients and links as the commands say
  lab compare                # every mode under the same work and faults, in one table and one picture

Start servers with scripts/server-normal.sh sequential"
)]
pub struct Lab {
    #[command(subcommand)]
    command: Option<LabCommand>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    Demo(demo::DemoArgs),
    Client(client::ClientArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Sim(sim::SimArgs),
    Compare(compare::CompareArgs),
    Shard(shard::ShardArgs),
    Cluster(cluster::ClusterArgs),
    #[command(name = "2pc")]
    TwoPhase(two_phase::TwoPhaseArgs),
    Master(master::MasterArgs),
    Gossip(gossip::GossipArgs),
    Draw(draw::DrawArgs),
    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
    /// The other end of `lab bench --floor`.
    #[command(name = crate::bench::floor::FLOOR_COMMAND, hide = true)]
    FloorServer,
}

/// The program `lab`: parses its arguments and runs the command.
pub fn lab(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(result) = shard::run_in_a_loop(&arguments) {
        return exit::finish("lab", result);
    }
    let parsed: Lab = match usage::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let result = match parsed.command {
        None => demo::run(&demo::DemoArgs::default(), &arguments),
        Some(LabCommand::Demo(args)) => demo::run(&args, &arguments),
        Some(LabCommand::Client(args)) => return client::run(&args, &arguments),
        Some(LabCommand::Bench(args)) => bench::run(&args, &arguments),
        Some(LabCommand::Check(args)) => {
            return exit::finish_verdict("lab", check::run(&args, &arguments));
        }
        Some(LabCommand::Sim(args)) => {
            return exit::finish_verdict("lab", sim::run(&args, &arguments));
        }
        Some(LabCommand::Compare(args)) => {
            return exit::finish_verdict("lab", compare::run(&args, &arguments));
        }
        Some(LabCommand::Shard(args)) => shard::run(&args, &arguments),
        Some(LabCommand::Cluster(args)) => cluster::run(&args, &arguments),
        Some(LabCommand::TwoPhase(args)) => return two_phase::run(&args, &arguments),
        Some(LabCommand::Master(args)) => master::run(&args, &arguments),
        Some(LabCommand::Gossip(args)) => gossip::run(&args, &arguments),
        Some(LabCommand::Draw(args)) => draw::run(&args),
        Some(LabCommand::Completions(args)) => generate::completions(&args, &mut Lab::command()),
        Some(LabCommand::Man(args)) => generate::man(&args, Lab::command()),
        Some(LabCommand::FloorServer) => {
            crate::bench::floor_server::serve(std::io::stdin().lock(), std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS)
                .map_err(anyhow::Error::from)
        }
    };
    exit::finish("lab", result)
}
