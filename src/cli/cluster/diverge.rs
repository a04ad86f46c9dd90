//! `lab cluster diverge`: two clients, two copies, two values.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::bench::Meter;
use crate::cli::{exercise, progress::with_progress};
use crate::labs::cluster::diverge::{self, HELP, chance_text, steps_text};
use crate::labs::processes;
use crate::labs::simulation::save_recorded;
use crate::report::{Style, verdicts};

/// Show how two clients that write the same key at K=2 leave copies that differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lab cluster diverge
  lab cluster diverge --rounds 5000
  lab check results/cluster-diverge-1/history.jsonl      # the same verdicts from the file

Starts two servers of its own, and stops them. First two clients race, and it is counted how often the copies
differ afterwards; then the same is done step by step, recorded and checked.
Files go to results/cluster-diverge-N/: history.jsonl, timeline.html, summary.json.
Exit codes: 0 shown, 1 an error, 64 wrong usage.")]
pub struct DivergeArgs {
    /// How many races.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    rounds: u64,
    /// The folder for the files; by default a new one below results/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What the system says.
pub fn run(args: &DivergeArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    let stop = exercise::stop_flag(false)?;
    let meter = Meter::default();
    let program = processes::program("servers")?;
    let folder = exercise::folder(args.out.as_deref(), "cluster-diverge")?;
    let work = || diverge::run(&program, &folder, args.rounds, &stop, &meter);
    let rounds = args.rounds;
    let shown = with_progress(&meter, |_, _| format!("of {rounds} races"), work)?;
    let mut out = io::stdout();
    writeln!(out, "{}\n", style.bold("By chance"))?;
    writeln!(out, "{}\n", chance_text(shown.chance, style))?;
    writeln!(out, "{}\n", style.bold("Step by step: the interleaving that does it"))?;
    writeln!(out, "{}", steps_text(&shown.forced, style))?;
    writeln!(
        out,
        "Both writes succeeded, and the copies differ from then on, until somebody writes the key again."
    )?;
    writeln!(
        out,
        "C reads the first copy that answers: with the server of copy 1 down, the value goes back in time.\n"
    )?;
    let source = folder.join("history.jsonl").display().to_string();
    let verdicts = shown.judged.verdicts(&source, &shown.forced.history);
    writeln!(out, "{}", verdicts::text(&verdicts, style))?;
    writeln!(out, "{}\n{HELP}\n", style.bold("What would help"))?;
    let mut more = serde_json::Map::new();
    more.insert("races".to_owned(), json!(shown.chance.rounds));
    more.insert("races_that_diverged".to_owned(), json!(shown.chance.diverged));
    let title = "lab cluster diverge: two clients write the same key at K=2";
    let words = exercise::words(arguments);
    save_recorded(&folder, title, &shown.forced.history, &shown.judged, &words, more)?;
    let place = style.bold(&format!("{}/", folder.display()));
    writeln!(out, "{place} history.jsonl timeline.html summary.json")?;
    Ok(ExitCode::SUCCESS)
}
