//! `servers cluster`.

use std::process::ExitCode;

use clap::Args;

/// A hash table of the cluster lab.
#[derive(Debug, Args)]
pub struct ClusterArgs {}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot begin, or cannot go on.
pub fn run(_args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
