//! `lab shard send`, which `send_message` is.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::{Lab, usage};
use crate::client::Options;
use crate::labs::shard::{SendError, Settings, ShardClient};
use crate::wire::lines::shard::Kind;

const EXAMPLES: &str = "\
Examples:
  lab shard send -a scutter03 -t UPDATE -m \"12345:Hello World\"
  lab shard send -a scutter03 -t READ -m 12345
  lab shard send -l -t UPDATE -m \"12345:Hello World\"    # to the node that the key belongs to

Exit codes: 0 done, 1 the node refused or there is none, 64 wrong usage.";

/// Sends a message to a database and prints the reply.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SendArgs {
    #[command(flatten)]
    target: Target,
    /// What is asked.
    #[arg(short = 't', long = "type", value_name = "UPDATE|READ", ignore_case = true)]
    kind: Asked,
    /// KEY:VALUE to update (split at the first colon), KEY to read.
    #[arg(short = 'm', long = "message", value_name = "BODY", allow_hyphen_values = true)]
    body: String,
    /// The settings.
    #[arg(long, default_value = "scripts/shard/settings.cfg", value_name = "FILE")]
    settings: PathBuf,
    /// How long a node may take to answer.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_time)]
    timeout: Duration,
}

/// Which node is asked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A node of the settings by its name, or any HOST or HOST:PORT.
    #[arg(short = 'a', long = "address", value_name = "HOST")]
    host: Option<String>,
    /// The node that the hashing function of the settings says; the next copies where it is down.
    #[arg(short = 'l', long = "load-balance")]
    spread: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Asked {
    #[value(name = "UPDATE")]
    Update,
    #[value(name = "READ")]
    Read,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() && time <= Duration::from_secs(3600) => Ok(time),
        _ => Err("expected a time such as 5s or 150ms, of at most an hour".to_owned()),
    }
}

pub(super) fn run(args: &SendArgs, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&args.settings)?;
    let kind = match args.kind {
        Asked::Update => Kind::Update,
        Asked::Read => Kind::Read,
    };
    let connect_timeout = args.timeout.min(Duration::from_secs(3));
    let options = Options { connect_timeout, timeout: args.timeout };
    let mut client = ShardClient::new(&settings, options);
    let (word, body) = (kind.word(), &args.body);
    // A reader that has gone is not told again; the message is sent all the same.
    let print = |text: std::fmt::Arguments<'_>| drop(writeln!(io::stdout(), "{text}"));
    let sending = |address: &str| {
        print(format_args!("Sending Message: Type: {word}, Addr: {address}, MessageBody: {body}"));
    };
    let answer = match &args.target.host {
        None => client.send(kind, body, sending),
        Some(host) => {
            if let Ok(address) = client.address_of(host) {
                sending(&ShardClient::numeric(&address));
            }
            client.send_to(host, kind, body)
        }
    };
    let answer = match answer {
        Err(error @ SendError::Host(_)) => {
            return Ok(usage::wrong_usage::<Lab>(&error.to_string(), arguments));
        }
        other => other?,
    };
    let (kind, address, text) = (answer.kind.word(), &answer.address, &answer.body);
    let done = writeln!(
        io::stdout(),
        "Response Message: Type: {kind}, Addr: {address}, MessageBody: {text}"
    );
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ if answer.is_success() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}
