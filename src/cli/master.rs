//! `lab master`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::servers::stop::StopSwitch;
use super::{Lab, usage};
use crate::base::limits::MAX_REPLICAS;
use crate::labs::gossip::{Ids, Leash, Master, Options, config};

/// The exit code after a signal, as a shell gives it for Ctrl-C.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  lab master < commands.txt
  lab gossip generate --workload tree | lab master
  lab master --servers 20 < chain.txt
  lab master --config hosts.toml < commands.txt    # watchdogs of other hosts: servers watchdog

Commands: joinServer S, killServer S, joinClient C S, breakConnection A B, createConnection A B, stabilize,
printStore S, put C KEY VALUE, get C KEY. Servers have the ids from 0 on, clients those behind the servers'.";

/// The master of the gossip lab: carries out the commands of standard input.
///
/// What get and printStore print is on standard output, as KEY:VALUE; what went wrong and how fast it went is on
/// standard error. Nothing is left running when it ends.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MasterArgs {
    /// How many servers there may be.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_REPLICAS)))]
    servers: u16,
    /// How many clients there may be.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: u16,
    /// The folder of the servers' data, DIR/I/storage.txt each; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Reads where the watchdogs of the servers are from a TOML file: [[server]] tables with id and watchdog.
    #[arg(long, value_name = "FILE.toml", conflicts_with = "servers")]
    config: Option<PathBuf>,
}

/// Carries out the commands.
///
/// # Errors
/// They cannot be read, or what they print not be written.
pub fn run(args: &MasterArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let watchdogs = match args.config.as_deref().map(config::load).transpose() {
        Ok(watchdogs) => watchdogs,
        Err(error) => return Ok(usage::wrong_usage::<Lab>(&error.to_string(), arguments)),
    };
    let servers = watchdogs.as_ref().map_or(args.servers, |all| all.len() as u16);
    let data = match (&args.data, &watchdogs) {
        // On other hosts it is a path of theirs.
        (Some(data), None) => Some(std::path::absolute(data)?),
        (data, _) => data.clone(),
    };
    let leash = Leash::default();
    let stop = StopSwitch::on_signal()?;
    let its_leash = leash.clone();
    stop.set(move || {
        its_leash.release();
        std::process::exit(i32::from(INTERRUPTED));
    });
    let ids = Ids { servers, clients: args.clients };
    let options = Options { ids, watchdogs, data };
    let out = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
    let mut master = Master::new(options, &leash, out, io::stderr());
    let ran = master.run(io::stdin().lock());
    if leash.is_released() {
        // By a signal, whose thread waits until all is gone.
        leash.release();
        return Ok(ExitCode::from(INTERRUPTED));
    }
    master.stop();
    leash.release();
    let ran = ran?;
    let seconds = ran.time.as_secs_f64();
    let speed = ran.commands as f64 / seconds.max(1e-9);
    let failed = match ran.failed {
        0 => String::new(),
        failed => format!(" ({failed} failed)"),
    };
    let commands = ran.commands;
    writeln!(io::stderr(), "{commands} commands{failed} in {seconds:.3} s: {speed:.0} commands/s")?;
    Ok(ExitCode::SUCCESS)
}
