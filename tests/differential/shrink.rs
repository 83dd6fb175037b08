//! Fewer rules with the same fault, for a message.

use std::fmt::Write as _;

use dataplane::packet::Packet;
use flowacl::flowspec::matches::evaluate;

use crate::model::{Installed, Model};
use crate::network::Trial;
use crate::specifications::{INTERFACE, bindings, fate};

/// Sets of rules that are tried.
const TRIES: usize = 150;

/// The fewest rules with which the kernel treats the packet wrongly in a new table, or the information that the table's
/// history is needed for that.
pub fn shrink(trial: &mut Trial, model: &Model, octets: &[u8]) -> String {
    let packet = Packet::parse(octets).expect("made to be forwarded");
    let mut rules: Vec<&Installed> = model
        .installed
        .iter()
        .filter(|((family, _), _)| *family == packet.family)
        .map(|(_, installed)| installed)
        .collect();
    if !is_wrong(trial, &rules, &packet, octets) {
        return "in a new table the kernel does it right: the sequence of commits matters".into();
    }
    let mut tries = 0;
    let mut portion = rules.len().div_ceil(2);
    while tries < TRIES {
        let mut start = 0;
        while start < rules.len() && tries < TRIES {
            let end = (start + portion).min(rules.len());
            let fewer = [&rules[..start], &rules[end..]].concat();
            tries += 1;
            match is_wrong(trial, &fewer, &packet, octets) {
                true => rules = fewer,
                false => start = end,
            }
        }
        if portion == 1 {
            break;
        }
        portion = portion.div_ceil(2);
    }
    let mut text = format!("{} rules are enough in a new table:\n", rules.len());
    for installed in rules {
        let (rule, nlri) = (&installed.rule, &installed.route.nlri);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {nlri:?} {} {:?}", rule.id, rule.label);
    }
    text
}

/// True when the kernel's verdict or a counter is not that of the evaluator.
fn is_wrong(trial: &mut Trial, rules: &[&Installed], packet: &Packet, octets: &[u8]) -> bool {
    let compiled: Vec<_> = rules
        .iter()
        .map(|installed| installed.rule.clone())
        .collect();
    trial.install(&compiled);
    let outcome = trial.send(&[octets.to_vec()]);
    let routes = rules.iter().map(|installed| &installed.route);
    let verdict = evaluate(
        routes.map(|route| (&route.nlri, &route.actions)),
        packet,
        |set| bindings().admits(set, INTERFACE),
    );
    let expected = fate(&verdict, packet, |position| &rules[position].route.actions);
    let counted = |(id, counter): &(_, dataplane::backend::Counter)| {
        let matched = verdict.matched.iter().map(|position| rules[*position]);
        let times = matched.filter(|installed| installed.rule.id == *id).count();
        counter.packets != times as u64
    };
    outcome.kernel[0] != expected || outcome.kernel_counters.iter().any(counted)
}
