//! The kernel against the reference evaluator: random Flow Specifications, thousands of real packets, no difference.
//!
//! `FLOWACL_SEED` repeats a run, `FLOWACL_CASES` sets the number of rule sets.

#[path = "../network/mod.rs"]
mod network;
mod specifications;
mod traffic;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::Counter;
use dataplane::desired::Changes;
use dataplane::packet::Packet;
use dataplane::rule::{Family, OrderKey, Rule, RuleId};
use flowacl::engine::lower::lower;
use flowacl::flowspec::matches::evaluate;
use flowacl::lab::Lab;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use network::{Fate, Trial, available, settings};
use specifications::{Route, route};

/// Rule sets in a run that is not told otherwise.
const CASES: u64 = 40;
/// Such a run ends after this.
const TIME: Duration = Duration::from_secs(40);

/// A route, and the rule that it became.
struct Installed {
    route: Route,
    rule: Arc<Rule>,
    counter: Counter,
}

/// Routes in the order of their precedence.
type Routes = BTreeMap<(Family, OrderKey), Installed>;

/// A number from the environment.
fn from_environment(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
    )
}

#[test]
fn kernel_agrees_with_the_reference_evaluator() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let seed = from_environment("FLOWACL_SEED").unwrap_or_else(|| rand::rng().random());
    let cases = from_environment("FLOWACL_CASES");
    let mut trial = Trial::start(lab, settings(), &[]);
    let start = Instant::now();
    let mut case = 0;
    let (mut rules, mut packets) = (0, 0);
    while case < cases.unwrap_or(CASES) && (cases.is_some() || start.elapsed() < TIME) {
        println!("FLOWACL_SEED={} FLOWACL_CASES=1", seed.wrapping_add(case));
        let (some_rules, some_packets) = run_case(&mut trial, seed.wrapping_add(case));
        rules += some_rules;
        packets += some_packets;
        case += 1;
    }
    println!("{case} rule sets, {rules} rules, {packets} packets, no difference");
}

/// Three sets of rules, each a change of the one before; returns the numbers of rules and packets.
fn run_case(trial: &mut Trial, seed: u64) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut routes = Routes::new();
    let mut next_id = 0;
    trial.install(&[]);
    let (mut rule_count, mut packet_count) = (0, 0);
    for _ in 0..3 {
        let changes = change(&mut random, &mut routes, &mut next_id);
        trial.commit(&changes);
        let targets: Vec<_> = routes
            .values()
            .map(|installed| &installed.route.nlri)
            .collect();
        let packets = traffic::packets(&mut random, &targets, 15, 200);
        compare(trial, &mut routes, &packets);
        rule_count += routes.len();
        packet_count += packets.len();
    }
    (rule_count, packet_count)
}

/// Takes some routes away, changes the actions of some and adds some.
fn change(random: &mut StdRng, routes: &mut Routes, next_id: &mut u64) -> Changes {
    let mut changes = Changes::default();
    for key in routes.keys().cloned().collect::<Vec<_>>() {
        if random.random_bool(0.3) {
            routes.remove(&key);
            changes.remove.push(key);
        } else if random.random_bool(0.1) {
            let installed = routes.get_mut(&key).expect("a key of this map");
            installed.route.actions = specifications::actions(random);
            // The same id: the counter goes on.
            let id = installed.rule.id;
            installed.rule = compile(&installed.route, id);
            changes.put.push(installed.rule.clone());
        }
    }
    for _ in 0..random.random_range(1..=60) {
        *next_id += 1;
        let route = route(random);
        let rule = compile(&route, RuleId(*next_id));
        let key = (rule.family, rule.order.clone());
        changes.remove.retain(|removed| *removed != key);
        changes
            .put
            .retain(|put| (put.family, put.order.clone()) != key);
        changes.put.push(rule.clone());
        let counter = Counter::default();
        routes.insert(
            key,
            Installed {
                route,
                rule,
                counter,
            },
        );
    }
    changes
}

/// The rule for a route.
fn compile(route: &Route, id: RuleId) -> Arc<Rule> {
    let lowered = lower(&route.nlri, &route.actions, id);
    Arc::new(lowered.expect("no action here is unsupported").rule)
}

/// Sends packets and holds what becomes of them, and the counters of all rules, against the reference evaluator.
fn compare(trial: &mut Trial, routes: &mut Routes, packets: &[Vec<u8>]) {
    let outcome = trial.send(packets);
    let mut differences = Vec::new();
    for (index, octets) in packets.iter().enumerate() {
        let packet = Packet::parse(octets).expect("made to be forwarded");
        let mut of_family: Vec<_> = routes
            .iter_mut()
            .filter(|((family, _), _)| *family == packet.family)
            .map(|(_, installed)| installed)
            .collect();
        let rules = of_family.iter().map(|installed| &installed.route);
        let verdict = evaluate(rules.map(|route| (&route.nlri, &route.actions)), &packet);
        let expected = match verdict.dropped {
            true => Fate::Dropped,
            false => Fate::Passed(verdict.marked_dscp.unwrap_or(packet.dscp)),
        };
        for position in &verdict.matched {
            let counter = &mut of_family[*position].counter;
            counter.packets += 1;
            counter.bytes += packet.packet_length.map_or(octets.len() as u64, u64::from);
        }
        let (kernel, sim) = (outcome.kernel[index], outcome.sim[index]);
        if (kernel, sim) != (expected, expected) {
            let matched = verdict
                .matched
                .iter()
                .map(|position| &of_family[*position].rule.label);
            differences.push(format!(
                "{packet:?}\n  {}\n  expected {expected:?}, kernel {kernel:?}, sim {sim:?}\n  matching rules: {:#?}",
                hex::encode(&octets[..octets.len().min(120)]),
                matched.collect::<Vec<_>>(),
            ));
        }
    }
    let mut expected: Vec<_> = routes
        .values()
        .map(|installed| (installed.rule.id, installed.counter))
        .collect();
    expected.sort_by_key(|(id, _)| *id);
    for (name, counters) in [
        ("kernel", &outcome.kernel_counters),
        ("sim", &outcome.sim_counters),
    ] {
        for (expected, counted) in expected.iter().zip(counters) {
            if expected != counted {
                let rule = routes
                    .values()
                    .find(|installed| installed.rule.id == expected.0);
                differences.push(format!(
                    "expected {expected:?}, {name} counted {counted:?}: {:?}",
                    rule.map(|installed| &installed.rule.label)
                ));
            }
        }
        assert_eq!(expected.len(), counters.len(), "counters of {name}");
    }
    if !differences.is_empty() {
        let shown = differences.len().min(5);
        let rules: Vec<_> = routes
            .values()
            .map(|installed| installed.rule.clone())
            .collect();
        if let Ok(path) = env::var("FLOWACL_DUMP") {
            std::fs::write(path, trial.describe(&rules)).expect("the file can be written");
        }
        panic!(
            "{} differences with {} rules, among them:\n{}",
            differences.len(),
            rules.len(),
            differences[..shown].join("\n")
        );
    }
}
