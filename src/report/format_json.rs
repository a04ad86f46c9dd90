//! `summary.json`: everything about a run but its distributions.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Floors, FormatError, Kind, Machine, PERCENTILES, Report, Round, run::per_second};

/// The content of `summary.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The run's name.
    pub name: String,
    /// The program and version that measured.
    pub version: String,
    /// The command line.
    pub command_line: Vec<String>,
    /// When the measuring began, in UTC, RFC 3339.
    pub started: String,
    /// The machine.
    pub machine: Machine,
    /// The configuration, the seed included.
    pub config: serde_json::Value,
    /// How long was measured, in seconds, all rounds together.
    pub seconds: f64,
    /// Operations a second, all kinds together.
    pub ops_per_second: f64,
    /// The results by kind, `read` and `write`; a kind that did not occur is left out.
    pub kinds: BTreeMap<String, KindSummary>,
    /// Open loop: operations that were due and could not be sent before the end.
    pub unsent: u64,
    /// The pairs, if that was the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairsSummary>,
    /// The floors, and the ratios to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<FloorsSummary>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// The results of one kind; latencies in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KindSummary {
    /// Operations that succeeded.
    pub ops: u64,
    /// The same a second.
    pub ops_per_second: f64,
    /// The shortest latency.
    pub min_us: f64,
    /// The percentiles, named `p50`, `p90`, `p99`, `p99.9`.
    pub percentiles_us: BTreeMap<String, f64>,
    /// The longest latency.
    pub max_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Operations that definitely failed.
    pub errors: u64,
    /// Operations whose outcome is not known.
    pub unknown: u64,
    /// Reads that found no such key.
    pub missing: u64,
}

/// The result of alternating writes and reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairsSummary {
    /// How many pairs.
    pub count: u64,
    /// How many reads returned what had just been written.
    pub current_reads: u64,
    /// The consistency mode that the server stated.
    pub mode: String,
}

/// Figures of the work and of the two floors, each the median over the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorsSummary {
    /// How many rounds of each.
    pub rounds: usize,
    /// By figure: `read_p50_us`, `write_p99_us`, …, `ops_per_second`.
    pub figures: BTreeMap<String, Ratios>,
}

/// One figure of the work next to the same of the floors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// Of the work.
    pub work: f64,
    /// Of the echo.
    pub echo: f64,
    /// Of the chain.
    pub chain: f64,
    /// Work over echo.
    pub to_echo: Option<f64>,
    /// Work over chain.
    pub to_chain: Option<f64>,
}

/// The file's text.
pub(super) fn write(report: &Report) -> Result<String, FormatError> {
    serde_json::to_string_pretty(&summarize(report))
        .map(|text| text + "\n")
        .map_err(|error| FormatError { format: "summary.json", why: error.to_string() })
}

/// The summary of a report.
pub fn summarize(report: &Report) -> Summary {
    let total = report.total();
    let kinds = report.kinds(&total);
    let summary = |kind: &Kind| (kind.name().to_owned(), kind_summary(*kind, &total));
    let since_epoch = report.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    Summary {
        name: report.name.clone(),
        version: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        command_line: report.command_line.clone(),
        started: humantime::format_rfc3339_millis(UNIX_EPOCH + since_epoch).to_string(),
        machine: report.machine.clone(),
        config: report.config.clone(),
        seconds: total.elapsed.as_secs_f64(),
        ops_per_second: total.throughput(),
        kinds: kinds.iter().map(summary).collect(),
        unsent: total.unsent,
        pairs: report.pairs.as_ref().map(|pairs| PairsSummary {
            count: pairs.count,
            current_reads: pairs.current,
            mode: pairs.mode.clone(),
        }),
        floors: report.floors.as_ref().map(|floors| floors_summary(report, floors, &kinds)),
        notes: report.notes.clone(),
    }
}

fn kind_summary(kind: Kind, total: &Round) -> KindSummary {
    let tally = total.tally(kind);
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let empty = tally.latency.is_empty();
    KindSummary {
        ops: tally.succeeded(),
        ops_per_second: per_second(tally.succeeded(), total.elapsed),
        min_us: if empty { 0.0 } else { micros(tally.latency.min()) },
        percentiles_us: PERCENTILES
            .iter()
            .map(|p| (format!("p{p}"), tally.percentile_us(*p)))
            .collect(),
        max_us: if empty { 0.0 } else { micros(tally.latency.max()) },
        mean_us: if empty { 0.0 } else { tally.latency.mean() / 1000.0 },
        errors: tally.errors,
        unknown: tally.unknown,
        missing: tally.missing,
    }
}

fn floors_summary(report: &Report, floors: &Floors, kinds: &[Kind]) -> FloorsSummary {
    let mut figures = BTreeMap::new();
    for kind in kinds {
        for (name, percentile) in [("p50", 50.0), ("p99", 99.0)] {
            let figure = |round: &Round| round.tally(*kind).percentile_us(percentile);
            figures.insert(format!("{}_{name}_us", kind.name()), ratios(report, floors, figure));
        }
    }
    figures.insert("ops_per_second".to_owned(), ratios(report, floors, Round::throughput));
    FloorsSummary { rounds: floors.echo.len(), figures }
}

/// A figure's medians over the rounds of the work and the floors, and their ratios.
pub(super) fn ratios(report: &Report, floors: &Floors, figure: impl Fn(&Round) -> f64) -> Ratios {
    let of = |rounds: &[Round]| median(rounds.iter().map(&figure).collect());
    let (work, echo, chain) = (of(&report.rounds), of(&floors.echo), of(&floors.chain));
    let ratio = |floor: f64| (floor > 0.0).then_some(work / floor);
    Ratios { work, echo, chain, to_echo: ratio(echo), to_chain: ratio(chain) }
}

/// The middle figure, or the mean of the two in the middle; 0 for none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}
