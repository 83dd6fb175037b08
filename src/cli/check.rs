//! `flowacl check`: is this configuration file right?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::ask::Daemon;
use super::reload;
use crate::config::{self, Config};
use crate::io::report::{DiffReport, DiffRequest};

/// Check a configuration file
///
/// Prints every error as `file:line:column: key: reason`, all of them at once, and exits with 2 if there is any.
/// The running daemon checks a file in the same way before it takes it over on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  flowacl check --config /etc/flowacl/flowacl.toml && systemctl reload flowacl"
)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Also print how it differs from the configuration that the running daemon has, and what that would mean
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config)?;
    let plural = if config.neighbors.len() == 1 { "" } else { "s" };
    writeln!(
        output,
        "{}: right: AS {}, {} neighbor{plural}, backend {}",
        arguments.config.display(),
        config.bgp.local_as,
        config.neighbors.len(),
        config.dataplane.backend,
    )?;
    if config.neighbors.is_empty() {
        writeln!(
            output,
            "note: there is no [[neighbor]]: nobody can announce anything"
        )?;
    }
    if !arguments.diff {
        return Ok(ExitCode::SUCCESS);
    }
    let path = &arguments.config;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let request = DiffRequest { text: Some(text) };
    let report: DiffReport = arguments.daemon.post("/v1/diff", &request)?;
    reload::print(output, &report)?;
    Ok(reload::exit_code(&report))
}
