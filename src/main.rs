//! The `flowacl` command; see [`flowacl::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    flowacl::cli::main()
}
