//! The table in memory: keys and values, and a walk through them that other threads do not disturb.
//!
//! Entries lie in numbered slots; a hash index says which slot a key has. An entry keeps its slot for as
//! long as its key is there, whatever its value becomes, and however the index grows. So a walk from slot
//! to slot can be done in small pieces with the lock released in between, and still meets **every key that
//! is there throughout exactly once**. A key that is removed and inserted again meanwhile may be met twice
//! (in an old and in a new slot) or not at all.
//!
//! The index keeps the hash beside the slot's number, so that it grows without touching the keys. A key
//! and its value are one allocation that readers share: whoever has looked an entry up needs no lock to
//! read it.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// What an entry costs beside its text, about: the slot, the index, the allocation.
const OVERHEAD: usize = 80;

/// A key and its value, immutable and cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    text: Arc<str>,
    key: usize,
}

impl Entry {
    /// Puts a key and its value together. `json` must be JSON; what white space it has between its parts is
    /// dropped where it would break a line in two.
    pub fn new(key: &str, json: &str) -> Self {
        let json = without_controls(json);
        let mut text = String::with_capacity(key.len() + json.len());
        text.push_str(key);
        text.push_str(&json);
        Self { text: text.into(), key: key.len() }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.text[..self.key]
    }

    /// The value, JSON in one line.
    pub fn value(&self) -> &str {
        &self.text[self.key..]
    }

    /// About how much memory it takes.
    pub fn cost(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

/// JSON holds control characters only as white space between its parts.
fn without_controls(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|byte| byte >= b' ') {
        Cow::Borrowed(json)
    } else {
        Cow::Owned(json.chars().filter(|c| *c >= ' ').collect())
    }
}

/// The most slots that one step of a walk looks at, and the most text it hands out.
const STEP_SLOTS: usize = 1024;
const STEP_BYTES: usize = 1 << 20;

/// Where a walk is.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    next: usize,
    end: usize,
}

/// The table.
#[derive(Debug)]
pub(super) struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    index: HashTable<(u64, usize)>,
    hasher: FixedState,
    bytes: usize,
}

impl Entries {
    /// An empty table. The seed keeps clients from choosing colliding keys; it changes no result.
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            bytes: 0,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn slot(&self, key: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let same = |found: &(u64, usize)| found.0 == hash && self.has_key(found.1, key);
        self.index.find(hash, same).map(|found| found.1)
    }

    fn has_key(&self, slot: usize, key: &str) -> bool {
        self.slots[slot].as_ref().is_some_and(|entry| entry.key() == key)
    }

    /// The entry of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.slots[self.slot(key)?].as_ref()
    }

    /// The entry takes the place of what its key had.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        if let Some(slot) = self.slot(entry.key()) {
            let old = self.slots[slot].replace(entry);
            self.bytes -= old.map_or(0, |old| old.cost());
            return;
        }
        let hash = self.hasher.hash_one(entry.key());
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                self.slots.len() - 1
            }
        };
        self.index.insert_unique(hash, (hash, slot), |found| found.0);
    }

    /// Takes the entry of a key out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let slot = self.slot(key)?;
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.index.find_entry(hash, |found| found.1 == slot) {
            found.remove();
        }
        self.free.push(slot);
        let entry = self.slots[slot].take()?;
        self.bytes -= entry.cost();
        Some(entry)
    }

    /// Begins a walk through all that is there now.
    pub(super) fn walk(&self) -> Walk {
        Walk { next: 0, end: self.slots.len() }
    }

    /// The next piece of a walk, appended to `out`; `false` when there was none.
    pub(super) fn step(&self, walk: &mut Walk, out: &mut Vec<Entry>) -> bool {
        if walk.next >= walk.end {
            return false;
        }
        let end = walk.end.min(walk.next + STEP_SLOTS).min(self.slots.len());
        let mut bytes = 0;
        for slot in &self.slots[walk.next..end] {
            walk.next += 1;
            if let Some(entry) = slot {
                bytes += entry.text.len();
                out.push(entry.clone());
                if bytes >= STEP_BYTES {
                    break;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn all(entries: &Entries) -> Vec<(String, String)> {
        let (mut walk, mut found) = (entries.walk(), Vec::new());
        while entries.step(&mut walk, &mut found) {}
        let mut pairs: Vec<_> =
            found.iter().map(|e| (e.key().to_owned(), e.value().to_owned())).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn a_value_stays_in_one_line() {
        let entry = Entry::new("k", "{\r\n\t\"a b\": \"c\\td\"\n}");
        assert_eq!(entry.value(), r#"{"a b": "c\td"}"#);
    }

    #[test]
    fn a_step_hands_out_little() {
        let mut entries = Entries::new(1);
        for key in 0..3000 {
            entries.insert(Entry::new(&key.to_string(), "1"));
        }
        entries.insert(Entry::new("large", &format!("\"{}\"", "x".repeat(2 * STEP_BYTES))));
        let mut walk = entries.walk();
        let mut sizes = Vec::new();
        loop {
            let mut found = Vec::new();
            if !entries.step(&mut walk, &mut found) {
                break;
            }
            sizes.push(found.len());
        }
        assert_eq!(sizes, [1024, 1024, 953]);
    }

    #[derive(Clone, Debug)]
    enum Change {
        Insert(u8, u8),
        Remove(u8),
        Step,
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            4 => (0..40u8, any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
            2 => (0..40u8).prop_map(Change::Remove),
            1 => Just(Change::Step),
        ];
        proptest::collection::vec(change, 0..200)
    }

    proptest! {
        #[test]
        fn it_is_a_map(changes in changes()) {
            let (mut entries, mut model) = (Entries::new(7), BTreeMap::new());
            for change in changes {
                match change {
                    Change::Insert(key, value) => {
                        entries.insert(Entry::new(&key.to_string(), &value.to_string()));
                        model.insert(key.to_string(), value.to_string());
                    }
                    Change::Remove(key) => {
                        let gone = entries.remove(&key.to_string()).map(|e| e.value().to_owned());
                        prop_assert_eq!(gone, model.remove(&key.to_string()));
                    }
                    Change::Step => {}
                }
                prop_assert_eq!(entries.len(), model.len());
            }
            let expected: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(all(&entries), expected);
            let costs: usize = all(&entries).iter().map(|(k, v)| k.len() + v.len() + OVERHEAD).sum();
            prop_assert_eq!(entries.bytes(), costs);
        }

        /// The walk's promise, with changes between any two of its steps.
        #[test]
        fn what_is_there_throughout_is_met_exactly_once(before in changes(), during in changes()) {
            let mut entries = Entries::new(7);
            let apply = |entries: &mut Entries, change: &Change| match change {
                Change::Insert(key, value) => entries.insert(Entry::new(&key.to_string(), &value.to_string())),
                Change::Remove(key) => drop(entries.remove(&key.to_string())),
                Change::Step => {}
            };
            before.iter().for_each(|change| apply(&mut entries, change));
            let removed = |key: &str| during.iter().any(|c| matches!(c, Change::Remove(k) if k.to_string() == key));
            let throughout: Vec<String> =
                all(&entries).into_iter().map(|(key, _)| key).filter(|key| !removed(key)).collect();
            let mut walk = entries.walk();
            let mut met = Vec::new();
            for change in &during {
                apply(&mut entries, change);
                if matches!(change, Change::Step) && walk.next < walk.end {
                    // One slot at a time: the smallest steps meet the most changes.
                    let mut one = Walk { next: walk.next, end: walk.next + 1 };
                    entries.step(&mut one, &mut met);
                    walk.next += 1;
                }
            }
            while entries.step(&mut walk, &mut met) {}
            for key in throughout {
                let times = met.iter().filter(|entry| entry.key() == key).count();
                prop_assert_eq!(times, 1, "{}", key);
            }
        }
    }
}
