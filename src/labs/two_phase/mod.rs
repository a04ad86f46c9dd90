//! The two-phase commit lab.
//!
//! ```text
//! stories    four short runs in virtual time, and what has to be true of each
//! events     what happened in a run, out of its trace
//! diagram    a run as a space-time diagram in text
//! demo       tells the stories, and keeps them
//! ```

pub mod demo;
mod diagram;
mod events;
mod stories;
