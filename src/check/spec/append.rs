//! Strings that grow: an append joins its text to the end, a read returns the whole. A write sets the whole,
//! and a key that does not exist holds the empty string.
//!
//! # States
//!
//! All that can ever be observed of a key are the strings that its reads returned. So a string that is a
//! prefix of one of them is a state, and all other strings together are one state, [`BEYOND`]: whatever is
//! appended to them, no read returns it. The strings read are sorted; a prefix is named by the first of them
//! that begins with it, and by its length: one number, `base of that string + length`, and no table of states.
//! It is exact where two different sequences of appends make the same string.
//!
//! An append is one comparison of its text where the string goes on as the named one does, and else a binary
//! search among those strings.

use super::{Meaning, Spec, State, Step, initial_values};
use crate::check::Problem;
use crate::history::{Action, History, KeyId, Operation, Outcome, ValueId};

/// The specification.
pub(super) const SPEC: Spec = Spec {
    name: "append",
    about: "strings: reads, appends, and writes of the whole",
    takes: |action| matches!(action, Action::Read(_) | Action::Append(_) | Action::Write(_)),
    prepare: |problem| Ok(Box::new(Strings::of(problem)?)),
};

/// Any string that no read returned, nor a longer one.
const BEYOND: State = State(u32::MAX);

/// A string that some read of a key returned.
#[derive(Debug)]
struct Seen<'a> {
    key: KeyId,
    text: &'a str,
    /// The state of its empty prefix, if it were the first with it.
    base: u32,
}

#[derive(Debug)]
struct Strings<'a> {
    history: &'a History,
    initial: Vec<ValueId>,
    elsewhere: ValueId,
    /// By key and text; each text of a key once.
    seen: Vec<Seen<'a>>,
    /// Where the strings of each key begin in `seen`; one more than there are keys.
    starts: Vec<u32>,
}

fn text(history: &History, value: ValueId) -> &str {
    if value == ValueId::NIL { "" } else { history.value(value) }
}

impl<'a> Strings<'a> {
    fn of(problem: &Problem<'a>) -> Result<Self, String> {
        let history = problem.history;
        let returned = |operation: &Operation| Some((operation.key, operation.read()?));
        let mut read: Vec<_> = history.operations.iter().filter_map(returned).collect();
        // Values are interned, so equal ones go by number before texts are compared.
        read.sort_unstable();
        read.dedup();
        let mut read: Vec<_> =
            read.into_iter().map(|(key, value)| (key, text(history, value))).collect();
        read.sort_unstable();
        read.dedup();
        let mut seen = Vec::with_capacity(read.len());
        let mut base = 0_u32;
        for (key, text) in read {
            seen.push(Seen { key, text, base });
            let length = u32::try_from(text.len()).ok().and_then(|length| length.checked_add(1));
            let next = length.and_then(|length| base.checked_add(length));
            base = next.ok_or("the strings that were read are longer than 4 GiB together")?;
        }
        let keys = history.keys.len() as u32;
        let start = |key| seen.partition_point(|seen| seen.key.0 < key) as u32;
        let starts = (0..=keys).map(start).collect();
        let initial = initial_values(problem);
        Ok(Self { history, initial, elsewhere: problem.initial, seen, starts })
    }

    /// The state of the string that begins as the first `length` bytes of the string at `first`, and goes on
    /// with `rest`; no string before `first` begins like it.
    fn find(&self, key: KeyId, first: usize, length: usize, rest: &str) -> State {
        let rest = rest.as_bytes();
        let end = self.starts[key.0 as usize + 1] as usize;
        let Some(named) = self.seen[..end].get(first) else { return BEYOND };
        if named.text.as_bytes()[length..].starts_with(rest) {
            return State(named.base + (length + rest.len()) as u32);
        }
        let begin = &named.text.as_bytes()[..length];
        let less = |seen: &Seen<'_>| {
            let bytes = seen.text.as_bytes();
            match bytes.get(..length) {
                Some(head) if head == begin => &bytes[length..] < rest,
                _ => bytes < begin,
            }
        };
        let place = first + self.seen[first..end].partition_point(less);
        match self.seen[..end].get(place).map(|seen| (seen.base, seen.text.as_bytes())) {
            Some((base, bytes))
                if bytes.starts_with(begin) && bytes[length..].starts_with(rest) =>
            {
                State(base + (length + rest.len()) as u32)
            }
            _ => BEYOND,
        }
    }

    fn whole(&self, key: KeyId, value: ValueId) -> State {
        match self.starts.get(key.0 as usize) {
            Some(start) if key.0 as usize + 1 < self.starts.len() => {
                self.find(key, *start as usize, 0, text(self.history, value))
            }
            _ => BEYOND,
        }
    }
}

impl Meaning for Strings<'_> {
    fn initial(&self, key: KeyId) -> State {
        self.whole(key, self.initial.get(key.0 as usize).copied().unwrap_or(self.elsewhere))
    }

    fn step(&self, operation: &Operation) -> Step {
        match (operation.action, operation.outcome) {
            (Action::Read(value), Outcome::Ok) => Step::Find(self.whole(operation.key, value)),
            (Action::Write(value), _) => Step::Put(self.whole(operation.key, value)),
            (Action::Append(value), _) if text(self.history, value).is_empty() => Step::Idle,
            (Action::Append(value), _) => Step::Own(value.0),
            _ => Step::Idle,
        }
    }

    fn lost(&self, state: State) -> bool {
        state == BEYOND
    }

    fn only_grows(&self) -> bool {
        true
    }

    fn may_become(&self, from: State, to: State) -> bool {
        let prefix = |state: State| {
            let named = self.seen.partition_point(|seen| seen.base <= state.0).checked_sub(1)?;
            let Seen { text, base, .. } = self.seen[named];
            text.as_bytes().get(..(state.0 - base) as usize)
        };
        match (prefix(from), prefix(to)) {
            (Some(from), Some(to)) => to.starts_with(from),
            (from, _) => from.is_some() || to == BEYOND,
        }
    }

    fn own(&self, state: State, number: u32) -> Option<State> {
        if state == BEYOND {
            return Some(BEYOND);
        }
        // The first base is 0, so every state but `BEYOND` lies in some string.
        let Some(named) = self.seen.partition_point(|seen| seen.base <= state.0).checked_sub(1)
        else {
            return Some(BEYOND);
        };
        let Seen { key, base, .. } = self.seen[named];
        let text = self.history.value(ValueId(number));
        Some(self.find(key, named, (state.0 - base) as usize, text))
    }
}
