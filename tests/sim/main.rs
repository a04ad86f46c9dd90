//! The simulator: what it found, what it finds in protocols that are wrong on purpose, and that it repeats itself.

#[path = "../support/mod.rs"]
mod support;

mod findings;
mod modes;
mod mutants;
mod two_phase;
