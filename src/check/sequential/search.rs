//! The complete search: over how far each process has come.
//!
//! A situation is the place of each process in its chain, which operations of unknown outcome have
//! happened, and what each key holds. From it any process may take its next step, if that is legal and
//! all that certainly comes before it ([`saturate`](super::saturate)) has been taken. A depth-first
//! search looks for a way to the end and remembers the situations from which there is none ([`Memo`]), so
//! it visits each at most once. With k processes of n operations there are at most (n+1)^k places:
//! polynomial for few processes, as it must be exponential for many (testing sequential consistency is
//! NP-complete: Gibbons and Korach 1997).
//!
//! # What is cut
//!
//! - A legal observation is taken at once; no order of the rest is lost by it. So is a write that nothing
//!   distinguishes from what is there ([`Situation::is_harmless`]).
//! - A step is not taken where it leaves a state that is still to be found and that no remaining
//!   operation can restore ([`Situation::after`]).
//! - A state that nothing looks for any more is the same as any other such state.
//! - Of operations of unknown outcome that do the same, only the first is tried.
//!
//! Steps are tried in the order of a rank, a likely order, so that a run of a correct store is a walk
//! with few wrong turns.

use super::memo::Memo;
use super::program::{NONE, Program};
use super::situation::Situation;
use crate::history::OpId;

/// What came out.
#[derive(Debug)]
pub(super) enum Found {
    /// A legal total order.
    Order(Vec<OpId>),
    /// There is none.
    Nothing,
    /// The budget is spent.
    Spent,
}

/// After how many steps the budget is asked.
const STEPS_A_LOOK: u32 = 2048;

/// A situation with several ways on.
struct Fork {
    /// How many steps had been taken there.
    steps: usize,
    /// What is left to try, the best last.
    ways: Vec<u32>,
    /// Whether it had more than one way, and is worth remembering.
    remember: bool,
}

/// Searches a legal total order. `edges` are orders that certainly hold, `rank` is the likely order,
/// `loose` are the nodes of unknown outcome that may be taken.
pub(super) fn search(
    program: &Program<'_>,
    edges: &[(u32, u32)],
    rank: &[u32],
    loose: &[u32],
) -> Found {
    let mut situation = Situation::of(program, edges, loose);
    let mut memo = Memo::default();
    let mut forks = Vec::new();
    let mut row = Vec::new();
    let mut looks = 0_u32;
    loop {
        situation.settle();
        if situation.is_end() {
            return Found::Order(situation.order());
        }
        let mut ways = situation.ways();
        let remember = ways.len() > 1;
        if remember {
            situation.write_row(&mut row);
            if memo.contains(&row) {
                ways.clear();
            }
            ways.sort_by_key(|node| std::cmp::Reverse((rank[*node as usize], *node)));
        }
        if !ways.is_empty() {
            forks.push(Fork { steps: situation.steps(), ways, remember });
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(STEPS_A_LOOK) && program.problem.budget.is_spent() {
            return Found::Spent;
        }
        let Some(way) = next_way(&mut forks, &mut situation, &mut memo, &mut row) else {
            return Found::Nothing;
        };
        debug_assert_ne!(way, NONE);
        situation.take(way);
    }
}

/// Goes back to the last fork with a way that was not tried, and returns that.
fn next_way(
    forks: &mut Vec<Fork>,
    situation: &mut Situation<'_>,
    memo: &mut Memo,
    row: &mut Vec<u32>,
) -> Option<u32> {
    loop {
        let fork = forks.last_mut()?;
        situation.back_to(fork.steps);
        if let Some(way) = fork.ways.pop() {
            return Some(way);
        }
        if fork.remember {
            situation.write_row(row);
            memo.insert(row);
        }
        forks.pop();
    }
}
