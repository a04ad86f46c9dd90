//! `lab cluster`: one file a command, or a few that belong together.

mod basics;
mod data;
mod group;
pub mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::usage;
use crate::client::cluster::ClusterError;

/// The cluster lab: hash tables that know nothing of each other, made a cluster by their client.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster start mytable 3                              # three servers and a catalog
  lab cluster insert mytable 3 2 zebra '{\"weight\":100}'    # two copies of each key
  lab cluster basics mytable 3 2                           # every call, as a checklist
  lab cluster stop mytable")]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Start(group::StartArgs),
    Stop(group::StopArgs),
    Status(group::StatusArgs),
    Insert(data::InsertArgs),
    Lookup(data::LookupArgs),
    Remove(data::RemoveArgs),
    Scan(data::ScanArgs),
    Basics(basics::BasicsArgs),
}

/// Runs the command.
///
/// # Errors
/// What the command reports.
pub fn run(args: &ClusterArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let result = match &args.command {
        ClusterCommand::Start(args) => group::start(args),
        ClusterCommand::Stop(args) => group::stop(args),
        ClusterCommand::Status(args) => group::status(args),
        ClusterCommand::Insert(args) => data::insert(args),
        ClusterCommand::Lookup(args) => data::lookup(args),
        ClusterCommand::Remove(args) => data::remove(args),
        ClusterCommand::Scan(args) => data::scan(args),
        ClusterCommand::Basics(args) => basics::run(args),
    };
    match result {
        Err(error) if is_usage(&error) => {
            Ok(usage::wrong_usage::<super::Lab>(&error.to_string(), arguments))
        }
        other => other,
    }
}

/// Whether other arguments would help.
fn is_usage(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClusterError::Shape { .. } | ClusterError::Addresses { .. })
    )
}
