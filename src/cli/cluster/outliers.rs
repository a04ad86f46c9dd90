//! `lab cluster outliers`: the slowest operations, and what the servers did meanwhile.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::perf::{machine_line, unique_prefix};
use super::target::Target;
use crate::bench::Meter;
use crate::cli::{Lab, exercise, progress::with_progress, usage};
use crate::client::cluster::ClusterClient;
use crate::labs::cluster::outliers::{self, Shape};
use crate::labs::cluster::perf::Load;
use crate::report::{Machine, Style};

/// The most operations of all clients in a phase: each one is kept.
const MOST_KEPT: u64 = 1_000_000;

/// Show the fastest and the slowest operations, and where in time the slow ones lie against compactions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab cluster outliers mytable 3 2
  lab cluster outliers t 1 1 --at 127.0.0.1:9900 --clients 8 --ops 5000

Files go to results/cluster-outliers-N/: summary.json, slowest.csv, compactions.csv, outliers.svg.
Exit codes: 0 measured, 1 an error, 64 wrong usage.")]
pub struct OutliersArgs {
    #[command(flatten)]
    target: Target,
    /// How many clients.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u64).range(1..=1024))]
    clients: u64,
    /// Operations of each client in a phase.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=MOST_KEPT))]
    ops: u64,
    /// Scans of each client.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(0..=MOST_KEPT))]
    scans: u64,
    /// The longest that a phase may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = usage::time)]
    duration: Duration,
    /// The size of a value.
    #[arg(long, value_name = "BYTES", default_value = "32", value_parser = clap::value_parser!(u64).range(2..=8 << 20))]
    value_size: u64,
    /// The folder for the files; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What the system says.
pub fn run(args: &OutliersArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let most = args.ops.max(args.scans).saturating_mul(args.clients);
    if most > MOST_KEPT {
        let why = format!("expected --clients × --ops of at most {MOST_KEPT}, found {most}");
        return Ok(usage::wrong_usage::<Lab>(&why, arguments));
    }
    if let Err(error) = ClusterClient::new(args.target.config()) {
        return Ok(usage::wrong_usage::<Lab>(&error.to_string(), arguments));
    }
    let style = Style::of_stdout();
    let stop = exercise::stop_flag(true)?;
    let meter = Meter::default();
    let load = Load {
        ops: args.ops,
        lookups: args.ops,
        scans: args.scans,
        limit: args.duration,
        value_size: args.value_size as usize,
        prefix: unique_prefix(),
        keep_samples: true,
    };
    let clients = (0..=args.clients).map(|_| args.target.client()).collect::<Result<_, _>>()?;
    let shape = Shape { servers: args.target.servers, copies: args.target.copies };
    let work = || outliers::measure(clients, &load, shape, &stop, &meter);
    let message = |_: &str, tenth: u64| format!("operations, {}/s", tenth * 10);
    let run = with_progress(&meter, message, work)?;
    writeln!(io::stdout(), "{}", outliers::text(&run, style))?;
    let machine = Machine::look();
    let files = outliers::exercise(&run, &load, &machine, &machine_line(&machine));
    exercise::save(&files, args.out.as_deref(), arguments, style)?;
    anyhow::ensure!(!run.found.is_empty(), "no operation succeeded");
    Ok(ExitCode::SUCCESS)
}
