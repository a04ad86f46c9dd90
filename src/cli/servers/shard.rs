//! `servers shard`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::stop::StopSwitch;
use crate::labs::processes::{ProcessError, RunFile};
use crate::labs::shard::server::{ServerError, bind};
use crate::labs::shard::settings::{DEFAULT_PORT, loopback_nodes};
use crate::labs::shard::{Log, Settings, ShardServer};

const EXAMPLES: &str = "\
Examples:
  servers shard                     # a database on its own, on 127.0.0.1:7000
  servers shard --node scutter03 --settings scripts/shard/settings.cfg

Exit codes: 0 stopped, 1 it cannot serve, 2 a database is running there already, 64 wrong usage.";

/// The exit code where a database is running there already.
const OCCUPIED: u8 = 2;

/// How long the last lines may take to be printed when it stops.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A node of the shard lab.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ShardArgs {
    /// The node of the settings that it is; without, it is a database on its own.
    #[arg(long, value_name = "NAME", requires = "settings", conflicts_with = "host")]
    node: Option<String>,
    /// The settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Where a database on its own listens.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port in place of the settings' one; 0 lets the system choose.
    #[arg(long)]
    port: Option<u16>,
    /// Holds a lock on this file while it runs, so that it can be found and stopped.
    #[arg(long, value_name = "PATH")]
    run_file: Option<PathBuf>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot begin, or cannot go on.
pub fn run(args: &ShardArgs) -> anyhow::Result<ExitCode> {
    let settings = match &args.settings {
        Some(path) => Settings::load(path)?,
        None => Settings { port: DEFAULT_PORT, ..Settings::new(loopback_nodes(1)) },
    };
    let (number, host, port) = match &args.node {
        None => (None, &args.host, settings.port),
        Some(name) => {
            let number = settings.node(name).with_context(|| {
                let names: Vec<&str> = settings.nodes.iter().map(|node| &*node.name).collect();
                format!("expected a node of the settings ({}), found {name:?}", names.join(", "))
            })?;
            (Some(number), &settings.nodes[number].host, settings.nodes[number].port)
        }
    };
    let stop = StopSwitch::on_signal()?;
    let run_file = match args.run_file.as_deref().map(RunFile::hold) {
        None => None,
        Some(Ok(held)) => Some(held),
        Some(Err(ProcessError::Running { .. })) => return occupied(&ServerError::AddressInUse),
        Some(Err(error)) => return Err(error.into()),
    };
    let port = match bind(host, args.port.unwrap_or(port)) {
        Ok(port) => port,
        Err(error @ ServerError::AddressInUse) => return occupied(&error),
        Err(error) => return Err(error.into()),
    };
    // Many clients need as many file descriptors; what cannot be had shows when they come.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let log = Log::to(io::stdout())?;
    log.line(&format!("Starting up a server. Listening on port {}", port.address().port()));
    let server = ShardServer::start(&settings, number, port, log.clone())?;
    let (sender, stopped) = crossbeam_channel::bounded(1);
    // Full: a signal has come before and is being followed.
    stop.set(move || {
        let _ = sender.try_send(());
    });
    // It answers clients once its neighbours have told it what it missed; each is waited for a bounded time.
    while !server.wait_until_live(Duration::from_millis(50)) {
        if !stopped.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    log.line("Waiting for a message to arrive...");
    // The sender lives as long as the process.
    let _ = stopped.recv();
    server.stop();
    log.finish(LAST_WORDS);
    drop(run_file);
    Ok(ExitCode::SUCCESS)
}

fn occupied(error: &ServerError) -> anyhow::Result<ExitCode> {
    eprintln!("{error}");
    Ok(ExitCode::from(OCCUPIED))
}
