//! The four session guarantees, as far as they can be observed from outside.
//!
//! Each speaks of what one process sees. A guarantee holds if for each process *p* there is a legal
//! serialization of all writes and *p*'s reads that respects
//!
//! | guarantee | |
//! |---|---|
//! | read your writes | *p*'s own writes in program order, and each of them before *p*'s later reads |
//! | monotonic reads | *p*'s reads in program order, and for each key the program order of every process' writes to it |
//! | monotonic writes | *p*'s reads in program order, and the program order of every process' writes |
//! | writes follow reads | *p*'s reads in program order, and `v` before `w` where any process read `v` and later wrote `w` |
//!
//! The original definitions speak of the servers that hold a write, which no client sees; these are the
//! strongest consequences that a client can. The order of *p*'s reads is in three of them since without
//! it nothing could be observed: any read could be put right behind its write. In these three *p*'s own
//! writes are writes like any others', so that no guarantee implies another by accident. PRAM implies the
//! first three, causal memory (CM) all four; plain causal consistency (CC) implies neither monotonic reads
//! nor writes that follow reads, since it lets a process change its mind about concurrent writes. Where a
//! process reads its own later write, that write would have to follow itself: writes do not follow reads.
//!
//! Three are decided by the saturation of [`super::order`]. Read your writes needs no search: put all writes
//! of others at the end, or right before the own compare-and-set that reads them, and each read right
//! behind what it has to follow. That fails only where a read `r`
//!
//! - returns the initial value although an own write to the key came before,
//! - returns an own write although a later own write to the key came before `r`,
//! - returns a write that an earlier own compare-and-set had replaced,
//! - or is a compare-and-set that found an own later write.
//!
//! Source: D. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, 1994; as conditions
//! on serializations: J. Brzeziński, C. Sobaniec, D. Wawrzyniak, *From Session Causality to Causal
//! Consistency*, 2004.

use super::order::base::Base;
use super::order::{Halt, INITIAL, NONE, Trace, by_process, saturated};
use super::{Answer, Budget, Problem};

/// Whether every process reads its own writes.
pub fn check_read_your_writes(problem: &Problem<'_>) -> Answer {
    with_trace(problem, read_your_writes)
}

/// Whether every process' reads are monotonic.
pub fn check_monotonic_reads(problem: &Problem<'_>) -> Answer {
    with_trace(problem, monotonic_reads)
}

/// Whether every process' writes are seen in their order.
pub fn check_monotonic_writes(problem: &Problem<'_>) -> Answer {
    with_trace(problem, monotonic_writes)
}

/// Whether writes are seen behind what their process had read.
pub fn check_writes_follow_reads(problem: &Problem<'_>) -> Answer {
    with_trace(problem, writes_follow_reads)
}

fn with_trace(problem: &Problem<'_>, check: fn(&Trace, Budget<'_>) -> Result<(), Halt>) -> Answer {
    match Trace::of(problem) {
        Ok(trace) => trace.answer(check(&trace, problem.budget)),
        Err(answer) => answer,
    }
}

/// Monotonic reads of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn monotonic_reads(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    saturated(trace, &Base::monotonic_reads(trace), budget)
}

/// Monotonic writes of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn monotonic_writes(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    saturated(trace, &Base::monotonic_writes(trace), budget)
}

/// Writes follow reads, of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn writes_follow_reads(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    saturated(trace, &Base::writes_follow_reads(trace), budget)
}

/// Read your writes, of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn read_your_writes(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    let memory =
        || OwnWrites { last: vec![NONE; trace.keys], replaced_by: vec![NONE; trace.len()] };
    by_process(trace, memory, |own, process| {
        if budget.is_spent() {
            return Err(Halt::Budget);
        }
        let result = trace.places(process).try_for_each(|place| own.step(trace, place));
        own.forget(trace, process);
        result.map_err(Halt::Conflict)
    })
    .map_err(|(_, halt)| halt)
}

/// What a process has written so far.
struct OwnWrites {
    /// By key.
    last: Vec<u32>,
    /// By write: the own compare-and-set that read it.
    replaced_by: Vec<u32>,
}

impl OwnWrites {
    fn step(&mut self, trace: &Trace, place: u32) -> Result<(), Vec<u32>> {
        let key = trace.key[place as usize] as usize;
        let source = trace.source[place as usize];
        if source == INITIAL && self.last[key] != NONE {
            return Err(vec![self.last[key], place]);
        }
        if source < INITIAL {
            let own = trace.process[source as usize] == trace.process[place as usize];
            let last = self.last[key];
            if own && last != NONE && source < last && !trace.is_loose(source) {
                return Err(vec![source, last, place]);
            }
            if own && trace.writes(place) && source > place {
                return Err(vec![source, place]);
            }
            let replaced_by = &mut self.replaced_by[source as usize];
            if *replaced_by != NONE {
                return Err(vec![source, *replaced_by, place]);
            }
            if trace.writes(place) {
                *replaced_by = place;
            }
        }
        if trace.writes(place) && !trace.is_loose(place) {
            self.last[key] = place;
        }
        Ok(())
    }

    fn forget(&mut self, trace: &Trace, process: usize) {
        for place in trace.places(process) {
            self.last[trace.key[place as usize] as usize] = NONE;
            if let Some(replaced) = self.replaced_by.get_mut(trace.source[place as usize] as usize)
            {
                *replaced = NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::order::generate::{history, problem};
    use crate::check::pram;

    /// Whether RYW, MR, MW, WFR and PRAM hold.
    fn holds(text: &str) -> [bool; 5] {
        let history = history(text);
        let checks = [
            check_read_your_writes,
            check_monotonic_reads,
            check_monotonic_writes,
            check_writes_follow_reads,
            pram::check,
        ];
        checks.map(|check| match check(&problem(&history)) {
            Answer::Valid => true,
            Answer::Violation(_) => false,
            Answer::Unknown(why) => panic!("{why}"),
        })
    }

    #[test]
    fn a_password_changed_and_not_accepted_breaks_read_your_writes_alone() {
        let text = "a: w(password,1) r(password,0)";
        assert_eq!(holds(text), [false, true, true, true, false]);
    }

    #[test]
    fn a_mailbox_that_loses_a_mail_breaks_monotonic_reads() {
        let text = "
            a: w(mail,1) w(mail,2)
            b: r(mail,2) r(mail,1)";
        assert_eq!(holds(text), [true, false, false, true, false]);
    }

    #[test]
    fn a_file_seen_before_the_library_it_needs_breaks_monotonic_writes_alone() {
        let text = "
            a: w(library,1) w(program,1)
            b: r(program,1) r(library,0)";
        assert_eq!(holds(text), [true, true, false, true, false]);
    }

    #[test]
    fn an_answer_seen_before_its_question_breaks_writes_follow_reads_alone() {
        let text = "
            a: w(question,1)
            b: r(question,1) w(answer,1)
            c: r(answer,1) r(question,0)";
        assert_eq!(holds(text), [true, true, true, false, true]);
    }

    #[test]
    fn a_process_that_changes_its_mind_breaks_all_but_read_your_writes() {
        let text = "
            a: w(x,1)
            b: w(x,2)
            c: r(x,1) r(x,2) r(x,1)";
        assert_eq!(holds(text), [true, false, false, false, false]);
    }

    #[test]
    fn reading_ones_own_later_write_breaks_the_program_order_but_not_read_your_writes() {
        assert_eq!(holds("a: r(x,1) w(x,1)"), [true, true, true, false, false]);
    }

    #[test]
    fn pram_is_more_than_the_four_together() {
        let text = "
            a: w(x,2)
            b: r(x,2) w(x,1) r(x,2)";
        assert_eq!(holds(text), [true, true, true, true, false]);
    }
}
