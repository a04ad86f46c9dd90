//! A register with compare-and-set, as in Jepsen's and Porcupine's tests of etcd.
//!
//! - A compare-and-set that ended `Ok` and swapped found `from` and left `to`; one that ended `Ok` and did not
//!   swap found anything but `from`. One of unknown outcome leaves `to` where it finds `from`.
//! - Where `--init` says that keys begin with a value, a read that returned nil tells nothing: the recordings
//!   that need such an initial value (Knossos' own tests) write nil for a read without a result. Otherwise keys
//!   begin with nil, and nil is a value like others.

use super::register::{Register, holds};
use super::{Meaning, Spec, State, Step};
use crate::history::{Action, KeyId, Operation, Outcome, ValueId};

/// The specification.
pub(super) const SPEC: Spec = Spec {
    name: "cas-register",
    about: "reads, writes and compare-and-set",
    takes: |action| matches!(action, Action::Read(_) | Action::Write(_) | Action::Cas { .. }),
    prepare: |problem| {
        let nil_tells_nothing = problem.initial != ValueId::NIL;
        Ok(Box::new(CasRegister { register: Register::of(problem), nil_tells_nothing }))
    },
};

#[derive(Debug)]
struct CasRegister {
    register: Register,
    nil_tells_nothing: bool,
}

impl Meaning for CasRegister {
    fn initial(&self, key: KeyId) -> State {
        self.register.initial(key)
    }

    fn step(&self, operation: &Operation) -> Step {
        match (operation.action, operation.outcome) {
            (Action::Read(ValueId::NIL), _) if self.nil_tells_nothing => Step::Idle,
            (Action::Cas { from, swapped: false, .. }, Outcome::Ok) => Step::Miss(holds(from)),
            (Action::Cas { from, to, .. }, outcome) => {
                let (from, to) = (holds(from), holds(to));
                match outcome {
                    Outcome::Ok if from == to => Step::Find(from),
                    Outcome::Ok => Step::Swap { from, to },
                    _ if from == to => Step::Idle,
                    _ => Step::Try { from, to },
                }
            }
            _ => self.register.step(operation),
        }
    }
}
