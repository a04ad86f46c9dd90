//! `lab shard start` and `lab shard status`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::PlacesArgs;
use crate::client::routing::NodeStatus;
use crate::client::{ClientError, Connection, Options};
use crate::labs::shard::Settings;
use crate::labs::shard::nodes::{self, Outcome};

const EXAMPLES: &str = "\
Example:
  lab shard start            # the same as start_distributed_db";

/// Starts all nodes of the settings, each as a process of its own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StartArgs {
    #[command(flatten)]
    places: PlacesArgs,
}

/// Shows which nodes of the settings take connections.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lab shard status")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    places: PlacesArgs,
}

pub(super) fn run(args: &StartArgs) -> anyhow::Result<ExitCode> {
    let places = args.places.places()?;
    let settings = Settings::load(&places.settings)?;
    let all: Vec<usize> = (0..settings.nodes.len()).collect();
    let outcomes = nodes::for_each(&settings, &all, |node| nodes::start(&places, node));
    let mut failed = 0;
    let mut out = io::stdout().lock();
    for (node, outcome) in settings.nodes.iter().zip(outcomes) {
        let (name, address) = (&node.name, node.address());
        let log = places.logs.join(name);
        match outcome {
            Ok(Outcome::Running) => writeln!(out, "{name}: already running on {address}")?,
            Ok(_) => writeln!(out, "{name}: listening on {address}, log {}", log.display())?,
            Err(error) => {
                failed += 1;
                writeln!(io::stderr(), "{name}: {error}")?;
            }
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let places = args.places.places()?;
    let settings = Settings::load(&places.settings)?;
    let all: Vec<usize> = (0..settings.nodes.len()).collect();
    let second = Duration::from_secs(1);
    let options = Options { connect_timeout: second, timeout: second };
    let lines = nodes::for_each(&settings, &all, |node| {
        let process = nodes::process(&places, &node.name);
        let process = process.map_or(String::new(), |pid| format!(", process {pid}"));
        let status = match Connection::open(&node.address(), &options) {
            Ok(_) => NodeStatus::Up,
            Err(ClientError::NothingListens { .. }) => NodeStatus::Down,
            Err(error) => NodeStatus::Silent { why: error.to_string() },
        };
        format!("{}: {status}, {}{process}", node.name, node.address())
    });
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
