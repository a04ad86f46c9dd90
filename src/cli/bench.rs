//! `lab bench`: measure throughput and latency.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{Lab, progress::with_progress, usage};
use crate::{
    bench::{self, BenchError, Config, Meter, Protocol, pairs::run_pairs},
    client::DEFAULT_TO,
    report::{self, Machine, Report, Style},
};

/// How long is measured when neither --ops nor --duration is given.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The file of a history in the folder of a run.
const HISTORY: &str = "history.jsonl";

/// The folder that holds the runs' folders.
const RESULTS: &str = "results";

/// Measure throughput and latency against running servers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab bench                                   # 1 client, half reads, 10 s, against 127.0.0.1:9889
  lab bench --clients 50 --reads 0 --floor    # writes only, next to the machine's own costs
  lab bench --rate 20000 --clients 50         # open loop: latency counts from the intended start
  lab bench --pairs 100                       # alternating set and get: how many reads are current
  lab bench --history --clients 10 --ops 2000 # also what each client saw: lab check results/NAME/history.jsonl

Files go to results/NAME/: summary.json, latency.csv, latency.hgrm, latency.hlog, latency.svg.
Ctrl-C ends the measuring early and reports what was measured; twice ends at once.
Exit codes: 0 measured, 1 an error, 64 wrong usage.")]
pub struct BenchArgs {
    /// The servers, separated by commas; clients are spread over them in turn.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', default_value = DEFAULT_TO,
          value_parser = usage::address)]
    to: Vec<String>,
    /// memcached, resp, simple-resp (the two-phase commit lab's) or etcd (its HTTP gateway).
    #[arg(long, default_value = "memcached")]
    protocol: Protocol,
    /// Clients at a time, each with a connection and a thread of its own.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(bench::MAX_CLIENTS))]
    clients: u64,
    /// Commands that a client sends in one write before it reads their replies.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(bench::MAX_PIPELINE))]
    pipeline: u64,
    /// Stop after this many operations, over all clients.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ops: Option<u64>,
    /// Stop after this time; 10s if --ops is not given either.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// The share of reads, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0.5", value_parser = share)]
    reads: f64,
    /// How many different keys.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count(1_000_000_000))]
    keys: u64,
    /// Prefer some keys: a Zipf distribution with this exponent (1 is typical).
    #[arg(long, value_name = "S", value_parser = positive)]
    zipf: Option<f64>,
    /// The size of a value.
    #[arg(long, value_name = "BYTES", default_value = "32", value_parser = count(64 << 20))]
    value_size: u64,
    /// Open loop: this many operations a second, over all clients.
    #[arg(long, value_name = "OPS/S", value_parser = positive)]
    rate: Option<f64>,
    /// Also measure an echo and a bare replica chain in turn, and print ratios to them.
    #[arg(long)]
    floor: bool,
    /// Rounds that the measuring is cut into with --floor.
    #[arg(long, value_name = "N", default_value = "5", value_parser = count(1000))]
    rounds: u64,
    /// Operations of each client before the measuring (at most a second).
    #[arg(long, value_name = "N", default_value = "100")]
    warmup: u64,
    /// Record the history of the run in history.jsonl; each value is written once then.
    #[arg(long)]
    history: bool,
    /// Do not write the keys beforehand.
    #[arg(long)]
    no_preload: bool,
    /// The seed of keys, values and the mix; the same seed draws the same operations.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How long a client waits for a reply.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    timeout: Duration,
    /// Instead: N times `set x i` and then `get x`, by one client, and count the current reads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          conflicts_with_all = ["clients", "pipeline", "ops", "duration", "reads", "keys", "zipf",
                                "value_size", "rate", "floor", "rounds", "warmup", "no_preload",
                                "history"])]
    pairs: Option<u64>,
    /// The name of the run and of its folder below results/.
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// The folder for the files, instead of results/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn count(most: usize) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=most as u64)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a time such as 10s, 500ms or 2min".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 100 && text.chars().all(plain) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, '-', '_' and '.'".to_owned())
    }
}

impl BenchArgs {
    fn config(&self) -> Config {
        let duration = match (self.ops, self.duration) {
            (None, None) => Some(DEFAULT_DURATION),
            (_, duration) => duration,
        };
        Config {
            to: self.to.clone(),
            protocol: self.protocol,
            clients: self.clients as usize,
            pipeline: self.pipeline as usize,
            ops: self.ops,
            duration,
            reads: self.reads,
            keys: self.keys,
            zipf: self.zipf,
            value_size: self.value_size as usize,
            rate: self.rate,
            warmup: self.warmup,
            preload: !self.no_preload,
            floor: self.floor,
            rounds: self.rounds as u32,
            seed: self.seed,
            timeout: self.timeout,
        }
    }
}

/// Runs the command.
pub fn run(args: &BenchArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C ends the process at once, also when a client hangs.
    signal_hook::flag::register_conditional_shutdown(
        signal_hook::consts::SIGINT,
        130,
        Arc::clone(&stop),
    )?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
    let words = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let ended = match args.pairs {
        Some(pairs) => run_pairs_command(args, pairs, words, &stop),
        None => run_bench(args, words, &stop),
    };
    ended.or_else(|error| match error.downcast_ref() {
        Some(BenchError::Config(why)) => Ok(usage::wrong_usage::<Lab>(why, arguments)),
        _ => Err(error),
    })
}

fn run_bench(args: &BenchArgs, words: Vec<String>, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    let config = args.config();
    let style = Style::of_stdout();
    let mut out = io::stdout();
    // Before the measuring, so that a folder that cannot be written costs no one a run.
    report::prepare(args.out.as_deref().unwrap_or(Path::new(RESULTS)))?;
    writeln!(out, "{}", style.dim(&describe(&config)))?;
    let meter = Meter::default();
    let goal = Goal { config: &config, operations: config.ops };
    let prefix = || format!("bench-{}", config.protocol);
    // The file of a history is there from the beginning on, the others are written at the end.
    let early = if args.history { Some(folder(args, prefix)?) } else { None };
    let file = early.as_ref().map(|(_, folder)| folder.join(HISTORY));
    let run = || bench::run(&config, file.as_deref(), stop, &meter);
    let measured = with_progress(&meter, |phase, tenth| goal.message(phase, tenth), run)
        .inspect_err(|_| {
            if let Some((_, folder)) = &early {
                // A run that did not come about leaves no folder; one that holds something stays.
                let _ = fs::remove_dir(folder);
            }
        })?;
    let (name, folder) = early.map_or_else(|| folder(args, prefix), Ok)?;
    let report = Report {
        name,
        command_line: words,
        started: measured.started,
        machine: Machine::look(),
        config: config.to_json(),
        rounds: measured.rounds,
        floors: measured.floors,
        pairs: None,
        notes: measured.notes,
    };
    report::write_files(&report, &folder)?;
    writeln!(out, "\n{}", report::latency_table(&report, style))?;
    writeln!(out, "{}", report::bars(&report, style))?;
    if report.floors.is_some() {
        writeln!(out, "{}", report::floor_table(&report, style))?;
    }
    say_where(&mut out, &folder, style)?;
    match measured.history {
        Some(Ok(())) => writeln!(out, "history: {}", folder.join(HISTORY).display())?,
        Some(Err(error)) => return Err(error.into()),
        None => {}
    }
    let total = report.total();
    let nothing = total.read.succeeded() + total.write.succeeded() == 0;
    anyhow::ensure!(!nothing, "no operation succeeded");
    Ok(ExitCode::SUCCESS)
}

fn run_pairs_command(
    args: &BenchArgs,
    pairs: u64,
    words: Vec<String>,
    stop: &AtomicBool,
) -> anyhow::Result<ExitCode> {
    let config = Config { ops: Some(pairs.saturating_mul(2)), ..args.config() };
    let style = Style::of_stdout();
    let mut out = io::stdout();
    let meter = Meter::default();
    let goal = Goal { config: &config, operations: config.ops };
    let run = with_progress(
        &meter,
        |phase, tenth| goal.message(phase, tenth),
        || run_pairs(&config, pairs, stop, &meter),
    )?;
    let mode = &run.pairs.mode;
    let name = args.name.clone().unwrap_or_else(|| format!("performance-{mode}"));
    let folder = args.out.clone().unwrap_or_else(|| Path::new(RESULTS).join(&name));
    report::prepare(&folder)?;
    let mut notes = Vec::new();
    if run.pairs.count < pairs {
        notes.push("stopped early; the figures are those until then".to_owned());
    }
    let report = run.report(name, words, &config, notes);
    report::write_files(&report, &folder)?;
    writeln!(out, "{}", pairs_text(&report, style))?;
    writeln!(out, "{}", report::latency_table(&report, style))?;
    writeln!(out, "{}", report::bars(&report, style))?;
    let root = folder.parent().unwrap_or(Path::new("."));
    compare(&mut out, root, style)?;
    say_where(&mut out, &folder, style)?;
    Ok(ExitCode::SUCCESS)
}

fn pairs_text(report: &Report, style: Style) -> String {
    let Some(pairs) = &report.pairs else { return String::new() };
    let seconds = report.total().elapsed.as_secs_f64();
    let heading = format!("{} pairs of set and get, consistency {}", pairs.count, pairs.mode);
    format!(
        "{}\ntotal {seconds:.3} s, current reads {} of {}\n",
        style.bold(&heading),
        pairs.current,
        pairs.count
    )
}

/// Prints the modes side by side, once each has been measured.
fn compare(out: &mut impl Write, root: &Path, style: Style) -> anyhow::Result<()> {
    let Some(comparison) = report::compare_folders(root)? else { return Ok(()) };
    writeln!(out, "{}", report::comparison_text(&comparison.runs, style))?;
    if let Some(picture) = comparison.picture {
        writeln!(out, "picture of both: {}", picture.display())?;
    }
    Ok(())
}

/// The run's name and its folder, which is made here.
fn folder(args: &BenchArgs, prefix: impl Fn() -> String) -> anyhow::Result<(String, PathBuf)> {
    let root = Path::new(RESULTS);
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (name, folder) = match (&args.name, &args.out) {
        (name, Some(out)) => {
            let name = name.clone().or_else(|| last(out)).unwrap_or_else(&prefix);
            (name, out.clone())
        }
        (Some(name), None) => (name.clone(), root.join(name)),
        (None, None) => {
            let name = report::numbered(root, &prefix())?;
            let folder = root.join(&name);
            (name, folder)
        }
    };
    report::prepare(&folder)?;
    Ok((name, folder))
}

fn say_where(out: &mut impl Write, folder: &Path, style: Style) -> io::Result<()> {
    let files: Vec<&str> = report::FORMATS.iter().map(|format| format.file).collect();
    writeln!(out, "{} {}", style.bold(&format!("{}/", folder.display())), files.join(" "))
}

/// One line about what will be measured.
fn describe(config: &Config) -> String {
    let mut text = format!(
        "{} → {}: {} client{}, pipeline {}, reads {}, {} keys{}, values of {} bytes",
        config.protocol,
        config.to.join(","),
        config.clients,
        if config.clients == 1 { "" } else { "s" },
        config.pipeline,
        config.reads,
        config.keys,
        config.zipf.map_or(String::new(), |s| format!(" (zipf {s})")),
        config.value_size,
    );
    if let Some(rate) = config.rate {
        text += &format!(", open loop {rate} ops/s");
    }
    if let Some(ops) = config.ops {
        text += &format!(", {ops} operations");
    }
    if let Some(duration) = config.duration {
        text += &format!(", {}", humantime::format_duration(duration));
    }
    text + &format!(", seed {}", config.seed)
}

/// What the progress bar runs towards.
struct Goal<'a> {
    config: &'a Config,
    operations: Option<u64>,
}

impl Goal<'_> {
    /// What is said behind the number of operations that are done.
    fn message(&self, phase: &str, tenth: u64) -> String {
        match (phase, self.operations) {
            ("preload", _) => format!("of {} keys", self.config.keys),
            ("warm-up", _) => "operations".to_owned(),
            (_, Some(ops)) => format!("of {ops} operations"),
            (_, None) => format!("operations, {}/s", tenth * 10),
        }
    }
}
