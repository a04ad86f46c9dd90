//! What frames and commands are called: as in the picture at the head of `protocol::two_phase`.

use crate::protocol::two_phase::{Change, Command, Frame, TxnId};

/// A frame in words; `None` for heartbeats and their answers, which say nothing about the story.
pub(super) fn frame(frame: &Frame) -> Option<String> {
    Some(match frame {
        Frame::Heartbeat { .. } | Frame::Alive { .. } => return None,
        Frame::Greeting(greeting) => format!("greeting of incarnation {}", greeting.incarnation),
        Frame::Report(report) => {
            let open = listed("promised", &report.prepared);
            let done = listed("committed", &report.committed);
            let all: Vec<String> = [open, done].into_iter().flatten().collect();
            let all = if all.is_empty() { "nothing open".to_owned() } else { all.join(", ") };
            format!("report: {all}")
        }
        Frame::Refused { newest } => format!("refused: incarnation {newest} has been here"),
        Frame::Prepare { txn, change, .. } => format!("REQUEST-TO-PREPARE {txn}: {}", told(change)),
        Frame::Prepared { txn, .. } => format!("PREPARED {txn}"),
        Frame::No { txn, .. } => format!("NO {txn}"),
        Frame::Commit(txn) => format!("COMMIT {txn}"),
        Frame::Abort(txn) => format!("ABORT {txn}"),
        Frame::Done(txn) => format!("DONE {txn}"),
        Frame::Read { key, .. } => format!("read {}", text(key)),
        Frame::Value { value, .. } => format!("value {}", or_nil(value.as_deref())),
        Frame::Install { view, resolve: None, .. } => format!("install view {}", view.id.epoch),
        Frame::Install { view, resolve: Some(commits), .. } => {
            let commits = listed("commit", commits).unwrap_or_else(|| "commit nothing".to_owned());
            format!("install view {}: {commits}, abort the rest", view.id.epoch)
        }
        Frame::Installed(id) => format!("installed view {}", id.epoch),
        other => other.name().to_owned(),
    })
}

fn listed(what: &str, txns: &[TxnId]) -> Option<String> {
    let all: Vec<String> = txns.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| format!("{what} {}", all.join(" ")))
}

/// A change in words.
pub(super) fn told(change: &Change) -> String {
    match change {
        Change::Set { key, value } => format!("{}={}", text(key), text(value)),
        Change::Delete { keys } => {
            format!("without {}", keys.iter().map(|k| text(k)).collect::<Vec<_>>().join(" "))
        }
    }
}

/// A command as a client writes it.
pub(super) fn command(command: &Command) -> String {
    match command {
        Command::Set { key, value } => format!("SET {} {}", text(key), text(value)),
        Command::Get { key } => format!("GET {}", text(key)),
        Command::Delete { keys } => {
            format!("DEL {}", keys.iter().map(|k| text(k)).collect::<Vec<_>>().join(" "))
        }
    }
}

/// Bytes as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value, or `nil`.
pub(super) fn or_nil(value: Option<&Vec<u8>>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| text(value))
}
