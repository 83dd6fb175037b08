//! Flow Specifications in text form as rules.

use std::sync::Arc;

use dataplane::rule::{Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::text::{Flow, parse_flows};

/// Reads one flow.
pub fn flow(text: &str) -> Flow {
    let flows = parse_flows(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    flows.into_iter().next().unwrap()
}

/// The rules for flows; their ids are 1, 2 and so on.
pub fn rules(flows: &[Flow]) -> Vec<Arc<Rule>> {
    let lowered = flows.iter().zip(1..).map(|(flow, id)| {
        let lowered = lower(
            &flow.nlri,
            &flow.actions.clone().into(),
            RuleId(id),
            &Bindings::default(),
        )
        .unwrap();
        Arc::new(lowered.rule)
    });
    lowered.collect()
}

/// The rules for flows in text form: what they match and what they do.
pub fn rules_of(flows: &[(&str, &str)]) -> Vec<Arc<Rule>> {
    let parse = |(matches, then): &(&str, &str)| {
        flow(&format!(
            "flow route {{ match {{ {matches} }} then {{ {then} }} }}"
        ))
    };
    rules(&flows.iter().map(parse).collect::<Vec<_>>())
}
