//! What is said of it.

use super::{Chance, Forced, Row};
use crate::report::{Style, grouped};

/// What would keep the copies equal.
pub const HELP: &str = "\
A version with each key would help: every copy keeps the greater of two versions, such as a counter with the
client's number behind it, so the copies end up equal in whatever order the writes come (one of them is lost).
A leader of each key would help more: all its writes go through one server, which gives every copy the same order.";

/// What came of the races, in a sentence.
pub fn chance_text(chance: Chance, style: Style) -> String {
    let Chance { rounds, diverged } = chance;
    let share = diverged as f64 * 100.0 / rounds.max(1) as f64;
    let text = format!("{} of {} ({share:.1} %)", grouped(diverged), grouped(rounds));
    let text = if diverged > 0 { style.bad(&text) } else { style.good(&text) };
    format!(
        "Two clients insert the same key at the same time. The copies differed after {text} rounds."
    )
}

/// The steps as a table: time runs down, a column a client and a copy. What differs is in colour.
pub fn steps_text(forced: &Forced, style: Style) -> String {
    let mut heading = vec![String::new()];
    heading.extend(["client A", "client B", "client C"].map(str::to_owned));
    let copies = forced.servers.iter().enumerate();
    heading.extend(copies.map(|(copy, server)| format!("copy {} (server {server})", copy + 1)));
    let rows: Vec<Vec<String>> =
        forced.rows.iter().enumerate().map(|(number, row)| cells(number, row)).collect();
    let all = || std::iter::once(&heading).chain(&rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let line = |row: &Vec<String>| {
        let cell =
            |(column, cell): (usize, &String)| format!("{cell:<width$}", width = width(column));
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = style.bold(&line(&heading)) + "\n";
    for (cells, row) in rows.iter().zip(&forced.rows) {
        let differ = row.copies.windows(2).any(|pair| pair[0] != pair[1]);
        let line = line(cells);
        text += &if differ { style.warning(&line) } else { line };
        text.push('\n');
    }
    text
}

fn cells(number: usize, row: &Row) -> Vec<String> {
    let mut cells = vec![number.to_string()];
    for client in 0..3 {
        let own = row.client == Some(client) || (row.client.is_none() && client == 0);
        let text = if row.client.is_none() { format!("({})", row.what) } else { row.what.clone() };
        cells.push(if own { text } else { String::new() });
    }
    cells.extend(row.copies.iter().map(|copy| copy.clone().unwrap_or_else(|| "down".to_owned())));
    cells
}
