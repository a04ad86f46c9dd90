//! Plans out of seeds, in the manner of `sim::generate`: few keys, and each seed with a character of its own.
//!
//! The protocol's times are tenths of seconds (heartbeats of 100 ms, leases of 600 ms), so most seeds spread
//! their commands over some seconds, and faults last from a few milliseconds to a few seconds.

use super::plan::{
    Ask, Config, Delay, MS, Plan, PlanError, PlannedFault, Script, Shape, Step, VotesNo, meaningful,
};
use crate::faults::{Fault, FaultSet, Kind};
use crate::sim::random::{Concern, Stream};

/// About how many commands there are to one fault.
const COMMANDS_A_FAULT: u64 = 14;

impl Plan {
    /// The plan of a seed.
    ///
    /// # Errors
    /// A mutant that does not exist, a number out of its range.
    pub fn generate(seed: u64, config: &Config) -> Result<Plan, PlanError> {
        let mut shape = Stream::new(seed, Concern::Shape);
        let pace = [2, 20, 100, 250][shape.below(4) as usize] * MS;
        let links = links(&mut shape, config.participants);
        // Now and then some time for the first view; else clients begin while it is being made.
        let begin = [0, 5, 200][shape.below(3) as usize] * MS;
        let clients = scripts(seed, config, pace, begin);
        let steps = clients.iter().flat_map(|client| &client.steps);
        let last = steps.map(|step| step.at).max().unwrap_or(begin) + 2 * pace;
        let votes_no = if shape.one_in(4) { votes(&mut shape, config, last) } else { Vec::new() };
        let plan = Plan {
            seed,
            mutant: config.mutant.clone(),
            participants: config.participants,
            durable: config.durable,
            sync_time: shape.between(MS / 10, 8 * MS),
            chunk: if shape.one_in(2) { 1 } else { shape.between(100, 1000) as u32 },
            client_timeout: shape.between(300, 5000) * MS,
            settle: 20_000 * MS,
            client_delay: Delay { base: MS / 20, jitter: MS / 20, shape: Shape::Exponential },
            links,
            clients,
            faults: planned(seed, config, last),
            votes_no,
        };
        plan.check()?;
        Ok(plan)
    }
}

fn links(shape: &mut Stream, participants: u16) -> Vec<[Delay; 2]> {
    let base = [MS / 10, MS / 2, 2 * MS, 10 * MS][shape.below(4) as usize];
    let scatter = [Shape::Constant, Shape::Exponential, Shape::LogNormal][shape.below(3) as usize];
    let uneven = shape.one_in(2);
    let mut link = || {
        let base = if uneven { base / 4 + shape.below(base * 2) } else { base };
        Delay { base, jitter: base, shape: scatter }
    };
    (0..participants).map(|_| [link(), link()]).collect()
}

fn scripts(seed: u64, config: &Config, pace: u64, begin: u64) -> Vec<Script> {
    let clients = config.clients.max(1);
    let keys = u64::from(config.keys.max(1));
    let mut value = 0;
    let script = |client: usize| {
        let mut stream = Stream::new(seed, Concern::Script(client as u64));
        // Some read one key right behind another: so a deletion of both is seen half, if it can be.
        let (writes, looks_twice) = (stream.between(2, 8), stream.one_in(2));
        let steps = config.operations / clients + usize::from(client < config.operations % clients);
        let (mut at, mut looked) = (begin, None);
        let step = |_| {
            if let Some(key) = looked.take().filter(|_| looks_twice) {
                return Step { at, ask: Ask::Get { key: ((u64::from(key) + 1) % keys) as u16 } };
            }
            at += stream.time(Shape::Exponential, pace);
            let key = stream.below(keys) as u16;
            let ask = if stream.below(10) >= writes {
                looked = Some(key);
                Ask::Get { key }
            } else if stream.below(3) > 0 {
                value += 1;
                Ask::Set { key, value }
            } else {
                let count = 1 + stream.below(keys.min(3));
                let all = (0..count).map(|i| ((u64::from(key) + i) % keys) as u16);
                Ask::Del { keys: all.collect() }
            };
            Step { at, ask }
        };
        Script { steps: (0..steps).map(step).collect() }
    };
    (0..clients).map(script).collect()
}

fn votes(shape: &mut Stream, config: &Config, last: u64) -> Vec<VotesNo> {
    let one = |_| {
        let from = shape.between(0, last);
        let until = from + shape.time(Shape::Exponential, last / 10);
        let participant = shape.below(u64::from(config.participants.max(1))) as u16;
        VotesNo { participant, from, until }
    };
    (0..2).map(one).collect()
}

/// The faults of a seed, up to the time `last` at which the clients come to their end.
fn planned(seed: u64, config: &Config, last: u64) -> Vec<PlannedFault> {
    let mut stream = Stream::new(seed, Concern::Faults);
    let allowed = meaningful(config.faults, config.durable);
    let kinds: Vec<Kind> = allowed.kinds().collect();
    if kinds.is_empty() || stream.one_in(10) {
        return Vec::new();
    }
    let crashes = allowed.contains(Kind::Crash);
    if crashes && allowed.contains(Kind::OneWay) && stream.one_in(6) {
        return last_words(&mut stream, config, last);
    }
    if allowed.contains(Kind::Partition) && stream.one_in(6) {
        return handovers(&mut stream, config, allowed, last);
    }
    let few = stream.between(1, 5);
    let mut chosen: Vec<Kind> =
        (0..few).map(|_| kinds[stream.below(kinds.len() as u64) as usize]).collect();
    // What matters most here is who dies and comes back.
    if crashes && stream.one_in(2) {
        chosen.push(Kind::Crash);
    }
    let mean = (config.operations as u64 / COMMANDS_A_FAULT).max(1);
    let count = 1 + stream.below(2 * mean);
    let longest = (last / 4).max(MS);
    // Some seeds leave the coordinator alone, some the participants.
    let who = [Who::Anybody, Who::Anybody, Who::Participants, Who::Coordinator];
    let who = who[stream.below(4) as usize];
    let mut faults: Vec<PlannedFault> = (0..count)
        .map(|_| {
            let kind = chosen[stream.below(chosen.len() as u64) as usize];
            let at = stream.between(0, last);
            // Now and then longer than any lease.
            let lasts = match stream.below(6) {
                0 => stream.between(600, 3000) * MS,
                1 => stream.between(1, 30) * MS,
                _ => stream.time(Shape::Exponential, longest / 2).max(MS),
            };
            PlannedFault { at, fault: fault(&mut stream, kind, config.participants, who, lasts) }
        })
        .collect();
    faults.sort_by_key(|planned| planned.at);
    faults
}

/// Some are cut off, then others, and the coordinator dies about when they change over: whoever is there next
/// must not be taken for who was there last.
fn handovers(
    stream: &mut Stream,
    config: &Config,
    allowed: FaultSet,
    last: u64,
) -> Vec<PlannedFault> {
    let n = config.participants;
    let mut faults = Vec::new();
    let mut at = stream.between(0, last / 4 + 1);
    while at < last {
        let lasts = stream.between(200, 1600) * MS;
        let spared = stream.below(u64::from(n)) as u16;
        let side: Vec<u16> = (0..n).filter(|p| *p != spared && !stream.one_in(3)).collect();
        if !side.is_empty() {
            faults.push(PlannedFault { at, fault: Fault::Partition { side, lasts } });
        }
        let change = at + lasts;
        let near = |stream: &mut Stream| {
            (change + stream.between(0, 100) * MS).saturating_sub(stream.between(0, 400) * MS)
        };
        if allowed.contains(Kind::Crash) && !stream.one_in(3) {
            let fault = Fault::Crash { replica: n, down: stream.between(1, 200) * MS };
            faults.push(PlannedFault { at: near(stream), fault });
        }
        if allowed.contains(Kind::Crash) && stream.one_in(4) {
            let replica = stream.below(u64::from(n)) as u16;
            let fault = Fault::Crash { replica, down: stream.between(1, 1000) * MS };
            faults.push(PlannedFault { at: near(stream), fault });
        }
        at = near(stream);
        at = at.max(change.saturating_sub(lasts / 2));
    }
    faults.sort_by_key(|planned| planned.at);
    faults
}

/// What the coordinator says comes to one participant only, and then both of them die, while the others see the
/// coordinator's end: what only the dead have done must not have been seen by anybody.
fn last_words(stream: &mut Stream, config: &Config, last: u64) -> Vec<PlannedFault> {
    let n = config.participants;
    let mut faults = Vec::new();
    let mut at = stream.between(0, 500) * MS;
    while at < last {
        let heard = stream.below(u64::from(n)) as u16;
        let others: Vec<u16> = (0..n).filter(|p| *p != heard).collect();
        let end = stream.between(5, 400) * MS;
        let lasts = end + stream.between(0, 60) * MS;
        faults.push(PlannedFault { at, fault: Fault::OneWay { from: vec![n], to: others, lasts } });
        for replica in [n, heard] {
            let at = at + end + stream.between(0, 5) * MS;
            let fault = Fault::Crash { replica, down: stream.between(60, 400) * MS };
            faults.push(PlannedFault { at, fault });
        }
        at += end + stream.between(300, 2000) * MS;
    }
    faults.sort_by_key(|planned| planned.at);
    faults
}

/// Whom faults befall.
#[derive(Clone, Copy)]
enum Who {
    Anybody,
    Participants,
    Coordinator,
}

fn fault(stream: &mut Stream, kind: Kind, n: u16, who: Who, lasts: u64) -> Fault {
    let participant = stream.below(u64::from(n)) as u16;
    let coordinator = n;
    let replica = match who {
        Who::Participants => participant,
        Who::Coordinator => coordinator,
        Who::Anybody if stream.one_in(3) => coordinator,
        Who::Anybody => participant,
    };
    let short = lasts.min(1500 * MS);
    let both = [(coordinator, participant), (participant, coordinator)];
    let (from, to) = both[stream.below(2) as usize];
    match kind {
        Kind::Crash => Fault::Crash { replica, down: short },
        Kind::TornWrite => Fault::TornWrite { replica: participant, down: short },
        Kind::PowerLoss => {
            let replicas = match stream.below(3) {
                0 => (0..=n).collect(),
                1 => vec![participant, coordinator],
                _ => vec![replica],
            };
            let kept = [0, 50, 100][stream.below(3) as usize];
            Fault::PowerLoss { replicas, down: short, kept }
        }
        Kind::DiskLost => Fault::DiskLost { replica: participant, down: short },
        Kind::DiskFull => Fault::DiskFull { replica: participant, down: short },
        Kind::SyncError => Fault::SyncError { replica: participant, down: short },
        Kind::Partition => {
            let side = (0..n).filter(|p| *p == participant || stream.one_in(3)).collect();
            Fault::Partition { side, lasts }
        }
        Kind::OneWay => Fault::OneWay { from: vec![from], to: vec![to], lasts },
        Kind::SlowLink => Fault::SlowLink { from, to, by: stream.between(1, 300) * MS, lasts },
        Kind::Cut => Fault::Cut { a: coordinator, b: participant },
        Kind::Pause => Fault::Pause { replica, lasts },
        Kind::ClockJump => {
            let by_ms = stream.below(20_000_000) as i64 - 10_000_000;
            Fault::ClockJump { replica: coordinator, by_ms }
        }
        Kind::Compaction => Fault::Compaction { replica: participant },
    }
}

/// What `--faults all` means, for whoever prints it.
pub fn all_faults(durable: bool) -> FaultSet {
    meaningful(FaultSet::all(), durable)
}
