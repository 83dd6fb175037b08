//! `flowacl clear`: what a daemon that has gone left in force.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;

use crate::config::{self, Config};
use crate::io;

/// Remove the rules of a daemon that has gone
///
/// Rules outlive a daemon that was killed, and one that was stopped with `dataplane.on_stop = "keep"`. This removes them, and
/// what belongs to them in routing, for good. It refuses to while the daemon runs: there is `flowacl panic` for that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  systemctl stop flowacl && flowacl clear")]
pub(super) struct Arguments {
    /// The configuration file of the daemon
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config)?;
    let socket = &config.control.socket;
    ensure!(
        UnixStream::connect(socket).is_err(),
        "a daemon answers at {}: stop it first, or have `flowacl panic` take all rules out of force",
        socket.display()
    );
    io::clear(&config)?;
    writeln!(
        output,
        "backend {}: nothing is left of an earlier daemon",
        config.dataplane.backend
    )?;
    Ok(ExitCode::SUCCESS)
}
