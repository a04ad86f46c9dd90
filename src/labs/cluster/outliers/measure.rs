//! The load of `perf` with every operation kept, and the servers' own word on when they compacted.
//!
//! A server tells of its last thousand compactions. It is asked behind every phase, and what it tells twice is
//! taken once; where more than a thousand fall into one phase the earlier ones are not known, and that is said.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Compaction, Outliers, Shape, find};
use crate::bench::{BenchError, Meter};
use crate::client::ClientError;
use crate::client::cluster::ClusterClient;
use crate::labs::cluster::perf::{Load, Phase, PhaseResult, run_phases};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum OutliersError {
    /// The load could not be run.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A server does not say when it compacted.
    #[error("cannot ask server {server} when it compacted its log: {source}")]
    Status {
        /// Which.
        server: usize,
        /// What went wrong.
        source: ClientError,
    },
}

/// What was measured and found.
#[derive(Debug)]
pub struct Run {
    /// The phases.
    pub phases: Vec<PhaseResult>,
    /// When the servers compacted, in seconds since the run began.
    pub compactions: Vec<Compaction>,
    /// Of each phase with operations.
    pub found: Vec<Outliers>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// Runs the load with all but the last of the clients; the last one asks the servers.
///
/// # Errors
/// A thread could not be had, a server does not answer.
pub fn measure(
    mut clients: Vec<ClusterClient>,
    load: &Load,
    shape: Shape,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Run, OutliersError> {
    let mut observer = clients.pop();
    let (run, began) = (Instant::now(), SystemTime::now());
    let zero = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i128;
    let mut known = Known::default();
    let mut ask = || match &mut observer {
        Some(observer) => known.ask(observer, shape.servers),
        None => Ok(()),
    };
    // What was there before is known before the run adds to it.
    let mut asked = ask();
    let behind = &mut || {
        if asked.is_ok() {
            asked = ask();
        }
    };
    let mut phases = run_phases(&mut clients, load, &Phase::ALL, run, stop, meter, behind)?;
    asked?;
    phases.retain(|phase| !phase.samples.is_empty());
    let seconds = |unix_us: u64| (i128::from(unix_us) - zero) as f64 / 1e6;
    let compactions: Vec<Compaction> = known
        .spans
        .iter()
        .map(|(server, from, to)| Compaction {
            server: *server,
            from: seconds(*from),
            to: seconds(*to),
        })
        .collect();
    let found = phases.iter().filter_map(|phase| find(phase, &compactions, shape)).collect();
    let mut notes: Vec<String> =
        phases.iter().flat_map(|phase| phase.troubles.iter().cloned()).take(10).collect();
    if known.lost > 0 {
        let lost = known.lost;
        notes.push(format!(
            "{lost} compactions are not known: a server tells of its last 1000 only"
        ));
    }
    Ok(Run { phases, compactions, found, notes })
}

/// What the servers have told so far.
#[derive(Debug, Default)]
struct Known {
    /// Server, begin and end in microseconds since 1970.
    spans: BTreeSet<(usize, u64, u64)>,
    /// How many compactions each server had made when it was last asked.
    counts: Vec<u64>,
    /// How many it made since without telling.
    lost: u64,
}

impl Known {
    fn ask(&mut self, observer: &mut ClusterClient, servers: usize) -> Result<(), OutliersError> {
        let first = self.counts.is_empty();
        self.counts.resize(servers, 0);
        for server in 0..servers {
            let status = observer.server(server).and_then(|server| server.status());
            let status = status.map_err(|source| OutliersError::Status { server, source })?;
            let before = self.spans.len() as u64;
            let told = status.get("compaction_log").and_then(serde_json::Value::as_array);
            for span in told.into_iter().flatten() {
                let end = |at: usize| span.get(at).and_then(serde_json::Value::as_u64);
                if let (Some(from), Some(to)) = (end(0), end(1)) {
                    self.spans.insert((server, from, to));
                }
            }
            let count = status.get("compactions").and_then(serde_json::Value::as_u64).unwrap_or(0);
            let made = count.saturating_sub(std::mem::replace(&mut self.counts[server], count));
            if !first {
                self.lost += made.saturating_sub(self.spans.len() as u64 - before);
            }
        }
        Ok(())
    }
}
