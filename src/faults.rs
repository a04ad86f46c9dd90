//! One vocabulary of faults: what can go wrong on purpose, by name, in words, and as data.
//!
//! The simulator interprets it in virtual time. Times are in nanoseconds, replicas are numbers, so that a plan
//! of faults can be written to a file and read again.
//!
//! | name | what |
//! |---|---|
//! | `crash` | the process is killed; what it wrote stays, what was on its way to it is lost |
//! | `torn-write` | it dies in the middle of its next write to the disk |
//! | `power-loss` | machines lose power; of what was not synced, a part or nothing stays |
//! | `disk-lost` | the disk is gone as well (only while all other replicas are well) |
//! | `disk-full` | the next write finds no room: the replica stops, and is started again with room |
//! | `sync-error` | the next sync fails: the replica stops, and is started again |
//! | `partition` | two sides cannot reach each other; connections stay up until they are given up |
//! | `one-way` | the same in one direction only |
//! | `slow-link` | messages of one direction take longer |
//! | `cut` | a connection breaks with all that was on its way, and is made anew |
//! | `pause` | a process is held up (SIGSTOP, a swapping machine) and then goes on |
//! | `clock-jump` | a wall clock jumps |
//! | `compaction` | `storage.txt` is compacted; no fault, but it makes state transfers whole ones |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A fault, with everything it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// kill -9, and a start after this time.
    Crash {
        /// Whose.
        replica: u16,
        /// How long it is down.
        down: u64,
    },
    /// The same in the middle of the next write to the disk.
    TornWrite {
        /// Whose.
        replica: u16,
        /// How long it is down.
        down: u64,
    },
    /// The loss of power.
    PowerLoss {
        /// Whose; several share a power supply.
        replicas: Vec<u16>,
        /// How long they are down.
        down: u64,
        /// How many percent of the bytes that were not synced are found again.
        kept: u8,
    },
    /// The replica dies and its disk is empty afterwards.
    DiskLost {
        /// Whose.
        replica: u16,
        /// How long it is down.
        down: u64,
    },
    /// The next append fails for lack of room.
    DiskFull {
        /// Whose.
        replica: u16,
        /// How long it is down then.
        down: u64,
    },
    /// The next sync fails.
    SyncError {
        /// Whose.
        replica: u16,
        /// How long it is down then.
        down: u64,
    },
    /// Nothing passes between this side and the others.
    Partition {
        /// The one side.
        side: Vec<u16>,
        /// For how long.
        lasts: u64,
    },
    /// Nothing passes from these to those.
    OneWay {
        /// From whom.
        from: Vec<u16>,
        /// To whom.
        to: Vec<u16>,
        /// For how long.
        lasts: u64,
    },
    /// Messages take longer.
    SlowLink {
        /// From whom.
        from: u16,
        /// To whom.
        to: u16,
        /// How much longer.
        by: u64,
        /// For how long.
        lasts: u64,
    },
    /// A connection breaks.
    Cut {
        /// The one end.
        a: u16,
        /// The other.
        b: u16,
    },
    /// A process is held up.
    Pause {
        /// Whose.
        replica: u16,
        /// For how long.
        lasts: u64,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Whose.
        replica: u16,
        /// By how many milliseconds.
        by_ms: i64,
    },
    /// The file is compacted.
    Compaction {
        /// Whose.
        replica: u16,
    },
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the header tells what each is")]
pub enum Kind {
    Crash,
    TornWrite,
    PowerLoss,
    DiskLost,
    DiskFull,
    SyncError,
    Partition,
    OneWay,
    SlowLink,
    Cut,
    Pause,
    ClockJump,
    Compaction,
}

/// All kinds and their names.
pub const KINDS: &[(Kind, &str)] = &[
    (Kind::Crash, "crash"),
    (Kind::TornWrite, "torn-write"),
    (Kind::PowerLoss, "power-loss"),
    (Kind::DiskLost, "disk-lost"),
    (Kind::DiskFull, "disk-full"),
    (Kind::SyncError, "sync-error"),
    (Kind::Partition, "partition"),
    (Kind::OneWay, "one-way"),
    (Kind::SlowLink, "slow-link"),
    (Kind::Cut, "cut"),
    (Kind::Pause, "pause"),
    (Kind::ClockJump, "clock-jump"),
    (Kind::Compaction, "compaction"),
];

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("fault", |(_, name)| name)
    }
}

impl Fault {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Crash { .. } => Kind::Crash,
            Fault::TornWrite { .. } => Kind::TornWrite,
            Fault::PowerLoss { .. } => Kind::PowerLoss,
            Fault::DiskLost { .. } => Kind::DiskLost,
            Fault::DiskFull { .. } => Kind::DiskFull,
            Fault::SyncError { .. } => Kind::SyncError,
            Fault::Partition { .. } => Kind::Partition,
            Fault::OneWay { .. } => Kind::OneWay,
            Fault::SlowLink { .. } => Kind::SlowLink,
            Fault::Cut { .. } => Kind::Cut,
            Fault::Pause { .. } => Kind::Pause,
            Fault::ClockJump { .. } => Kind::ClockJump,
            Fault::Compaction { .. } => Kind::Compaction,
        }
    }

    /// The replicas that it touches.
    pub fn replicas(&self) -> Vec<u16> {
        match self {
            Fault::Crash { replica, .. }
            | Fault::TornWrite { replica, .. }
            | Fault::DiskLost { replica, .. }
            | Fault::DiskFull { replica, .. }
            | Fault::SyncError { replica, .. }
            | Fault::Pause { replica, .. }
            | Fault::ClockJump { replica, .. }
            | Fault::Compaction { replica } => vec![*replica],
            Fault::PowerLoss { replicas, .. } => replicas.clone(),
            Fault::Partition { side, .. } => side.clone(),
            Fault::OneWay { from, to, .. } => [&from[..], &to[..]].concat(),
            Fault::SlowLink { from, to, .. } => vec![*from, *to],
            Fault::Cut { a, b } => vec![*a, *b],
        }
    }

    /// How long it lasts; 0 where it is over at once.
    pub fn lasts(&self) -> u64 {
        match self {
            Fault::Crash { down, .. }
            | Fault::TornWrite { down, .. }
            | Fault::PowerLoss { down, .. }
            | Fault::DiskLost { down, .. }
            | Fault::DiskFull { down, .. }
            | Fault::SyncError { down, .. } => *down,
            Fault::Partition { lasts, .. }
            | Fault::OneWay { lasts, .. }
            | Fault::SlowLink { lasts, .. }
            | Fault::Pause { lasts, .. } => *lasts,
            Fault::Cut { .. } | Fault::ClockJump { .. } | Fault::Compaction { .. } => 0,
        }
    }

    /// The same for another time, where it has one.
    #[must_use]
    pub fn lasting(&self, time: u64) -> Fault {
        let mut fault = self.clone();
        match &mut fault {
            Fault::Crash { down, .. }
            | Fault::TornWrite { down, .. }
            | Fault::PowerLoss { down, .. }
            | Fault::DiskLost { down, .. }
            | Fault::DiskFull { down, .. }
            | Fault::SyncError { down, .. } => *down = time,
            Fault::Partition { lasts, .. }
            | Fault::OneWay { lasts, .. }
            | Fault::SlowLink { lasts, .. }
            | Fault::Pause { lasts, .. } => *lasts = time,
            Fault::Cut { .. } | Fault::ClockJump { .. } | Fault::Compaction { .. } => {}
        }
        fault
    }

    /// The same with replicas renumbered; `None` where it is about replicas that are gone.
    pub fn renumbered(&self, renumber: impl Fn(u16) -> Option<u16>) -> Option<Fault> {
        let mut fault = self.clone();
        let one = |id: &mut u16| renumber(*id).map(|new| *id = new).is_some();
        let many = |ids: &mut Vec<u16>| {
            *ids = ids.iter().filter_map(|id| renumber(*id)).collect();
            !ids.is_empty()
        };
        let stays = match &mut fault {
            Fault::Crash { replica, .. }
            | Fault::TornWrite { replica, .. }
            | Fault::DiskLost { replica, .. }
            | Fault::DiskFull { replica, .. }
            | Fault::SyncError { replica, .. }
            | Fault::Pause { replica, .. }
            | Fault::ClockJump { replica, .. }
            | Fault::Compaction { replica } => one(replica),
            Fault::PowerLoss { replicas, .. } => many(replicas),
            Fault::Partition { side, .. } => many(side),
            Fault::OneWay { from, to, .. } => many(from) && many(to),
            Fault::SlowLink { from, to, .. } => one(from) && one(to),
            Fault::Cut { a, b } => one(a) && one(b),
        };
        stays.then_some(fault)
    }
}

/// Numbers with commas between them.
struct Ids<'a>(&'a [u16]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Nanoseconds as milliseconds.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Crash { replica, down } => {
                write!(f, "replica {replica} is killed, and down for {}", Ms(*down))
            }
            Fault::TornWrite { replica, down } => {
                write!(f, "replica {replica} dies within a write, and is down for {}", Ms(*down))
            }
            Fault::PowerLoss { replicas, down, kept } => {
                let (ids, down) = (Ids(replicas), Ms(*down));
                write!(f, "power loss at {ids} for {down}; {kept} % of the unsynced bytes stay")
            }
            Fault::DiskLost { replica, down } => {
                write!(f, "replica {replica} loses its disk, and is down for {}", Ms(*down))
            }
            Fault::DiskFull { replica, down } => {
                write!(
                    f,
                    "the disk of replica {replica} is full; started again after {}",
                    Ms(*down)
                )
            }
            Fault::SyncError { replica, down } => {
                write!(f, "a sync of replica {replica} fails; started again after {}", Ms(*down))
            }
            Fault::Partition { side, lasts } => {
                write!(f, "{} cut off from the others for {}", Ids(side), Ms(*lasts))
            }
            Fault::OneWay { from, to, lasts } => {
                write!(f, "nothing passes from {} to {} for {}", Ids(from), Ids(to), Ms(*lasts))
            }
            Fault::SlowLink { from, to, by, lasts } => {
                let (by, lasts) = (Ms(*by), Ms(*lasts));
                write!(f, "from {from} to {to} everything takes {by} longer for {lasts}")
            }
            Fault::Cut { a, b } => write!(f, "the connection between {a} and {b} breaks"),
            Fault::Pause { replica, lasts } => {
                write!(f, "replica {replica} is held up for {}", Ms(*lasts))
            }
            Fault::ClockJump { replica, by_ms } => {
                write!(f, "the wall clock of replica {replica} jumps by {by_ms} ms")
            }
            Fault::Compaction { replica } => write!(f, "replica {replica} compacts its file"),
        }
    }
}

/// A set of kinds, as `--faults none|all|LIST` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSet(u32);

impl FaultSet {
    /// No fault at all.
    pub const NONE: FaultSet = FaultSet(0);

    /// Every kind.
    pub fn all() -> Self {
        KINDS.iter().fold(Self::NONE, |set, (kind, _)| set.with(*kind))
    }

    /// The set with one kind more.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        FaultSet(self.0 | 1 << kind as u32)
    }

    /// The set without a kind.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        FaultSet(self.0 & !(1 << kind as u32))
    }

    /// Whether a kind is in it.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }

    /// Its kinds, in the order of [`KINDS`].
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _)| *kind).filter(move |kind| self.contains(*kind))
    }
}

/// A word that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected none, all, or a list of {known}; found {found}")]
pub struct UnknownFault {
    found: String,
    known: String,
}

impl FromStr for FaultSet {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        match text {
            "none" => return Ok(Self::NONE),
            "all" => return Ok(Self::all()),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |set, word| {
            let known = KINDS.iter().find(|(_, name)| *name == word.trim());
            let names = || KINDS.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(",");
            known
                .map(|(kind, _)| set.with(*kind))
                .ok_or_else(|| UnknownFault { found: word.to_owned(), known: names() })
        })
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        if *self == Self::all() {
            return f.write_str("all");
        }
        let names: Vec<&str> = self.kinds().map(Kind::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_what_it_writes_and_names_what_it_does_not_know() {
        for text in ["none", "all", "crash,cut", "clock-jump"] {
            assert_eq!(text.parse::<FaultSet>().expect("known names").to_string(), text);
        }
        let error = "crash,flood".parse::<FaultSet>().expect_err("no such fault");
        assert!(error.to_string().ends_with("found flood"), "{error}");
    }

    #[test]
    fn renumbering_drops_what_is_about_a_replica_that_is_gone() {
        let gone = |id: u16| (id != 1).then_some(id - u16::from(id > 1));
        assert_eq!(Fault::Cut { a: 0, b: 1 }.renumbered(gone), None);
        assert_eq!(Fault::Cut { a: 0, b: 2 }.renumbered(gone), Some(Fault::Cut { a: 0, b: 1 }));
        let loss = |replicas| Fault::PowerLoss { replicas, down: 1, kept: 0 };
        assert_eq!(loss(vec![0, 1, 2]).renumbered(gone), Some(loss(vec![0, 1])));
    }
}
