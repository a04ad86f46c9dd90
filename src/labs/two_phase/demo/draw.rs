//! The space-time diagram as text: a column for each process, time downwards, a line for each message.
//!
//! ```text
//!    ms  client      C       P0       P1       P2
//!    10    ├───────>│        │        │        │   SET x 1
//! ```
//! Every colour only repeats what a sign or a word says.

use std::fmt::Write;

use crate::report::Style;

/// The columns.
pub(super) const NAMES: [&str; 5] = ["client", "C", "P0", "P1", "P2"];
/// The client's column.
pub(super) const CLIENT: usize = 0;
/// The coordinator's column; the participants' follow.
pub(super) const HUB: usize = 1;

/// From one column to the next.
const PITCH: usize = 9;
/// Where the first column is.
const LEFT: usize = 10;
/// A stretch without a line of its own that is longer is marked, in milliseconds.
const LONG: u64 = 5;

/// How a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    /// As ever.
    #[default]
    Idle,
    /// A participant that has promised and does not know how it ends.
    Promised,
    /// It does not run.
    Down,
}

/// What a line means, for its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sense {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A question.
    Asks,
    /// Towards commit.
    Good,
    /// Towards abort.
    Bad,
    /// An open promise, or something lost.
    Open,
}

impl Sense {
    /// By the name of the message.
    pub fn of(label: &str) -> Self {
        match label.split(' ').next().unwrap_or_default() {
            "PREPARED" | "COMMIT" | "DONE" | "+OK" => Sense::Good,
            "NO" | "ABORT" | "-ERROR" => Sense::Bad,
            "report:" | "installed" => Sense::Plain,
            _ => Sense::Asks,
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        match self {
            Sense::Plain => text.to_owned(),
            Sense::Asks => style.accent(text),
            Sense::Good => style.good(text),
            Sense::Bad => style.bad(text),
            Sense::Open => style.warning(text),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// When, in milliseconds.
    pub at: u64,
    /// How the processes stand.
    pub lanes: [Lane; 5],
    /// What is drawn.
    pub what: What,
    /// What is written beside it.
    pub text: String,
}

/// What a line shows.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A message, at the time when it leaves.
    Message {
        /// The column that it leaves.
        from: usize,
        /// The column that it is for.
        to: usize,
        /// Whether it never arrives.
        lost: bool,
    },
    /// Something happens to some of the processes.
    Mark {
        /// The sign, the same for each.
        sign: char,
        /// To whom.
        columns: Vec<usize>,
        /// What it means.
        sense: Sense,
    },
}

type Cell = (char, Sense);

/// The diagram, with its heading, a line end behind each line.
pub(super) fn draw(rows: &[Row], style: Style) -> String {
    let mut out = style.bold(heading().trim_end()) + "\n";
    let mut before = None;
    for row in rows {
        if before.is_some_and(|before| row.at > before + LONG) {
            let _ = writeln!(out, "{}", style.dim("    ⋮"));
        }
        let time = if before == Some(row.at) { String::new() } else { row.at.to_string() };
        before = Some(row.at);
        let (mut cells, sense) = (cells(&row.lanes), sense(row));
        match &row.what {
            What::Message { from, to, lost } => arrow(&mut cells, row, (*from, *to), *lost),
            What::Mark { sign, columns, sense } => {
                for column in columns {
                    cells[place(*column)] = (*sign, *sense);
                }
            }
        }
        let lost =
            if matches!(row.what, What::Message { lost: true, .. }) { "  (lost)" } else { "" };
        let text = sense.paint(style, &format!("{}{lost}", row.text));
        let _ = writeln!(
            out,
            "{}{}   {text}",
            style.dim(&format!("{time:>5}")),
            paint(&cells[5..], style)
        );
    }
    out
}

fn heading() -> String {
    let mut line = vec![' '; place(NAMES.len() - 1) + PITCH];
    let mut put = |at: usize, text: &str| {
        line.splice(at..at + text.chars().count(), text.chars());
    };
    put(3, "ms");
    for (column, name) in NAMES.iter().enumerate() {
        put(place(column) - name.len() / 2 + usize::from(name.len() == 2), name);
    }
    line.into_iter().collect()
}

fn place(column: usize) -> usize {
    LEFT + PITCH * column
}

fn sense(row: &Row) -> Sense {
    match &row.what {
        What::Message { lost: true, .. } => Sense::Open,
        What::Message { .. } => Sense::of(&row.text),
        What::Mark { sense, .. } => *sense,
    }
}

fn cells(lanes: &[Lane; 5]) -> Vec<Cell> {
    let mut cells = vec![(' ', Sense::Plain); place(NAMES.len() - 1) + 1];
    for (column, lane) in lanes.iter().enumerate() {
        cells[place(column)] = match lane {
            Lane::Idle => ('│', Sense::Plain),
            Lane::Promised => ('║', Sense::Open),
            Lane::Down => (' ', Sense::Plain),
        };
    }
    cells
}

/// Puts a message's arrow over the lanes.
fn arrow(cells: &mut [Cell], row: &Row, (from, to): (usize, usize), lost: bool) {
    let sense = sense(row);
    let right = to > from;
    let (a, b) = (place(from.min(to)), place(from.max(to)));
    for cell in &mut cells[a + 1..b] {
        *cell = match cell.0 {
            '│' => ('┼', sense),
            '║' => ('╫', sense),
            _ => ('─', sense),
        };
    }
    let (tail, head) = if right { (a, b - 1) } else { (b, a + 1) };
    cells[head].0 = match (lost, right) {
        (true, _) => '✗',
        (false, true) => '>',
        (false, false) => '<',
    };
    let (start, lane) = &mut cells[tail];
    *start = match (*start, right) {
        ('║', true) => '╟',
        ('║', false) => '╢',
        (_, true) => '├',
        (_, false) => '┤',
    };
    if *lane == Sense::Plain {
        *lane = sense;
    }
}

/// Cells of one colour together.
fn paint(cells: &[Cell], style: Style) -> String {
    cells
        .chunk_by(|a, b| a.1 == b.1)
        .map(|run| run[0].1.paint(style, &run.iter().map(|cell| cell.0).collect::<String>()))
        .collect()
}
