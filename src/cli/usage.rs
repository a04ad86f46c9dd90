//! Wrong usage in one line, exit code 64; `--help` and `--version` on standard output, exit code 0.
//!
//! Shared by every program of the package.

use std::{ffi::OsString, io::Write, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};

/// The exit code of wrong usage (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

/// Parses arguments, the program's name first. `Err` is what to exit with: everything has been printed.
pub fn parse<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    P::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // clap colours it for a terminal; a closed pipe is the reader's wish.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => wrong_usage::<P>(&message(&error), &arguments),
    })
}

/// Prints `PROGRAM: error: MESSAGE; try PROGRAM COMMAND --help` and returns exit code 64. For arguments
/// that are well-formed alone and make no sense together.
pub fn wrong_usage<P: CommandFactory>(message: &str, arguments: &[OsString]) -> ExitCode {
    let mut command = P::command();
    let program = command.get_name().to_owned();
    let mut path = program.clone();
    let mut inner = &mut command;
    for word in arguments.iter().skip(1) {
        let Some(word) = word.to_str() else { break };
        match inner.find_subcommand_mut(word) {
            Some(found) => {
                path = format!("{path} {word}");
                inner = found;
            }
            None => break,
        }
    }
    let _ = writeln!(std::io::stderr(), "{program}: error: {message}; try {path} --help");
    ExitCode::from(USAGE)
}

/// Parses an address as it is typed. Whether the host exists is asked only when it is connected to.
pub fn address(text: &str) -> Result<String, String> {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    match text.rsplit_once(':') {
        Some((host, number)) if !host.is_empty() && !host.contains(' ') && port(number) => {
            Ok(text.to_owned())
        }
        _ => Err("expected HOST:PORT, such as 127.0.0.1:9889".to_owned()),
    }
}

/// `5s`, `150ms`, `1m 30s`; a plain number is seconds.
pub fn time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("expected a time such as 5s or 150ms: {error}"))?;
    // Beyond a day it is a slip of the pen, and sums of times must not overflow.
    if time > Duration::from_secs(24 * 3600) {
        return Err("expected a time of at most a day".to_owned());
    }
    Ok(time)
}

/// A number of things of which there must be one.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}

/// Like [`time`], but more than none.
pub fn time_above_zero(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time above zero, such as 100ms".to_owned()),
        time => Ok(time),
    }
}

/// clap's message, several paragraphs, as one line: the error itself and its tip.
fn message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "expected a command".to_owned();
    }
    let text = error.render().to_string();
    let mut parts = Vec::new();
    for paragraph in text.split("\n\n") {
        let joined = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(message) = joined.strip_prefix("error: ") {
            parts.push(message.to_owned());
        } else if let Some(tip) = joined.strip_prefix("tip: ") {
            parts.push(tip.split(" tip: ").next().unwrap_or(tip).to_owned());
        }
    }
    if parts.is_empty() { "wrong usage".to_owned() } else { parts.join("; ") }
}
