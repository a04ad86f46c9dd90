//! The labs: what each starts, in one file or folder a lab.

pub mod cluster;
pub mod compare;
pub mod demo;
pub mod exercise;
pub mod gossip;
pub mod judge;
pub mod picture;
pub mod processes;
pub mod replicas;
pub mod shard;
pub mod simulation;
pub mod trace;
pub mod two_phase;

use crate::protocol::{self, Mode};
use crate::report::PAIR_MODES;

/// The modes that the demo and the picture show side by side.
pub fn compared_modes() -> impl Iterator<Item = &'static Mode> {
    PAIR_MODES.into_iter().filter_map(protocol::mode)
}
