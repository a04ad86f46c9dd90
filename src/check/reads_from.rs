//! Which write each read reads from, where the values tell.
//!
//! With values that are written once a key, reading a value names its write. Checking is polynomial then, for
//! most models; with repeated values it is NP-hard for nearly all of them (Bouajjani, Enea, Guerraoui, Hamza,
//! *On Verifying Causal Consistency*, POPL 2017, section 3).

use hashbrown::HashMap;

use super::Problem;
use crate::history::{Action, History, KeyId, OpId, Outcome, ValueId};

/// Where the value that an operation observed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It observed nothing that binds it.
    Nothing,
    /// It observed the initial value.
    Initial,
    /// It observed what this operation wrote.
    Write(OpId),
}

/// The reads-from relation of a history with unique values.
#[derive(Clone, Debug)]
pub struct ReadsFrom {
    /// By operation.
    pub sources: Vec<Source>,
}

/// Why there is no reads-from relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This operation observed a value that nobody ever wrote: out of thin air.
    ThinAir(OpId),
    /// A value that was read is written more than once (or is the initial value and written too).
    Ambiguous(String),
    /// An operation that is neither read, write nor compare-and-set.
    Unsupported(String),
}

/// What an operation observed: the value it must have found, if any.
pub fn observed(history: &History, id: OpId) -> Option<ValueId> {
    let operation = history.operation(id);
    match (operation.action, operation.outcome) {
        (Action::Read(value), Outcome::Ok) => Some(value),
        (Action::Cas { from, swapped: true, .. }, Outcome::Ok) => Some(from),
        _ => None,
    }
}

/// What an operation wrote, if it may have taken effect.
pub fn wrote(history: &History, id: OpId) -> Option<ValueId> {
    let operation = history.operation(id);
    match (operation.action, operation.outcome) {
        (Action::Cas { to, swapped: true, .. }, Outcome::Ok)
        | (Action::Cas { to, .. }, Outcome::Unknown) => Some(to),
        _ => operation.written(),
    }
}

enum Writer {
    Initial,
    One(OpId),
    Several(OpId, OpId),
}

impl ReadsFrom {
    /// The reads-from relation of a problem's history.
    ///
    /// # Errors
    /// Where the values do not tell.
    pub fn of(problem: &Problem<'_>) -> Result<Self, Trouble> {
        let history = problem.history;
        let mut writers: HashMap<(KeyId, ValueId), Writer, foldhash::fast::FixedState> =
            HashMap::default();
        for id in history.ids() {
            let operation = history.operation(id);
            if !operation.matters() {
                continue;
            }
            if let Action::Append(_) | Action::Other(_) = operation.action {
                return Err(Trouble::Unsupported(unsupported(history, id)));
            }
            let Some(value) = wrote(history, id) else { continue };
            let initial = || {
                let same = problem.initial(operation.key) == value;
                if same { Writer::Initial } else { Writer::One(id) }
            };
            let writer = writers.entry((operation.key, value)).or_insert_with(initial);
            match *writer {
                Writer::Initial => *writer = Writer::Several(id, id),
                Writer::One(first) if first != id => *writer = Writer::Several(first, id),
                _ => {}
            }
        }
        let source = |id: OpId| {
            let Some(value) = observed(history, id) else { return Ok(Source::Nothing) };
            let key = history.operation(id).key;
            match writers.get(&(key, value)) {
                // A compare-and-set that found what only it was to write.
                Some(Writer::One(write)) if *write == id => Err(Trouble::ThinAir(id)),
                Some(Writer::One(write)) => Ok(Source::Write(*write)),
                Some(Writer::Several(one, two)) => {
                    Err(Trouble::Ambiguous(ambiguous(history, *one, *two)))
                }
                Some(Writer::Initial) => Ok(Source::Initial),
                None if value == problem.initial(key) => Ok(Source::Initial),
                None => Err(Trouble::ThinAir(id)),
            }
        };
        Ok(Self { sources: history.ids().map(source).collect::<Result<_, _>>()? })
    }

    /// Where an operation reads from.
    pub fn source(&self, id: OpId) -> Source {
        self.sources[id.index()]
    }
}

fn unsupported(history: &History, id: OpId) -> String {
    let what = match history.operation(id).action {
        Action::Other(name) => history.value(name),
        _ => "append",
    };
    format!("this model is checked for reads, writes and cas; operation {} is `{what}`", id.0)
}

fn ambiguous(history: &History, one: OpId, two: OpId) -> String {
    let operation = history.operation(one);
    let key = history.key(operation.key);
    let value = wrote(history, one).map_or("?", |value| history.value(value));
    if one == two {
        return format!(
            "values are not unique: {value} is the initial value of {key}, and operation {} writes it",
            one.0
        );
    }
    format!("values are not unique: operations {} and {} both write {value} to {key}", one.0, two.0)
}
