//! `lab cluster perf`: throughput and latency of a cluster, phase by phase.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::target::{Reach, Target};
use crate::bench::Meter;
use crate::cli::{Lab, exercise, progress::with_progress, usage};
use crate::client::cluster::ClusterClient;
use crate::labs::cluster::perf::floor::{self, FloorPlan};
use crate::labs::cluster::perf::{
    self, Clients, Load, Series, StepsError, TableError, run_steps, sweep,
};
use crate::labs::exercise::Exercise;
use crate::labs::processes;
use crate::report::{Machine, Style};

/// The most operations of a client in a phase.
const MAX_OPS: u64 = 10_000_000;

/// Measure insert, lookup, scan and remove against a cluster, from one client to many.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab cluster perf mytable 3 2                        # servers mytable-0 to mytable-2, found in the catalog
  lab cluster perf mytable 3 2 --clients auto         # 1, 2, 4, ... clients until throughput levels out
  lab cluster perf t 1 1 --at 127.0.0.1:9900 --clients 4
  lab cluster perf --sweep                            # starts N=1 K=1, N=3 K=2 and N=5 K=3, one after the other
  lab cluster perf --floor                            # ratios to what the machine itself charges

Each client is a thread with connections of its own. In each phase all begin together; a client sends its next
request when the last one is answered, and every answer is checked.
Files go to results/cluster-perf-N/: summary.json, perf.csv, clients.csv, perf.svg.
Exit codes: 0 measured, 1 an error, 64 wrong usage.")]
pub struct PerfArgs {
    /// The name that the servers' names begin with.
    #[arg(required_unless_present_any = ["sweep", "floor"])]
    name: Option<String>,
    /// How many servers there are.
    #[arg(value_name = "N", required_unless_present_any = ["sweep", "floor"])]
    servers: Option<usize>,
    /// How many copies each key has.
    #[arg(value_name = "K", required_unless_present_any = ["sweep", "floor"])]
    copies: Option<usize>,
    #[command(flatten)]
    reach: Reach,
    /// Instead: start three clusters, measure each with the same load, stop them.
    #[arg(long, conflicts_with_all = ["name", "floor", "at"])]
    sweep: bool,
    /// Instead: start a server and compare it with an echo and a bare append to the same disk.
    #[arg(long, conflicts_with_all = ["name", "sweep", "at", "clients", "ops", "lookups", "scans", "duration", "each"])]
    floor: bool,
    /// How many clients, step by step: a list, or auto.
    #[arg(long, value_name = "N,...", default_value = "1,2,4,8,16")]
    clients: Clients,
    /// Inserts of each client, and as many removes.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=MAX_OPS))]
    ops: u64,
    /// Lookups of each client; they need no disk, and a thousand would be over too soon to mean something.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(0..=MAX_OPS))]
    lookups: u64,
    /// Scans of each client; each looks at all keys of all servers.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(0..=MAX_OPS))]
    scans: u64,
    /// The longest that a phase may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = usage::time)]
    duration: Duration,
    /// The size of a value.
    #[arg(long, value_name = "BYTES", default_value = "32", value_parser = clap::value_parser!(u64).range(2..=8 << 20))]
    value_size: u64,
    /// Also show each client, for every number of clients.
    #[arg(long)]
    each: bool,
    /// With --floor: how many rounds.
    #[arg(long, value_name = "N", default_value = "5", conflicts_with_all = ["name", "sweep"], value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// With --floor: how many entries are scanned and read back.
    #[arg(long, value_name = "N", default_value = "1000000", conflicts_with_all = ["name", "sweep"], value_parser = clap::value_parser!(u64).range(10..=50_000_000))]
    entries: u64,
    /// The folder for the files; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl PerfArgs {
    fn load(&self) -> Load {
        Load {
            ops: self.ops,
            lookups: self.lookups,
            scans: self.scans,
            limit: self.duration,
            value_size: self.value_size as usize,
            prefix: unique_prefix(),
            keep_samples: false,
        }
    }
}

/// Keys of this run only: programs that measure the same cluster at the same time do not meet.
pub(super) fn unique_prefix() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("perf-{:x}-{:x}", std::process::id(), now.as_micros() & 0xffff_ffff)
}

/// The machine in a line, for below a picture.
pub(super) fn machine_line(machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, .. } = machine;
    format!("clients on: {cpu}, {cores} processors, Linux {kernel}")
}

/// Runs the command.
///
/// # Errors
/// What the system says.
pub fn run(args: &PerfArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    if args.floor {
        return run_floor(args, arguments);
    }
    let style = Style::of_stdout();
    let stop = exercise::stop_flag(!args.sweep)?;
    let meter = Meter::default();
    let measured = match (&args.name, args.servers, args.copies) {
        (Some(name), Some(servers), Some(copies)) => {
            let reach = args.reach.clone();
            let target = Target { name: name.clone(), servers, copies, reach };
            if let Err(error) = ClusterClient::new(target.config()) {
                return Ok(usage::wrong_usage::<Lab>(&error.to_string(), arguments));
            }
            let steps = progress(&meter, || steps(args, &target, &stop, &meter))?;
            vec![Series { servers, copies, steps }]
        }
        // clap asks for them without --sweep.
        _ => {
            let program = processes::program("servers")?;
            let place = args.out.clone().unwrap_or_else(|| "results".into());
            let load = args.load();
            let run = || sweep::sweep(&program, &place, &args.clients, &load, &stop, &meter);
            progress(&meter, run)?
        }
    };
    let mut out = io::stdout();
    writeln!(out, "{}", perf::step_table(&measured, style))?;
    show_clients(args, &measured, style, &mut out)?;
    let troubles = perf::troubles(&measured);
    for trouble in &troubles {
        writeln!(out, "{}", style.warning(trouble))?;
    }
    if stop.load(Ordering::Relaxed) {
        writeln!(out, "{}", style.warning("stopped early; the figures are those until then"))?;
    }
    exercise::save(&files(args, &measured, troubles), args.out.as_deref(), arguments, style)?;
    let phases = || measured.iter().flat_map(|s| &s.steps).flat_map(|step| &step.phases);
    anyhow::ensure!(phases().any(|phase| phase.total.succeeded() > 0), "no operation succeeded");
    Ok(ExitCode::SUCCESS)
}

fn progress<R: Send>(meter: &Meter, work: impl FnOnce() -> R) -> R {
    with_progress(meter, |_, tenth| format!("operations, {}/s", tenth * 10), work)
}

fn steps(
    args: &PerfArgs,
    target: &Target,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Vec<perf::Step>, StepsError> {
    let table = || target.client().map_err(TableError::from);
    run_steps(&args.clients, &args.load(), &table, stop, meter)
}

/// Each client and the sum: of a single step in any case, of all with `--each`.
fn show_clients(
    args: &PerfArgs,
    measured: &[Series],
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let single = measured.iter().map(|series| series.steps.len()).sum::<usize>() == 1;
    for series in measured {
        for step in series.steps.iter().filter(|step| args.each || (single && step.clients > 1)) {
            let heading = format!("{}, {} clients", series.name(), step.clients);
            writeln!(out, "{}\n{}", style.bold(&heading), perf::client_table(step, style))?;
        }
    }
    Ok(())
}

fn files(args: &PerfArgs, measured: &[Series], troubles: Vec<String>) -> Exercise {
    let machine = Machine::look();
    let picture = perf::picture(measured, &machine_line(&machine));
    Exercise {
        name: "cluster-perf",
        config: json!({
            "name": args.name,
            "ops": args.ops,
            "lookups": args.lookups,
            "scans": args.scans,
            "phase_limit_seconds": args.duration.as_secs_f64(),
            "value_size": args.value_size,
        }),
        results: json!({
            "machine": machine,
            "figures": perf::series_json(measured),
            "troubles": troubles,
        }),
        tables: vec![
            ("perf.csv", perf::steps_columns(measured)),
            ("clients.csv", perf::clients_columns(measured)),
        ],
        picture: ("perf.svg", picture),
    }
}

fn run_floor(args: &PerfArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    let stop = exercise::stop_flag(false)?;
    let meter = Meter::default();
    let folder = exercise::folder(args.out.as_deref(), "cluster-floor")?;
    let plan = FloorPlan {
        rounds: args.rounds as usize,
        entries: args.entries,
        value_size: args.value_size as usize,
        ..FloorPlan::default()
    };
    let program = processes::program("servers")?;
    let figures = progress(&meter, || floor::measure(&program, &folder, &plan, &stop, &meter))?;
    let mut out = io::stdout();
    writeln!(out, "{}", floor::table(&figures, &plan, style))?;
    let summary = json!({
        "name": "cluster-floor",
        "command_line": exercise::words(arguments),
        "machine": Machine::look(),
        "rounds": plan.rounds,
        "figures": figures,
    });
    crate::labs::simulation::write_summary(&folder, &summary)?;
    writeln!(out, "{} summary.json", style.bold(&format!("{}/", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}
