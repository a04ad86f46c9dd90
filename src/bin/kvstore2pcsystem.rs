//! One process of the two-phase commit lab; see `kvstore2pcsystem --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    consistency_lab::cli::kvstore::kvstore(std::env::args_os())
}
