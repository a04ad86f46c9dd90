//! `servers`: hosts replicas; and, as commands of its own, the servers of the other labs (one file each).

mod catalog;
mod cluster;
mod shard;
pub mod stop;
mod watchdog;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use self::stop::StopSwitch;
use super::{exit, log, usage};
use crate::base::{Limits, limits};
use crate::labs::replicas::{Lab, LabError, members_from, members_on};
use crate::protocol::{self, Backlog, MODES, Mode};
use crate::runtime::{Deliveries, InitialValue, Notice, Settings, StartError, SyncPolicy};
use crate::storage::COMPACT_ABOVE;

const EXAMPLES: &str = "\
Examples:
  servers --consistency=sequential --init x=0
  servers --consistency=eventual --write-delay 5s
  servers --consistency=causal                     # goes on without the others, and never shows effects before causes
  servers --consistency=linearizable               # Raft: goes on while a majority is up
  servers --consistency=sequential --only 2        # one replica a process: start 0, 1 and 2
  servers --consistency=sequential --init x=0 --history run.jsonl      # for lab check run.jsonl
  printf 'set x 2\\n42\\nget x\\nquit\\n' | nc 127.0.0.1 9889";

/// Hosts replicas: three in this process, on ports 9889.. (clients) and 10052.. (broadcast).
#[derive(Debug, Parser)]
#[command(
    name = "servers",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    /// What the replicas promise: eventual, session, causal, sequential or linearizable.
    #[arg(long, value_name = "MODE", value_parser = parse_mode, required = true)]
    consistency: Option<&'static Mode>,
    /// How many replicas there are.
    #[arg(long, default_value_t = 3, value_name = "N")]
    replicas: u16,
    /// Where to listen; other hosts can only reach what does not listen on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The client port of replica 0; replica I has this plus I. 0 lets the system choose.
    #[arg(long, default_value_t = 9889, value_name = "PORT")]
    client_port: u16,
    /// The broadcast port of replica 0; replica I has this plus I. 0 lets the system choose.
    #[arg(long, default_value_t = 10052, value_name = "PORT")]
    broadcast_port: u16,
    /// The folder of the stores; replica I has DIR/I/storage.txt.
    #[arg(long, default_value = "replicas", value_name = "DIR")]
    data: PathBuf,
    /// Writes VALUE to KEY where the store has no such key. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_init)]
    init: Vec<InitialValue>,
    /// Sleeps before a delivered write is applied.
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = usage::time)]
    write_delay: Duration,
    /// How long a client waits for the outcome of a write, beyond the write delay.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = usage::time)]
    write_timeout: Duration,
    /// When a write counts as kept: always (after fdatasync), batch (synced 10 ms behind the reply) or os.
    #[arg(long, default_value = "batch", value_name = "POLICY")]
    sync: SyncPolicy,
    /// Hosts replica I alone in this process; the others run elsewhere.
    #[arg(long, value_name = "I")]
    only: Option<u16>,
    /// Reads where each replica lives from a TOML file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replicas", "host", "client_port", "broadcast_port"])]
    cluster: Option<PathBuf>,
    /// Compacts no storage.txt that is smaller than this many bytes.
    #[arg(long, default_value_t = COMPACT_ABOVE, value_name = "BYTES")]
    compact_above: u64,
    /// The longest value in bytes.
    #[arg(long, default_value_t = limits::DEFAULT_MAX_VALUE, value_name = "BYTES", value_parser = parse_max_value)]
    max_value: usize,
    /// The most clients of one replica at a time.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = usage::count)]
    max_connections: usize,
    /// How many writes of one replica may wait for the others to acknowledge.
    #[arg(long, default_value_t = Backlog::default().writes, value_name = "N")]
    backlog: usize,
    /// Records what clients ask and are told into FILE, in the place of what it holds.
    #[arg(long, value_name = "FILE.jsonl")]
    history: Option<PathBuf>,
    /// Which deliveries the history shows: order (replica 0's, where all replicas have one order) or all.
    #[arg(long, default_value = "order", value_name = "WHICH", requires = "history")]
    history_deliveries: Deliveries,
    /// Begins without links to the others; clients make and cut them (lab.link and lab.unlink).
    #[arg(long)]
    control: bool,
    /// Stops when standard input ends, so that it does not outlive whoever has started it.
    #[arg(long)]
    until_eof: bool,
}

/// The servers of the other labs.
#[derive(Debug, clap::Subcommand)]
enum Other {
    Shard(shard::ShardArgs),
    Cluster(cluster::ClusterArgs),
    Catalog(catalog::CatalogArgs),
    Watchdog(watchdog::WatchdogArgs),
}

/// The program `servers`: parses its arguments and serves until it is told to stop.
pub fn servers(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed: Arguments = match usage::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    log::to_stderr();
    match &parsed.other {
        Some(Other::Shard(args)) => return exit::finish("servers", shard::run(args)),
        Some(Other::Cluster(args)) => return exit::finish("servers", cluster::run(args)),
        Some(Other::Catalog(args)) => return exit::finish("servers", catalog::run(args)),
        Some(Other::Watchdog(args)) => return exit::finish("servers", watchdog::run(args)),
        None => {}
    }
    match serve(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_usage(&error) => {
            usage::wrong_usage::<Arguments>(&error.to_string(), &arguments)
        }
        Err(error) => exit::finish("servers", Err(error)),
    }
}

/// Whether other arguments would help.
fn is_usage(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(
            LabError::Count(_)
                | LabError::Only { .. }
                | LabError::UnknownPort
                | LabError::PartOfHistory
                | LabError::Ports { .. }
                | LabError::Start(StartError::NotBuilt(_))
        )
    )
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // clap asks for it wherever no other server is named.
    let mode = arguments.consistency.context("expected --consistency=MODE")?;
    let members = match &arguments.cluster {
        Some(path) => members_from(path)?,
        None => members_on(
            &arguments.host,
            arguments.replicas,
            arguments.client_port,
            arguments.broadcast_port,
        )?,
    };
    // Thousands of clients need as many file descriptors; what cannot be had shows when they come.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let settings = Settings {
        mode,
        replicas: u16::try_from(members.len()).unwrap_or(u16::MAX),
        write_delay: arguments.write_delay,
        write_timeout: arguments.write_timeout,
        sync: arguments.sync,
        compact_above: arguments.compact_above,
        limits: Limits { max_value: arguments.max_value },
        max_connections: arguments.max_connections,
        backlog: Backlog { writes: arguments.backlog, ..Backlog::default() },
        control: arguments.control,
        ..Settings::new(mode)
    };
    let lab = Lab {
        members,
        only: arguments.only,
        data: arguments.data,
        init: arguments.init,
        history: arguments.history.map(|path| (path, arguments.history_deliveries)),
        settings,
    };
    let stop = StopSwitch::on_signal()?;
    if arguments.until_eof {
        stop.also_on_eof()?;
    }
    lab.run(&mut io::stdout().lock(), |notify| {
        // If the host is gone already, there is nothing left to stop.
        stop.set(move || drop(notify.send(Notice::Stop)));
    })?;
    Ok(())
}

fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= limits::MAX_KEY
}

fn parse_mode(name: &str) -> Result<&'static Mode, String> {
    protocol::mode(name).ok_or_else(|| {
        let names: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn parse_init(text: &str) -> Result<InitialValue, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, for example x=0")?;
    if !is_key(key.as_bytes()) {
        return Err(format!("expected a key of 1 to {} bytes", limits::MAX_KEY));
    }
    Ok(InitialValue { key: key.as_bytes().into(), data: value.as_bytes().into() })
}

fn parse_max_value(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (1..=limits::HIGHEST_MAX_VALUE).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected 1 to {} bytes", limits::HIGHEST_MAX_VALUE)),
    }
}
