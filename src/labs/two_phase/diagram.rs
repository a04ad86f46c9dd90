//! A run as a space-time diagram in text (Lamport, *Time, clocks, and the ordering of events in a distributed
//! system*, 1978): a lane for each process, time down the page, a line for each message from the moment at which it
//! leaves. What one says to several at once, or several to one, is one line.
//!
//! ```text
//!              client          C                             P0       P1       P2
//!     0.5 ms   │               ●── REQUEST-TO-PREPARE x=1 ──▶────────▶────────▶
//!     1.5 ms   │               ◀── PREPARED ────────────────●────────●────────●
//! ```
//!
//! `●` sends, an arrowhead receives, `✗` marks a message that never arrives, `†` a process that dies; a lane ends where its
//! process does.

use super::events::{Answer, Event, What};
use crate::report::Style;

/// The columns of the lanes: the client, the coordinator, the first participant, and on from there.
const CLIENT: usize = 14;
const COORDINATOR: usize = 32;
const PARTICIPANTS: usize = 62;
const PITCH: usize = 10;

/// Between these times of nothing a line says so.
const GAP: u64 = 20_000_000;

/// A line in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    at: u64,
    from: Vec<usize>,
    to: Vec<usize>,
    /// Those of `to` whom it never reaches.
    lost: Vec<usize>,
    label: String,
    /// What stands behind the lanes.
    remark: String,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Message,
    Good,
    Bad,
}

/// Draws what happened among so many participants; times count from `origin`.
pub(super) fn draw(events: &[Event], participants: u16, origin: u64, style: Style) -> String {
    let lanes = Lanes { participants };
    let mut out = format!("{}\n", style.bold(lanes.heading().trim_end()));
    let mut up = vec![true; usize::from(participants) + 2];
    let mut last = origin;
    for line in lines(events, participants) {
        if line.at.saturating_sub(last) > GAP {
            let pause = (line.at - last) / 1_000_000;
            out += &format!("{}\n", style.dim(&lanes.pause(&up, pause)));
        }
        last = line.at;
        let text = lanes.line(&line, &mut up, origin);
        out += &match line.look {
            Look::Message => text,
            Look::Good => style.good(&text),
            Look::Bad => style.bad(&text),
        };
        out.push('\n');
    }
    out
}

/// Lanes by number: 0 the client, 1 the coordinator, then the participants.
struct Lanes {
    participants: u16,
}

fn lane_of(node: u16, participants: u16) -> usize {
    if node == participants { 1 } else { usize::from(node) + 2 }
}

impl Lanes {
    fn column(&self, lane: usize) -> usize {
        match lane {
            0 => CLIENT,
            1 => COORDINATOR,
            more => PARTICIPANTS + (more - 2) * PITCH,
        }
    }

    fn count(&self) -> usize {
        usize::from(self.participants) + 2
    }

    fn name(&self, lane: usize) -> String {
        match lane {
            0 => "client".to_owned(),
            1 => "C".to_owned(),
            more => format!("P{}", more - 2),
        }
    }

    fn cells(&self) -> Vec<char> {
        vec![' '; self.column(self.count() - 1) + 1]
    }

    fn heading(&self) -> String {
        let mut cells = vec![' '; self.column(self.count() - 1) + 8];
        for lane in 0..self.count() {
            put(&mut cells, self.column(lane), &self.name(lane));
        }
        cells.into_iter().collect()
    }

    fn lifelines(&self, up: &[bool]) -> Vec<char> {
        let mut cells = self.cells();
        for lane in (0..self.count()).filter(|lane| up[*lane]) {
            cells[self.column(lane)] = '│';
        }
        cells
    }

    fn pause(&self, up: &[bool], ms: u64) -> String {
        let mut cells = self.lifelines(up);
        for lane in (0..self.count()).filter(|lane| up[*lane]) {
            cells[self.column(lane)] = '┊';
        }
        put(&mut cells, 0, &format!("{ms:>7} ms"));
        let line: String = cells.into_iter().collect();
        format!("{}  nothing happens", line.trim_end())
    }

    fn line(&self, line: &Line, up: &mut [bool], origin: u64) -> String {
        let mut cells = self.lifelines(up);
        put(&mut cells, 0, &format!("{:>7.1} ms", (line.at.saturating_sub(origin)) as f64 / 1e6));
        match (line.from.as_slice(), line.to.as_slice()) {
            ([], [node]) => {
                up[*node] = true;
                cells[self.column(*node)] = '┬';
            }
            (from, []) => {
                let mark = if line.look == Look::Bad && from == [1] { '†' } else { '◆' };
                for lane in from {
                    cells[self.column(*lane)] = mark;
                }
                if mark == '†' {
                    from.iter().for_each(|lane| up[*lane] = false);
                }
            }
            _ => self.arrow(line, &mut cells),
        }
        let text: String = cells.into_iter().collect();
        let remark =
            if line.remark.is_empty() { String::new() } else { format!("  {}", line.remark) };
        format!("{}{remark}", text.trim_end())
    }

    fn arrow(&self, line: &Line, cells: &mut [char]) {
        let all = || line.from.iter().chain(&line.to).map(|lane| self.column(*lane));
        let (left, right) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        for cell in &mut cells[left..=right] {
            *cell = if *cell == '│' { '┼' } else { '─' };
        }
        let rightwards = line.from.iter().max() < line.to.iter().min();
        for lane in &line.from {
            cells[self.column(*lane)] = '●';
        }
        for lane in &line.to {
            let head = if rightwards { '▶' } else { '◀' };
            cells[self.column(*lane)] = if line.lost.contains(lane) { '✗' } else { head };
        }
        put(cells, left + 3, &format!(" {} ", line.label));
    }
}

fn put(cells: &mut [char], at: usize, text: &str) {
    for (cell, letter) in cells[at..].iter_mut().zip(text.chars()) {
        *cell = letter;
    }
}

/// The events as lines.
fn lines(events: &[Event], participants: u16) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut coordinator_is_up = true;
    for event in events {
        match &event.what {
            What::Dies(node) if *node == participants => coordinator_is_up = false,
            What::Starts(node) if *node == participants => coordinator_is_up = true,
            _ => {}
        }
        let line = line(event, participants, coordinator_is_up);
        let same = |other: &&mut Line| {
            other.at == line.at && other.label == line.label && other.remark == line.remark
        };
        match lines.iter_mut().rev().take(8).find(same) {
            Some(other) if other.from == line.from && !line.to.is_empty() => {
                other.to.extend(&line.to);
                other.lost.extend(&line.lost);
            }
            Some(other) if other.to == line.to => other.from.extend(&line.from),
            _ => lines.push(line),
        }
    }
    lines
}

fn line(event: &Event, participants: u16, coordinator_is_up: bool) -> Line {
    let base = Line {
        at: event.at,
        from: Vec::new(),
        to: Vec::new(),
        lost: Vec::new(),
        label: String::new(),
        remark: String::new(),
        look: Look::Message,
    };
    match &event.what {
        What::Asks { client, words } => {
            let lost = if coordinator_is_up { vec![] } else { vec![1] };
            let remark = client_remark(client);
            Line { from: vec![0], to: vec![1], lost, label: words.clone(), remark, ..base }
        }
        What::Told { client, answer } => {
            let (label, look) = match answer {
                Answer::Ok => ("OK".to_owned(), Look::Good),
                Answer::Value(value) => (value.clone(), Look::Good),
                Answer::Error if coordinator_is_up => ("-ERROR".to_owned(), Look::Bad),
                Answer::Error => ("refused".to_owned(), Look::Bad),
                Answer::Unknown => ("broken".to_owned(), Look::Bad),
            };
            let remark = client_remark(client);
            Line { from: vec![1], to: vec![0], label, remark, look, ..base }
        }
        What::Sends { from, to, kind, more, arrives } => {
            let (from, to) = (lane_of(*from, participants), lane_of(*to, participants));
            let lost = if arrives.is_none() { vec![to] } else { vec![] };
            let label = if more.is_empty() { (*kind).to_owned() } else { format!("{kind} {more}") };
            Line { from: vec![from], to: vec![to], lost, label, ..base }
        }
        What::Ends { participant, commit } => {
            let remark = if *commit { "commits" } else { "aborts" }.to_owned();
            let look = if *commit { Look::Good } else { Look::Bad };
            Line { from: vec![lane_of(*participant, participants)], remark, look, ..base }
        }
        What::Dies(node) => {
            let (lane, remark) = (lane_of(*node, participants), "killed".to_owned());
            Line { from: vec![lane], remark, look: Look::Bad, ..base }
        }
        What::Starts(node) => {
            let remark = "a new incarnation, which knows nothing".to_owned();
            Line { to: vec![lane_of(*node, participants)], remark, look: Look::Good, ..base }
        }
    }
}

/// The second client is told apart from the first.
fn client_remark(client: &str) -> String {
    if client == "c0" { String::new() } else { "(another client)".to_owned() }
}
