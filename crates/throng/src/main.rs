//! The `throng` binary: everything is in [`throng::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    throng::cli::main()
}
