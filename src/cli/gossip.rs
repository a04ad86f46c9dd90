//! `lab gossip`: what goes with `lab master`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Lab, usage};
use crate::labs::gossip::generate::generate;
use crate::labs::gossip::{GenerateError, Ids, Plan, Workload};

/// The gossip lab: workloads for lab master.
#[derive(Debug, Args)]
pub struct GossipArgs {
    #[command(subcommand)]
    command: GossipCommand,
}

#[derive(Debug, Subcommand)]
enum GossipCommand {
    Generate(GenerateArgs),
}

/// Prints a list of commands for lab master, the same for the same seed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab gossip generate --workload tree > tree.txt && lab master < tree.txt
  lab gossip generate --workload chain --servers 20 --clients 20 --commands 10000 > chain.txt
  lab gossip generate --workload partition --commands 25000 --min-value-size 8000 --value-size 10000 > big.txt")]
struct GenerateArgs {
    /// tree, chain (servers join one by one, one is killed and joins again) or partition (split, then mended).
    #[arg(long, value_name = "NAME")]
    workload: Workload,
    /// How many puts.
    #[arg(long, default_value_t = 4000, value_name = "N")]
    commands: u64,
    /// The longest value in bytes.
    #[arg(long, default_value_t = 2000, value_name = "BYTES")]
    value_size: usize,
    /// The shortest value in bytes; 8 by default, or the longest where that is less.
    #[arg(long, value_name = "BYTES")]
    min_value_size: Option<usize>,
    /// What fixes keys and values.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How many servers.
    #[arg(long, default_value_t = 5, value_name = "N")]
    servers: u16,
    /// How many clients.
    #[arg(long, default_value_t = 5, value_name = "N")]
    clients: u16,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &GossipArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let GossipCommand::Generate(args) = &args.command;
    let plan = Plan {
        workload: args.workload,
        puts: args.commands,
        min_value: args.min_value_size.unwrap_or(8.min(args.value_size)),
        max_value: args.value_size,
        seed: args.seed,
        ids: Ids { servers: args.servers, clients: args.clients },
    };
    let mut out = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
    match generate(&plan, &mut out) {
        Ok(()) => {}
        Err(GenerateError::Output(error)) => return Err(error.into()),
        Err(error) => return Ok(usage::wrong_usage::<Lab>(&error.to_string(), arguments)),
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
