//! Plans out of seeds.
//!
//! Operations meet on few keys, because mistakes show where they meet. Each seed has a character of its own:
//! how fast clients ask, how the network scatters, when the disk is synced, and which kinds of faults come
//! at all. Runs with two or three kinds find more than runs with a little of everything (*swarm testing*,
//! Groce et al., ISSTA 2012); one seed in eight is quiet. Where there are leaders, one in four is an election storm
//! ([`super::storm`]).

use super::plan::{
    Config, Delay, MS, Plan, PlanError, PlannedFault, Script, Shape, Step, Sync, resolve,
};
use super::random::{Concern, Stream};
use super::storm::{self, Storm};
use crate::faults::{Fault, FaultSet, Kind};
use crate::protocol::{Reads, ReplyAt};

/// About how many operations there are to one fault.
const OPERATIONS_A_FAULT: u64 = 30;

/// When clients begin: the replicas have found each other by then, most of the time.
const BEGIN: u64 = 5 * MS;

impl Plan {
    /// The plan of a seed.
    ///
    /// # Errors
    /// A mode or mutant that does not exist, a number out of its range.
    pub fn generate(seed: u64, config: &Config) -> Result<Plan, PlanError> {
        let mode = resolve(&config.mode, config.mutant.as_deref())?.mode;
        let mut shape = Stream::new(seed, Concern::Shape);
        let sync = config
            .sync
            .unwrap_or_else(|| [Sync::Always, Sync::Batch, Sync::Os][shape.below(3) as usize]);
        let mut faults = config.faults;
        if sync != Sync::Always {
            faults = faults.without(Kind::PowerLoss);
        }
        if sync == Sync::Os {
            faults = faults.without(Kind::SyncError);
        }
        if mode.reply_at == ReplyAt::Submission || config.replicas == 1 {
            faults = faults.without(Kind::DiskLost);
        }
        // Where all goes by way of a leader an answer takes four messages; who waits for less never gets one.
        let patience = if mode.reads == Reads::Current { 500 } else { 0 };
        let pace = [MS / 2, 2 * MS, 5 * MS, 20 * MS][shape.below(4) as usize];
        let mut storm = (mode.reads == Reads::Current)
            .then(|| Storm::of(seed, config.replicas, faults))
            .flatten();
        let links = match &mut storm {
            Some(storm) => storm.links(config.replicas),
            None => links(&mut shape, config.replicas),
        };
        let pace = storm.as_ref().map_or(pace, |_| storm::PACE);
        let clients = scripts(seed, config, pace, mode.reads == Reads::Seen);
        let steps = clients.iter().flat_map(|client| &client.steps);
        let last = steps.map(|step| step.at).max().unwrap_or(BEGIN);
        let plan = Plan {
            seed,
            mode: config.mode.clone(),
            mutant: config.mutant.clone(),
            replicas: config.replicas,
            sync,
            sync_time: shape.between(MS / 10, 4 * MS),
            chunk: shape.between(100, 2000) as usize,
            write_timeout: shape.between(50, 1000).max(patience) * MS,
            client_timeout: shape.between(100, 2000).max(patience) * MS,
            settle: (20_000 + 100 * config.operations as u64) * MS,
            client_delay: Delay { base: MS / 20, jitter: MS / 20, shape: Shape::Exponential },
            links,
            faults: match storm {
                Some(storm) => storm.faults(last),
                None => planned(seed, config, faults, last),
            },
            clients,
        };
        plan.check()?;
        Ok(plan)
    }
}

fn links(shape: &mut Stream, replicas: u16) -> Vec<Delay> {
    let base = [MS / 10, MS / 2, 2 * MS, 10 * MS][shape.below(4) as usize];
    let scatter = [Shape::Constant, Shape::Exponential, Shape::LogNormal][shape.below(3) as usize];
    let uneven = shape.one_in(2);
    let link = |_| {
        let base = if uneven { base / 4 + shape.below(base * 2) } else { base };
        Delay { base, jitter: base, shape: scatter }
    };
    (0..u32::from(replicas).pow(2)).map(link).collect()
}

/// What clients do. Those of sessions move between replicas, which is what sessions are about.
fn scripts(seed: u64, config: &Config, pace: u64, sessions: bool) -> Vec<Script> {
    let clients = config.clients.max(1);
    let mut value = 0;
    let script = |client: usize| {
        let mut stream = Stream::new(seed, Concern::Script(client as u64));
        let home = client as u64 % u64::from(config.replicas.max(1));
        let (writes, moves) = (stream.between(2, 8), stream.one_in(4));
        let steps = config.operations / clients + usize::from(client < config.operations % clients);
        let mut at = BEGIN;
        let step = |_| {
            at += stream.time(Shape::Exponential, pace);
            let elsewhere = (moves || sessions) && stream.one_in(if sessions { 2 } else { 4 });
            let replica = stream.below(u64::from(config.replicas.max(1)));
            let write = stream.below(10) < writes;
            Step {
                at,
                replica: if elsewhere { replica } else { home } as u16,
                key: stream.below(u64::from(config.keys.max(1))) as u16,
                write: write.then(|| {
                    value += 1;
                    value
                }),
                retry: stream.one_in(2),
            }
        };
        Script { steps: (0..steps).map(step).collect() }
    };
    (0..clients).map(script).collect()
}

/// The faults of a seed, up to the time `last` at which the clients come to their end.
fn planned(seed: u64, config: &Config, allowed: FaultSet, last: u64) -> Vec<PlannedFault> {
    let mut stream = Stream::new(seed, Concern::Faults);
    let kinds: Vec<Kind> = allowed.kinds().collect();
    if kinds.is_empty() || stream.one_in(8) {
        return Vec::new();
    }
    let few = stream.between(1, 5);
    let chosen: Vec<Kind> =
        (0..few).map(|_| kinds[stream.below(kinds.len() as u64) as usize]).collect();
    let mean = (config.operations as u64 / OPERATIONS_A_FAULT).max(1);
    let count = 1 + stream.below(2 * mean);
    let longest = (last / 4).max(MS);
    let mut faults: Vec<PlannedFault> = (0..count)
        .map(|_| {
            let kind = chosen[stream.below(chosen.len() as u64) as usize];
            let at = stream.between(0, last);
            // Now and then longer than a link may be silent.
            let lasts = if stream.one_in(12) {
                stream.between(2000, 5000) * MS
            } else {
                stream.time(Shape::Exponential, longest / 2).max(MS)
            };
            PlannedFault { at, fault: fault(&mut stream, kind, config.replicas, lasts) }
        })
        .collect();
    faults.sort_by_key(|planned| planned.at);
    faults
}

fn fault(stream: &mut Stream, kind: Kind, replicas: u16, lasts: u64) -> Fault {
    let n = u64::from(replicas);
    let replica = stream.below(n) as u16;
    let other = ((u64::from(replica) + 1 + stream.below(n.max(2) - 1)) % n) as u16;
    let short = lasts.min(500 * MS);
    match kind {
        Kind::Crash => Fault::Crash { replica, down: short },
        Kind::TornWrite => Fault::TornWrite { replica, down: short },
        Kind::PowerLoss => {
            let all = stream.one_in(2);
            let replicas = if all { (0..replicas).collect() } else { vec![replica] };
            let kept = [0, 50, 100][stream.below(3) as usize];
            Fault::PowerLoss { replicas, down: short, kept }
        }
        Kind::DiskLost => Fault::DiskLost { replica, down: short },
        Kind::DiskFull => Fault::DiskFull { replica, down: short },
        Kind::SyncError => Fault::SyncError { replica, down: short },
        Kind::Partition => Fault::Partition { side: vec![replica], lasts },
        Kind::OneWay => Fault::OneWay { from: vec![replica], to: vec![other], lasts },
        Kind::SlowLink => {
            Fault::SlowLink { from: replica, to: other, by: stream.between(1, 50) * MS, lasts }
        }
        Kind::Cut => Fault::Cut { a: replica, b: other },
        Kind::Pause => Fault::Pause { replica, lasts },
        Kind::ClockJump => {
            let by_ms = stream.below(20_000_000) as i64 - 10_000_000;
            Fault::ClockJump { replica, by_ms }
        }
        Kind::Compaction => Fault::Compaction { replica },
    }
}
