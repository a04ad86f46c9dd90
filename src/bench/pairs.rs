//! Alternating writes and reads of one key by one client, and how many of the reads were current.
//!
//! Each pair is `set x i`, its reply, `get x`, its reply. A read is *current* if it returns the `i` that
//! the write before it stored. Where a write is answered only once it has been delivered, every read is
//! current; where it is answered at once, a read can be faster than the delivery and return an older
//! value. The key keeps its last value afterwards.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use super::{BenchError, Config, Meter};
use crate::{
    client::{Ask, Certainty, Client, ClientError, Reply, Request},
    report::{Kind, Machine, Pairs, Report, Round},
};

/// The key that is written and read.
const KEY: &[u8] = b"x";

/// What was measured, and when.
#[derive(Debug)]
pub struct PairsRun {
    /// When the first write was sent.
    pub started: SystemTime,
    /// The latencies.
    pub round: Round,
    /// The reads that were current, and the server's mode.
    pub pairs: Pairs,
}

impl PairsRun {
    /// The run as a report, to be shown and written.
    pub fn report(
        self,
        name: String,
        command_line: Vec<String>,
        config: &Config,
        notes: Vec<String>,
    ) -> Report {
        let config = serde_json::json!({
            "workload": "pairs",
            "to": config.to.first(),
            "protocol": config.protocol.to_string(),
            "pairs": self.pairs.count,
            "seed": config.seed,
            "timeout_seconds": config.timeout.as_secs_f64(),
        });
        Report {
            name,
            command_line,
            started: self.started,
            machine: Machine::look(),
            config,
            rounds: vec![self.round],
            floors: None,
            pairs: Some(self.pairs),
            notes,
        }
    }
}

/// Runs `count` pairs against the first server of the configuration.
pub fn run_pairs(
    config: &Config,
    count: u64,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<PairsRun, BenchError> {
    let to = config.to.first().map_or(crate::client::DEFAULT_TO, String::as_str);
    let mut client = Client::connect(to, config.dialect("--pairs")?, config.options())?;
    let mode = consistency_mode(&mut client)?;
    meter.begin("pairs");
    let (begin, started) = (Instant::now(), SystemTime::now());
    let mut round = Round::default();
    let (mut current, mut ran) = (0, 0);
    let mut buffer = itoa::Buffer::new();
    for index in 1..=count {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let value = buffer.format(index).as_bytes();
        timed(&mut client, &mut round, Request::Set(KEY, value), |_| ())?;
        let read = timed(&mut client, &mut round, Request::Get(KEY), |reply| match reply {
            Reply::Value(found) => found == value,
            Reply::Done | Reply::Missing => false,
        })?;
        current += u64::from(read == Some(true));
        ran += 1;
        meter.add(2);
    }
    round.elapsed = begin.elapsed();
    Ok(PairsRun { started, round, pairs: Pairs { count: ran, current, mode } })
}

/// Sends one request and records its latency; `None` when the server refused it. Fails, rather than
/// going on with a hole in the sequence, when the connection is lost.
fn timed<R>(
    client: &mut Client,
    round: &mut Round,
    request: Request<'_>,
    use_reply: impl FnOnce(Reply<'_>) -> R,
) -> Result<Option<R>, ClientError> {
    let kind = if request.ask() == Ask::Get { Kind::Read } else { Kind::Write };
    let sent = Instant::now();
    client.queue(request);
    client.send()?;
    let reply = client.receive(request.ask());
    let latency: Duration = sent.elapsed();
    let tally = round.tally_mut(kind);
    match reply {
        Ok(reply) => {
            tally.record(latency);
            tally.missing += u64::from(reply == Reply::Missing);
            Ok(Some(use_reply(reply)))
        }
        Err(error) if error.ends_connection() => Err(error),
        Err(error) => {
            match error.certainty() {
                Certainty::Fail => tally.errors += 1,
                Certainty::Unknown => tally.unknown += 1,
            }
            Ok(None)
        }
    }
}

/// The mode that the server states in its statistics; `unknown` where it states none, or one that
/// could not name a folder.
fn consistency_mode(client: &mut Client) -> Result<String, ClientError> {
    let stats = match client.stats() {
        Ok(stats) => stats,
        Err(error) if error.ends_connection() => return Err(error),
        Err(_) => Vec::new(),
    };
    let mode = stats.into_iter().find(|(name, _)| name == "consistency").map(|(_, mode)| mode);
    let nameable = |mode: &String| {
        (1..=40).contains(&mode.len())
            && mode.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    Ok(mode.filter(nameable).unwrap_or_else(|| "unknown".to_owned()))
}
