//! `servers cluster`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::stop::StopSwitch;
use crate::base::limits::HIGHEST_MAX_VALUE;
use crate::cli::usage;
use crate::labs::cluster::server::{COMPACT_AFTER, ClusterServer, ServerOptions};
use crate::labs::processes::RunFile;
use crate::runtime::line_server::Bounds;

const EXAMPLES: &str = "\
Examples:
  servers cluster mytable-0 --port 9900
  servers cluster mytable-0 --dir data/0 --catalog 127.0.0.1:9097
  echo '{\"method\":\"insert\",\"key\":\"zebra\",\"value\":{\"weight\":100}}' | nc -N 127.0.0.1 9900
  echo '{\"method\":\"scan\",\"regex\":\"^z\"}' | nc -N 127.0.0.1 9900";

/// A hash table of the cluster lab: keys and JSON values, kept in table.txn and table.ckpt.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClusterArgs {
    /// Its name in the catalog, such as mytable-0.
    #[arg(value_parser = parse_name)]
    name: String,
    /// Where to listen; other hosts can only reach what does not listen on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The folder of its files, created if need be; by default a folder with its name, here.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Registers with this catalog.
    #[arg(long, value_name = "HOST:PORT", value_parser = usage::address)]
    catalog: Option<String>,
    /// How many records table.txn may hold before it is compacted. Under steady changes it gets longer:
    /// compacting takes a quarter of the time at the most.
    #[arg(long, default_value_t = COMPACT_AFTER, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    compact_after: u64,
    /// The longest request in bytes.
    #[arg(long, default_value_t = Bounds::default().line, value_name = "BYTES", value_parser = parse_line)]
    max_line: usize,
    /// The most clients at a time.
    #[arg(long, default_value_t = Bounds::default().connections, value_name = "N", value_parser = usage::count)]
    max_connections: usize,
    /// Holds this file for as long as it runs, with its process id.
    #[arg(long, value_name = "PATH")]
    run_file: Option<PathBuf>,
}

fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 200 || text.starts_with('.') || !text.chars().all(fits) {
        return Err(
            "expected a name of letters, digits, '-', '_' and '.', such as mytable-0".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// A longer line than this could not be read back from the log.
fn parse_line(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (100..=HIGHEST_MAX_VALUE).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected 100 to {HIGHEST_MAX_VALUE} bytes")),
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot begin, or cannot go on.
pub fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    // Thousands of clients need as many file descriptors; what cannot be had shows when they come.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let stop = StopSwitch::on_signal()?;
    let _run_file = args.run_file.as_deref().map(RunFile::hold).transpose()?;
    let defaults = Bounds::default();
    let mut server = ClusterServer::start(ServerOptions {
        name: args.name.clone(),
        host: args.host.clone(),
        port: args.port,
        dir: args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name)),
        catalog: args.catalog.clone(),
        compact_after: args.compact_after,
        bounds: Bounds {
            connections: args.max_connections,
            line: args.max_line,
            memory: defaults.memory.max(4 * args.max_line),
            idle: defaults.idle,
        },
    })?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "Listening on port {}", server.address().port())?;
    stdout.flush()?;
    let failed = stop.wait(server.failed());
    server.stop();
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => anyhow::bail!("{}: {why}", args.name),
    }
}
