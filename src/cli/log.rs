//! What servers say while they run: lines on standard error, more or fewer by `RUST_LOG`.

use std::io::{self, IsTerminal};

/// From here on what is logged goes to standard error.
pub fn to_stderr() {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}
