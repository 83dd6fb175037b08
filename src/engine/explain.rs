//! Which installed rule decides a packet, and why.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::packet::Packet;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::bindings::Bindings;
use crate::flowspec::action::TrafficFilteringActions;
use crate::flowspec::matches::{Verdict, evaluate};
use crate::flowspec::text::format_match;
use crate::rib::Path;
use crate::wire::nlri::Nlri;

/// What the installed rules do to one packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// `discard`, `accept`, or `accept unless over a limit`; what became of the mark is in `dscp`.
    pub verdict: String,
    /// DSCP that the packet leaves with, when a rule marks it.
    pub dscp: Option<u8>,
    /// True when a copy goes to the sampling group.
    pub sampled: bool,
    /// What is done to the packet, in words, whichever rules ask for it: `discard`, rates, `mark`, redirects, copies and
    /// `sample`; `accept` when nothing is.
    #[serde(default)]
    pub taken: Vec<String>,
    /// All installed rules that match and are reached, in precedence order; the last one decides when `decided`.
    pub matched: Vec<MatchedRule>,
    /// False when the packet went past the last rule, so that the filter lets it through.
    pub decided: bool,
    /// Why no rule touches the packet, whatever rules there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<String>,
    /// Rules of the packet's family that were compared.
    pub compared: usize,
}

/// One rule that matches the packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchedRule {
    /// Normalised NLRI with its length octets, in hex.
    pub nlri: String,
    /// The Flow Specification's match in text form.
    pub flow: String,
    /// Who announced it.
    pub neighbor: IpAddr,
    /// Its actions in words.
    pub actions: Vec<String>,
    /// Why evaluation goes on behind it, or stops.
    pub then: String,
}

impl Engine {
    /// Evaluates the rules that are in the packet filter right now.
    pub fn explain(&self, packet: &Packet) -> Explanation {
        let spared = match self.is_suspended() {
            true => Some("panic: all rules are suspended".to_owned()),
            false => self.protection.of_packet(packet),
        };
        if spared.is_some() {
            return Explanation {
                protected: spared,
                ..explain(&[], packet, &self.bindings)
            };
        }
        let installed: Vec<(&Nlri, &Path)> = self
            .rib
            .iter()
            .filter(|(key, _)| self.enforcement.state(key).1.is_some())
            .filter_map(|(_, entry)| Some((entry.nlri(), entry.best()?)))
            .collect();
        explain(&installed, packet, &self.bindings)
    }
}

/// Evaluates rules that stand in precedence order.
fn explain(rules: &[(&Nlri, &Path)], packet: &Packet, bindings: &Bindings) -> Explanation {
    let verdict = evaluate(
        rules
            .iter()
            .map(|(nlri, path)| (*nlri, &*path.route.actions)),
        packet,
        |set| {
            let interface = packet.interface.as_deref();
            interface.is_some_and(|interface| bindings.admits(set, interface))
        },
    );
    let is_ipv6 = packet.family == dataplane::rule::Family::Ipv6;
    let matched = verdict.matched.iter().map(|position| {
        let (nlri, path) = rules[*position];
        let actions = &path.route.actions;
        let then = if actions.is_discard() {
            "drops the packet"
        } else if verdict.deciding == Some(*position) {
            "decides: no later rule is looked at"
        } else {
            "its T bit is set: evaluation goes on"
        };
        MatchedRule {
            nlri: hex::encode(nlri.encoded()),
            flow: format_match(nlri),
            neighbor: path.route.peer.address,
            actions: actions.describe(),
            then: {
                // An installed rule leads somewhere.
                let route = bindings
                    .route(actions, packet.family, &mut Vec::new())
                    .ok()
                    .flatten();
                let route = route.filter(|_| verdict.redirected_by == Some(*position));
                let redirect = route.map(|route| format!("sends the packet to {route}"));
                let copy = actions
                    .copy_to
                    .filter(|_| verdict.copied_by == Some(*position));
                let copy = copy.map(|address| format!("sends a copy to {address}"));
                let then = Some(then.to_owned());
                let words: Vec<String> = [redirect, copy, then].into_iter().flatten().collect();
                words.join("; ")
            },
        }
    });
    Explanation {
        verdict: if verdict.dropped {
            "discard"
        } else if verdict.limits.is_empty() && verdict.source_limits.is_empty() {
            "accept"
        } else {
            "accept unless over a limit"
        }
        .into(),
        dscp: verdict.marked_dscp,
        sampled: verdict.sampled,
        taken: taken(rules, &verdict),
        matched: matched.collect(),
        protected: None,
        decided: verdict.deciding.is_some(),
        compared: rules
            .iter()
            .filter(|(nlri, _)| nlri.family().is_ipv6() == is_ipv6)
            .count(),
    }
}

/// What is done to a packet, in words.
fn taken(rules: &[(&Nlri, &Path)], verdict: &Verdict) -> Vec<String> {
    let mut words = Vec::new();
    if verdict.dropped {
        words.push("discard".to_owned());
    }
    // Each part of the actions of the rule that has its way.
    let part = |position: usize, of: fn(&TrafficFilteringActions) -> TrafficFilteringActions| {
        of(&rules[position].1.route.actions).describe()
    };
    if !verdict.dropped {
        let of_source = verdict.source_limits.iter().map(|(rule, _)| *rule);
        let of_all = verdict.limits.iter().map(|(rule, _)| *rule);
        let limiting: BTreeSet<usize> = of_source.chain(of_all).collect();
        for rule in limiting {
            words.extend(part(rule, |actions| TrafficFilteringActions {
                rate_bytes_per_sec: actions.rate_bytes_per_sec,
                rate_packets_per_sec: actions.rate_packets_per_sec,
                rates_per_source: actions.rates_per_source.clone(),
                ..TrafficFilteringActions::default()
            }));
        }
        words.extend(verdict.marked_dscp.map(|dscp| format!("mark {dscp}")));
    }
    if let Some(rule) = verdict.redirected_by {
        words.extend(part(rule, |actions| TrafficFilteringActions {
            redirect_route_target: actions.redirect_route_target,
            redirect_next_hops: actions.redirect_next_hops.clone(),
            ..TrafficFilteringActions::default()
        }));
    }
    if let Some(rule) = verdict.copied_by {
        words.extend(part(rule, |actions| TrafficFilteringActions {
            copy_to: actions.copy_to,
            ..TrafficFilteringActions::default()
        }));
    }
    words.extend(verdict.sampled.then(|| "sample".to_owned()));
    if words.is_empty() {
        words.push("accept".to_owned());
    }
    words
}
