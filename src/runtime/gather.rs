//! What goes to the peers while no client waits for them: it gathers, so that several writes wake them once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::replica::{Replica, Source};

/// How long frames gather at the most where nobody waits for them.
///
/// Five replicas in a tree that took one write in five each, sent on one by one, spent nine tenths of their time on
/// being woken; at some thousand writes a second several go together now, and a lone write still goes at once.
const GATHER_IN_THE_BACKGROUND: Duration = Duration::from_millis(10);

impl Replica {
    /// Whether what an input leads to can go to the peers later: where no client waits for a peer, writes gather as
    /// long as something has gone to them just before.
    pub(super) fn may_gather(&self, source: Source) -> bool {
        if source == Source::Own || !self.settings.mode.has_versions() {
            return false;
        }
        let next =
            Duration::from_nanos(self.told.load(Ordering::Relaxed)) + GATHER_IN_THE_BACKGROUND;
        let gathers = self.clock.now().since_start < next;
        if gathers {
            self.timer.mind(Some(next));
        }
        gathers
    }

    /// Notes that all that had gathered goes to the peers now.
    pub(super) fn note_told(&self) {
        let now = self.clock.now().since_start.as_nanos();
        self.told.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
