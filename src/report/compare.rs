//! The two modes side by side: what the stronger one costs, and what it is good for.

use std::fmt::Write;

use super::{
    KindSummary, PERCENTILES, Style, Summary,
    format_svg::{Curve, plot},
    table::{Columns, grouped, micros},
};

/// The modes whose pairs are compared, in the order of the columns.
pub const PAIR_MODES: [&str; 2] = ["eventual", "sequential"];

/// The table of the two runs.
pub fn comparison_text(runs: &[Summary; 2], style: Style) -> String {
    let mode = |run: &Summary| run.pairs.as_ref().map_or("unknown".into(), |p| p.mode.clone());
    let heading: Vec<String> =
        std::iter::once("µs".to_owned()).chain(runs.iter().map(mode)).collect();
    let mut columns = Columns::new(&heading);
    let mut row = |name: &str, figure: &dyn Fn(&Summary) -> String| {
        columns.row(std::iter::once(name.to_owned()).chain(runs.iter().map(figure)).collect());
    };
    row("pairs", &|run| grouped(run.pairs.as_ref().map_or(0, |pairs| pairs.count)));
    row("total, s", &|run| format!("{:.3}", run.seconds));
    row("current reads", &|run| grouped(run.pairs.as_ref().map_or(0, |p| p.current_reads)));
    for (name, kind) in [("set", "write"), ("get", "read")] {
        for percentile in ["p50", "p99"] {
            row(&format!("{name} {percentile}"), &|run| {
                let figure = run.kinds.get(kind).and_then(|k| k.percentiles_us.get(percentile));
                figure.map_or("-".to_owned(), |us| micros(*us))
            });
        }
    }
    let mut text = columns.render(style);
    if let [eventual, sequential] = runs
        && eventual.seconds > 0.0
    {
        let factor = sequential.seconds / eventual.seconds;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "sequential took {factor:.2} times as long as eventual");
    }
    text
}

/// The picture of the two runs: set and get of each mode, from the percentiles of their summaries.
pub fn comparison_svg(runs: &[Summary; 2]) -> Result<String, String> {
    let mut curves = Vec::new();
    for (run, mode) in runs.iter().zip(PAIR_MODES) {
        for (name, kind) in [("set", "write"), ("get", "read")] {
            if let Some(kind) = run.kinds.get(kind).filter(|kind| kind.ops > 0) {
                curves.push(Curve { name: format!("{mode} {name}"), points: points(kind) });
            }
        }
    }
    plot("alternating writes and reads: latency by percentile", &curves)
}

/// The percentiles that a run of so many operations can tell apart.
fn points(kind: &KindSummary) -> Vec<(f64, f64)> {
    let right = (kind.ops.max(2) as f64).log10();
    let mut points = vec![(0.0, kind.min_us)];
    for percentile in PERCENTILES {
        let x = -(1.0 - percentile / 100.0).log10();
        if let Some(us) = kind.percentiles_us.get(&format!("p{percentile}"))
            && x < right
        {
            points.push((x, *us));
        }
    }
    points.push((right, kind.max_us));
    points
}
