//! The `flowacl` command; see [`flowacl::cli`].

mod sys;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// With the allocator of the C library a daemon keeps a third more for each rule: what is freed after a commit lies
/// scattered among what stays, and does not go back. See [`sys`] for its settings.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    flowacl::cli::main()
}
