//! `lab shard random`: a value for an update.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Args;

const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Prints N random letters and digits.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lab shard random 20        # the same as gen_random_string 20")]
pub(super) struct RandomArgs {
    /// How many, at most 1048576.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    count: u32,
}

pub(super) fn run(args: &RandomArgs) -> anyhow::Result<ExitCode> {
    let mut random = File::open("/dev/urandom")?;
    let mut text = Vec::new();
    let mut bytes = [0; 256];
    let count = args.count as usize;
    while text.len() < count {
        let part = &mut bytes[..(count - text.len()).clamp(16, 256)];
        random.read_exact(part)?;
        // Every letter alike: 248 is the last multiple of 62 that a byte reaches.
        text.extend(part.iter().filter(|byte| **byte < 248).map(|b| LETTERS[usize::from(*b) % 62]));
    }
    text.truncate(count);
    text.push(b'\n');
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}
