//! `lab compare`: the modes side by side, under the same work and the same faults.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::usage;
use crate::faults::FaultSet;
use crate::labs::compare::scenario::Settings;
use crate::labs::compare::{Comparison, Results};
use crate::protocol::{self, MODES, Mode};
use crate::report::Style;
use crate::sim::Sync;

/// The exit code where a checker could not decide.
const UNDECIDED: u8 = 2;

/// Run the same work and the same faults in every mode, and put them side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab compare                                          # all modes that are built, a partition and crashes
  lab compare --seed 7 --modes eventual,linearizable
  lab compare --faults none --ops 2000                 # what a mode costs while nothing fails
  lab compare --delay 20ms --faults partition          # replicas far from each other
  lab compare --real --faults partition                # threads, sockets and files, in real time

In the simulator the same arguments give the same bytes, on any machine. docs/compare.md tells how to read the table.
Exit codes: 0 every mode kept its promise, 1 one did not, 2 not decided, 64 wrong usage, 74 the system refused.")]
pub struct CompareArgs {
    /// Which modes, with commas between them; by default all that are built.
    #[arg(long, value_name = "LIST", value_parser = modes)]
    modes: Option<Modes>,
    /// What work and faults are drawn from.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Which faults: `none`, `all` that all modes can have, or names with commas between them.
    #[arg(long, value_name = "LIST", default_value = "partition,crash")]
    faults: FaultSet,
    /// How many replicas.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// How many clients; client i asks replica i, and on from 0 behind the last.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=100))]
    clients: u16,
    /// How many operations, of all clients together.
    #[arg(long, value_name = "N", default_value = "400", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    ops: u32,
    /// The share of reads, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0.5", value_parser = share)]
    reads: f64,
    /// How many keys.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    keys: u16,
    /// How long a message between two replicas takes, about (some are nearer to each other), from 10us to 50ms.
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = delay, conflicts_with = "real")]
    delay: Duration,
    /// On real threads and sockets, in the time that it takes: some ten seconds a mode. Links fail in relays between the
    /// replicas; a crash is a stop and a start on the same files.
    #[arg(long)]
    real: bool,
    /// When a write counts as kept: always, batch or os, as for servers.
    #[arg(long, value_name = "POLICY", default_value = "batch", value_parser = sync)]
    sync: Sync,
    /// The folder for figures and the picture; by default one below results/ that names the seed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Modes that were named.
#[derive(Clone, Debug)]
struct Modes(Vec<&'static Mode>);

/// The modes that are built, weakest first.
fn built() -> impl Iterator<Item = &'static Mode> {
    MODES.iter().filter(|mode| mode.build.is_some())
}

fn modes(text: &str) -> Result<Modes, String> {
    let mut named = Vec::new();
    for name in text.split(',').map(str::trim) {
        let names = || MODES.iter().map(|mode| mode.name).collect::<Vec<_>>().join(", ");
        let mode = protocol::mode(name)
            .ok_or_else(|| format!("expected a list of {}; found {name}", names()))?;
        if mode.build.is_none() {
            let built: Vec<&str> = built().map(|mode| mode.name).collect();
            return Err(format!("mode {name} is not built yet; expected {}", built.join(", ")));
        }
        named.push(mode);
    }
    // Weakest first and each once, however they were typed.
    Ok(Modes(built().filter(|mode| named.iter().any(|m| m.name == mode.name)).collect()))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_micros(10)..=Duration::from_millis(50);
    match humantime::parse_duration(text) {
        Ok(delay) if allowed.contains(&delay) => Ok(delay),
        _ => Err("expected a time from 10us to 50ms, such as 1ms".to_owned()),
    }
}

fn sync(text: &str) -> Result<Sync, String> {
    match text {
        "always" => Ok(Sync::Always),
        "batch" => Ok(Sync::Batch),
        "os" => Ok(Sync::Os),
        other => Err(format!("expected always, batch or os, found {other}")),
    }
}

/// Runs the command.
pub fn run(args: &CompareArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let modes = args.modes.as_ref().map_or_else(|| built().collect(), |modes| modes.0.clone());
    let mut settings = Settings {
        seed: args.seed,
        replicas: args.replicas,
        clients: usize::from(args.clients),
        operations: args.ops as usize,
        reads: args.reads,
        keys: args.keys,
        faults: args.faults,
        sync: args.sync,
        real: args.real,
        delay: u64::try_from(args.delay.as_nanos()).unwrap_or(u64::MAX),
    };
    let mut left_out = Vec::new();
    for unfair in settings.unfair(&modes) {
        if args.faults != FaultSet::all() {
            return Ok(usage::wrong_usage::<super::Lab>(&unfair.to_string(), arguments));
        }
        settings.faults = settings.faults.without(unfair.kind);
        left_out.push(unfair.to_string());
    }
    let bar = bar(modes.len() as u64);
    let results = Comparison { modes, settings }.run(&|mode| {
        bar.set_message(mode.name);
        bar.inc(1);
    });
    bar.finish_and_clear();
    let mut results = results?;
    results.table.notes.extend(left_out);
    show(&results, args, arguments)
}

fn show(results: &Results, args: &CompareArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    let words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let folder = args.out.clone().unwrap_or_else(|| results.folder());
    results.save(&folder, &words)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n{}\n", style.bold(&results.table.title), results.table.subtitle)?;
    write!(out, "{}", results.table.text(style))?;
    writeln!(out, "\n{}", folder.join("compare.svg").display())?;
    for (mode, verdict) in results.broken() {
        writeln!(out, "{} {mode}: {verdict}", style.bad("✗"))?;
    }
    for (mode, verdict) in results.undecided() {
        writeln!(out, "{} {mode}: {verdict}", style.warning("?"))?;
    }
    Ok(match (results.broken().next(), results.undecided().next()) {
        (Some(_), _) => ExitCode::FAILURE,
        (None, Some(_)) => ExitCode::from(UNDECIDED),
        (None, None) => ExitCode::SUCCESS,
    })
}

fn bar(length: u64) -> ProgressBar {
    match ProgressStyle::with_template("{bar:40} {pos} of {len} modes: {msg}") {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(length).with_style(style),
        _ => ProgressBar::hidden(),
    }
}
