//! The cluster lab: the table, its server, the catalog, the clients, and real processes.

#[path = "../process_support/mod.rs"]
mod process_support;

mod catalog;
mod cli;
mod client;
mod mock_tables;
mod mocks;
mod processes;
mod server;
mod store;
