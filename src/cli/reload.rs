//! `flowacl reload`: the daemon reads its configuration again.

use std::io::Write;
use std::process::ExitCode;

use super::EXIT_USAGE;
use super::ask::Daemon;
use crate::io::report::{DiffReport, DiffRequest};

/// Have the daemon read its configuration file again
///
/// Prints what has changed, key by key, and what that means for neighbors: those that did not change keep their sessions.
/// On any error the old configuration stays in force as a whole, every error is printed, and the exit code is 2.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl reload --dry-run
  flowacl reload")]
pub(super) struct Arguments {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let report: DiffReport = if arguments.dry_run {
        arguments
            .daemon
            .post("/v1/diff", &DiffRequest { text: None })?
    } else {
        arguments.daemon.post("/v1/reload", &())?
    };
    if arguments.json {
        super::print_json(output, &report)?;
    } else {
        print(output, &report)?;
    }
    Ok(exit_code(&report))
}

/// 2 when the configuration is wrong.
pub(super) fn exit_code(report: &DiffReport) -> ExitCode {
    match report.errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_USAGE),
    }
}

/// Prints the difference, or the errors.
pub(super) fn print(output: &mut dyn Write, report: &DiffReport) -> anyhow::Result<()> {
    for error in &report.errors {
        writeln!(output, "{error}")?;
    }
    if !report.errors.is_empty() {
        writeln!(output, "the old configuration stays in force")?;
        return Ok(());
    }
    if report.changes.is_empty() {
        writeln!(output, "nothing has changed")?;
    }
    for change in &report.changes {
        writeln!(output, "{change}")?;
    }
    for effect in &report.effects {
        writeln!(output, "{effect}")?;
    }
    Ok(())
}
