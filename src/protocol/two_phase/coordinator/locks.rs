//! Locks: a first-in-first-out queue a key, shared or exclusive.
//!
//! A command enters the queues of all its keys in one step and begins when it holds them all. Commands enter
//! one after the other, so that in every queue the earlier stands before the later: nobody waits in a
//! circle. A command that finds its keys free costs one look-up a key.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::two_phase::Key;

/// How a key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// By so many readers.
    Shared(usize),
    /// By one writer.
    Exclusive,
}

#[derive(Debug)]
struct Queue {
    held: Held,
    /// Who waits, and whether exclusively.
    waiting: VecDeque<(u64, bool)>,
}

/// All keys that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Locks(BTreeMap<Key, Queue>);

impl Locks {
    /// Command `id` wants a key; whether it has it at once. If not, it waits in line.
    pub(super) fn acquire(&mut self, id: u64, key: &Key, exclusive: bool) -> bool {
        let Some(queue) = self.0.get_mut(key) else {
            let held = if exclusive { Held::Exclusive } else { Held::Shared(1) };
            self.0.insert(key.clone(), Queue { held, waiting: VecDeque::new() });
            return true;
        };
        match &mut queue.held {
            Held::Shared(n) if !exclusive && queue.waiting.is_empty() => {
                *n += 1;
                true
            }
            _ => {
                queue.waiting.push_back((id, exclusive));
                false
            }
        }
    }

    /// A holder gives a key back; appends whoever holds it now, once for each key.
    pub(super) fn release(&mut self, key: &Key, granted: &mut Vec<u64>) {
        let Some(queue) = self.0.get_mut(key) else { return };
        if let Held::Shared(n @ 2..) = &mut queue.held {
            *n -= 1;
            return;
        }
        let Some((first, exclusive)) = queue.waiting.pop_front() else {
            self.0.remove(key);
            return;
        };
        granted.push(first);
        if exclusive {
            queue.held = Held::Exclusive;
            return;
        }
        let mut readers = 1;
        while let Some((id, _)) = queue.waiting.front().filter(|(_, exclusive)| !exclusive) {
            granted.push(*id);
            readers += 1;
            queue.waiting.pop_front();
        }
        queue.held = Held::Shared(readers);
    }

    /// Everybody forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        name.as_bytes().into()
    }

    fn release(locks: &mut Locks, name: &str) -> Vec<u64> {
        let mut granted = Vec::new();
        locks.release(&key(name), &mut granted);
        granted
    }

    #[test]
    fn readers_share_and_writers_wait_in_line() {
        let mut locks = Locks::default();
        assert!(locks.acquire(1, &key("a"), false));
        assert!(locks.acquire(2, &key("a"), false));
        assert!(!locks.acquire(3, &key("a"), true));
        assert!(!locks.acquire(4, &key("a"), false), "a reader does not overtake a writer");
        assert!(!locks.acquire(5, &key("a"), false));
        assert!(locks.acquire(6, &key("b"), true));
        assert!(release(&mut locks, "a").is_empty());
        assert_eq!(release(&mut locks, "a"), [3]);
        assert_eq!(release(&mut locks, "a"), [4, 5]);
        assert!(release(&mut locks, "a").is_empty());
        assert!(release(&mut locks, "a").is_empty());
        assert!(release(&mut locks, "b").is_empty());
        assert!(locks.0.is_empty());
    }
}
