//! A few operations as bars in text, a lane a process, for terminals and for the docs.
//!
//! ```text
//! a  ├ x ← 1 ┤
//! b             ├ x → nil ┤
//! ```
//!
//! Columns are the order of invocations and completions, not time: what ends before another begins is drawn
//! before it, and nothing more is said. An operation of unknown outcome has no end.

use crate::check::witness::shown;
use crate::history::{Action, History, NEVER, OpId, Operation, Outcome};

/// The operations as lanes, one line a process, without a newline at the end.
pub fn lanes(history: &History, operations: &[OpId]) -> String {
    let bars = bars(history, operations);
    let end = bars.iter().map(|bar| bar.until.unwrap_or(bar.from + bar.label.len() + 3)).max();
    let end = end.unwrap_or(0) + 1;
    let mut processes = Vec::new();
    for bar in &bars {
        if !processes.contains(&bar.process) {
            processes.push(bar.process);
        }
    }
    // The order in which the history first names them, so that lanes do not depend on what is drawn.
    processes.sort_by_key(|name| history.processes.find(name));
    let width = processes.iter().map(|name| shown(name).chars().count()).max().unwrap_or(0);
    let lane = |process: &&str| {
        let mut cells = vec![' '; end];
        for bar in bars.iter().filter(|bar| bar.process == *process) {
            bar.draw(&mut cells);
        }
        let line: String = cells.into_iter().collect();
        let process = shown(process);
        format!("{process:width$}  {}", line.trim_end())
    };
    processes.iter().map(lane).collect::<Vec<_>>().join("\n")
}

struct Bar<'a> {
    process: &'a str,
    label: Vec<char>,
    from: usize,
    /// The column of its end; none where the outcome is unknown.
    until: Option<usize>,
}

impl Bar<'_> {
    fn draw(&self, cells: &mut [char]) {
        let until = self.until.unwrap_or(cells.len() - 1);
        let line = if self.until.is_some() { '─' } else { '┄' };
        cells[self.from..=until].fill(line);
        cells[self.from] = '├';
        if self.until.is_some() {
            cells[until] = '┤';
        }
        let middle = self.from + 2;
        cells[middle - 1] = ' ';
        cells[middle..middle + self.label.len()].copy_from_slice(&self.label);
        cells[middle + self.label.len()] = ' ';
    }
}

fn bars<'a>(history: &'a History, operations: &[OpId]) -> Vec<Bar<'a>> {
    let mut events: Vec<(u32, usize, bool)> = Vec::new();
    for (n, id) in operations.iter().enumerate() {
        let operation = history.operation(*id);
        events.push((operation.invoked, n, false));
        if operation.completed != NEVER {
            events.push((operation.completed, n, true));
        }
    }
    events.sort_unstable();
    let mut bars: Vec<Bar<'a>> = operations
        .iter()
        .map(|id| {
            let operation = history.operation(*id);
            let process = history.process(operation.process);
            let label = short(history, operation).chars().collect();
            Bar { process, label, from: 0, until: None }
        })
        .collect();
    let mut column = 0;
    for (_, n, ends) in events {
        let bar = &mut bars[n];
        if ends {
            column = (column + 2).max(bar.from + bar.label.len() + 3);
            bar.until = Some(column);
        } else {
            bar.from = column;
        }
        column += usize::from(ends) * 2 + 1;
    }
    for bar in bars.iter_mut().filter(|bar| bar.until.is_none()) {
        bar.label.extend("  ?".chars());
    }
    bars
}

/// `x ← 1` for a write, `x → 1` for a read.
pub fn short(history: &History, operation: &Operation) -> String {
    let key = shown(history.key(operation.key));
    let text = |value| shown(history.value(value));
    match operation.action {
        Action::Read(value) if operation.outcome == Outcome::Ok => {
            format!("{key} → {}", text(value))
        }
        Action::Read(_) => format!("{key} → ?"),
        Action::Write(value) => format!("{key} ← {}", text(value)),
        Action::Append(value) => format!("{key} ← … {}", text(value)),
        Action::Cas { from, to, swapped } => {
            let failed = operation.outcome == Outcome::Ok && !swapped;
            let arrow = if failed { "↛" } else { "⇒" };
            format!("{key} {} {arrow} {}", text(from), text(to))
        }
        Action::Other(name) => format!("{} {key}", text(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Clock, Completion, Invocation, Told, ValueId};

    #[test]
    fn what_overlaps_is_drawn_so() {
        let mut builder = Builder::new(Clock::Steps);
        let key = builder.key("x");
        let one = builder.value(Some("1"));
        let invoke = |builder: &mut Builder, process, action| {
            let asked = Invocation { process, key, action, replica: None, at: None };
            builder.invoke(asked).expect("well-formed");
        };
        let done = |builder: &mut Builder, process| {
            let outcome = Outcome::Ok;
            let ended = Completion { process, outcome, told: Told::Nothing, at: None };
            builder.complete(ended).expect("well-formed");
        };
        invoke(&mut builder, "a", Action::Write(one));
        invoke(&mut builder, "b", Action::Read(ValueId::NIL));
        done(&mut builder, "a");
        done(&mut builder, "b");
        invoke(&mut builder, "a", Action::Read(one));
        done(&mut builder, "a");
        invoke(&mut builder, "b", Action::Write(one));
        let history = builder.finish();
        let all: Vec<OpId> = history.ids().collect();
        let expected = "\
a  ├ x ← 1 ┤       ├ x → 1 ┤
b   ├ x → nil ──┤             ├ x ← 1  ? ┄";
        assert_eq!(lanes(&history, &all), expected);
    }
}
