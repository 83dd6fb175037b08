//! `flowacl disable`, `enable`, `panic` and `resume`: the operator's last word.

use std::io::Write;
use std::process::ExitCode;

use super::ask::Daemon;
use crate::io::orders::OrderReport;
use crate::io::report::{OrderRequest, SuspendRequest};

/// Take one rule out of force
///
/// The rule stays out, whoever announces it and however often, until `flowacl enable`. `show rules` shows it as rejected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl disable r17
  flowacl disable 060120cb007105 --persist
  flowacl disable 'destination 203.0.113.5/32;'
  flowacl disable ipv6-flow 'protocol =17;'")]
pub(super) struct DisableArguments {
    #[command(flatten)]
    rule: RuleArguments,
    /// Also after a restart of the daemon
    #[arg(long)]
    persist: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Put a rule back in force that was disabled
///
/// It is back at once if a neighbor announces it, and a restart will not disable it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  flowacl enable 'destination 203.0.113.5/32;'")]
pub(super) struct EnableArguments {
    #[command(flatten)]
    rule: RuleArguments,
    #[command(flatten)]
    daemon: Daemon,
}

/// Have no rule in force any more, at once
///
/// All packets pass, as if there were no flowacl. Sessions stay up, rules go on being received and are put in place, out of
/// reach, so that `flowacl resume` has all of them in force at once again, with their counters.
#[derive(Debug, clap::Args)]
pub(super) struct PanicArguments {
    /// Also after a restart of the daemon
    #[arg(long)]
    persist: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// End a panic: all rules are in force again
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    daemon: Daemon,
}

/// Which rule.
#[derive(Debug, clap::Args)]
struct RuleArguments {
    /// Its id (r17), its NLRI in hex, or its flow as `show rules` prints it; a family may stand before the last two
    #[arg(required = true, value_name = "RULE")]
    rule: Vec<String>,
}

/// Carries out `disable`.
pub(super) fn disable(
    arguments: &DisableArguments,
    output: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let request = OrderRequest {
        rule: arguments.rule.rule.join(" "),
        persist: arguments.persist,
    };
    let report: OrderReport = arguments.daemon.post("/v1/disable", &request)?;
    print_rule(output, &report, "disabled")?;
    let until = if report.kept {
        "also after a restart"
    } else {
        "until the daemon ends (--persist: also after a restart)"
    };
    writeln!(output, "it stays so {until}; flowacl enable takes it back")?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out `enable`.
pub(super) fn enable(
    arguments: &EnableArguments,
    output: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let request = OrderRequest {
        rule: arguments.rule.rule.join(" "),
        persist: true,
    };
    let report: OrderReport = arguments.daemon.post("/v1/enable", &request)?;
    print_rule(output, &report, "enabled")?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out `panic`.
pub(super) fn panic(
    arguments: &PanicArguments,
    output: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let persist = arguments.persist;
    let report: OrderReport = arguments
        .daemon
        .post("/v1/panic", &SuspendRequest { persist })?;
    let until = if report.kept {
        ", also after a restart"
    } else {
        ""
    };
    writeln!(output, "no rule is in force until flowacl resume{until}")?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out `resume`.
pub(super) fn resume(
    arguments: &ResumeArguments,
    output: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let persist = true;
    let _: OrderReport = arguments
        .daemon
        .post("/v1/resume", &SuspendRequest { persist })?;
    writeln!(output, "rules are in force again")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints which rule was found.
fn print_rule(output: &mut dyn Write, report: &OrderReport, done: &str) -> anyhow::Result<()> {
    let Some(rule) = &report.rule else {
        return Ok(());
    };
    let neighbors: Vec<_> = report.neighbors.iter().map(ToString::to_string).collect();
    let announced = match neighbors.as_slice() {
        [] => "nobody at the moment".to_owned(),
        neighbors => neighbors.join(", "),
    };
    writeln!(output, "{done}: {}, {}", rule.family, rule.flow)?;
    writeln!(output, "announced by {announced}")?;
    Ok(())
}
