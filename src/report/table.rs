//! Tables for the terminal.

use std::fmt::Write;

use super::{
    Floors, FormatError, PERCENTILES, Report, Round, Style, Tally,
    format_json::{Ratios, ratios},
    run::per_second,
};

/// A table: a heading and rows, for the terminal or as CSV.
#[derive(Clone, Debug)]
pub struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// A table with this heading.
    pub fn new<S: AsRef<str>>(heading: &[S]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| cell.as_ref().to_owned()).collect()] }
    }

    /// Adds a row. Cells may carry colours.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table: the first column aligned to the left, the others to the right; the heading is
    /// bold.
    pub fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| visible(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column].saturating_sub(visible(cell)));
                // Writing to a string cannot fail.
                let _ = match column {
                    0 => write!(line, "{cell}{gap}"),
                    _ => write!(line, "  {gap}{cell}"),
                };
            }
            let line = line.trim_end();
            text.push_str(&if index == 0 { style.bold(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }

    /// The table as comma-separated values (RFC 4180), the heading as the first row.
    ///
    /// # Errors
    /// What the library says; rows of different lengths are one cause.
    pub fn csv(&self) -> Result<String, FormatError> {
        let failed = |why: String| FormatError { format: "a table as CSV", why };
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in &self.rows {
            writer.write_record(row).map_err(|error| failed(error.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
    }
}

/// How many columns of a terminal a cell takes: its characters without the colours.
fn visible(cell: &str) -> usize {
    let mut parts = cell.split('\x1b');
    let first = parts.next().map_or(0, |part| part.chars().count());
    let after = |part: &str| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count());
    first + parts.map(after).sum::<usize>()
}

/// A count with thin groups of three: `1 234 567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Microseconds with as many digits as they are worth.
pub fn micros(us: f64) -> String {
    if us >= 1000.0 { grouped(us.round() as u64) } else { format!("{us:.1}") }
}

/// The latency table of a report: a row a kind, and what had gone wrong.
pub fn latency_table(report: &Report, style: Style) -> String {
    let total = report.total();
    let mut heading: Vec<String> = ["µs", "ops", "ops/s", "min"].map(String::from).into();
    heading.extend(PERCENTILES.iter().map(|p| format!("p{p}")));
    heading.extend(["max", "mean", "errors", "unknown"].map(String::from));
    let mut columns = Columns::new(&heading);
    let kinds = report.kinds(&total);
    for kind in &kinds {
        columns.row(latency_row(kind.name(), total.tally(*kind), &total));
    }
    if kinds.len() > 1 {
        let mut both = total.read.clone();
        both.merge(&total.write);
        columns.row(latency_row("both", &both, &total));
    }
    let mut text = columns.render(style);
    for line in warnings(&total, &report.notes) {
        text.push_str(&style.warning(&line));
        text.push('\n');
    }
    text
}

fn latency_row(name: &str, tally: &Tally, total: &Round) -> Vec<String> {
    let mut row = vec![name.to_owned(), grouped(tally.succeeded())];
    row.push(grouped(per_second(tally.succeeded(), total.elapsed).round() as u64));
    if tally.latency.is_empty() {
        row.extend(std::iter::repeat_n("-".to_owned(), PERCENTILES.len() + 3));
    } else {
        row.push(micros(tally.latency.min() as f64 / 1000.0));
        row.extend(PERCENTILES.iter().map(|p| micros(tally.percentile_us(*p))));
        row.push(micros(tally.latency.max() as f64 / 1000.0));
        row.push(micros(tally.latency.mean() / 1000.0));
    }
    row.extend([grouped(tally.errors), grouped(tally.unknown)]);
    row
}

/// What a reader has to know to read the figures rightly.
fn warnings(total: &Round, notes: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if total.read.missing > 0 {
        let (missing, reads) = (grouped(total.read.missing), grouped(total.read.succeeded()));
        lines.push(format!("{missing} of {reads} reads found no such key"));
    }
    // A few at the very end are everyone's lot; they are in the summary only.
    if total.unsent * 100 > total.read.tried() + total.write.tried() {
        lines.push(format!(
            "overload: {} operations were due and could not be sent before the end; \
             the latencies leave their waits out",
            grouped(total.unsent)
        ));
    }
    if let Some(late) = total.lateness.as_ref().filter(|late| late.succeeded() > 0) {
        lines.push(format!(
            "the generator's own timer was {} µs late at p50, {} µs at p99 (part of the latencies)",
            micros(late.percentile_us(50.0)),
            micros(late.percentile_us(99.0))
        ));
    }
    lines.extend(notes.iter().cloned());
    lines
}

/// The table of ratios to the floors; empty when none were measured.
pub fn floor_table(report: &Report, style: Style) -> String {
    let Some(floors) = &report.floors else { return String::new() };
    let total = report.total();
    let mut heading = vec!["medians of the rounds".to_owned()];
    heading.extend(["work", "echo", "chain", "work/echo", "work/chain"].map(String::from));
    let mut columns = Columns::new(&heading);
    for kind in report.kinds(&total) {
        for (name, percentile) in [("p50 µs", 50.0), ("p99 µs", 99.0)] {
            let figure = |round: &Round| round.tally(kind).percentile_us(percentile);
            columns.row(ratio_row(
                &format!("{} {name}", kind.name()),
                &ratios(report, floors, figure),
                micros,
            ));
        }
    }
    let each = ratios(report, floors, Round::throughput);
    columns.row(ratio_row("throughput, ops/s", &each, |figure| grouped(figure.round() as u64)));
    columns.render(style) + &floor_note(floors, style)
}

fn floor_note(floors: &Floors, style: Style) -> String {
    let chain = match floors.two_rounds {
        true => "client-C-{P1,P2,P3}-C-{P1,P2,P3}-C-client",
        false => "client-R0-{R1,R2}-R0-client",
    };
    let note = format!(
        "{} rounds each of echo, chain and work in turn; echo: client-server-client, \
         chain: {chain}, same clients, pipeline and bytes\n",
        floors.echo.len()
    );
    style.dim(&note)
}

fn ratio_row(name: &str, figures: &Ratios, show: impl Fn(f64) -> String) -> Vec<String> {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}×"));
    vec![
        name.to_owned(),
        show(figures.work),
        show(figures.echo),
        show(figures.chain),
        ratio(figures.to_echo),
        ratio(figures.to_chain),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        let mut table = Columns::new(&["a", "bb"]);
        table.row(vec!["\x1b[32mx\x1b[0m".to_owned(), "\x1b[31my\x1b[0m".to_owned()]);
        let lines = "a  bb\n\x1b[32mx\x1b[0m   \x1b[31my\x1b[0m\n";
        assert_eq!(table.render(Style::default()), lines);
    }

    #[test]
    fn a_table_is_csv_whatever_its_cells_hold() {
        let mut table = Columns::new(&["key", "value"]);
        table.row(vec!["a,b".to_owned(), "say \"hi\"".to_owned()]);
        assert_eq!(table.csv().expect("CSV"), "key,value\n\"a,b\",\"say \"\"hi\"\"\"\n");
        table.row(vec!["alone".to_owned()]);
        assert!(table.csv().is_err());
    }
}
