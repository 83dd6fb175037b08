//! `flowacl show`: the state of the running daemon.

use std::io::Write;
use std::process::ExitCode;

use super::ask::Daemon;
use super::table::{self, Align, Heading};
use crate::engine::status::{RouteCounts, RouteState, RuleStatus, RulesReport};
use crate::io::report::{DataplaneReport, NeighborStatus, NeighborsReport, SummaryReport};

/// Show the state of the running daemon
///
/// `rules` are all received Flow Specifications in precedence order, with what became of each: `installed` ones are
/// enforced, all others say why not. `neighbors` are the BGP sessions, `dataplane` is what the packet filter says of itself,
/// `summary` is the whole in a few lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl show rules
  flowacl show rules --wide | grep 203.0.113.5
  flowacl show rules --json | jq '.rules[] | select(.state != \"installed\") | .reason'
  flowacl show neighbors --socket /tmp/flowacl-lab.sock")]
pub(super) struct Arguments {
    /// What to show
    #[arg(value_enum)]
    what: What,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not fit the table to the terminal
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// All routes and what became of them
    Rules,
    /// BGP sessions
    Neighbors,
    /// The whole in a few lines
    Summary,
    /// What the packet filter says of itself
    Dataplane,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Arguments {
        what,
        json,
        wide,
        daemon,
    } = arguments;
    match what {
        What::Rules => {
            let report: RulesReport = daemon.get("/v1/rules")?;
            match json {
                true => super::print_json(output, &report)?,
                false => print_rules(output, &report.rules, *wide)?,
            }
        }
        What::Neighbors => {
            let report: NeighborsReport = daemon.get("/v1/neighbors")?;
            match json {
                true => super::print_json(output, &report)?,
                false => print_neighbors(output, &report, *wide)?,
            }
        }
        What::Summary => {
            let report: SummaryReport = daemon.get("/v1/summary")?;
            match json {
                true => super::print_json(output, &report)?,
                false => print_summary(output, &report)?,
            }
        }
        What::Dataplane => {
            let report: DataplaneReport = daemon.get("/v1/dataplane")?;
            match json {
                true => super::print_json(output, &report)?,
                false => print_dataplane(output, &report)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints routes with their counters.
fn print_rules(output: &mut dyn Write, rules: &[RuleStatus], wide: bool) -> anyhow::Result<()> {
    if rules.is_empty() {
        writeln!(output, "no routes")?;
        return Ok(());
    }
    let headings = [
        Heading("STATE", Align::Left),
        Heading("FLOW", Align::Text),
        Heading("PACKETS", Align::Right),
        Heading("BYTES", Align::Right),
        Heading("NEIGHBOR", Align::Left),
        Heading("AGE", Align::Right),
    ];
    let row = |rule: &RuleStatus| {
        vec![
            state_name(rule.state).to_owned(),
            flow_cell(rule, wide),
            rule.packets.to_string(),
            table::octets(rule.bytes),
            match rule.path_id {
                Some(id) => format!("{} path {id}", rule.neighbor),
                None => rule.neighbor.clone(),
            },
            table::duration(rule.age_secs),
        ]
    };
    table::print(output, &headings, rules.iter().map(row).collect(), wide)?;
    Ok(())
}

/// Prints routes that nobody has announced yet.
pub(super) fn print_plan(
    output: &mut dyn Write,
    rules: &[RuleStatus],
    wide: bool,
) -> anyhow::Result<()> {
    let has_entries = rules.iter().any(|rule| rule.entries.is_some());
    let mut headings = vec![Heading("STATE", Align::Left), Heading("FLOW", Align::Text)];
    if has_entries {
        headings.push(Heading("ENTRIES", Align::Right));
    }
    let row = |rule: &RuleStatus| {
        let mut row = vec![state_name(rule.state).to_owned(), flow_cell(rule, wide)];
        if has_entries {
            let entries = rule.entries.map(|entries| entries.to_string());
            row.push(entries.unwrap_or_else(|| "-".into()));
        }
        row
    };
    table::print(output, &headings, rules.iter().map(row).collect(), wide)?;
    Ok(())
}

/// What a route matches, what it does, why it is not enforced, and what else there is to know of it.
fn flow_cell(rule: &RuleStatus, wide: bool) -> String {
    let separator = if wide { "  " } else { "\n" };
    let mut cell = format!(
        "{}{separator}-> {}",
        match_of(&rule.flow),
        rule.actions.join(", ")
    );
    if !rule.protected.is_empty() {
        let spared = rule.protected.join(", ");
        cell = format!("{cell}{separator}# does not touch protected traffic: {spared}");
    }
    for line in rule.reason.iter().chain(&rule.notes) {
        cell = format!("{cell}{separator}# {line}");
    }
    cell
}

/// The components of a flow in text form, without what all flows have around them.
fn match_of(flow: &str) -> &str {
    let inside = flow
        .split_once("match {")
        .and_then(|(_, rest)| rest.split_once('}'));
    let components = inside.map_or(flow, |(components, _)| components).trim();
    if components.is_empty() {
        flow
    } else {
        components
    }
}

/// The state as JSON has it.
fn state_name(state: RouteState) -> &'static str {
    match state {
        RouteState::Installed => "installed",
        RouteState::Pending => "pending",
        RouteState::Rejected => "rejected",
        RouteState::Unsupported => "unsupported",
        RouteState::Shadowed => "shadowed",
        RouteState::Stale => "stale",
    }
}

/// Prints the sessions.
fn print_neighbors(
    output: &mut dyn Write,
    report: &NeighborsReport,
    wide: bool,
) -> anyhow::Result<()> {
    let headings = [
        Heading("NEIGHBOR", Align::Left),
        Heading("AS", Align::Right),
        Heading("STATE", Align::Left),
        Heading("UP", Align::Right),
        Heading("RECEIVED", Align::Right),
        Heading("INSTALLED", Align::Right),
        Heading("REFUSED", Align::Right),
        Heading("NOTE", Align::Left),
    ];
    let row = |neighbor: &NeighborStatus| {
        let routes = &neighbor.routes;
        vec![
            neighbor.address.to_string(),
            neighbor.remote_as.to_string(),
            neighbor.state.clone(),
            neighbor
                .uptime_secs
                .map(table::duration)
                .unwrap_or_default(),
            routes.received.to_string(),
            routes.installed.to_string(),
            refused(routes).to_string(),
            neighbor
                .last_error
                .clone()
                .or_else(|| neighbor.description.clone())
                .unwrap_or_default(),
        ]
    };
    if report.neighbors.is_empty() {
        writeln!(output, "no neighbors")?;
    } else {
        table::print(
            output,
            &headings,
            report.neighbors.iter().map(row).collect(),
            wide,
        )?;
    }
    for dynamic in &report.dynamic {
        writeln!(
            output,
            "open to {} of AS {}: {} connected",
            dynamic.prefix, dynamic.remote_as, dynamic.neighbors
        )?;
    }
    Ok(())
}

/// Routes that a neighbor announced in vain.
fn refused(routes: &RouteCounts) -> u64 {
    let kept = routes.rejected + routes.unsupported;
    routes
        .not_kept
        .saturating_add(u64::try_from(kept).unwrap_or(u64::MAX))
}

/// Prints the whole in a few lines.
fn print_summary(output: &mut dyn Write, report: &SummaryReport) -> anyhow::Result<()> {
    writeln!(
        output,
        "flowacl {}: AS {}, router id {}, up {}",
        report.version,
        report.local_as,
        report.router_id,
        table::duration(report.uptime_secs)
    )?;
    writeln!(
        output,
        "neighbors   {} of {} established",
        report.established, report.neighbors
    )?;
    let routes = &report.routes;
    writeln!(
        output,
        "routes      {} received: {} installed, {} pending, {} shadowed, {} refused",
        routes.received,
        routes.installed,
        routes.pending,
        routes.shadowed,
        refused(routes)
    )?;
    if routes.stale > 0 {
        writeln!(
            output,
            "stale       {} of them, kept from before the restart until they are resent",
            routes.stale
        )?;
    }
    if report.suspended {
        writeln!(
            output,
            "PANIC       no rule is in force: suspended by the operator, until `flowacl resume`"
        )?;
    }
    for rule in &report.disabled {
        writeln!(output, "disabled    {}: {}", rule.family, rule.flow)?;
    }
    let settled = if report.settled {
        "up to date"
    } else {
        "changes on their way"
    };
    writeln!(output, "data plane  {}, {settled}", report.backend)?;
    if report.strangers_refused > 0 {
        writeln!(
            output,
            "refused     {} connections of strangers",
            report.strangers_refused
        )?;
    }
    Ok(())
}

/// Prints what the packet filter says of itself.
fn print_dataplane(output: &mut dyn Write, report: &DataplaneReport) -> anyhow::Result<()> {
    let width = report
        .facts
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let width = width.max("backend".len());
    writeln!(output, "{:width$}  {}", "backend", report.backend)?;
    for (label, value) in &report.facts {
        writeln!(output, "{label:width$}  {value}")?;
    }
    for warning in &report.warnings {
        writeln!(output, "warning: {warning}")?;
    }
    Ok(())
}
