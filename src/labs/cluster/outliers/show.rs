//! What was found as text, as CSV, and as a picture: latency over time, with compactions as bands.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Outliers, Run, Slow};
use crate::labs::cluster::perf::Load;
use crate::labs::exercise::Exercise;
use crate::report::{
    Band, Columns, DotChart, DotPanel, Dots, Machine, Style, dot_chart, grouped, micros,
};

/// How much of the time around the slowest change the second panel shows, in seconds, before and behind it.
const AROUND: f64 = 0.05;

fn us(time: Duration) -> String {
    micros(time.as_secs_f64() * 1e6)
}

/// A row a kind, then the slowest of each.
pub fn text(run: &Run, style: Style) -> String {
    let heading = ["µs", "ops", "fastest", "median", "slowest", "slowest/median", "compacting"];
    let mut columns = Columns::new(&heading);
    for found in &run.found {
        let slowest = found.slowest.first().map_or(Duration::ZERO, |slow| slow.sample.took);
        let factor = slowest.as_secs_f64() / found.median.as_secs_f64().max(1e-9);
        columns.row(vec![
            found.phase.name().to_owned(),
            grouped(found.count as u64),
            us(found.fastest),
            us(found.median),
            us(slowest),
            format!("{factor:.0} ×"),
            format!("{:.0} % of the time", found.compacting * 100.0),
        ]);
    }
    let mut text = columns.render(style);
    for found in &run.found {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "\n{}", style.bold(&format!("slowest {}s", found.phase.name())));
        let _ = writeln!(text, ": {}", found.verdict());
        text += &slowest(found).render(style);
    }
    for note in &run.notes {
        let _ = writeln!(text, "{}", style.warning(note));
    }
    text
}

fn slowest(found: &Outliers) -> Columns {
    let mut columns = Columns::new(&["at, s", "took, µs", "during"]);
    for Slow { sample, during } in &found.slowest {
        let during = during.map_or("-".to_owned(), |compaction| {
            let length = (compaction.to - compaction.from) * 1e6;
            let (server, length) = (compaction.server, micros(length));
            format!("a compaction of server {server} ({length} µs)")
        });
        columns.row(vec![format!("{:.4}", sample.begun.as_secs_f64()), us(sample.took), during]);
    }
    columns
}

/// The files of the run.
pub fn exercise(run: &Run, load: &Load, machine: &Machine, machine_line: &str) -> Exercise {
    let found = |found: &Outliers| {
        let object = json!({
            "ops": found.count,
            "fastest_us": found.fastest.as_secs_f64() * 1e6,
            "median_us": found.median.as_secs_f64() * 1e6,
            "slowest_us": found.slowest.first().map(|slow| slow.sample.took.as_secs_f64() * 1e6),
            "slow": found.slow,
            "slow_overlapping": found.slow_overlapping,
            "overlapping": found.overlapping,
            "compactions": found.compactions,
            "compacting_share": found.compacting,
            "verdict": found.verdict(),
        });
        (found.phase.name().to_owned(), object)
    };
    let figures: serde_json::Map<String, Value> = run.found.iter().map(found).collect();
    Exercise {
        name: "cluster-outliers",
        config: json!({ "ops": load.ops, "scans": load.scans, "value_size": load.value_size }),
        results: json!({ "machine": machine, "figures": figures, "notes": run.notes }),
        tables: vec![("slowest.csv", slow_columns(run)), ("compactions.csv", compactions(run))],
        picture: ("outliers.svg", picture(run, machine_line)),
    }
}

fn slow_columns(run: &Run) -> Columns {
    let heading = ["phase", "at_s", "took_us", "server", "compaction_from_s", "compaction_to_s"];
    let mut columns = Columns::new(&heading);
    for found in &run.found {
        for Slow { sample, during } in &found.slowest {
            let mut row = vec![found.phase.name().to_owned()];
            row.push(format!("{:.6}", sample.begun.as_secs_f64()));
            row.push(format!("{:.1}", sample.took.as_secs_f64() * 1e6));
            match during {
                Some(c) => {
                    row.push(c.server.to_string());
                    row.extend([c.from, c.to].map(|at| format!("{at:.6}")));
                }
                None => row.extend([const { String::new() }; 3]),
            }
            columns.row(row);
        }
    }
    columns
}

fn compactions(run: &Run) -> Columns {
    let mut columns = Columns::new(&["server", "from_s", "to_s"]);
    for compaction in &run.compactions {
        let mut row = vec![compaction.server.to_string()];
        row.extend([compaction.from, compaction.to].map(|at| format!("{at:.6}")));
        columns.row(row);
    }
    columns
}

fn picture(run: &Run, machine_line: &str) -> String {
    let series = |found: &Outliers| {
        let least = found.slowest.last().map_or(Duration::MAX, |slow| slow.sample.took);
        let phase = run.phases.iter().find(|phase| phase.phase == found.phase);
        let samples = phase.map_or(&[][..], |phase| &phase.samples);
        let dot = |sample: &crate::labs::cluster::perf::Sample| {
            let us = sample.took.as_secs_f64() * 1e6;
            (sample.begun.as_secs_f64(), us, sample.took >= least)
        };
        Dots { name: found.phase.name().to_owned(), dots: samples.iter().map(dot).collect() }
    };
    let end = run.phases.iter().map(|phase| (phase.begun + phase.elapsed).as_secs_f64());
    let end = end.fold(0.0, f64::max);
    let whole = DotPanel { heading: "All".to_owned(), span: Band { from: 0.0, to: end } };
    let mut panels = vec![whole];
    if let Some((found, slow)) =
        run.found.first().and_then(|found| Some((found, found.slowest.first()?)))
    {
        let at = slow.sample.begun.as_secs_f64() + slow.sample.took.as_secs_f64() / 2.0;
        let name = found.phase.name();
        panels.push(DotPanel {
            heading: format!("Around the slowest {name}, {} µs", us(slow.sample.took)),
            span: Band { from: (at - AROUND).max(0.0), to: (at + AROUND).min(end.max(at)) },
        });
    }
    let verdict = |found: &Outliers| format!("{}: {}", found.phase.name(), found.verdict());
    let mut notes: Vec<String> = run.found.iter().map(verdict).collect();
    notes.push(machine_line.to_owned());
    dot_chart(&DotChart {
        title: "Latency over time".to_owned(),
        subtitle: "each dot an operation; a logarithmic axis".to_owned(),
        series: run.found.iter().map(series).collect(),
        band_name: "a server compacts".to_owned(),
        bands: run.compactions.iter().map(|c| Band { from: c.from, to: c.to }).collect(),
        marked_name: "the slowest ten of each".to_owned(),
        panels,
        notes,
    })
}
