//! The figures as tables for the terminal, as CSV, as JSON and as a picture.

use serde_json::{Value, json};

use super::{Phase, PhaseResult, Step};
use crate::report::{
    BarChart, BarGroup, BarLook, BarPanel, Columns, Style, bar_chart, grouped, micros,
};

/// A cluster's steps.
#[derive(Clone, Debug)]
pub struct Series {
    /// N.
    pub servers: usize,
    /// K.
    pub copies: usize,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Series {
    /// `N=3 K=2`.
    pub fn name(&self) -> String {
        format!("N={} K={}", self.servers, self.copies)
    }
}

fn heading(first: &[&str]) -> Vec<String> {
    let phase = |phase: Phase| {
        let name = phase.name();
        [format!("{name}/s"), "p50".to_owned(), "p99".to_owned()]
    };
    let first = first.iter().map(|cell| (*cell).to_owned());
    first.chain(Phase::ALL.into_iter().flat_map(phase)).collect()
}

fn figures(result: &PhaseResult) -> [f64; 3] {
    [result.throughput(), result.total.percentile_us(50.0), result.total.percentile_us(99.0)]
}

/// A row a cluster and number of clients; throughput and latencies in microseconds of each phase. The highest
/// throughput and the lowest latencies are marked where there is a choice.
pub fn step_table(series: &[Series], style: Style) -> String {
    let mut columns = Columns::new(&heading(&["cluster", "clients"]));
    let of_step = |step: &Step| step.phases.iter().flat_map(figures).collect::<Vec<f64>>();
    let rows: Vec<Vec<f64>> = series.iter().flat_map(|s| &s.steps).map(of_step).collect();
    let choice = rows.len() > 1;
    let best = |column: usize| {
        let rivals = rows.iter().filter_map(|row| row.get(column)).copied().filter(|f| *f > 0.0);
        match column % 3 {
            0 => rivals.fold(f64::NEG_INFINITY, f64::max),
            _ => rivals.fold(f64::INFINITY, f64::min),
        }
    };
    let mut rows_left = rows.iter();
    for series in series {
        for step in &series.steps {
            let mut cells = vec![series.name(), step.clients.to_string()];
            for (column, figure) in rows_left.next().into_iter().flatten().enumerate() {
                let text = match column % 3 {
                    0 => grouped(figure.round() as u64),
                    _ => micros(*figure),
                };
                cells.push(marked(text, choice && *figure == best(column), choice, style));
            }
            columns.row(cells);
        }
    }
    let star = if choice { "; *: the best of its column" } else { "" };
    let note = format!("/s: the sum of the clients' operations a second; p50, p99: µs{star}\n");
    columns.render(style) + &style.dim(&note)
}

/// The text with a star where it is the best, and with room for one where another one is.
fn marked(text: String, best: bool, room: bool, style: Style) -> String {
    match (best, room) {
        (true, _) => style.accent(&(text + "*")),
        (false, true) => text + " ",
        (false, false) => text,
    }
}

/// A row a client, and their sum.
pub fn client_table(step: &Step, style: Style) -> String {
    let mut columns = Columns::new(&heading(&["client"]));
    for client in 0..step.clients {
        let mut cells = vec![client.to_string()];
        for figures in step.phases.iter().filter_map(|result| result.clients.get(client)) {
            cells.push(grouped(figures.throughput.round() as u64));
            cells.extend([figures.p50_us, figures.p99_us].map(micros));
        }
        columns.row(cells);
    }
    let mut cells = vec!["sum".to_owned()];
    for [throughput, p50, p99] in step.phases.iter().map(figures) {
        cells.push(grouped(throughput.round() as u64));
        cells.extend([p50, p99].map(micros));
    }
    columns.row(cells);
    columns.render(style)
}

/// Calls `row` with the beginning of each row: cluster, clients, phase.
fn each(series: &[Series], mut row: impl FnMut(&[String], &PhaseResult)) {
    for series in series {
        for step in &series.steps {
            for result in &step.phases {
                let numbers = [series.servers, series.copies, step.clients];
                let mut begin: Vec<String> = numbers.iter().map(usize::to_string).collect();
                begin.push(result.phase.name().to_owned());
                row(&begin, result);
            }
        }
    }
}

const BEGIN: [&str; 4] = ["servers", "copies", "clients", "phase"];

/// For CSV: a row a cluster, number of clients and phase.
pub fn steps_columns(series: &[Series]) -> Columns {
    let own = ["ops", "ops_per_second", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"];
    let heading = [&BEGIN[..], &own, &["errors", "unknown", "seconds", "processors_busy"]].concat();
    let mut columns = Columns::new(&heading);
    each(series, |begin, result| {
        let tally = &result.total;
        let mut row = begin.to_vec();
        row.extend([tally.succeeded().to_string(), format!("{:.1}", result.throughput())]);
        let percentiles = [50.0, 90.0, 99.0, 99.9, 100.0];
        row.extend(percentiles.map(|p| format!("{:.1}", tally.percentile_us(p))));
        row.extend([tally.errors.to_string(), tally.unknown.to_string()]);
        row.push(format!("{:.6}", result.elapsed.as_secs_f64()));
        row.push(result.busy.map_or(String::new(), |busy| format!("{busy:.3}")));
        columns.row(row);
    });
    columns
}

/// For CSV: a row a cluster, number of clients, phase and client.
pub fn clients_columns(series: &[Series]) -> Columns {
    let own = ["client", "ops", "ops_per_second", "p50_us", "p99_us", "max_us"];
    let mut columns = Columns::new(&[&BEGIN[..], &own].concat());
    each(series, |begin, result| {
        for (client, figures) in result.clients.iter().enumerate() {
            let mut row = begin.to_vec();
            row.extend([client.to_string(), figures.ops.to_string()]);
            row.push(format!("{:.1}", figures.throughput));
            let latencies = [figures.p50_us, figures.p99_us, figures.max_us];
            row.extend(latencies.map(|us| format!("{us:.1}")));
            columns.row(row);
        }
    });
    columns
}

/// The figures for `summary.json`.
pub fn series_json(series: &[Series]) -> Value {
    let mut rows = Vec::new();
    each(series, |begin, result| {
        let tally = &result.total;
        let number = |at: usize| begin.get(at).and_then(|text| text.parse::<u64>().ok());
        rows.push(json!({
            "servers": number(0),
            "copies": number(1),
            "clients": number(2),
            "phase": result.phase.name(),
            "ops": tally.succeeded(),
            "ops_per_second": result.throughput(),
            "p50_us": tally.percentile_us(50.0),
            "p99_us": tally.percentile_us(99.0),
            "max_us": tally.percentile_us(100.0),
            "errors": tally.errors,
            "unknown": tally.unknown,
            "seconds": result.elapsed.as_secs_f64(),
            "processors_busy": result.busy,
        }));
    });
    rows.into()
}

/// What went wrong, a line each; at most ten, and how many more.
pub fn troubles(series: &[Series]) -> Vec<String> {
    let mut all = Vec::new();
    each(series, |_, result| all.extend(result.troubles.iter().cloned()));
    let more = all.len().saturating_sub(10);
    all.truncate(10);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

/// The looks of the clusters, in their order; there are three at the most.
const LOOKS: [BarLook; 3] = [BarLook::Plain, BarLook::Other, BarLook::Third];

/// Throughput by the number of clients: a panel a phase, a bar a cluster.
pub fn picture(series: &[Series], machine: &str) -> String {
    let mut counts: Vec<usize> =
        series.iter().flat_map(|series| &series.steps).map(|step| step.clients).collect();
    counts.sort_unstable();
    counts.dedup();
    let panel = |phase: Phase| {
        let of = |series: &Series, clients: usize| {
            let step = series.steps.iter().find(|step| step.clients == clients);
            let rate = step.map_or(0.0, |step| step.throughput(phase));
            // More digits than this are noise, and no lecture can read them.
            if rate >= 10.0 { rate.round() } else { rate }
        };
        let group = |clients: &usize| BarGroup {
            label: clients.to_string(),
            bars: series.iter().zip(LOOKS).map(|(s, look)| (of(s, *clients), look)).collect(),
        };
        let groups: Vec<BarGroup> = counts.iter().map(group).collect();
        let bars = groups.iter().flat_map(|group| &group.bars);
        BarPanel {
            heading: format!("{}, operations a second", phase.name()),
            subheading: "of all clients together, by the number of clients".to_owned(),
            top: bars.map(|(height, _)| *height).fold(1.0, f64::max) * 1.1,
            groups,
            mark: None,
        }
    };
    let legend = series.iter().zip(LOOKS).map(|(series, look)| {
        let copies = if series.copies == 1 { "copy" } else { "copies" };
        let servers = if series.servers == 1 { "server" } else { "servers" };
        let (n, k) = (series.servers, series.copies);
        (look, format!("N={n} K={k}: {n} {servers}, {k} {copies}"))
    });
    let names: Vec<String> = series.iter().map(Series::name).collect();
    bar_chart(&BarChart {
        title: "What a cluster can do".to_owned(),
        description: format!("Throughput of {} by phase and number of clients", names.join(", ")),
        columns: 2,
        height: 190.0,
        panels: Phase::ALL.into_iter().map(panel).collect(),
        legend: legend.collect(),
        notes: vec![machine.to_owned()],
    })
}
