//! `servers` from outside: every mode, faults, hostile clients, and recorded histories.

#[path = "../process_support/mod.rs"]
mod process_support;

mod basics;
mod faults;
mod hostile;
mod linearizable;
mod merged;
mod recorded;
mod recorded_clients;
