//! A small histogram made of text: logarithmic buckets, a bar each.

use std::fmt::Write;

use super::{Kind, Report, Style, Tally, table::grouped};

/// How wide the longest bar is.
const WIDTH: usize = 40;

/// The parts of a cell, an eighth each.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Bucket bounds grow by these steps in each decade: 1, 2, 5, 10, 20, 50, …
const STEPS: [u64; 3] = [1, 2, 5];

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
    let buckets = buckets(tally);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let label = |bound: &u64| format!("< {}", duration(*bound));
    let width = buckets.iter().map(|(bound, _)| label(bound).chars().count()).max().unwrap_or(0);
    let all = tally.latency.len().max(1) as f64;
    let mut text = String::new();
    for (bound, count) in &buckets {
        let share = *count as f64 * 100.0 / all;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:>width$} {} {:>6.2} %  {}",
            label(bound),
            style.accent(&bar(*count, most)),
            share,
            style.dim(&grouped(*count)),
        );
    }
    text
}

/// Upper bounds in nanoseconds and counts, from the first bucket that holds something to the last.
fn buckets(tally: &Tally) -> Vec<(u64, u64)> {
    let bounds: Vec<u64> = (0..11).flat_map(|e| STEPS.map(|step| step * 10u64.pow(e))).collect();
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

/// A bar of fixed width; whatever is not zero shows at least a trace.
fn bar(count: u64, most: u64) -> String {
    let eighths = (count as f64 / most as f64 * (WIDTH * 8) as f64).round() as usize;
    let eighths = if count > 0 { eighths.max(1) } else { 0 };
    let (full, part) = (eighths / 8, eighths % 8);
    let mut text: String = std::iter::repeat_n('█', full).collect();
    if part > 0 {
        text.push(EIGHTHS[part]);
    }
    let missing = WIDTH.saturating_sub(text.chars().count());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}
