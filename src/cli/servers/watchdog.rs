//! `servers watchdog`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::stop::StopSwitch;
use crate::labs::gossip::watchdog::Watchdog;

const EXAMPLES: &str = "\
Examples:
  servers watchdog --port 7700 --host 10.0.0.5      # named in the --config of lab master
  echo '{\"start\":{\"id\":0,\"replicas\":5,\"data\":null,\"host\":\"127.0.0.1\"}}' | nc 127.0.0.1 7700";

/// A watchdog of the gossip lab: starts and kills one server on the master's word.
///
/// Whoever can reach its port can start and kill that server: listen where only the lab's hosts are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WatchdogArgs {
    /// Where to listen; other hosts can only reach what does not listen on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Stops when standard input ends, so that it does not outlive whoever has started it.
    #[arg(long)]
    until_eof: bool,
}

/// Serves until it is told to stop; its server ends before it does.
///
/// # Errors
/// The port cannot be had.
pub fn run(args: &WatchdogArgs) -> anyhow::Result<ExitCode> {
    let stop = StopSwitch::on_signal()?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let watchdog = Watchdog::listen(&args.host, args.port, program)?;
    let guard = watchdog.guard();
    stop.set(move || {
        guard.close();
        std::process::exit(0);
    });
    if args.until_eof {
        stop.also_on_eof()?;
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "watchdog: {}", watchdog.address())?;
    stdout.flush()?;
    drop(stdout);
    watchdog.serve().context("cannot listen any more")?;
    Ok(ExitCode::SUCCESS)
}
