//! What a nemesis did, as bands of faults.
//!
//! Jepsen records each of its nemesis' operations twice, when it begins and when it is done. `:start` opens a
//! fault and `:stop` closes it, as do `:start-NAME` and `:stop-NAME`, `:partition` and `:heal`, `:pause` and
//! `:resume`, `:kill` and `:restart`; of any other operation the first record opens a band and the second
//! closes it.

use super::Fault;
use super::term::Term;
use crate::base::ReplicaId;

/// The faults so far.
#[derive(Debug, Default)]
pub(super) struct Nemesis {
    pub faults: Vec<Fault>,
    /// The name of the last fault that was closed, whose closing is recorded again.
    closed: Option<usize>,
}

enum Move<'a> {
    Opens(&'a str),
    Closes(&'a str),
    /// Opens, and closes what it has opened.
    Toggles(&'a str),
}

fn move_of(f: &str) -> Move<'_> {
    match f {
        "start" => Move::Opens("fault"),
        "stop" => Move::Closes("fault"),
        "partition" | "pause" | "kill" => Move::Opens(f),
        "heal" => Move::Closes("partition"),
        "resume" => Move::Closes("pause"),
        "restart" => Move::Closes("kill"),
        _ => match (f.strip_prefix("start-"), f.strip_prefix("stop-")) {
            (Some(name), _) => Move::Opens(name),
            (None, Some(name)) => Move::Closes(name),
            (None, None) => Move::Toggles(f),
        },
    }
}

impl Nemesis {
    /// Takes one record.
    pub fn event(&mut self, f: Option<&Term<'_>>, value: Option<&Term<'_>>, now: u64) {
        let name = f.and_then(Term::name).unwrap_or("fault");
        let replicas = replicas(value);
        let find = |name: &str| {
            let open = |fault: &Fault| fault.until.is_none() && fault.name == name;
            self.faults.iter().rposition(open)
        };
        match move_of(name) {
            Move::Opens(name) => match find(name) {
                // Its second record.
                Some(_) => {}
                None => self.open(name, replicas, now),
            },
            Move::Closes(name) => match (find(name), self.closed) {
                (Some(open), _) => {
                    self.faults[open].until = Some(now);
                    self.closed = Some(open);
                }
                (None, Some(closed)) if self.faults[closed].name == name => {
                    self.faults[closed].until = Some(now);
                }
                (None, _) => {}
            },
            Move::Toggles(name) => match find(name) {
                Some(open) => self.faults[open].until = Some(now),
                None => self.open(name, replicas, now),
            },
        }
    }

    fn open(&mut self, name: &str, replicas: Vec<ReplicaId>, from: u64) {
        self.closed = None;
        self.faults.push(Fault { name: name.to_owned(), replicas, from, until: None });
    }
}

/// The replicas that a value lists by their numbers; none where it is anything else.
fn replicas(value: Option<&Term<'_>>) -> Vec<ReplicaId> {
    let Some(Term::List(terms)) = value else { return Vec::new() };
    let number = |term: &Term<'_>| match term {
        Term::Number(digits) => digits.parse().ok().map(ReplicaId),
        _ => None,
    };
    terms.iter().map(number).collect::<Option<_>>().unwrap_or_default()
}
