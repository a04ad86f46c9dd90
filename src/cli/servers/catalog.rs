//! `servers catalog`.

use std::process::ExitCode;

use clap::Args;

/// The catalog of the cluster lab.
#[derive(Debug, Args)]
pub struct CatalogArgs {}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot begin, or cannot go on.
pub fn run(_args: &CatalogArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
