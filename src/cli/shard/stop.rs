//! `lab shard stop` and `lab shard kill`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::PlacesArgs;
use crate::cli::{Lab, usage};
use crate::labs::shard::Settings;
use crate::labs::shard::nodes::{self, End, LOCAL, NodeError, Outcome};

/// Stops all nodes of the settings, or one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lab shard stop                  # the same as stop_distributed_db
  lab shard stop -a scutter03")]
pub(super) struct StopArgs {
    #[command(flatten)]
    which: Which,
}

/// Kills (SIGKILL) all nodes of the settings, or one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lab shard kill                  # the same as kill_db_on_all_nodes
  lab shard kill --local          # the same as kill_local_db")]
pub(super) struct KillArgs {
    #[command(flatten)]
    which: Which,
    /// The database that start_local_db has started on this machine, and no other.
    #[arg(long, conflicts_with = "host")]
    local: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// A node of the settings by its name, or localhost: what start_local_db has started.
    #[arg(short = 'a', long = "address", value_name = "HOST")]
    host: Option<String>,
    /// The node runs on this machine, whatever its address is.
    #[arg(long, hide = true)]
    here: bool,
    #[command(flatten)]
    places: PlacesArgs,
}

pub(super) fn run(args: &StopArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    end(&args.which, args.which.host.as_deref(), End::Stop, arguments)
}

pub(super) fn kill(args: &KillArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let host = if args.local { Some(LOCAL) } else { args.which.host.as_deref() };
    end(&args.which, host, End::Kill, arguments)
}

fn end(
    which: &Which,
    host: Option<&str>,
    how: End,
    arguments: &[OsString],
) -> anyhow::Result<ExitCode> {
    let places = which.places.places()?;
    let settings = Settings::load(&places.settings)?;
    let chosen: Vec<usize> = match host {
        None => (0..settings.nodes.len()).collect(),
        Some(LOCAL) => Vec::new(),
        Some(name) => match settings.node(name) {
            Some(node) => vec![node],
            None => {
                let names: Vec<&str> = settings.nodes.iter().map(|node| &*node.name).collect();
                let (path, names) = (places.settings.display(), names.join(", "));
                let why = format!("expected a node of {path} ({names}) or {LOCAL}, found {name:?}");
                return Ok(usage::wrong_usage::<Lab>(&why, arguments));
            }
        },
    };
    let ended =
        nodes::for_each(&settings, &chosen, |node| nodes::end(&places, node, how, which.here));
    let names = chosen.iter().map(|node| &*settings.nodes[*node].name);
    let mut outcomes: Vec<(&str, Result<Outcome, NodeError>)> = names.zip(ended).collect();
    // Whoever stops all means the database that start_local_db has started too, if there is one.
    if host == Some(LOCAL) || (host.is_none() && nodes::process(&places, LOCAL).is_some()) {
        outcomes.push((LOCAL, nodes::end_local(&places, LOCAL, how)));
    }
    let mut code = ExitCode::SUCCESS;
    let mut out = io::stdout().lock();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Outcome::NotRunning) => writeln!(out, "{name}: not running")?,
            Ok(_) if how == End::Kill => writeln!(out, "{name}: killed")?,
            Ok(_) => writeln!(out, "{name}: stopped")?,
            Err(error) => {
                code = ExitCode::FAILURE;
                writeln!(io::stderr(), "{name}: {error}")?;
            }
        }
    }
    Ok(code)
}
