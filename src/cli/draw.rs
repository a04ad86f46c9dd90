//! `lab draw`: the space-time diagram of the replicas lab.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use crate::labs::picture;

/// Draw what happens between three replicas, in both modes, as an SVG.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lab draw --out results/replicas.svg

The picture is traced from the lab's own replicas in virtual time: the same every time.
Exit codes: 0 drawn, 1 an error, 64 wrong usage.")]
pub struct DrawArgs {
    /// The file; `-` for standard output.
    #[arg(long, value_name = "FILE", default_value = "results/replicas.svg")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &DrawArgs) -> anyhow::Result<ExitCode> {
    let picture = picture::picture()?;
    let mut out = std::io::stdout();
    if args.out == Path::new("-") {
        out.write_all(picture.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::write(&args.out, picture)
        .with_context(|| format!("cannot write {}; choose another --out", args.out.display()))?;
    writeln!(out, "{}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
