//! `lab cluster insert`, `lookup`, `remove` and `scan`: one operation from the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;

use super::target::Target;

/// Gives a key a value, on all its copies.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster insert mytable 3 2 zebra '{\"weight\":100}'
  lab cluster insert mytable 3 2 greeting '\"hello\"'        # a string is JSON in quotes
  lab cluster insert mytable 3 2 zebra 1 --at 127.0.0.1:9900,127.0.0.1:9901,127.0.0.1:9902")]
pub struct InsertArgs {
    #[command(flatten)]
    target: Target,
    /// Any string.
    key: String,
    /// Any JSON.
    #[arg(value_parser = parse_json, allow_hyphen_values = true)]
    value: Box<RawValue>,
}

/// Prints the value of a key; exit code 1 where there is none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster lookup mytable 3 2 zebra")]
pub struct LookupArgs {
    #[command(flatten)]
    target: Target,
    /// Any string.
    key: String,
}

/// Removes a key from all its copies and prints the value that it had; exit code 1 where there is none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster remove mytable 3 2 zebra")]
pub struct RemoveArgs {
    #[command(flatten)]
    target: Target,
    /// Any string.
    key: String,
}

/// Prints all keys in which a regular expression is found, with their values, a line each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lab cluster scan mytable 3 2 '^z'
  lab cluster scan mytable 3 2 ''         # everything")]
pub struct ScanArgs {
    #[command(flatten)]
    target: Target,
    /// The expression (syntax: docs.rs/regex); it may match anywhere in a key.
    #[arg(allow_hyphen_values = true)]
    regex: String,
}

fn parse_json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("expected JSON ({error}); a string needs quotes of its own: '\"hello\"'")
    })
}

/// Inserts.
///
/// # Errors
/// N, K and the addresses do not fit together, or the patience is at its end.
pub fn insert(args: &InsertArgs) -> anyhow::Result<ExitCode> {
    args.target.client()?.insert(&args.key, &args.value)?;
    Ok(ExitCode::SUCCESS)
}

/// Looks up.
///
/// # Errors
/// As for [`insert`].
pub fn lookup(args: &LookupArgs) -> anyhow::Result<ExitCode> {
    let found = args.target.client()?.lookup(&args.key)?;
    show(found.as_deref(), &args.key)
}

/// Removes.
///
/// # Errors
/// As for [`insert`].
pub fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let found = args.target.client()?.remove(&args.key)?;
    show(found.as_deref(), &args.key)
}

/// Scans.
///
/// # Errors
/// As for [`insert`], or the expression is none.
pub fn scan(args: &ScanArgs) -> anyhow::Result<ExitCode> {
    let found = args.target.client()?.scan(&args.regex)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (key, value) in found {
        serde_json::to_writer(&mut out, &(key, value)).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show(found: Option<&RawValue>, key: &str) -> anyhow::Result<ExitCode> {
    match found {
        Some(value) => {
            writeln!(io::stdout(), "{}", value.get())?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "lab: no such key: {}", key.escape_debug());
            Ok(ExitCode::FAILURE)
        }
    }
}
