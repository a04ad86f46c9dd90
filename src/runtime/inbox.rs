//! What the drivers of both kinds of server have in common where threads leave inputs for each other (*flat combining*:
//! D. Hendler, I. Incze, N. Shavit, M. Tzafrir, SPAA 2010).
//!
//! Whoever has an input leaves it in the inbox and tries to drive. If another thread drives, that one looks into the
//! inbox again before it leaves. And while all peers owe an answer, what clients want can stay there: the thread that
//! reads the first answer takes it along. So one client is served at once, what fifty want travels in common frames,
//! and nobody queues up for a lock.

use std::time::Duration;

use super::link::Link;

/// How often one thread takes along what others have left until it leaves the rest to the timer's.
pub(super) const MAX_TURNS: usize = 16;

/// How long something is left at the most; normally a peer answers earlier.
pub(super) const LEAVE_AT_MOST: Duration = Duration::from_millis(10);

/// Whether there are connected links, and each waits for an answer: whoever reads the first empties the inbox. To be
/// asked after something has been put there, so that the answer comes later than that.
pub(super) fn all_owe_answers<'a>(links: impl Iterator<Item = &'a Link>) -> bool {
    let mut connected = links.filter(|link| link.is_connected()).peekable();
    connected.peek().is_some() && connected.all(Link::owes_an_answer)
}
