//! Prometheus metrics, made anew for each scrape from what the control API answers.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::report::{NeighborsReport, SummaryReport};
use crate::engine::status::{RouteCounts, RulesReport};

/// Label names and values.
type Labels = Vec<(&'static str, String)>;

/// The text that Prometheus reads.
pub(super) fn text(
    summary: &SummaryReport,
    neighbors: &NeighborsReport,
    rules: &RulesReport,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("flowacl");
    add_daemon(&mut registry, summary);
    add_neighbors(&mut registry, neighbors);
    add_rules(&mut registry, rules);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The daemon as a whole.
fn add_daemon(registry: &mut Registry, summary: &SummaryReport) {
    let info = Info::new(vec![
        ("version", summary.version.clone()),
        ("backend", summary.backend.clone()),
        ("router_id", summary.router_id.to_string()),
    ]);
    registry.register("build", "What runs", info);
    let settled: Gauge = Gauge::default();
    settled.set(summary.settled.into());
    registry.register(
        "settled",
        "1 when the packet filter is what the routes ask for",
        settled,
    );
    let suspended: Gauge = Gauge::default();
    suspended.set(summary.suspended.into());
    registry.register(
        "suspended",
        "1 while the operator has suspended all rules",
        suspended,
    );
    let disabled: Gauge = Gauge::default();
    disabled.set(i64::try_from(summary.disabled.len()).unwrap_or(i64::MAX));
    registry.register(
        "rules_disabled",
        "Rules that the operator has taken out of force",
        disabled,
    );
    let routes = family(
        registry,
        "routes",
        "Routes of all neighbors by what became of them",
    );
    set_routes(&routes, &[], &summary.routes);
    let refusals = family(
        registry,
        "routes_refused",
        "Routes that policy refuses, by what they are refused for",
    );
    for (kind, number) in &summary.refusals {
        set(&refusals, vec![("reason", kind.clone())], *number);
    }
    let refused: Counter = Counter::default();
    refused.inc_by(summary.strangers_refused);
    registry.register(
        "strangers_refused",
        "Connections of nobody who is configured",
        refused,
    );
}

/// One neighbor after the other.
fn add_neighbors(registry: &mut Registry, report: &NeighborsReport) {
    let up = family(
        registry,
        "neighbor_up",
        "1 while the session is established",
    );
    let routes = family(registry, "neighbor_routes", "Routes by what became of them");
    let ups: Family<Labels, Counter> = family(
        registry,
        "neighbor_session_ups",
        "Times that the session came up",
    );
    let messages: Family<Labels, Counter> =
        family(registry, "neighbor_messages", "BGP messages by direction");
    let malformed: Family<Labels, Counter> = family(
        registry,
        "neighbor_malformed_updates",
        "UPDATEs with errors",
    );
    for neighbor in &report.neighbors {
        let label = ("neighbor", neighbor.address.to_string());
        set(
            &up,
            vec![label.clone()],
            usize::from(neighbor.is_established()),
        );
        set_routes(&routes, std::slice::from_ref(&label), &neighbor.routes);
        ups.get_or_create(&vec![label.clone()]).inc_by(neighbor.ups);
        let directions = [
            ("received", neighbor.messages_received),
            ("sent", neighbor.messages_sent),
        ];
        for (direction, number) in directions {
            let labels = vec![label.clone(), ("direction", direction.to_owned())];
            messages.get_or_create(&labels).inc_by(number);
        }
        malformed
            .get_or_create(&vec![label])
            .inc_by(neighbor.malformed_updates);
    }
}

/// Counters of the routes that have any.
fn add_rules(registry: &mut Registry, report: &RulesReport) {
    let packets: Family<Labels, Counter> =
        family(registry, "rule_packets", "Packets that matched the rule");
    let bytes: Family<Labels, Counter> = family(
        registry,
        "rule_bytes",
        "Octets of IP packets that matched the rule",
    );
    for rule in report.rules.iter().filter(|rule| rule.packets > 0) {
        let labels = vec![
            ("family", rule.family.clone()),
            ("nlri", rule.nlri.clone()),
            ("flow", rule.flow.clone()),
            ("neighbor", rule.neighbor.clone()),
        ];
        packets.get_or_create(&labels).inc_by(rule.packets);
        bytes.get_or_create(&labels).inc_by(rule.bytes);
    }
}

/// A new family in the registry.
fn family<M: Default + fmt::Debug + Send + Sync + 'static>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<Labels, M>
where
    Family<Labels, M>: Metric,
{
    let family = Family::<Labels, M>::default();
    registry.register(name, help, family.clone());
    family
}

/// Sets one gauge.
fn set(family: &Family<Labels, Gauge>, labels: Labels, value: usize) {
    family
        .get_or_create(&labels)
        .set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Sets one gauge for each state of routes.
fn set_routes(
    family: &Family<Labels, Gauge>,
    labels: &[(&'static str, String)],
    routes: &RouteCounts,
) {
    let states = [
        ("installed", routes.installed),
        ("pending", routes.pending),
        ("rejected", routes.rejected),
        ("unsupported", routes.unsupported),
        ("shadowed", routes.shadowed),
        ("stale", routes.stale),
        (
            "not_kept",
            usize::try_from(routes.not_kept).unwrap_or(usize::MAX),
        ),
    ];
    for (state, number) in states {
        let mut labels = labels.to_vec();
        labels.push(("state", state.to_owned()));
        set(family, labels, number);
    }
}
