//! What happened in a run of the simulator, out of its trace: what a story is drawn from and checked against.

use serde_json::Value;

use crate::history::History;

/// The kinds of messages that belong to a transaction, as the lab's document names them, and those by which a
/// new coordinator finds out what the old one left.
const SHOWN: &[(&str, &str)] = &[
    ("REQUEST-TO-PREPARE", "REQUEST-TO-PREPARE"),
    ("PREPARED", "PREPARED"),
    ("NO", "NO"),
    ("COMMIT", "COMMIT"),
    ("ABORT", "ABORT"),
    ("DONE", "DONE"),
    ("read", "READ"),
    ("value", "VALUE"),
    ("greeting", "GREETING"),
    ("report:", "REPORT"),
    ("install", "INSTALL"),
    ("installed", "INSTALLED"),
];

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When, in nanoseconds.
    pub at: u64,
    pub what: What,
}

/// What it was. Nodes are participants by their number; the coordinator is behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A client asks, in these words.
    Asks {
        client: String,
        words: String,
    },
    /// It is answered.
    Told {
        client: String,
        answer: Answer,
    },
    /// A message leaves.
    Sends {
        from: u16,
        to: u16,
        kind: &'static str,
        more: String,
        arrives: Option<u64>,
    },
    /// A participant has carried out how the transaction ends.
    Ends {
        participant: u16,
        commit: bool,
    },
    /// A node's process dies, or starts.
    Dies(u16),
    Starts(u16),
}

/// How a client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    Value(String),
    Error,
    /// The connection broke.
    Unknown,
}

/// Everything from this time on.
pub(super) fn events(history: &History, trace: &str, from: u64) -> Vec<Event> {
    let lines = trace.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut clients: Vec<(u64, String)> = Vec::new();
    let mut events = Vec::new();
    for line in lines {
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let (at, node) = (number("at"), |name: &str| number(name) as u16);
        let mut push = |what| {
            if at >= from {
                events.push(Event { at, what });
            }
        };
        match text("event").as_str() {
            "ask" => {
                let (client, key) = (text("process"), text("key"));
                clients.push((number("operation"), client.clone()));
                let words = match line["write"].as_str() {
                    None => format!("GET {key}"),
                    Some("") => format!("DEL {key}"),
                    Some(value) => format!("SET {key} {value}"),
                };
                push(What::Asks { client, words });
            }
            "told" => {
                let answer = match (text("outcome").as_str(), line["value"].as_str()) {
                    ("Ok", Some(value)) => Answer::Value(value.to_owned()),
                    ("Ok", None) => Answer::Ok,
                    ("Fail", _) => Answer::Error,
                    _ => Answer::Unknown,
                };
                let asked = clients.iter().find(|(operation, _)| *operation == number("operation"));
                let client = asked.map_or(String::new(), |(_, client)| client.clone());
                push(What::Told { client, answer });
            }
            "send" => {
                let message = history.messages.get(number("message") as usize);
                let arrives = message.and_then(|message| message.received);
                for frame in line["frames"].as_array().into_iter().flatten() {
                    let label = frame.as_str().unwrap_or_default();
                    if let Some((kind, more)) = shown(label) {
                        let (from, to) = (node("from"), node("to"));
                        push(What::Sends { from, to, kind, more, arrives });
                    }
                }
            }
            "end" => push(What::Ends {
                participant: node("participant"),
                commit: text("how") == "committed",
            }),
            "crash" => push(What::Dies(node("replica"))),
            "start" => push(What::Starts(node("replica"))),
            _ => {}
        }
    }
    events
}

/// The name of a message, and what else is worth reading in its label.
fn shown(label: &str) -> Option<(&'static str, String)> {
    let (first, rest) = label.split_once(' ').unwrap_or((label, ""));
    let (_, name) = SHOWN.iter().find(|(word, _)| *word == first)?;
    let more = match *name {
        "REQUEST-TO-PREPARE" => rest.split_once(' ').map_or("", |(_, change)| change).to_owned(),
        "VALUE" => rest.to_owned(),
        "REPORT" if !label.contains("in doubt: ;") => "in doubt".to_owned(),
        "REPORT" => "no doubt".to_owned(),
        "INSTALL" if label.ends_with("commits: ") => "nothing commits".to_owned(),
        "INSTALL" if label.contains("commits: ") => "it commits".to_owned(),
        _ => String::new(),
    };
    Some((name, more))
}
