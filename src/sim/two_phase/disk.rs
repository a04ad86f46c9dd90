//! A participant's disk in memory: its log, how it fails, and what a death leaves of it.

use crate::protocol::two_phase::{Record, Recovered};
use crate::sim::replica;

/// How a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// The process ends; its system closes its connections.
    Killed,
    /// The machine is off; of the unsynced records so many percent stay.
    PowerLoss(u8),
    /// The process ends because a sync failed; what it was to cover is gone.
    SyncFailed,
}

impl Death {
    pub fn for_trace(self) -> replica::Death {
        match self {
            Death::Killed => replica::Death::Killed,
            Death::PowerLoss(kept) => replica::Death::PowerLoss(kept),
            Death::SyncFailed => replica::Death::SyncFailed,
        }
    }
}

/// What fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fails {
    /// The process dies in the middle of its next write.
    TornWrite,
    /// The next write finds no room.
    Full,
    /// The next sync fails.
    Sync,
}

/// A log on a disk.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub records: Vec<Record>,
    pub synced: usize,
}

impl Log {
    /// What a death leaves of it.
    pub fn after(&mut self, death: Death) {
        let unsynced = self.records.len() - self.synced;
        let kept = match death {
            Death::Killed => unsynced,
            Death::PowerLoss(percent) => unsynced * usize::from(percent) / 100,
            Death::SyncFailed => 0,
        };
        self.records.truncate(self.synced + kept);
        self.synced = self.records.len();
    }

    pub fn recovered(&self) -> Recovered {
        let mut recovered = Recovered::default();
        self.records.iter().for_each(|record| recovered.apply(record.clone()));
        recovered
    }

    /// Writes it anew, short.
    pub fn compact(&mut self) {
        self.records = self.recovered().records().collect();
        self.synced = self.records.len();
    }
}
