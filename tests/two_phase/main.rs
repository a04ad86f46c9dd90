//! The two-phase commit lab: threads, real processes, scenarios and the demo.

#[path = "../process_support/mod.rs"]
mod process_support;

mod demo;
mod front;
mod processes;
mod recorded;
mod scenarios;
mod threads;
mod two_phase_support;
