//! `servers shard`.

use std::process::ExitCode;

use clap::Args;

/// A node of the shard lab.
#[derive(Debug, Args)]
pub struct ShardArgs {}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot begin, or cannot go on.
pub fn run(_args: &ShardArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
