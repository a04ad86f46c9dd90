//! Modes side by side under the same work and the same faults: the one table that the lab is for, as text, CSV and
//! JSON. The picture of it is [`super::compare_svg`].

use std::time::Duration;

use serde_json::{Value, json};

use super::table::grouped;
use super::{Columns, FormatError, Kind, Style, Tally, verdicts};
use crate::check::ladder::{Ladder, Rung};
use crate::check::staleness::Staleness;
use crate::check::{Answer, MODELS};

/// The percentiles of a latency that the table has.
pub const SHOWN: [f64; 3] = [50.0, 99.0, 99.9];

/// What is counted between replicas for one operation of a client, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Frames.
    pub messages: f64,
    /// Bytes of them.
    pub bytes: f64,
}

/// What one mode did.
#[derive(Clone, Debug)]
pub struct ModeRow {
    /// Its name.
    pub mode: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Latencies of its reads, from when they were due, and how many failed.
    pub reads: Tally,
    /// The same of its writes.
    pub writes: Tally,
    /// Operations a second while nothing failed and every client asked as fast as it was answered.
    pub throughput: f64,
    /// Of the operations due while a fault was in force: how many were answered in time, and how many there were.
    /// `None` where there were none.
    pub served: Option<(u64, u64)>,
    /// How old what reads showed was.
    pub staleness: Staleness,
    /// How long after the end of all faults the replicas were equal; `None` where they were not in time.
    pub convergence: Option<Duration>,
    /// What a write costs between replicas.
    pub write_cost: Cost,
    /// What a read does.
    pub read_cost: Cost,
    /// Which models its history keeps.
    pub ladder: Ladder,
    /// How many of the planned faults happened.
    pub faults: usize,
}

/// Modes side by side.
#[derive(Clone, Debug)]
pub struct ModeTable {
    /// What was done, in a line.
    pub title: String,
    /// More of it, in a line.
    pub subtitle: String,
    /// A row a mode, weakest first.
    pub rows: Vec<ModeRow>,
    /// What a reader has to know besides, a sentence each.
    pub notes: Vec<String>,
}

impl ModeRow {
    /// The tally of a kind.
    pub fn tally(&self, kind: Kind) -> &Tally {
        match kind {
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
        }
    }

    /// The share of operations that were answered in time while a fault was in force, from 0 to 1.
    pub fn availability(&self) -> Option<f64> {
        self.served.map(|(served, all)| served as f64 / all.max(1) as f64)
    }

    /// The share of stale reads among those that can be judged, from 0 to 1.
    pub fn stale_share(&self) -> f64 {
        let judged = self.staleness.fresh + self.staleness.stale;
        self.staleness.stale as f64 / judged.max(1) as f64
    }

    /// How many versions the most stale read was behind, and how many milliseconds one was.
    pub fn most_stale(&self) -> (u64, f64) {
        (self.staleness.versions.max(), self.staleness.behind.max() as f64 / 1000.0)
    }

    fn percentiles(&self, kind: Kind) -> [Option<f64>; 3] {
        let tally = self.tally(kind);
        SHOWN.map(|p| (!tally.latency.is_empty()).then(|| tally.percentile_us(p)))
    }

    /// The verdict on each model, in the order of [`MODELS`].
    fn rungs(&self) -> impl Iterator<Item = Option<&Rung>> {
        MODELS.iter().map(|model| self.ladder.rung(model))
    }
}

/// `0.21`, `12.3`, `1 240`: three digits.
pub(super) fn three_digits(figure: f64) -> String {
    match figure {
        f if f < 9.995 => format!("{f:.2}"),
        f if f < 99.95 => format!("{f:.1}"),
        f => grouped(f.round() as u64),
    }
}

/// A share in percent, with a decimal unless it is all or nothing.
pub(super) fn percent(share: f64) -> String {
    match share {
        s if s <= 0.0 => "0 %".to_owned(),
        s if s >= 1.0 => "100 %".to_owned(),
        // What is not all is not rounded up to all.
        s => format!("{:.1} %", (s * 100.0).clamp(0.1, 99.9)),
    }
}

/// What is said of an answer in files.
pub(super) fn answer_name(answer: Option<&Answer>) -> &'static str {
    match answer {
        Some(Answer::Valid) => "holds",
        Some(Answer::Violation(_)) => "broken",
        Some(Answer::Unknown(_)) | None => "unknown",
    }
}

impl ModeTable {
    /// The table for the terminal, with what its columns are.
    pub fn text(&self, style: Style) -> String {
        let mut table = Columns::new(&[
            "", "read", "", "ms", "write", "", "ms", "ops/s", "answered", "reads", "at the",
            "most", "equal", "a write", "costs", "ladder",
        ]);
        let second = [
            "mode",
            "p50",
            "p99",
            "p99.9",
            "p50",
            "p99",
            "p99.9",
            "calm",
            "in faults",
            "stale",
            "versions",
            "ms",
            "after ms",
            "messages",
            "bytes",
            "strongest first",
        ];
        table.row(second.map(|cell| style.bold(cell)).to_vec());
        self.rows.iter().for_each(|row| table.row(text_row(row, style)));
        let mut text = table.render(style);
        let names: Vec<&str> = MODELS.iter().map(|model| short(model.name)).collect();
        text += "\n";
        text += &format!("ladder: {}\n", names.join(", "));
        let mark = |answer: &Answer| verdicts::painted(answer, style);
        text += &format!(
            "{} held, {} broken, {} not decided\n",
            mark(&Answer::Valid),
            mark(&Answer::Violation(Vec::new())),
            mark(&Answer::Unknown(String::new()))
        );
        for note in &self.notes {
            text += &style.dim(note);
            text.push('\n');
        }
        text
    }

    /// The table as CSV: a row a mode, plain numbers, a column a model.
    ///
    /// # Errors
    /// What the library says.
    pub fn csv(&self) -> Result<String, FormatError> {
        let mut heading: Vec<String> = vec!["mode".to_owned()];
        for kind in Kind::ALL {
            let name = kind.name();
            heading.push(format!("{name}s_ok"));
            heading.push(format!("{name}s_failed"));
            heading.push(format!("{name}s_unknown"));
            heading.extend(SHOWN.map(|p| format!("{name}_p{p}_us")));
        }
        heading.extend(
            [
                "calm_ops_per_s",
                "due_in_faults",
                "answered_in_faults",
                "reads_judged",
                "reads_stale",
                "stale_versions_max",
                "stale_versions_p99",
                "stale_ms_max",
                "stale_ms_p99",
                "equal_after_ms",
                "messages_per_write",
                "bytes_per_write",
                "messages_per_read",
                "bytes_per_read",
                "faults",
            ]
            .map(str::to_owned),
        );
        heading.extend(MODELS.iter().map(|model| model.name.to_owned()));
        let mut table = Columns::new(&heading);
        self.rows.iter().for_each(|row| table.row(csv_row(row)));
        table.csv()
    }

    /// The rows as JSON.
    pub fn json(&self) -> Value {
        self.rows.iter().map(json_row).collect()
    }
}

/// The name of a model where there is little room.
pub(super) fn short(name: &'static str) -> &'static str {
    match name {
        "ccv" => "CCv",
        "cm" => "CM",
        "cc" => "CC",
        "pram" => "PRAM",
        "wfr" => "writes follow reads",
        "mw" => "monotonic writes",
        "mr" => "monotonic reads",
        "ryw" => "read your writes",
        other => other,
    }
}

fn text_row(row: &ModeRow, style: Style) -> Vec<String> {
    let none = || "-".to_owned();
    let mut cells = vec![style.bold(row.mode)];
    for kind in Kind::ALL {
        let ms = |us: Option<f64>| us.map_or_else(none, |us| three_digits(us / 1000.0));
        cells.extend(row.percentiles(kind).map(ms));
    }
    cells.push(grouped(row.throughput.round() as u64));
    cells.push(row.availability().map_or_else(none, |share| {
        let text = percent(share);
        if share < 1.0 { style.warning(&text) } else { style.good(&text) }
    }));
    let stale = percent(row.stale_share());
    let is_stale = row.staleness.stale > 0;
    cells.push(if is_stale { style.warning(&stale) } else { style.good(&stale) });
    let (versions, ms) = row.most_stale();
    cells.push(if is_stale { grouped(versions) } else { none() });
    cells.push(if is_stale { three_digits(ms) } else { none() });
    let never = || style.bad("never");
    cells.push(row.convergence.map_or_else(never, |took| three_digits(took.as_secs_f64() * 1e3)));
    cells.push(format!("{:.1}", row.write_cost.messages));
    cells.push(grouped(row.write_cost.bytes.round() as u64));
    let unknown = Answer::Unknown(String::new());
    let mark =
        |rung: Option<&Rung>| verdicts::painted(rung.map_or(&unknown, |rung| &rung.answer), style);
    cells.push(row.rungs().map(mark).collect::<Vec<_>>().join(" "));
    cells
}

fn csv_row(row: &ModeRow) -> Vec<String> {
    let mut cells = vec![row.mode.to_owned()];
    for kind in Kind::ALL {
        let tally = row.tally(kind);
        cells.extend([tally.succeeded(), tally.errors, tally.unknown].map(|n| n.to_string()));
        let figure = |us: Option<f64>| us.map_or(String::new(), |us| format!("{us:.1}"));
        cells.extend(row.percentiles(kind).map(figure));
    }
    let staleness = &row.staleness;
    let (served, due) = row.served.unwrap_or_default();
    let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
    cells.extend([
        format!("{:.1}", row.throughput),
        due.to_string(),
        served.to_string(),
        (staleness.fresh + staleness.stale).to_string(),
        staleness.stale.to_string(),
        staleness.versions.max().to_string(),
        staleness.versions.value_at_quantile(0.99).to_string(),
        ms(staleness.behind.max()),
        ms(staleness.behind.value_at_quantile(0.99)),
        row.convergence.map_or(String::new(), |took| format!("{:.3}", took.as_secs_f64() * 1e3)),
    ]);
    for cost in [row.write_cost, row.read_cost] {
        cells.extend([format!("{:.2}", cost.messages), format!("{:.1}", cost.bytes)]);
    }
    cells.push(row.faults.to_string());
    cells.extend(row.rungs().map(|rung| answer_name(rung.map(|r| &r.answer)).to_owned()));
    cells
}

fn json_row(row: &ModeRow) -> Value {
    let rounded = |figure: f64| (figure * 1000.0).round() / 1000.0;
    let latency = |kind: Kind| {
        let tally = row.tally(kind);
        let [p50, p99, p999] = row.percentiles(kind);
        json!({
            "ok": tally.succeeded(), "failed": tally.errors, "unknown": tally.unknown,
            "p50_us": p50, "p99_us": p99, "p99.9_us": p999,
        })
    };
    let cost =
        |cost: Cost| json!({ "messages": rounded(cost.messages), "bytes": rounded(cost.bytes) });
    let (staleness, (versions, ms)) = (&row.staleness, row.most_stale());
    let models: serde_json::Map<String, Value> = MODELS
        .iter()
        .zip(row.rungs())
        .map(|(m, rung)| (m.name.to_owned(), answer_name(rung.map(|r| &r.answer)).into()))
        .collect();
    json!({
        "mode": row.mode,
        "read": latency(Kind::Read),
        "write": latency(Kind::Write),
        "calm_ops_per_s": rounded(row.throughput),
        "in_faults": row.served.map(|(served, due)| json!({ "due": due, "answered": served })),
        "staleness": {
            "reads": staleness.fresh + staleness.stale,
            "stale": staleness.stale,
            "versions_max": versions,
            "versions_p99": staleness.versions.value_at_quantile(0.99),
            "ms_max": ms,
            "ms_p99": staleness.behind.value_at_quantile(0.99) as f64 / 1000.0,
        },
        "equal_after_ms": row.convergence.map(|took| rounded(took.as_secs_f64() * 1e3)),
        "a_write_costs": cost(row.write_cost),
        "a_read_costs": cost(row.read_cost),
        "faults": row.faults,
        "models": models,
        "strongest": row.ladder.strongest().iter().map(|m| m.name).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_is_not_shown_as_all() {
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(0.0001), "0.1 %");
        assert_eq!((percent(0.0), percent(1.0)), ("0 %".to_owned(), "100 %".to_owned()));
    }

    #[test]
    fn figures_have_three_digits() {
        for (figure, text) in [(0.213, "0.21"), (9.996, "10.0"), (99.96, "100"), (1239.6, "1 240")]
        {
            assert_eq!(three_digits(figure), text);
        }
    }
}
