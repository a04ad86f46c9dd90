//! `lab`: what a person does to the replicas.

use std::process::ExitCode;

fn main() -> ExitCode {
    consistency_lab::cli::lab(std::env::args_os())
}
