//! Clients' sessions: what makes a write that is sent again be executed once.
//!
//! A client whose connection breaks, or whose request times out, does not know whether its write was
//! executed. If it sends the write again through another replica, that may be the second time. So it opens a
//! session first (an operation like any other: its place in the order is the session's id), numbers its
//! writes from 1, and sends one at a time. The table remembers for each session the number of its last
//! write and how that ended. Since that is part of the replicated state, all replicas decide alike whether a
//! write is new. This is the scheme of Ongaro's thesis on Raft (2014), §6.3.
//!
//! A session is an entry under a key that no client may use, with the value `NUMBER OUTCOME`; `storage.txt`
//! shows it as `\x00session:ID`.
//!
//! **Bound.** [`MAX_SESSIONS`]; then the one that was not used for longest is forgotten. Its client is told
//! that there is no such session, and counts the write as unknown; nothing is executed twice. `flush_all`
//! forgets them all, with the same effect.

use crate::base::Outcome;
use crate::base::limits::SESSION_KEY;

/// How many sessions are remembered.
pub const MAX_SESSIONS: usize = 10_000;

/// The value of a session that has not written yet.
pub(super) const OPENED: &[u8] = b"0 stored";

/// Whether a key is a session's.
pub fn is_session(key: &[u8]) -> bool {
    key.starts_with(SESSION_KEY)
}

/// The key of a session.
pub(super) fn key(id: u64) -> Vec<u8> {
    let mut key = SESSION_KEY.to_vec();
    key.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    key
}

/// The value of a session behind a write.
pub(super) fn executed(sequence: u64, outcome: Outcome) -> Vec<u8> {
    let (word, number) = words(outcome);
    match number {
        Some(number) => format!("{sequence} {word} {number}"),
        None => format!("{sequence} {word}"),
    }
    .into_bytes()
}

/// What a write of this number is answered without being executed; `None` where it is new.
pub(super) fn look_up(value: Option<&[u8]>, sequence: u64) -> Option<Outcome> {
    // A value that does not read is not ours to build on: nothing is executed.
    let Some((last, outcome)) = value.and_then(read) else { return Some(Outcome::NoSession) };
    match sequence.cmp(&last) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal => Some(outcome),
        std::cmp::Ordering::Less => Some(Outcome::NoSession),
    }
}

fn words(outcome: Outcome) -> (&'static str, Option<i128>) {
    match outcome {
        Outcome::Stored => ("stored", None),
        Outcome::NotStored => ("not-stored", None),
        Outcome::Exists => ("exists", None),
        Outcome::NotFound => ("not-found", None),
        Outcome::Deleted(n) => ("deleted", Some(n.into())),
        Outcome::Touched(n) => ("touched", Some(n.into())),
        Outcome::Number(n) => ("number", Some(n)),
        Outcome::Length(n) => ("length", Some(n.into())),
        Outcome::NotANumber => ("not-a-number", None),
        Outcome::Overflow => ("overflow", None),
        Outcome::TooLarge => ("too-large", None),
        Outcome::NoSession => ("no-session", None),
    }
}

fn read(value: &[u8]) -> Option<(u64, Outcome)> {
    let mut parts = std::str::from_utf8(value).ok()?.split(' ');
    let (sequence, word, number) = (parts.next()?.parse().ok()?, parts.next()?, parts.next());
    let number: Option<i128> = number.map(str::parse).transpose().ok()?;
    let count = || u64::try_from(number?).ok();
    let outcome = match word {
        "stored" => Outcome::Stored,
        "not-stored" => Outcome::NotStored,
        "exists" => Outcome::Exists,
        "not-found" => Outcome::NotFound,
        "deleted" => Outcome::Deleted(count()?),
        "touched" => Outcome::Touched(count()?),
        "number" => Outcome::Number(number?),
        "length" => Outcome::Length(count()?),
        "not-a-number" => Outcome::NotANumber,
        "overflow" => Outcome::Overflow,
        "too-large" => Outcome::TooLarge,
        _ => return None,
    };
    parts.next().is_none().then_some((sequence, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_answers_its_last_write_again_and_no_other() {
        let outcomes = [
            Outcome::Stored,
            Outcome::NotStored,
            Outcome::Deleted(3),
            Outcome::Number(-7),
            Outcome::Number(u64::MAX.into()),
            Outcome::Length(9),
            Outcome::TooLarge,
        ];
        for outcome in outcomes {
            let value = executed(5, outcome);
            assert_eq!(look_up(Some(&value), 5), Some(outcome));
            assert_eq!(look_up(Some(&value), 6), None, "a new write");
            assert_eq!(look_up(Some(&value), 4), Some(Outcome::NoSession), "one given up");
        }
        assert_eq!(look_up(None, 1), Some(Outcome::NoSession));
        assert_eq!(look_up(Some(OPENED), 1), None);
        assert_eq!(look_up(Some(b"what a client wrote"), 1), Some(Outcome::NoSession));
    }
}
