//! `lab client` and `lab bench` from outside.

#[path = "../process_support/mod.rs"]
mod process_support;

mod bench_cli;
mod bench_formats;
mod bench_protocols;
mod cli;
mod errors;
mod mock_server;
mod retries;
