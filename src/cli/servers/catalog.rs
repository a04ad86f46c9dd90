//! `servers catalog`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::stop::StopSwitch;
use crate::cli::usage;
use crate::labs::cluster::catalog::server::CatalogServer;
use crate::labs::processes::RunFile;

const EXAMPLES: &str = "\
Examples:
  servers catalog
  echo '{\"type\":\"hashtable\",\"owner\":\"me\",\"port\":9900,\"project\":\"mytable-0\"}' | nc -u -w0 127.0.0.1 9097
  curl http://127.0.0.1:9097/query.json        # or open http://127.0.0.1:9097/ in a browser";

/// The catalog of the cluster lab: servers register by UDP, clients ask by HTTP where they are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CatalogArgs {
    /// Where to listen; other hosts can only reach what does not listen on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port, for TCP and UDP alike; 0 lets the system choose.
    #[arg(long, default_value_t = 9097)]
    port: u16,
    /// How long a server is listed after it was heard from last.
    #[arg(long, default_value = "15m", value_name = "TIME", value_parser = usage::time_above_zero)]
    lifetime: Duration,
    /// Holds this file for as long as it runs, with its process id.
    #[arg(long, value_name = "PATH")]
    run_file: Option<PathBuf>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// The port cannot be had.
pub fn run(args: &CatalogArgs) -> anyhow::Result<ExitCode> {
    let stop = StopSwitch::on_signal()?;
    let _run_file = args.run_file.as_deref().map(RunFile::hold).transpose()?;
    let mut server = CatalogServer::start(&args.host, args.port, args.lifetime)
        .with_context(|| format!("cannot listen on {}:{}", args.host, args.port))?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "Listening on port {}", server.address().port())?;
    stdout.flush()?;
    // Nothing ends it but a signal.
    stop.wait(&crossbeam_channel::never::<()>());
    server.stop();
    Ok(ExitCode::SUCCESS)
}
