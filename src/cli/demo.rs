//! `lab demo`, and `lab` alone: the tour.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    labs::demo::{Demo, DemoError},
    report::Style,
};

/// The exit code after Ctrl-C, as a shell has it.
const INTERRUPTED: u8 = 130;

/// Show what eventual and sequential consistency mean, and what they cost.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  lab                          # the same as: lab demo
  lab demo --write-delay 5s    # more time to watch
  lab demo --pairs 1000 --out /tmp/demo

Starts its own replicas on free ports with a temporary data folder, and stops them.
Ctrl-C ends it early; twice ends it at once.
Exit codes: 0 all came out as it should, 1 it did not, 64 wrong usage, 130 Ctrl-C.")]
pub struct DemoArgs {
    /// The folder for figures and pictures.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// How long a write waits before it is applied, from 100ms to 1min.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = delay)]
    write_delay: Duration,
    /// How many pairs of a write and a read are measured.
    #[arg(long, value_name = "N", default_value = "100",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pairs: u64,
    /// The seed of the replicas' hash tables; kept in summary.json.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self { out: "results".into(), write_delay: Duration::from_secs(2), pairs: 100, seed: 1 }
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(100)..=Duration::from_secs(60);
    match humantime::parse_duration(text) {
        Ok(delay) if allowed.contains(&delay) => Ok(delay),
        _ => Err("expected a time from 100ms to 1min, such as 5s".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &DemoArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once, whatever hangs.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            INTERRUPTED.into(),
            Arc::clone(&stop),
        )?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let demo = Demo {
        out: args.out.clone(),
        write_delay: args.write_delay,
        pairs: args.pairs,
        seed: args.seed,
        command_line: arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
    };
    match demo.run(&mut io::stdout(), Style::of_stdout(), &stop) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(DemoError::Interrupted) => {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "lab: stopped; so are the replicas");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}
