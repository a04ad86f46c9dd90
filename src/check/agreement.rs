//! Agreement: all participants of a commit protocol agree on every decision, and hold the same in the end.
//!
//! A participant decides for itself only in what it does: it *carries out* a commit or an abort. Two that hold
//! copies which clients may be served from must never have carried out different ends of one transaction
//! (AC1 in Bernstein, Hadzilacos and Goodman, *Concurrency Control and Recovery in Database Systems*, 1987,
//! chapter 7: all participants that reach a decision reach the same one).
//!
//! A copy that is dropped takes its decisions along: a participant that was cut off, committed, and is
//! later brought up to date from a copy in which the transaction was aborted contradicts nobody whom a client
//! could have met. So what counts is the decisions behind the copies of one view, from the moment at which
//! that view serves.
//!
//! Cost: `O(decisions · log)` and the comparison of the copies.

use std::collections::BTreeMap;
use std::fmt::Display;

/// What a trace tells, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// A participant has carried out how a transaction ends.
    Ended {
        /// Which.
        participant: u16,
        /// The transaction.
        txn: T,
        /// Whether it committed.
        commit: bool,
    },
    /// A participant has dropped its copy.
    Dropped(u16),
    /// From here on clients are served from the copies of these.
    Serves(Vec<u16>),
}

/// Where two disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement<T> {
    /// On which transaction.
    pub txn: T,
    /// Who committed it.
    pub committed: u16,
    /// Who aborted it.
    pub aborted: u16,
}

impl<T: Display> Display for Disagreement<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "participant {} committed transaction {} and participant {} aborted it, and both serve",
            self.committed, self.txn, self.aborted
        )
    }
}

/// Watches decisions as they come.
#[derive(Clone, Debug)]
pub struct Watch<T> {
    /// By participant, what it has carried out since it holds its copy.
    ended: BTreeMap<u16, BTreeMap<T, bool>>,
    serving: Vec<u16>,
}

impl<T> Default for Watch<T> {
    fn default() -> Self {
        Self { ended: BTreeMap::new(), serving: Vec::new() }
    }
}

impl<T: Ord + Clone> Watch<T> {
    /// Takes the next step.
    ///
    /// # Errors
    /// Two that serve disagree.
    pub fn step(&mut self, step: Step<T>) -> Result<(), Disagreement<T>> {
        match step {
            Step::Ended { participant, txn, commit } => {
                let own = self.ended.entry(participant).or_default();
                if let Some(before) = own.insert(txn.clone(), commit)
                    && before != commit
                {
                    // It contradicts itself.
                    return Err(Disagreement { txn, committed: participant, aborted: participant });
                }
                if !self.serving.contains(&participant) {
                    return Ok(());
                }
                self.serving
                    .iter()
                    .try_for_each(|other| self.compare(*other, &txn, participant, commit))
            }
            Step::Dropped(participant) => {
                self.ended.remove(&participant);
                self.serving.retain(|serving| *serving != participant);
                Ok(())
            }
            Step::Serves(members) => {
                self.serving = members;
                self.serving.iter().try_for_each(|one| {
                    let ended = self.ended.get(one).into_iter().flatten();
                    ended.into_iter().try_for_each(|(txn, commit)| {
                        let others = self.serving.iter().filter(|other| *other > one);
                        others
                            .into_iter()
                            .try_for_each(|other| self.compare(*other, txn, *one, *commit))
                    })
                })
            }
        }
    }

    fn compare(&self, other: u16, txn: &T, one: u16, commit: bool) -> Result<(), Disagreement<T>> {
        match self.ended.get(&other).and_then(|ended| ended.get(txn)) {
            Some(ended) if *ended != commit => {
                let (committed, aborted) = if commit { (one, other) } else { (other, one) };
                Err(Disagreement { txn: txn.clone(), committed, aborted })
            }
            _ => Ok(()),
        }
    }
}

/// The first difference between copies that should be equal, in words.
pub fn difference<K: Ord, V: PartialEq>(
    copies: &[(u16, &BTreeMap<K, V>)],
    key_name: impl Fn(&K) -> String,
    value_name: impl Fn(&V) -> String,
) -> Option<String> {
    let [(first, reference), others @ ..] = copies else { return None };
    let told = |value: Option<&V>| value.map_or_else(|| "nothing".to_owned(), &value_name);
    for (other, copy) in others {
        let keys = reference.keys().chain(copy.keys());
        if let Some(key) = keys.into_iter().find(|key| reference.get(key) != copy.get(key)) {
            return Some(format!(
                "participant {first} holds {} under {} and participant {other} holds {}",
                told(reference.get(key)),
                key_name(key),
                told(copy.get(key)),
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(participant: u16, txn: u32, commit: bool) -> Step<u32> {
        Step::Ended { participant, txn, commit }
    }

    fn first_wrong(steps: &[Step<u32>]) -> Option<usize> {
        let mut watch = Watch::default();
        steps.iter().position(|step| watch.step(step.clone()).is_err())
    }

    /// The definition, over the whole trace so far: two of the view that serves, each with a decision since it
    /// last dropped its copy, differ; or one differs from itself.
    fn first_wrong_by_definition(steps: &[Step<u32>]) -> Option<usize> {
        (0..steps.len()).find(|end| {
            let so_far = &steps[..=*end];
            let kept = |p: u16| {
                let from = so_far.iter().rposition(|step| *step == Step::Dropped(p)).unwrap_or(0);
                let own = so_far[from..].iter();
                own.filter_map(move |step| match step {
                    Step::Ended { participant, txn, commit } if *participant == p => {
                        Some((*txn, *commit))
                    }
                    _ => None,
                })
            };
            let differ = |a: u16, b: u16| {
                kept(a).any(|(txn, end)| kept(b).any(|(other, its)| txn == other && end != its))
            };
            let serving = so_far.iter().rposition(|step| matches!(step, Step::Serves(_)));
            let members: Vec<u16> = match serving.map(|at| (at, &so_far[at])) {
                Some((at, Step::Serves(members))) => members
                    .iter()
                    .copied()
                    .filter(|p| !so_far[at..].contains(&Step::Dropped(*p)))
                    .collect(),
                _ => Vec::new(),
            };
            (0..3).any(|p| differ(p, p))
                || members.iter().any(|a| members.iter().any(|b| differ(*a, *b)))
        })
    }

    #[test]
    fn a_copy_that_is_dropped_contradicts_nobody() {
        let serves = Step::Serves(vec![0, 1]);
        let torn = [ended(0, 1, true), ended(1, 1, false)];
        assert_eq!(first_wrong(&torn), None, "nobody is served from them");
        assert_eq!(first_wrong(&[&torn[..], std::slice::from_ref(&serves)].concat()), Some(2));
        let mended = [&torn[..], &[Step::Dropped(0), serves.clone()]].concat();
        assert_eq!(first_wrong(&mended), None);
        assert_eq!(first_wrong(&[serves, ended(0, 1, true), ended(1, 1, false)]), Some(2));
    }

    #[test]
    fn watching_finds_what_the_definition_finds() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..20_000 {
            let steps: Vec<Step<u32>> = (0..8)
                .map(|_| match draw(6) {
                    0 => Step::Dropped(draw(3) as u16),
                    1 => Step::Serves((0..3).filter(|_| draw(2) == 0).collect()),
                    _ => ended(draw(3) as u16, draw(2) as u32, draw(3) > 0),
                })
                .collect();
            assert_eq!(first_wrong(&steps), first_wrong_by_definition(&steps), "{steps:?}");
        }
    }

    #[test]
    fn copies_are_compared_both_ways() {
        let copy = |entries: &[(&str, u32)]| -> BTreeMap<String, u32> {
            entries.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
        };
        let (one, same, more) = (copy(&[("a", 1)]), copy(&[("a", 1)]), copy(&[("a", 1), ("b", 2)]));
        let told = |copies: &[(u16, &BTreeMap<String, u32>)]| {
            difference(copies, Clone::clone, |value| value.to_string())
        };
        assert_eq!(told(&[(0, &one), (1, &same)]), None);
        assert_eq!(
            told(&[(0, &one), (1, &same), (2, &more)]).as_deref(),
            Some("participant 0 holds nothing under b and participant 2 holds 2")
        );
    }
}
