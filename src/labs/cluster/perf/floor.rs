//! What the machine itself charges, next to what the cluster's server adds to it.
//!
//! One server (N=1 K=1) in a process of its own, through the cluster's client as users have it. Each round
//! measures in turn: the echo with one client (as many bytes each way as an insert and its reply), a bare
//! append and fdatasync (as many bytes as the log gains an insert, on the same disk), inserts with one
//! client; then the echo, lookups and inserts with many. Medians over the rounds are compared, so that the machine's
//! noise hits all alike. Once in the end, on another server: a million entries are inserted, scanned twice,
//! and read back by a server that was killed and starts again.
//!
//! The scan's time is from the request to the last byte of the reply: what the server needs, and not what a client
//! needs to make sense of a million keys.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::large;
use super::sweep::{SweepError, own_cluster, scratch};
use super::{Load, Phase, PhaseResult, StepsError, TableError, run_phases};
use crate::bench::floor::{FloorClient, FloorServer, Sizes};
use crate::bench::floor_disk::DiskFloor;
use crate::bench::{BenchError, Config, Limit, Meter, Workload, drive};
use crate::client::cluster::ClusterClient;
use crate::client::{ClientError, Options};
use crate::labs::cluster::fleet::{Fleet, FleetError};
use crate::report::{Columns, ProcessorTime, Style, grouped, median, micros};
use crate::wire::lines::cluster::{Request, write_success, write_value};

/// How the floors are measured.
#[derive(Clone, Debug)]
pub struct FloorPlan {
    /// Rounds.
    pub rounds: usize,
    /// Operations with one client, in a round.
    pub alone: u64,
    /// Inserts of each of many clients, in a round.
    pub each: u64,
    /// Lookups of each of many clients, and echoes, in a round.
    pub lookups: u64,
    /// How many are many.
    pub many: usize,
    /// The entries to scan and to start with.
    pub entries: u64,
    /// The length of a value in bytes.
    pub value_size: usize,
}

impl Default for FloorPlan {
    fn default() -> Self {
        Self {
            rounds: 5,
            alone: 500,
            each: 200,
            lookups: 1000,
            many: 50,
            entries: 1_000_000,
            value_size: 32,
        }
    }
}

/// The figures, medians over the rounds where there are rounds.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct FloorFigures {
    /// The echo's p50 with one client, in microseconds.
    pub echo_p50_us: f64,
    /// The p50 of a bare append and fdatasync, in microseconds.
    pub disk_p50_us: f64,
    /// How many bytes it appends.
    pub record_bytes: usize,
    /// The insert's p50 with one client, in microseconds.
    pub insert_p50_us: f64,
    /// Inserts a second with one client.
    pub insert_one: f64,
    /// Inserts a second with many.
    pub insert_many: f64,
    /// Of the processors' time that there was while many inserted, the share that the clients and the server used,
    /// from 0 to 1; `None` where the system does not tell. What other programs use does not make an insert
    /// bound by the processors.
    pub insert_many_busy: Option<f64>,
    /// Lookups a second with many.
    pub lookup_many: f64,
    /// Echoes a second with many.
    pub echo_many: f64,
    /// The entries that are scanned.
    pub entries: u64,
    /// Keys a second of a scan that finds ten.
    pub scan_few: f64,
    /// Keys a second of a scan that finds all.
    pub scan_all: f64,
    /// The bytes of that reply.
    pub scan_all_bytes: u64,
    /// Seconds until a server with that many entries serves.
    pub restart_seconds: f64,
}

/// Why the floors could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// A server could not be had.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A client could not be had, or failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The load could not be run.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The disk could not be measured.
    #[error("cannot measure the disk: {0}")]
    Disk(io::Error),
    /// Operations failed.
    #[error("the figures mean nothing: {0}")]
    Trouble(String),
    /// It was stopped.
    #[error("stopped before the figures were complete")]
    Stopped,
}

impl From<FleetError> for FloorError {
    fn from(error: FleetError) -> Self {
        SweepError::from(error).into()
    }
}

impl From<StepsError> for FloorError {
    fn from(error: StepsError) -> Self {
        SweepError::from(error).into()
    }
}

impl From<TableError> for FloorError {
    fn from(error: TableError) -> Self {
        StepsError::from(error).into()
    }
}

const NAME: &str = "floor";

/// Measures; `program` is the program `servers`, `place` is on the disk that is meant.
///
/// # Errors
/// Something could not be had, an operation failed, or `stop` is set.
pub fn measure(
    program: &Path,
    place: &Path,
    plan: &FloorPlan,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<FloorFigures, FloorError> {
    let folder = scratch(place)?;
    let mut figures = {
        let fleet = Fleet::start(program, NAME, 1, folder.path())?;
        Rounds::start(&fleet, folder.path(), plan, stop, meter)?.run()?
    };
    large::measure(program, &folder.path().join("large"), plan, &mut figures, stop, meter)?;
    Ok(figures)
}

/// Whether nobody has asked to stop.
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), FloorError> {
    if stop.load(Ordering::Relaxed) { Err(FloorError::Stopped) } else { Ok(()) }
}

/// All that the rounds need.
struct Rounds<'a> {
    plan: &'a FloorPlan,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    _floor: FloorServer,
    echo_one: Vec<FloorClient>,
    echo_many: Vec<FloorClient>,
    disk: DiskFloor,
    record_bytes: usize,
    tables: Vec<ClusterClient>,
    /// This one and the server.
    processes: Vec<u32>,
}

/// The figures of each round.
#[derive(Default)]
struct Series {
    echo_p50: Vec<f64>,
    disk_p50: Vec<f64>,
    insert_p50: Vec<f64>,
    insert_one: Vec<f64>,
    insert_many: Vec<f64>,
    busy: Vec<f64>,
    lookup_many: Vec<f64>,
    echo_many: Vec<f64>,
}

impl<'a> Rounds<'a> {
    fn start(
        fleet: &Fleet,
        folder: &Path,
        plan: &'a FloorPlan,
        stop: &'a AtomicBool,
        meter: &'a Meter,
    ) -> Result<Self, FloorError> {
        let table = || -> Result<ClusterClient, FloorError> {
            let config = own_cluster(NAME, fleet.addresses(), 1);
            Ok(ClusterClient::new(config).map_err(TableError::from)?)
        };
        let mut tables = (0..plan.many.max(1)).map(|_| table()).collect::<Result<Vec<_>, _>>()?;
        let load = plan.load("floor-sizes", 1);
        let lengths = Lengths::of(&load)?;
        let log = fleet.data(0).unwrap_or_default().join("table.txn");
        let record_bytes = record_length(&mut tables[0], &load, &log)?;
        let floor = FloorServer::start().map_err(BenchError::Floor)?;
        let echo = |count: usize, (request, reply): (usize, usize)| {
            let sizes = Sizes::of_lengths(request, reply);
            let one = |_| FloorClient::connect(floor.echo(), sizes, Options::default());
            (0..count).map(one).collect::<Result<Vec<_>, _>>()
        };
        let (echo_one, echo_many) = (echo(1, lengths.insert)?, echo(plan.many, lengths.lookup)?);
        let disk = DiskFloor::new(folder, record_bytes).map_err(FloorError::Disk)?;
        let mut processes = fleet.processes();
        processes.push(std::process::id());
        Ok(Self {
            plan,
            stop,
            meter,
            _floor: floor,
            echo_one,
            echo_many,
            disk,
            record_bytes,
            tables,
            processes,
        })
    }

    fn run(mut self) -> Result<FloorFigures, FloorError> {
        let mut series = Series::default();
        // Round 0 warms up.
        for round in 0..=self.plan.rounds {
            let mut warm_up = Series::default();
            self.round(round, if round == 0 { &mut warm_up } else { &mut series })?;
        }
        let busy = median(series.busy);
        Ok(FloorFigures {
            echo_p50_us: median(series.echo_p50),
            disk_p50_us: median(series.disk_p50),
            record_bytes: self.record_bytes,
            insert_p50_us: median(series.insert_p50),
            insert_one: median(series.insert_one),
            insert_many: median(series.insert_many),
            insert_many_busy: (busy > 0.0).then_some(busy),
            lookup_many: median(series.lookup_many),
            echo_many: median(series.echo_many),
            ..FloorFigures::default()
        })
    }

    fn round(&mut self, round: usize, into: &mut Series) -> Result<(), FloorError> {
        let plan = self.plan;
        go_on(self.stop)?;
        self.meter.begin("echo");
        let echo = self.echo(false, plan.alone)?;
        into.echo_p50.push(echo.0);
        self.meter.begin("disk");
        let disk = self.disk.measure(plan.alone).map_err(FloorError::Disk)?;
        into.disk_p50.push(disk.percentile_us(50.0));
        let (_, one) = self.load(format!("floor-{round}-one"), plan.alone, 1, &[Phase::Insert])?;
        into.insert_p50.push(one[0].total.percentile_us(50.0));
        into.insert_one.push(one[0].throughput());
        go_on(self.stop)?;
        self.meter.begin("echo");
        into.echo_many.push(self.echo(true, plan.lookups * plan.many as u64)?.1);
        let phases = [Phase::Insert, Phase::Lookup];
        let (busy, many) =
            self.load(format!("floor-{round}-many"), plan.each, plan.many, &phases)?;
        into.insert_many.push(many[0].throughput());
        into.busy.extend(busy);
        into.lookup_many.push(many[1].throughput());
        Ok(())
    }

    /// The p50 in microseconds, and echoes a second.
    fn echo(&mut self, many: bool, ops: u64) -> Result<(f64, f64), FloorError> {
        let targets = if many { &mut self.echo_many } else { &mut self.echo_one };
        let config = Config { reads: 1.0, value_size: 1, ..Config::default() };
        let workload = |index| Workload::new(&config, index);
        let mut workloads = (0..targets.len()).map(workload).collect::<Result<Vec<_>, _>>()?;
        let limit = Limit { ops: Some(ops), pipeline: 1, ..Limit::default() };
        let (round, notes) = drive(targets, &mut workloads, &limit, self.stop, self.meter)?;
        match notes.into_iter().next() {
            Some(note) => Err(FloorError::Trouble(note)),
            None => Ok((round.read.percentile_us(50.0), round.throughput())),
        }
    }

    /// Also gives the share of the processors that clients and server used in the first phase.
    fn load(
        &mut self,
        prefix: String,
        ops: u64,
        clients: usize,
        phases: &[Phase],
    ) -> Result<(Option<f64>, Vec<PhaseResult>), FloorError> {
        let load = self.plan.load(&prefix, ops);
        let tables = &mut self.tables[..clients];
        let processes = &self.processes;
        let before = ProcessorTime::look_at(processes);
        let mut busy = None;
        let behind = &mut || {
            let share = || ProcessorTime::look_at(processes)?.busy_since(before?);
            busy.get_or_insert_with(share);
        };
        let run = Instant::now();
        let results = run_phases(tables, &load, phases, run, self.stop, self.meter, behind)?;
        go_on(self.stop)?;
        match results.iter().find_map(|result| result.troubles.first()) {
            Some(trouble) => Err(FloorError::Trouble(trouble.clone())),
            None => Ok((busy.flatten(), results)),
        }
    }
}

impl FloorPlan {
    fn load(&self, prefix: &str, ops: u64) -> Load {
        Load {
            ops,
            lookups: self.lookups,
            scans: 0,
            limit: Duration::from_secs(60),
            value_size: self.value_size,
            prefix: prefix.to_owned(),
            keep_samples: false,
        }
    }
}

/// The lengths of requests and replies on the wire.
struct Lengths {
    insert: (usize, usize),
    lookup: (usize, usize),
}

impl Lengths {
    fn of(load: &Load) -> Result<Self, FloorError> {
        let (key, value) =
            load.example().map_err(|error| FloorError::Trouble(error.to_string()))?;
        let length = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out.len()
        };
        let insert = Request::Insert { key: key.as_str().into(), value: &value };
        let lookup = Request::Lookup { key: key.as_str().into() };
        Ok(Self {
            insert: (length(&|out| insert.write(out)), length(&write_success)),
            lookup: (
                length(&|out| lookup.write(out)),
                length(&|out| write_value(out, value.get())),
            ),
        })
    }
}

/// By how much the log grows with an insert.
fn record_length(table: &mut ClusterClient, load: &Load, log: &Path) -> Result<usize, FloorError> {
    let (key, value) = load.example().map_err(|error| FloorError::Trouble(error.to_string()))?;
    let length = || fs::metadata(log).map(|log| log.len()).map_err(FloorError::Disk);
    let before = length()?;
    table.insert(&key, &value).map_err(TableError::from)?;
    Ok(usize::try_from(length()?.saturating_sub(before)).unwrap_or(0).max(1))
}

/// The figures next to what is to be reached.
pub fn table(figures: &FloorFigures, plan: &FloorPlan, style: Style) -> String {
    let floor = figures.echo_p50_us + figures.disk_p50_us;
    let insert = figures.insert_p50_us / floor;
    let group = figures.insert_many / figures.insert_one;
    let lookup = figures.lookup_many / figures.echo_many;
    let busy = figures.insert_many_busy;
    let bound = busy.is_some_and(|busy| busy >= 0.9);
    let busy = busy.map_or("unknown".to_owned(), |busy| format!("{:.0} %", busy * 100.0));
    let per_second = |rate: f64| format!("{}/s", grouped(rate.round() as u64));
    let entries = grouped(figures.entries);
    let many = plan.many;
    let million = 1_000_000.0;
    let mut columns = Columns::new(&["work", "aim", "measured", ""]);
    let mut row = |work: String, aim: &str, reached: bool, measured: String, detail: String| {
        let mark = if reached { style.good("✓") } else { style.warning("✗") };
        columns.row(vec![work, aim.to_owned(), format!("{measured} {mark}"), detail]);
    };
    row(
        "insert, N=1 K=1, 1 client, synced, p50".to_owned(),
        "≤ 1.25 × (echo + append/fdatasync)",
        insert <= 1.25,
        format!("{insert:.2} ×"),
        format!(
            "{} / ({} + {}) µs",
            micros(figures.insert_p50_us),
            micros(figures.echo_p50_us),
            micros(figures.disk_p50_us)
        ),
    );
    row(
        format!("insert, {many} clients, synced"),
        "≥ 10 × 1 client, or processor-bound",
        group >= 10.0 || bound,
        format!("{group:.1} ×"),
        format!(
            "{} / {}, clients and server use {busy} of the processors",
            per_second(figures.insert_many),
            per_second(figures.insert_one)
        ),
    );
    row(
        format!("lookup, {many} clients"),
        "≥ 0.8 × echo",
        lookup >= 0.8,
        format!("{lookup:.2} ×"),
        format!("{} / {}", per_second(figures.lookup_many), per_second(figures.echo_many)),
    );
    for (what, rate) in [("ten match", figures.scan_few), ("all match", figures.scan_all)] {
        row(
            format!("scan of {entries} keys, {what}"),
            "≥ 5 000 000 keys/s",
            rate >= 5.0 * million,
            per_second(rate),
            format!("{:.3} s", figures.entries as f64 / rate),
        );
    }
    row(
        format!("restart with {entries} entries, after kill -9"),
        "< 2 s",
        figures.restart_seconds < 2.0,
        format!("{:.2} s", figures.restart_seconds),
        String::new(),
    );
    let note = format!(
        "medians of {} rounds, in turn; an append is {} bytes, as the log gains by an insert\n",
        plan.rounds, figures.record_bytes
    );
    columns.render(style) + &style.dim(&note)
}
