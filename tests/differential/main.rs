//! The kernel against the reference evaluator: sets of 1 to 5,000 Flow Specifications that overlap on purpose, sequences
//! of commits, and after each commit thousands of real packets: verdicts, marks and counters without a difference.
//!
//! `FLOWACL_SEED` repeats a run, `FLOWACL_CASES` sets the number of rule sets, `FLOWACL_RULES` their size.
//! `FLOWACL_DUMP` names a file for the ruleset of a failure.

mod kinds;
mod lists;
mod model;
#[path = "../network/mod.rs"]
mod network;
mod pairs;
mod populations;
mod shrink;
mod specifications;
mod traffic;

use std::env;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, Recovered};
use dataplane::desired::{InterfacePattern, Redirects, Sample, Settings, Unreachable};
use dataplane::guard::Guard;
use dataplane::nft::Nftables;
use dataplane::packet::Packet;
use dataplane::rule::{AddressPattern, Family};
use flowacl::lab::Lab;
use flowacl::wire::nlri::{Component, Nlri};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use model::{Extent, Model, Reference};
use network::{Outcome, Trial, available, settings};
use populations::Population;
use specifications::fate;
use traffic::Hosts;

/// The largest set of rules in a run that is not told otherwise.
const MAX_RULES: u64 = 5_000;
/// Such a run begins no new set after this.
const TIME: Duration = Duration::from_secs(50);
/// The most packets after one commit.
const MAX_PACKETS: usize = 3_000;
/// Packets that are aimed at no rule.
const STRAY_PACKETS: usize = 100;

/// What a run has done.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    commits: usize,
    rules_put: usize,
    largest: usize,
    packets: usize,
    /// Packets that rules are applied to.
    matched: usize,
    /// Packets that two rules or more match, whether they are reached or not.
    contested: usize,
    counters: usize,
    /// Counters that are not zero.
    counting: usize,
}

/// One step of a case.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// As many routes as the case has.
    Fill,
    /// One change.
    One,
    /// A few changes.
    Few,
    /// A tenth of the routes.
    Some,
    /// Half of the routes.
    Half,
    /// Withdraws everything.
    Empty,
    /// Other settings.
    Settings,
    /// Another process takes over, with a few changes.
    Restart,
}

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
    let mut tally = Tally::default();
    while cases.map_or(start.elapsed() < TIME, |cases| tally.cases < cases) {
        let seed = seed.wrapping_add(tally.cases);
        let mut random = StdRng::seed_from_u64(seed);
        // As many small sets as large ones: most differences need few rules.
        let exponent = random.random_range(0.0..=(MAX_RULES as f64).ln());
        let size = from_environment("FLOWACL_RULES").unwrap_or(exponent.exp().round() as u64);
        println!("FLOWACL_SEED={seed} FLOWACL_RULES={size} FLOWACL_CASES=1");
        run_case(&mut trial, &mut random, size as usize, &mut tally);
        tally.cases += 1;
    }
    println!("{:.0?}, no difference: {tally:?}", start.elapsed());
}

/// A sequence of commits, compared after each.
fn run_case(trial: &mut Trial, random: &mut StdRng, size: usize, tally: &mut Tally) {
    let mut population = Population::new(random);
    let mut model = Model::default();
    trial.install(&[]);
    reconfigure(trial, &settings());
    let mut steps = vec![Step::Fill];
    for _ in 0..random.random_range(5..=9) {
        let choices = [
            Step::One,
            Step::Few,
            Step::Few,
            Step::Some,
            Step::Half,
            Step::Empty,
            Step::Settings,
            Step::Restart,
        ];
        steps.extend(choices.choose(random));
        if let Some(Step::Empty) = steps.last() {
            steps.push(Step::Fill);
        }
    }
    for step in steps {
        if let Step::Settings = step {
            reconfigure(trial, &other_settings(random));
        } else if let Step::Restart = step {
            restart(trial, random, &mut population, &mut model);
        } else {
            let extent = extent(step, random, size, model.installed.len());
            let changes = model.change(random, &mut population, extent);
            tally.rules_put += changes.put.len();
            trial.commit(&changes);
        }
        let packets = packets(random, &model);
        let outcome = trial.send(&packets);
        compare(
            trial,
            &mut model,
            &packets,
            &outcome,
            &format!("{step:?}"),
            tally,
        );
        let repaired = trial.kernel.audit().unwrap().is_some();
        assert!(!repaired, "{step:?}: a repair where nothing was broken");
        tally.commits += 1;
        tally.packets += packets.len();
        tally.largest = tally.largest.max(model.installed.len());
        tally.counters += model.installed.len();
        let counters = outcome.kernel_counters.iter();
        tally.counting += counters.filter(|(_, counter)| counter.packets > 0).count();
    }
}

/// Applies other settings to both packet filters; rules and counters stay.
fn reconfigure(trial: &mut Trial, settings: &Settings) {
    trial.sim.reconfigure(settings, &[]).unwrap();
    trial.kernel.reconfigure(settings, &[]).unwrap();
}

/// A new process finds what the one before left, and goes on with nearly the same rules; their counters go on, too.
fn restart(trial: &mut Trial, random: &mut StdRng, population: &mut Population, model: &mut Model) {
    // As a killed process does: without stopping.
    drop(std::mem::replace(&mut trial.kernel, Nftables::new()));
    let mut left: Vec<_> = model.rules();
    left.sort_by_key(|rule| rule.id);
    let few = 5.min(left.len());
    let extent = extent(Step::Few, random, few, left.len());
    model.change(random, population, extent);
    let (settings, rules) = (other_settings(random), model.rules());
    trial.installed = model.installed.keys().cloned().collect();
    trial.sim.resume(&settings, &[], &rules).unwrap();
    let (kernel, mut recovered) = trial.lab.router.run(move || {
        let mut kernel = Nftables::new();
        let recovered = kernel.recover().unwrap();
        kernel.resume(&settings, &[], &rules).unwrap();
        (kernel, recovered)
    });
    trial.kernel = kernel;
    recovered.sort_by_key(|rule| rule.id);
    let left: Vec<_> = left
        .iter()
        .map(|rule| Recovered {
            id: rule.id,
            memo: rule.memo(),
        })
        .collect();
    assert_eq!(recovered.len(), left.len(), "what the new process finds");
    for (recovered, left) in recovered.iter().zip(&left) {
        assert_eq!(recovered, left, "what the new process finds");
    }
}

/// How much a step changes.
fn extent(step: Step, random: &mut StdRng, size: usize, installed: usize) -> Extent {
    let mut spread = |total: usize| Extent {
        withdraw: random.random_range(0..=total),
        replace: random.random_range(0..=total / 2),
        announce: random.random_range(0..=total),
    };
    match step {
        Step::Fill => Extent {
            announce: size.saturating_sub(installed),
            ..Extent::default()
        },
        Step::One => match random.random_range(0..3) {
            0 => Extent {
                withdraw: 1,
                ..Extent::default()
            },
            1 => Extent {
                replace: 1,
                ..Extent::default()
            },
            _ => Extent {
                announce: 1,
                ..Extent::default()
            },
        },
        Step::Few => spread(10.min(size.div_ceil(2))),
        Step::Some => spread(size.div_ceil(10)),
        Step::Half => spread(size.div_ceil(2)),
        Step::Empty => Extent {
            withdraw: installed,
            ..Extent::default()
        },
        Step::Settings | Step::Restart => Extent::default(),
    }
}

/// Settings under which every packet here has the same fate as under any other.
fn other_settings(random: &mut StdRng) -> Settings {
    let pattern = ["upstream", "up*"].choose(random).copied();
    let guard = |random: &mut StdRng| {
        let (family, remote) = match random.random_bool(0.5) {
            true => (Family::Ipv6, 0x2001_0db8 << 96),
            false => (Family::Ipv4, 0xcb00_7105 << 96),
        };
        let remote = AddressPattern::new(remote, 0, random.random_range(0..=32));
        // Also a port that rules and packets have: only sessions of the router itself are protected.
        let port = *[179, 80, 53].choose(random).unwrap_or(&179);
        Guard::session(family, remote, port, "a session")
    };
    Settings {
        own_table: true,
        suspended: false,
        max_sources: u32::MAX,
        interfaces: vec![InterfacePattern::new(pattern.unwrap_or("up*")).unwrap()],
        guards: (0..random.random_range(0..4))
            .map(|_| guard(random))
            .collect(),
        sample: Sample {
            group: random.random_range(0..3),
            snap_length: *[0, 64, 128].choose(random).unwrap_or(&0),
            one_in: *[1, 2, 100].choose(random).unwrap_or(&1),
        },
        scratch_mark: *[0x7f00_0000, 0x0000_3f80, 0xff, 0xfff0_0000]
            .choose(random)
            .unwrap_or(&0x7f),
        redirect: Redirects {
            mark: 0x000f_0000,
            copy_mark: 0x0000_c000,
            unreachable: Unreachable::Discard,
            ..Redirects::default()
        },
    }
}

/// Packets aimed at rules, at pairs of rules, and at none.
fn packets(random: &mut StdRng, model: &Model) -> Vec<Vec<u8>> {
    let nlris: Vec<&Nlri> = model
        .installed
        .values()
        .map(|installed| &installed.route.nlri)
        .collect();
    let named: Vec<&Nlri> = nlris.choose_multiple(random, 100).copied().collect();
    let hosts = Hosts::of(random, &named);
    let mut targets = Vec::new();
    let aimed = match nlris.len() {
        0 => 0,
        rules => (20 * rules).clamp(150, MAX_PACKETS - STRAY_PACKETS),
    };
    for _ in 0..aimed {
        let first = random.random_range(0..nlris.len());
        // What stands beside it mostly has the same destination.
        let second = match random.random_bool(0.5) {
            true => random.random_range(0..nlris.len()),
            false => (first + random.random_range(1..=3)).min(nlris.len() - 1),
        };
        let mut components = nlris[first].components();
        if random.random_bool(0.5) && nlris[first].family() == nlris[second].family() {
            join(random, &mut components, nlris[second].components());
        }
        targets.push((nlris[first].family().is_ipv6(), components));
    }
    traffic::packets(random, &hosts, &targets, STRAY_PACKETS)
}

/// Adds what another rule asks for, so that a packet may match both.
fn join(random: &mut StdRng, components: &mut Vec<Component>, others: Vec<Component>) {
    for other in others {
        let same = components
            .iter_mut()
            .find(|component| component.code() == other.code());
        match same {
            None => components.push(other),
            // A packet has two ports: one for each.
            Some(Component::Numeric(_, ops)) if random.random_bool(0.7) => {
                if let Component::Numeric(_, others) = other {
                    ops.extend(others);
                }
            }
            Some(component) if random.random_bool(0.3) => *component = other,
            Some(_) => {}
        }
    }
}

/// Holds what became of packets, and the counters of all rules, against the reference evaluator.
fn compare(
    trial: &mut Trial,
    model: &mut Model,
    packets: &[Vec<u8>],
    outcome: &Outcome,
    when: &str,
    tally: &mut Tally,
) {
    let mut differences = Vec::new();
    let mut wrong = None;
    // Large sets are too many to look at for each packet.
    let every = if model.installed.len() > 100 { 10 } else { 1 };
    let mut reference = Reference::new(model);
    for (index, octets) in packets.iter().enumerate() {
        let packet = Packet::parse(octets).expect("made to be forwarded");
        let length_octets = packet.packet_length.map_or(octets.len() as u64, u64::from);
        let verdict = reference.evaluate(&packet, length_octets);
        tally.matched += usize::from(!verdict.matched.is_empty());
        if index % every == 0 && reference.matching(&packet).len() > 1 {
            tally.contested += every;
        }
        let expected = fate(&verdict, &packet, |position| {
            reference.actions(packet.family, position)
        });
        let (kernel, sim) = (outcome.kernel[index], outcome.sim[index]);
        if (kernel, sim) != (expected, expected) {
            wrong = wrong.or(Some(octets).filter(|_| kernel != expected));
            differences.push(format!(
                "{packet:?}\n  {}\n  expected {expected:?}, kernel {kernel:?}, sim {sim:?}\n  \
                 {} of these are reached: {:#?}",
                hex::encode(&octets[..octets.len().min(120)]),
                verdict.matched.len(),
                reference.matching(&packet),
            ));
        }
    }
    let expected = model.counters();
    for (name, counters) in [
        ("kernel", &outcome.kernel_counters),
        ("sim", &outcome.sim_counters),
    ] {
        assert_eq!(expected.len(), counters.len(), "{when}: counters of {name}");
        for (expected, counted) in expected.iter().zip(counters) {
            if expected != counted {
                let mut installed = model.installed.values();
                let rule = installed.find(|installed| installed.rule.id == expected.0);
                differences.push(format!(
                    "expected {expected:?}, {name} counted {counted:?}: {:?}",
                    rule.map(|installed| &installed.rule.label)
                ));
            }
        }
    }
    if differences.is_empty() {
        return;
    }
    let rules = model.rules();
    if let Ok(path) = env::var("FLOWACL_DUMP") {
        std::fs::write(path, trial.describe(&rules)).expect("the file can be written");
    }
    println!(
        "after {when}: {} differences with {} rules, among them:\n{}",
        differences.len(),
        rules.len(),
        differences[..differences.len().min(5)].join("\n")
    );
    if let Some(octets) = wrong {
        println!("{}", shrink::shrink(trial, model, octets));
    }
    panic!("{} differences", differences.len());
}
