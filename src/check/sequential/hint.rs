//! A proof from the order in which replicas delivered the writes.
//!
//! A store that broadcasts its writes in total order applies them everywhere in one order, and its
//! replicas recorded it. That order is a hint and is never trusted: it only names an order of changes to
//! try, which [`place`] completes with the observations and [`verify`](super::verify) judges like any
//! other. A wrong hint costs the time of one failed attempt and nothing else.
//!
//! Replicas that lag or were down know only a part of the order. So one replica's deliveries are the
//! backbone, and what it has not delivered is put in behind that which came before it at another replica.
//! Writes that no replica delivered come last, or, where their outcome is unknown, never happened.
//!
//! Linear in the number of deliveries, for each of at most [`BACKBONES`] attempts.

use std::collections::BTreeMap;

use super::place;
use super::program::{NONE, Program};
use crate::history::OpId;

/// How many replicas' orders are tried as the backbone, the longest first.
const BACKBONES: usize = 4;

/// A legal total order that follows the deliveries, if one of the attempts finds one.
pub(super) fn order(program: &Program<'_>) -> Option<Vec<OpId>> {
    let mut lists = delivered(program);
    lists.sort_by_key(|list| std::cmp::Reverse(list.len()));
    (0..lists.len().min(BACKBONES)).find_map(|backbone| {
        lists[..=backbone].rotate_right(1);
        place::complete(program, &merged(program, &lists))
    })
}

/// The changes that each replica delivered, each once and in its order.
fn delivered(program: &Program<'_>) -> Vec<Vec<u32>> {
    let mut by_replica = BTreeMap::<_, Vec<u32>>::new();
    for delivery in &program.problem.history.deliveries {
        let number = delivery.operation.and_then(|op| program.node_of.get(op.index()).copied());
        let Some(number) = number.filter(|number| *number != NONE) else { continue };
        if !program.node(number).step.only_observes() {
            by_replica.entry(delivery.replica).or_default().push(number);
        }
    }
    let mut last_list = vec![NONE; program.nodes.len()];
    let mut lists: Vec<_> = by_replica.into_values().collect();
    for (number, list) in lists.iter_mut().enumerate() {
        // A replica that restarts may deliver again what it has delivered before.
        list.retain(|node| {
            std::mem::replace(&mut last_list[*node as usize], number as u32) != number as u32
        });
    }
    lists
}

/// One order out of all: the first list as it is, and the others woven in.
fn merged(program: &Program<'_>, lists: &[Vec<u32>]) -> Vec<u32> {
    // A linked list; the slot behind the last node is its head.
    let head = program.nodes.len();
    let mut next = vec![NONE; head + 1];
    let mut known = vec![false; head];
    for list in lists {
        let mut last = head;
        for number in list {
            let number = *number as usize;
            if !std::mem::replace(&mut known[number], true) {
                next[number] = next[last];
                next[last] = number as u32;
            }
            last = number;
        }
    }
    let mut order = Vec::with_capacity(head);
    let mut at = next[head];
    while at != NONE {
        order.push(at);
        at = next[at as usize];
    }
    let undelivered = |number: &u32| {
        let node = program.node(*number);
        !known[*number as usize] && !node.loose && !node.step.only_observes()
    };
    order.extend(program.numbers().filter(undelivered));
    order
}
