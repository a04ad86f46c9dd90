//! The gossip lab from outside: the master with its watchdogs and servers, all of them real processes.

#[path = "../process_support/mod.rs"]
mod process_support;

mod commands;
mod control;
mod ends;
mod gossip_support;
mod watchdogs;
mod workloads;
