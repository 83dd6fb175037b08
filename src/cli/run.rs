//! `flowacl run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::io::service;

/// Run the daemon
///
/// Accepts BGP sessions from the configured neighbors, keeps the packet filter equal to the Flow Specifications that they
/// announce, and answers `flowacl show`. Stays in the foreground and logs to stderr.
///
/// SIGHUP reads the configuration again, as `flowacl reload` does: on any error the old one is kept, otherwise neighbors that are the same in both keep
/// their sessions. SIGTERM and SIGINT end all sessions with Cease, remove all rules, and end the daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl run --config examples/lab.toml
  FLOWACL_LOG=debug flowacl run --config /etc/flowacl/flowacl.toml")]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Gives memory back while nothing happens; where there is no such thread the next commits do. No other command
    // has it: only a process of one thread may move into a user namespace of its own.
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
    service::run(&arguments.config)?;
    Ok(ExitCode::SUCCESS)
}
