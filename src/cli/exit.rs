//! How a command ends: one line on standard error, a code, and never a panic for a closed pipe.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Turns a command's result into the exit code. A closed pipe ends a command quietly: whoever closed
/// it (`| head -1`) has what they wanted. Any other error is printed with its causes, exit code 1.
pub fn finish(program: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the error is that nobody reads our output any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
