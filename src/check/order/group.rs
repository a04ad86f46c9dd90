//! How the reads of one process are kept, key by key, while it is saturated.

/// In place of pending writes: the process does not read the key.
pub const UNREAD: u32 = u32::MAX - 1;

/// Consecutive own reads of one write.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The write.
    pub source: u32,
    /// The last of the reads.
    pub last: u32,
    /// Its level.
    pub last_level: u32,
    /// The first of its members in the scan's entries.
    pub members: u32,
    /// Whether a member may have the source's level.
    pub is_tied: bool,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeySlot {
    /// Where its groups begin.
    pub start: u32,
    /// How many there are yet.
    pub count: u32,
    /// The level of its last read.
    pub last_level: u32,
    /// The first of the writes that came up since, in the scan's entries; or [`UNREAD`].
    pub pending: u32,
}

impl KeySlot {
    /// Of a key that the process does not read.
    pub const UNREAD: Self = Self { start: 0, count: 0, last_level: 0, pending: UNREAD };
}
