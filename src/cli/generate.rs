//! `lab completions` and `lab man`: what a shell and `man` need.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap_complete::Shell;

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lab completions bash > ~/.local/share/bash-completion/completions/lab"
)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write manual pages into a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lab man man && man -l man/lab-bench.1")]
pub struct ManArgs {
    /// The directory; it is made if need be.
    dir: PathBuf,
}

/// Prints the completions of a program.
pub fn completions(
    args: &CompletionsArgs,
    command: &mut clap::Command,
) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(args.shell, command, name, &mut text);
    std::io::stdout().lock().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each of its commands.
pub fn man(args: &ManArgs, command: clap::Command) -> anyhow::Result<ExitCode> {
    let failed = || format!("cannot write manual pages into {}", args.dir.display());
    std::fs::create_dir_all(&args.dir).with_context(failed)?;
    clap_mangen::generate_to(command, &args.dir).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}
