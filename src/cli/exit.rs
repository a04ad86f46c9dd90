//! How a command ends: one line on standard error, a code, and never a panic for a closed pipe.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// The exit code of what the system refused (`EX_IOERR` of sysexits.h), of commands whose exit code 1 is
/// a verdict.
pub const IO_ERROR: u8 = 74;

/// Like [`finish`], for a command whose exit code 1 is a verdict: an error of the system is none.
pub fn finish_verdict(program: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Err(error) if !is_closed_pipe(&error) => {
            let _ = writeln!(io::stderr(), "{program}: error: {}", one_line(&error));
            ExitCode::from(IO_ERROR)
        }
        other => finish(program, other),
    }
}

/// Turns a command's result into the exit code. A closed pipe ends a command quietly: whoever closed
/// it (`| head -1`) has what they wanted. Any other error is printed with its causes, exit code 1.
pub fn finish(program: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes. Most errors of this package quote their cause in their own message; such a
/// cause is not said again.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

/// Whether the error is that nobody reads our output any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
