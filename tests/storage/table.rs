//! The table against a simple model, for any operations at any times.

use std::collections::BTreeMap;

use crate::storage_support::{KEYS, ops};
use consistency_lab::base::{Arithmetic, End, Op, Outcome, StoreRule, Value};
use consistency_lab::storage::session::MAX_SESSIONS;
use consistency_lab::storage::{Change, Table};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    data: Vec<u8>,
    flags: u32,
    expires: u64,
    unique: u64,
}

/// What the changes that were reported amount to: it must be the table, whatever happened.
#[derive(Clone, Debug, Default, PartialEq)]
struct Mirror {
    entries: BTreeMap<Vec<u8>, Entry>,
    flush_at: u64,
}

impl Mirror {
    fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::Set { key, data, flags, expires, unique } => {
                let entry = Entry { data: data.to_vec(), flags, expires, unique };
                self.entries.insert(key.to_vec(), entry);
            }
            Change::Delete { key } => {
                self.entries.remove(key).expect("only what is there is deleted");
            }
            Change::FlushAll { at: 0 } => *self = Mirror::default(),
            Change::FlushAll { at } => self.flush_at = at,
        }
    }

    /// Times begin at 1: an expiry of 1 has passed always.
    fn live(&self, key: &[u8], now: u64) -> Option<&Entry> {
        let now = now.max(1);
        if self.flush_at != 0 && self.flush_at <= now {
            return None;
        }
        self.entries.get(key).filter(|entry| entry.expires == 0 || entry.expires > now)
    }

    fn put(&mut self, key: &[u8], entry: Entry, at: u64) {
        let at = at.max(1);
        if entry.expires != 0 && entry.expires <= at {
            self.entries.remove(key);
        } else {
            self.entries.insert(key.to_vec(), entry);
        }
    }
}

/// The meaning of the operations, in the plainest way.
fn model(before: &Mirror, op: &Op, position: u64, at: u64) -> (Mirror, Outcome) {
    let at = at.max(1);
    let mut after = before.clone();
    if after.flush_at != 0 && after.flush_at <= at {
        after = Mirror::default();
    }
    let stored = |value: &Value| Entry {
        data: value.data.to_vec(),
        flags: value.flags,
        expires: value.expires,
        unique: position,
    };
    let outcome = match op {
        Op::Store { key, value, rule } => {
            let there = after.live(key, at).map(|entry| entry.unique);
            let outcome = match (rule, there) {
                (StoreRule::IfAbsent, Some(_)) | (StoreRule::IfPresent, None) => Outcome::NotStored,
                (StoreRule::IfUnique(_), None) => Outcome::NotFound,
                (StoreRule::IfUnique(want), Some(unique)) if *want != unique => Outcome::Exists,
                _ => Outcome::Stored,
            };
            if outcome == Outcome::Stored {
                after.put(key, stored(value), at);
            }
            outcome
        }
        Op::StoreMany(pairs) => {
            pairs.iter().for_each(|(key, value)| after.put(key, stored(value), at));
            Outcome::Stored
        }
        Op::Concat { .. } => model_concat(&mut after, op, position, at),
        Op::Count { key, by } => model_count(&mut after, key, *by, position, at),
        Op::Touch { keys, expires } => {
            let mut count = 0;
            for key in keys {
                if let Some(entry) = after.live(key, at).cloned() {
                    after.put(key, Entry { expires: *expires, ..entry }, at);
                    count += 1;
                }
            }
            Outcome::Touched(count)
        }
        Op::Delete { keys } => {
            let mut count = 0;
            for key in keys {
                count += u64::from(after.live(key, at).is_some());
                after.entries.remove(&key[..]);
            }
            Outcome::Deleted(count)
        }
        Op::FlushAll { at: when } => {
            if *when <= at {
                after = Mirror::default();
            } else {
                after.flush_at = *when;
            }
            Outcome::Stored
        }
        Op::OpenSession | Op::Once { .. } => unreachable!("sessions are tested by scenario"),
    };
    (after, outcome)
}

fn fresh(position: u64) -> Entry {
    Entry { data: Vec::new(), flags: 0, expires: 0, unique: position }
}

fn model_concat(after: &mut Mirror, op: &Op, position: u64, at: u64) -> Outcome {
    let Op::Concat { key, data, end, create, max_value } = op else { unreachable!("a concat") };
    let there = after.live(key, at).cloned();
    if there.is_none() && !create {
        return Outcome::NotStored;
    }
    let mut entry = Entry { unique: position, ..there.unwrap_or(fresh(position)) };
    let place = if *end == End::Back { entry.data.len() } else { 0 };
    entry.data.splice(place..place, data.iter().copied());
    let length = entry.data.len();
    if length > *max_value {
        return Outcome::TooLarge;
    }
    after.put(key, entry, at);
    Outcome::Length(length as u64)
}

fn model_count(after: &mut Mirror, key: &[u8], by: Arithmetic, position: u64, at: u64) -> Outcome {
    let there = after.live(key, at).cloned();
    let text = there.as_ref().map(|entry| String::from_utf8_lossy(&entry.data).into_owned());
    let number: Result<i128, Outcome> = match (by, &text) {
        (Arithmetic::Signed(by), text) => match text.as_deref().unwrap_or("0").parse::<i64>() {
            Ok(old) => old.checked_add(by).map(i128::from).ok_or(Outcome::Overflow),
            Err(_) => Err(Outcome::NotANumber),
        },
        (_, None) => Err(Outcome::NotFound),
        (by, Some(text)) => match (text.parse::<u64>(), by) {
            (Ok(old), Arithmetic::WrappingAdd(by)) => Ok(old.wrapping_add(by).into()),
            (Ok(old), Arithmetic::SaturatingSub(by)) => Ok(old.saturating_sub(by).into()),
            _ => Err(Outcome::NotANumber),
        },
    };
    match number {
        Ok(number) => {
            let kept = there.unwrap_or(fresh(position));
            let data = number.to_string().into();
            after.put(key, Entry { data, unique: position, ..kept }, at);
            Outcome::Number(number)
        }
        Err(outcome) => outcome,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_the_model(ops in ops(60), seed: u64) {
        let mut table = Table::new(seed);
        let mut twin = Table::new(seed ^ 1);
        let mut mirror = Mirror::default();
        for (i, (op, at)) in ops.iter().enumerate() {
            // The clock goes back and forth, as those of several origins do.
            let (position, clock) = (i as u64 + 1, *at);
            let previewed = table.preview(op, clock);
            let (wanted, wanted_outcome) = model(&mirror, op, position, clock);
            let (mut changes, mut twin_changes) = (Vec::new(), Vec::new());
            let outcome = table.execute(op, position, clock, &mut |change| {
                mirror.apply(change);
                changes.push(format!("{change:?}"));
                40
            });
            let twin_outcome = twin.execute(op, position, clock, &mut |change| {
                twin_changes.push(format!("{change:?}"));
                40
            });
            prop_assert_eq!(outcome, wanted_outcome, "{:?}", op);
            prop_assert_eq!(previewed, outcome, "a preview at the same time tells the outcome");
            prop_assert_eq!(outcome, twin_outcome);
            prop_assert_eq!(&changes, &twin_changes, "the hash seed decides nothing");
            for now in [clock, clock + 7, 1000] {
                for key in KEYS {
                    let found = table.get(key, now).map(|found| Entry {
                        data: found.data.to_vec(),
                        flags: found.flags,
                        expires: found.expires,
                        unique: found.unique,
                    });
                    prop_assert_eq!(found.as_ref(), wanted.live(key, now), "{:?} at {}", key, now);
                    prop_assert_eq!(found.as_ref(), mirror.live(key, now), "what the changes say");
                }
                let live = KEYS.iter().filter(|key| wanted.live(key, now).is_some()).count();
                prop_assert_eq!(table.len(now), live);
                prop_assert_eq!(table.keys_matching(b"*", now).len(), live);
            }
            prop_assert_eq!(table.live_bytes(), mirror.entries.len() as u64 * 40);
        }
    }
}

fn store(key: &str, expires: u64) -> Op {
    let value = Value { data: b"1".as_slice().into(), flags: 0, expires };
    Op::Store { key: key.as_bytes().into(), value, rule: StoreRule::Always }
}

fn run(table: &mut Table, op: &Op, position: u64, at: u64) -> (Outcome, Vec<String>) {
    let mut changes = Vec::new();
    let outcome = table.execute(op, position, at, &mut |change| {
        changes.push(match change {
            Change::Set { key, .. } => format!("set {}", key.escape_ascii()),
            Change::Delete { key } => format!("delete {}", key.escape_ascii()),
            Change::FlushAll { at } => format!("flush {at}"),
        });
        1
    });
    (outcome, changes)
}

#[test]
fn touch_keeps_the_cas_unique_and_moves_the_record() {
    let mut table = Table::new(1);
    run(&mut table, &store("x", 0), 1, 0);
    let touch = Op::Touch { keys: vec![b"x".as_slice().into()], expires: 90 };
    assert_eq!(run(&mut table, &touch, 2, 0), (Outcome::Touched(1), vec!["set x".into()]));
    let found = table.get(b"x", 0).expect("still there");
    assert_eq!((found.unique, found.position, found.expires), (1, 2, 90));
    assert!(!table.is_live(b"x", 1) && table.is_live(b"x", 2));
    assert_eq!(run(&mut table, &touch, 3, 0), (Outcome::Touched(1), vec![]), "nothing changed");
}

#[test]
fn ended_entries_are_deleted_by_later_operations_oldest_first() {
    let mut table = Table::new(1);
    for (i, key) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        run(&mut table, &store(key, 10 + i as u64), 1 + i as u64, 0);
    }
    assert_eq!(table.len(12), 3, "a read judges by its own clock");
    let (_, changes) = run(&mut table, &store("x", 0), 7, 12);
    assert_eq!(changes, ["delete a", "delete b", "delete c", "set x"]);
    assert_eq!(table.last_removal(), 7);
    let (_, changes) = run(&mut table, &store("x", 0), 8, 11);
    assert_eq!(changes, ["set x"], "another origin's clock is behind");
}

#[test]
fn the_session_that_was_not_used_for_longest_is_forgotten() {
    let mut table = Table::new(1);
    let count = MAX_SESSIONS as u64;
    for position in 1..=count {
        assert_eq!(
            run(&mut table, &Op::OpenSession, position, 0).0,
            Outcome::Number(position.into())
        );
    }
    let once = |session, op| Op::Once { session, sequence: 1, op: Box::new(op) };
    assert_eq!(run(&mut table, &once(1, store("x", 0)), count + 1, 0).0, Outcome::Stored);
    assert_eq!(table.len(0), 1, "sessions are not counted");
    let (_, changes) = run(&mut table, &Op::OpenSession, count + 2, 0);
    assert_eq!(changes.last().expect("a change"), "delete \\x00session:2");
    let forgotten = run(&mut table, &once(2, store("x", 0)), count + 3, 0);
    assert_eq!(forgotten, (Outcome::NoSession, vec![]));
    assert_eq!(run(&mut table, &once(1, store("x", 0)), count + 4, 0), (Outcome::Stored, vec![]));
}

#[test]
fn a_delayed_flush_comes_due_with_the_first_later_operation() {
    let mut table = Table::new(1);
    run(&mut table, &store("x", 0), 1, 0);
    assert_eq!(run(&mut table, &Op::FlushAll { at: 50 }, 2, 10).1, ["flush 50"]);
    run(&mut table, &store("y", 0), 3, 49);
    assert_eq!(table.len(49), 2);
    assert_eq!((table.len(50), table.get(b"y", 50)), (0, None));
    assert_eq!(run(&mut table, &store("z", 0), 4, 50).1, ["flush 0", "set z"]);
    assert_eq!((table.len(100), table.flush_at(), table.last_removal()), (1, None, 4));
}
