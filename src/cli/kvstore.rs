//! `kvstore2pcsystem`: one process of the two-phase commit lab.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::servers::stop::StopSwitch;
use super::{exit, log, usage};
use crate::labs::two_phase::{self, Config, TwoPhaseError};

const EXAMPLES: &str = "\
Examples:
  kvstore2pcsystem --config_path scripts/2pc/coordinator.conf
  kvstore2pcsystem --config_path scripts/2pc/participant1.conf
  kvstore2pcsystem --config_path scripts/2pc/server1.conf --data data/1
  printf '*4\\r\\n$3\\r\\nSET\\r\\n$7\\r\\nCS06142\\r\\n$5\\r\\nCloud\\r\\n$9\\r\\nComputing\\r\\n' | nc -N 127.0.0.1 8001
  redis-cli -p 8001 GET CS06142

Clients send SET key string..., GET key and DEL key... as arrays of bulk strings; commands are case
sensitive. A request has at most 512 MiB; in mode server a key has at most 1 MiB. A DEL names at most
16777216 keys. What goes beyond is answered with -ERROR.

Exit codes: 0 stopped (SIGINT, SIGTERM), 1 it cannot serve, 64 wrong usage or a wrong configuration file.";

/// A key-value store on several servers: a coordinator and participants that agree by two-phase commit, or
/// servers that need no coordinator. The configuration file says what this process is.
#[derive(Debug, Parser)]
#[command(name = "kvstore2pcsystem", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The configuration file: `mode`, then `coordinator_info`, `participant_info`, `server_info`, `peer_info`.
    #[arg(long = "config_path", alias = "config-path", value_name = "FILE")]
    config_path: PathBuf,
    /// Keeps the data of a participant or a server in this folder, one's own for each process, on disk before
    /// anyone is answered. Without, a participant keeps all in memory and a server in a temporary folder that
    /// goes when it stops; either comes back empty and is brought up to date by the others.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The program `kvstore2pcsystem`: parses its arguments and serves until it is told to stop.
pub fn kvstore(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed: Arguments = match usage::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    log::to_stderr();
    match serve(&parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref().is_some_and(TwoPhaseError::is_usage) => {
            usage::wrong_usage::<Arguments>(&error.to_string(), &arguments)
        }
        Err(error) => exit::finish("kvstore2pcsystem", Err(error)),
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config_path).map_err(TwoPhaseError::from)?;
    // Thousands of clients need as many file descriptors; what cannot be had shows when they come.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let stop = StopSwitch::on_signal()?;
    let data = arguments.data.as_deref();
    two_phase::run(&config, data, &mut io::stdout().lock(), |how| stop.set(how))?;
    Ok(())
}
