//! A whole bench: connect, preload, warm up, measure; with floors, in alternating rounds.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use super::{
    BenchError, Config, Limit, Meter, Protocol, Recorded, Target, Workload, drive,
    floor::{FloorClient, FloorServer, Sizes},
    history,
};
use crate::{
    client::{Client, ClientError, EtcdClient, SimpleRespClient},
    report::{Floors, Kind, Round},
};

/// How many writes of the preload travel together.
const PRELOAD_BATCH: u64 = 64;

/// The longest that a warm-up takes, whatever it was asked to do.
const LONGEST_WARMUP: Duration = Duration::from_secs(1);

/// What a bench measured.
#[derive(Debug)]
pub struct Measured {
    /// When the measuring began.
    pub started: SystemTime,
    /// The rounds of the work itself.
    pub rounds: Vec<Round>,
    /// The rounds of the floors, if asked for.
    pub floors: Option<Floors>,
    /// Clients that gave up, and an early stop.
    pub notes: Vec<String>,
    /// Whether the history is whole, if one was asked for.
    pub history: Option<Result<(), BenchError>>,
}

/// Runs a bench. `stop` ends it early; what was measured until then counts. With `history`, what the clients
/// do is recorded in that file.
pub fn run(
    config: &Config,
    history: Option<&Path>,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Measured, BenchError> {
    if config.rate.is_some() {
        sharpen_timers();
    }
    if config.floor {
        // Before a server is asked for anything.
        Sizes::of(config)?;
    }
    if let Some(path) = history {
        return run_recorded(config, path, stop, meter);
    }
    let run = Run { config, stop, meter, run: None };
    let options = config.options();
    match config.protocol {
        Protocol::Replica(dialect) => {
            run.measure_on(|server| Client::connect(server, dialect, options))
        }
        Protocol::SimpleResp => run.measure_on(|server| SimpleRespClient::connect(server, options)),
        Protocol::Etcd => run.measure_on(|server| EtcdClient::connect(server, options)),
    }
}

/// The same, and what the clients do is recorded in this file.
fn run_recorded(
    config: &Config,
    path: &Path,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Measured, BenchError> {
    let dialect = config.dialect("--history")?;
    let mut clients = connect(config, |to| Client::connect(to, dialect, config.options()))?;
    let mut workloads = workloads(config)?;
    let begun = history::begin(path, &mut clients, config, meter)?;
    let mut recorded = Vec::with_capacity(clients.len());
    for (index, client) in clients.into_iter().enumerate() {
        let replica = begun.replicas.get(index % config.to.len()).copied().flatten();
        recorded.push(Recorded::new(client, begun.recorder.track(&format!("c{index}"), replica)));
        workloads[index].make_values_unique(begun.run, index);
    }
    let run = Run { config, stop, meter, run: Some(begun.run) };
    let measured = run.measure(&mut recorded, &mut workloads);
    // In any case, so that the file holds all that was done.
    let finished = begun.recorder.finish();
    let mut measured = measured?;
    measured.history = Some(finished.map_err(BenchError::from));
    Ok(measured)
}

/// What all parts of a run need.
struct Run<'a> {
    config: &'a Config,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    /// The number of a run whose history is recorded.
    run: Option<u64>,
}

impl Run<'_> {
    /// Measures clients that `open` connects.
    fn measure_on<T: Target + Send>(
        &self,
        open: impl Fn(&str) -> Result<T, ClientError>,
    ) -> Result<Measured, BenchError> {
        self.measure(&mut connect(self.config, open)?, &mut workloads(self.config)?)
    }

    /// Preloads, warms up, measures.
    fn measure<T: Target + Send>(
        &self,
        clients: &mut [T],
        workloads: &mut [Workload],
    ) -> Result<Measured, BenchError> {
        let Self { config, stop, meter, .. } = *self;
        if config.preload && config.reads > 0.0 {
            self.preload(&mut clients[0])?;
        }
        let mut floor = if config.floor { Some(FloorRun::start(config)?) } else { None };
        self.warm_up(clients, workloads, floor.as_mut())?;
        let (begin, started) = (Instant::now(), SystemTime::now());
        let count = if config.floor { config.rounds.max(1) } else { 1 };
        let mut rounds = Vec::new();
        let mut notes = Vec::new();
        for index in 0..count {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let limit = limit_of_round(config, index, count);
            let mut measure = |phase, run: &mut dyn FnMut() -> Result<_, BenchError>| {
                meter.begin(phase);
                let at = begin.elapsed();
                let (mut round, more): (Round, Vec<String>) = run()?;
                round.begin = at;
                notes.extend(more);
                Ok::<Round, BenchError>(round)
            };
            if let Some(floor) = &mut floor {
                let work = &mut floor.workloads;
                floor.rounds.echo.push(measure("floor: echo", &mut || {
                    drive(&mut floor.echo, work, &limit, stop, meter)
                })?);
                floor.rounds.chain.push(measure("floor: chain", &mut || {
                    drive(&mut floor.chain, work, &limit, stop, meter)
                })?);
            }
            rounds.push(measure("measuring", &mut || {
                drive(clients, workloads, &limit, stop, meter)
            })?);
        }
        if stop.load(Ordering::Relaxed) {
            notes.push("stopped early; the figures are those until then".to_owned());
        }
        let floors = floor.map(|floor| floor.rounds);
        Ok(Measured { started, rounds, floors, notes, history: None })
    }

    fn warm_up<T: Target + Send>(
        &self,
        clients: &mut [T],
        workloads: &mut [Workload],
        floor: Option<&mut FloorRun>,
    ) -> Result<(), BenchError> {
        let Self { config, stop, meter, .. } = *self;
        if config.warmup == 0 {
            return Ok(());
        }
        meter.begin("warm-up");
        let limit = Limit {
            ops: Some(config.warmup.saturating_mul(config.clients as u64)),
            duration: Some(LONGEST_WARMUP),
            pipeline: config.pipeline,
            rate: None,
        };
        drive(clients, workloads, &limit, stop, meter)?;
        if let Some(floor) = floor {
            drive(&mut floor.echo, &mut floor.workloads, &limit, stop, meter)?;
            drive(&mut floor.chain, &mut floor.workloads, &limit, stop, meter)?;
        }
        Ok(())
    }

    /// Writes every key once.
    fn preload<T: Target>(&self, client: &mut T) -> Result<(), BenchError> {
        let Self { config, stop, meter, .. } = *self;
        meter.begin("preload");
        // A stream of its own, so that the preload does not shift the draws of any client.
        let mut workload = Workload::new(config, usize::MAX)?;
        if let Some(run) = self.run {
            // No client has this number.
            workload.make_values_unique(run, config.clients);
        }
        let mut next = 0;
        while next < config.keys && !stop.load(Ordering::Relaxed) {
            let batch = PRELOAD_BATCH.min(config.keys - next);
            for index in next..next + batch {
                client.queue(&workload.preload(index));
            }
            client.send()?;
            for _ in 0..batch {
                client.receive(Kind::Write)?;
            }
            next += batch;
            meter.add(batch);
        }
        Ok(())
    }
}

/// Asks Linux to end sleeps on time; by default it may end them 50 µs late, which would be most of what
/// an open loop measures. Threads inherit it. Where it is refused, the lateness that is reported tells.
fn sharpen_timers() {
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
}

/// The share of round `index` of `count`.
fn limit_of_round(config: &Config, index: u32, count: u32) -> Limit {
    let share =
        |ops: u64| ops / u64::from(count) + u64::from(u64::from(index) < ops % u64::from(count));
    Limit {
        ops: config.ops.map(share),
        duration: config.duration.map(|duration| duration / count),
        pipeline: config.pipeline,
        rate: config.rate,
    }
}

fn connect<T>(
    config: &Config,
    open: impl Fn(&str) -> Result<T, ClientError>,
) -> Result<Vec<T>, BenchError> {
    if config.clients == 0 || config.to.is_empty() {
        return Err(BenchError::Config("expected at least one client and one server".to_owned()));
    }
    let clients = (0..config.clients).map(|index| open(&config.to[index % config.to.len()]));
    clients.collect::<Result<_, ClientError>>().map_err(BenchError::from)
}

fn workloads(config: &Config) -> Result<Vec<Workload>, BenchError> {
    (0..config.clients).map(|index| Workload::new(config, index)).collect()
}

/// The floors' side of a run.
struct FloorRun {
    /// Ends with the run; the child process dies with it.
    _server: FloorServer,
    echo: Vec<FloorClient>,
    chain: Vec<FloorClient>,
    workloads: Vec<Workload>,
    rounds: Floors,
}

impl FloorRun {
    fn start(config: &Config) -> Result<Self, BenchError> {
        let sizes = Sizes::of(config)?;
        let server = FloorServer::start().map_err(BenchError::Floor)?;
        let clients = |to: &str| {
            (0..config.clients)
                .map(|_| FloorClient::connect(to, sizes, config.options()))
                .collect::<Result<Vec<_>, ClientError>>()
        };
        let two_rounds = config.protocol == Protocol::SimpleResp;
        let chain = if two_rounds { server.two_rounds() } else { server.chain() };
        let (echo, chain) = (clients(server.echo())?, clients(chain)?);
        let workloads = workloads(config)?;
        let rounds = Floors { two_rounds, ..Floors::default() };
        Ok(Self { _server: server, echo, chain, workloads, rounds })
    }
}
