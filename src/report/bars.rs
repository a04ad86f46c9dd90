//! A small histogram made of text: logarithmic buckets, a bar each.

use std::fmt::Write;

use super::{Kind, Report, Style, Tally, table::grouped};

/// How wide the longest bar is.
const WIDTH: usize = 40;

/// The parts of a cell, an eighth each.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Bucket bounds, in tenths of each decade: from fine ones for narrow distributions to coarse ones.
const SCALES: [&[u64]; 3] = [
    &[
        10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82,
        91,
    ],
    &[10, 12, 15, 20, 25, 30, 40, 50, 60, 80],
    &[10, 20, 50],
];

/// The most rows a scale may take; the coarsest may take more.
const ROWS: usize = 12;

/// So many empty buckets in a row become one line.
const FOLD: usize = 3;

/// The histograms of all kinds of a report.
pub fn bars(report: &Report, style: Style) -> String {
    let total = report.total();
    let mut text = String::new();
    for kind in Kind::ALL {
        let tally = total.tally(kind);
        if !tally.latency.is_empty() {
            let heading = format!("{} latency", kind.name());
            let _ = writeln!(text, "{}", style.bold(&heading));
            text.push_str(&histogram(tally, style));
        }
    }
    text
}

fn histogram(tally: &Tally, style: Style) -> String {
    let buckets = SCALES
        .iter()
        .map(|steps| buckets(tally, steps))
        .find(|buckets| buckets.len() <= ROWS)
        .unwrap_or_else(|| buckets(tally, SCALES[SCALES.len() - 1]));
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let label = |bound: &u64| format!("< {}", duration(*bound));
    let width = buckets.iter().map(|(bound, _)| label(bound).chars().count()).max().unwrap_or(0);
    let all = tally.latency.len().max(1) as f64;
    let mut text = String::new();
    // Runs of buckets that are alike in being empty or not.
    for run in buckets.chunk_by(|a, b| (a.1 == 0) == (b.1 == 0)) {
        if run.len() >= FOLD && run[0].1 == 0 {
            let _ = writeln!(text, "  {:>width$}", "⋮");
            continue;
        }
        for (bound, count) in run {
            let share = *count as f64 * 100.0 / all;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {:>width$} {} {share:>6.2} %  {}",
                label(bound),
                style.accent(&bar(*count, most, WIDTH)),
                style.dim(&grouped(*count)),
            );
        }
    }
    text
}

/// Upper bounds in nanoseconds and counts, from the first bucket that holds something to the last.
fn buckets(tally: &Tally, steps: &[u64]) -> Vec<(u64, u64)> {
    let decade = |e: u32| steps.iter().map(move |step| step * 10u64.pow(e));
    // From 10 ns to 80 s: beyond the longest latency that a histogram holds.
    let bounds: Vec<u64> = (0..10).flat_map(decade).collect();
    let mut counts = vec![0u64; bounds.len()];
    for step in tally.latency.iter_recorded() {
        let value = step.value_iterated_to();
        let index = bounds.partition_point(|bound| *bound <= value).min(bounds.len() - 1);
        counts[index] += step.count_at_value();
    }
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    bounds.into_iter().zip(counts).take(last).skip(first).collect()
}

/// A bar `width` cells wide where `count` is `most`, filled up with blanks; whatever is not zero shows at
/// least a trace.
pub fn bar(count: u64, most: u64, width: usize) -> String {
    let share = count as f64 / most.max(1) as f64;
    let eighths = (share.min(1.0) * (width * 8) as f64).round() as usize;
    let eighths = if count > 0 { eighths.max(1) } else { 0 };
    let (full, part) = (eighths / 8, eighths % 8);
    let mut text: String = std::iter::repeat_n('█', full).collect();
    if part > 0 {
        text.push(EIGHTHS[part]);
    }
    let missing = width.saturating_sub(text.chars().count());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

fn duration(nanos: u64) -> String {
    let (unit, name) = match nanos {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    match nanos % unit {
        0 => format!("{} {name}", nanos / unit),
        _ => format!("{:.1} {name}", nanos as f64 / unit as f64),
    }
}
