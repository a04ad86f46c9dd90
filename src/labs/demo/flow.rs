//! The message flow of the demo as lines of text, from a trace of the same scene in virtual time.

use std::time::Duration;

use super::DemoError;
use crate::base::ReplicaId;
use crate::labs::trace::{Ask, Happening, KEY, Script, What, World, trace};
use crate::protocol::{Mode, ReplyAt};
use crate::wire::peer::Frame;

/// The names of the clients, as in the tour.
const CLIENTS: [&str; 2] = ["A", "B"];

/// What passes between clients and replicas, a line for each message; what one replica says to several,
/// or several do at once, is one line.
pub(super) fn lines(mode: &'static Mode, write_delay: Duration) -> Result<Vec<String>, DemoError> {
    let hop = Duration::from_millis(1);
    let world = World {
        client_delay: hop / 10,
        think_time: hop / 10,
        ..World::even(super::REPLICAS.into(), hop, write_delay)
    };
    let mut scripts = vec![Script {
        replica: 0,
        asks: vec![(Duration::ZERO, Ask::Set("42")), (Duration::ZERO, Ask::Get)],
    }];
    if mode.reply_at == ReplyAt::Delivery {
        scripts.push(Script { replica: 1, asks: vec![(hop * 3, Ask::Get)] });
    }
    Ok(describe(&trace(mode, &world, &scripts)?))
}

/// A line in the making: who says what, and to whom.
struct Line {
    from: Vec<String>,
    to: Vec<String>,
    what: String,
}

fn describe(happenings: &[Happening]) -> Vec<String> {
    let mut lines: Vec<Line> = Vec::new();
    for line in happenings.iter().filter_map(line) {
        match lines.iter_mut().rev().find(|other| other.what == line.what) {
            Some(other) if other.from == line.from => other.to.extend(line.to),
            Some(other) if other.to == line.to => other.from.extend(line.from),
            _ => lines.push(line),
        }
    }
    let text = |line: &Line| {
        let from = line.from.join(", ");
        let way = match line.to.is_empty() {
            true => from,
            false => format!("{from} → {}", line.to.join(", ")),
        };
        format!("{way:<12} {}", line.what)
    };
    lines.iter().map(text).collect()
}

fn line(happening: &Happening) -> Option<Line> {
    let replica = happening.replica.to_string();
    let client =
        || happening.client.and_then(|client| CLIENTS.get(client)).map(|c| (*c).to_owned());
    let (from, to, what) = match &happening.what {
        What::Asked(Ask::Set(value)) => (client()?, Some(replica), format!("set {KEY}={value}")),
        What::Asked(Ask::Get) => (client()?, Some(replica), format!("get {KEY}")),
        What::Answered(_, words) => (replica, client(), words.clone()),
        What::Sent(to, Frame::Write(message)) => {
            (replica, Some(to.to_string()), format!("write {}", message.ts))
        }
        What::Sent(to, Frame::Ack { origin: ReplicaId(origin), through }) => {
            (replica, Some(to.to_string()), format!("acknowledge {}.{origin}", through.time))
        }
        // Heartbeats, while the write delay passes.
        What::Sent(..) => return None,
        What::Delivered(ts, value) => {
            (replica, None, format!("deliver {ts}, after the delay: {KEY} = {value}"))
        }
    };
    Some(Line { from: vec![from], to: to.into_iter().collect(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    fn flow(mode: &str) -> String {
        let mode = protocol::mode(mode).expect("a mode");
        lines(mode, Duration::from_secs(2)).expect("a trace").join("\n")
    }

    #[test]
    fn eventual_answers_before_the_write_is_acknowledged() {
        insta::assert_snapshot!(flow("eventual"), @r"
        A → 0        set x=42
        0 → 1, 2     write 2.0
        0 → A        STORED
        A → 0        get x
        0 → A        0
        1, 2 → 0     acknowledge 2.0
        1 → 2        acknowledge 2.0
        2 → 1        acknowledge 2.0
        0, 1, 2      deliver 2.0, after the delay: x = 42
        ");
    }

    #[test]
    fn sequential_answers_after_the_delivery() {
        insta::assert_snapshot!(flow("sequential"), @r"
        A → 0        set x=42
        0 → 1, 2     write 2.0
        1, 2 → 0     acknowledge 2.0
        1 → 2        acknowledge 2.0
        2 → 1        acknowledge 2.0
        B → 1        get x
        1 → B        0
        0, 1, 2      deliver 2.0, after the delay: x = 42
        0 → A        STORED
        A → 0        get x
        0 → A        42
        ");
    }
}
