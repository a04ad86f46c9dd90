//! Hosts replicas and servers of every lab; see `servers --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    consistency_lab::cli::servers::servers(std::env::args_os())
}
