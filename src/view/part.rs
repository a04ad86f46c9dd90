//! Which part of a history a page shows.
//!
//! A browser draws some hundred thousand operations smoothly, not some million. Of a longer history the page
//! shows the operations around the witness (around the end where there is none), and all of the
//! witness itself, wherever it is.

use super::Page;
use crate::history::{Clock, Delivery, History, Message, OpId};

/// The most operations on one page.
pub const MAX_OPERATIONS: usize = 200_000;

/// The most deliveries on one page, and the most messages.
pub const MAX_MARKS: usize = 400_000;

/// The most operations of a witness that are shown far away from the others.
const MAX_FAR: usize = 10_000;

/// The part of a history that is shown.
#[derive(Debug)]
pub(super) struct Part {
    /// The operations, in the order of invocation.
    pub operations: Vec<OpId>,
    /// Indices of the deliveries.
    pub deliveries: Vec<usize>,
    /// Indices of the messages.
    pub messages: Vec<usize>,
    /// Time 0 of the page, in the history's clock.
    pub origin: u64,
}

impl Part {
    /// The part that this page shows.
    pub fn of(page: &Page<'_>) -> Part {
        Part::within(page, MAX_OPERATIONS, MAX_MARKS)
    }

    /// The same with other bounds.
    pub fn within(page: &Page<'_>, max_operations: usize, max_marks: usize) -> Part {
        let history = page.history;
        let operations = operations(page, max_operations);
        let focus = focus(page).map_or(u64::MAX, |id| history.operation(id).invoked_at);
        // Of the whole history, everything; of a part, what lies in its time.
        let whole = operations.len() == history.operations.len();
        let (from, until) =
            if whole { (0, u64::MAX) } else { range(history, page, max_operations) };
        let shown = |at: u64| (from..=until).contains(&at);
        let deliveries = history.deliveries.iter().map(|delivery: &Delivery| delivery.at);
        // Without a common time there is no place for what happened between the processes.
        let timed = history.clock != Clock::ProcessOrder;
        let messages: &[Message] = if timed { &history.messages } else { &[] };
        let messages = messages.iter().map(|message| message.sent);
        Part {
            deliveries: nearest(deliveries, shown, focus, max_marks),
            messages: nearest(messages, shown, focus, max_marks),
            operations,
            origin: origin(history),
        }
    }
}

/// The operation around which a part is shown.
fn focus(page: &Page<'_>) -> Option<OpId> {
    let known = |id: &OpId| id.index() < page.history.operations.len();
    let middle = page.witness.get(page.witness.len() / 2).copied();
    page.culprit.filter(known).or(middle.filter(known))
}

/// The run of operations around the focus, as indices.
fn window(history: &History, page: &Page<'_>, max: usize) -> (usize, usize) {
    let count = history.operations.len();
    let centre = focus(page).map_or(count, OpId::index);
    let first = centre.saturating_sub(max / 2).min(count.saturating_sub(max));
    (first, (first + max).min(count))
}

fn operations(page: &Page<'_>, max: usize) -> Vec<OpId> {
    let (first, end) = window(page.history, page, max);
    let far = page.witness.iter().chain(&page.culprit).map(|id| id.index());
    let mut far: Vec<usize> = far
        .filter(|at| *at < page.history.operations.len() && !(first..end).contains(at))
        .collect();
    far.sort_unstable();
    far.dedup();
    far.truncate(MAX_FAR);
    let mut shown: Vec<OpId> = (first..end).chain(far).map(|at| OpId(at as u32)).collect();
    shown.sort_unstable();
    shown
}

/// The time that a window covers.
fn range(history: &History, page: &Page<'_>, max: usize) -> (u64, u64) {
    let (first, end) = window(history, page, max);
    let inside = &history.operations[first..end];
    let from = inside.iter().map(|operation| operation.invoked_at).min();
    let ends =
        inside.iter().map(|operation| operation.completed_at.unwrap_or(operation.invoked_at));
    (from.unwrap_or(0), ends.max().unwrap_or(u64::MAX))
}

/// The indices of the times that are shown; where these are too many, of those nearest to the focus. In
/// the order of the list.
fn nearest(
    times: impl Iterator<Item = u64>,
    shown: impl Fn(u64) -> bool,
    focus: u64,
    max: usize,
) -> Vec<usize> {
    let mut found: Vec<(u64, usize)> = times
        .enumerate()
        .filter(|(_, at)| shown(*at))
        .map(|(index, at)| (at.abs_diff(focus), index))
        .collect();
    if found.len() > max {
        found.select_nth_unstable(max);
        found.truncate(max);
        found.sort_unstable_by_key(|(_, index)| *index);
    }
    found.into_iter().map(|(_, index)| index).collect()
}

/// Time 0 of the page: the history's own zero where the run begins near it (a simulation's trace then tells
/// the same times), else the first invocation (times since 1970 would say nothing).
pub(super) fn origin(history: &History) -> u64 {
    let starts = history.operations.iter().map(|operation| operation.invoked_at);
    let ends = history.operations.iter().filter_map(|operation| operation.completed_at);
    let marks = || {
        let deliveries = history.deliveries.iter().map(|delivery| delivery.at);
        deliveries.chain(history.messages.iter().map(|message| message.sent))
    };
    let first = starts.clone().min().or_else(|| marks().min()).unwrap_or(0);
    let last = starts.chain(ends).chain(marks()).max().unwrap_or(first);
    if first <= last - first { 0 } else { first }
}
