//! How much rules slow forwarding down: beside an empty table, and beside one linear list of the same rules.
//!
//!     cargo bench --bench forwarding                 10, 1,000, 10,000 and 100,000 rules
//!     cargo bench --bench forwarding -- 10 100000    these numbers of rules
//!
//! Needs root and `nft`. Rounds with rules and rounds without alternate on two routers of one build; what counts is the
//! median of the ratios of neighboring rounds, so that the machine's own speed cancels out.

/// Shared by the benches.
#[allow(dead_code, reason = "each bench uses a part")]
mod common {
    pub mod counts;
    pub mod linear;
    pub mod mix;
    pub mod random;
    pub mod report;
    pub mod traffic;
}

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::report::{headline, median, verdict};
use common::{counts, linear, mix, traffic};
use dataplane::backend::Backend;
use dataplane::desired::{Changes, InterfacePattern, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::{Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::text::Flow;
use flowacl::lab::{Lab, LabError, Passed, UPSTREAM};

/// Packets of one round.
const PACKETS: usize = 20_000;
/// Pairs of rounds.
const ROUNDS: usize = 31;
/// Pairs of rounds with the linear list.
const LINEAR_ROUNDS: usize = 3;
/// Longest linear list that is measured: a longer one takes minutes.
const LONGEST_LINEAR: usize = 10_000;

/// A kind of rule set.
struct Mix {
    /// Its name in the table.
    name: &'static str,
    /// Makes as many flows as asked for.
    flows: fn(usize) -> Vec<Flow>,
}

/// All kinds.
const MIXES: [Mix; 3] = [
    Mix {
        name: "hosts",
        flows: mix::hosts,
    },
    Mix {
        name: "sources",
        flows: mix::sources,
    },
    Mix {
        name: "blend",
        flows: mix::blend,
    },
];

/// The least share of the empty table's rate that so many rules may leave.
fn target(rules: usize) -> f64 {
    if rules <= 10_000 { 0.9 } else { 0.8 }
}

/// The rules of the flows.
fn compile(flows: &[Flow]) -> Vec<Arc<Rule>> {
    let rule = |(number, flow): (usize, &Flow)| {
        let id = RuleId(number as u64 + 1);
        let lowered = lower(
            &flow.nlri,
            &Arc::new(flow.actions.clone()),
            id,
            &Bindings::default(),
        );
        Arc::new(lowered.expect("it can be enforced").rule)
    };
    flows.iter().enumerate().map(rule).collect()
}

/// Takes possession of a network's router.
fn start(lab: &Lab) -> Nftables {
    let settings = Settings {
        interfaces: vec![InterfacePattern::new(UPSTREAM).expect("it is a name")],
        // As the daemon does. Of a table that is open somebody would listen for changes, which makes every
        // large transaction on the machine slower, whatever its namespace.
        own_table: true,
        ..Settings::default()
    };
    lab.router.run(move || {
        let mut kernel = Nftables::new();
        kernel.start(&settings, &[]).expect("nftables starts");
        kernel
    })
}

/// Puts and removes rules; returns how long that took.
fn commit(kernel: &mut Nftables, put: &[Arc<Rule>], remove: &[Arc<Rule>]) -> Duration {
    let changes = Changes {
        put: put.to_vec(),
        remove: remove
            .iter()
            .map(|rule| (rule.family, rule.order.clone()))
            .collect(),
    };
    let start = Instant::now();
    kernel.commit(&changes).expect("the kernel takes the rules");
    start.elapsed()
}

/// Fails unless the kernel has so many rules.
fn check_installed(kernel: &mut Nftables, count: usize) {
    let counters = kernel.counters().expect("the kernel answers");
    assert_eq!(counters.len(), count, "rules in the kernel");
}

/// How long one more rule takes to come, in milliseconds: the median of some.
fn one_more(kernel: &mut Nftables, rules: &[Arc<Rule>]) -> f64 {
    let one = &rules[rules.len() / 2..][..1];
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            commit(kernel, &[], one);
            check_installed(kernel, rules.len() - 1);
            commit(kernel, one, &[]).as_secs_f64() * 1e3
        })
        .collect();
    median(&mut times)
}

/// Fails unless every packet arrives.
fn check_forwarded(lab: &mut Lab, packets: &[Vec<u8>]) -> Result<(), LabError> {
    let passed = lab.pass(packets)?;
    let dropped = passed
        .iter()
        .filter(|passed| **passed == Passed::Dropped)
        .count();
    assert_eq!(dropped, 0, "packets that no rule matches are dropped");
    Ok(())
}

/// Packets a second in one round.
fn rate(lab: &mut Lab, packets: &[Vec<u8>], count: usize) -> Result<f64, LabError> {
    let before = lab.forwarded()?;
    let took = lab.flood(packets, count)?;
    let forwarded = lab.forwarded()? - before;
    let lost = (count as u64).saturating_sub(forwarded);
    assert!(
        lost <= count as u64 / 1_000,
        "{lost} of {count} packets were not forwarded"
    );
    Ok(count as f64 / took.as_secs_f64())
}

/// The median rate of `base`, and the median of the ratios of `other` to it.
fn compare(
    base: &mut Lab,
    (other, count): (&mut Lab, usize),
    packets: &[Vec<u8>],
    rounds: usize,
) -> Result<(f64, f64), LabError> {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let alone = rate(base, packets, PACKETS)?;
        rates.push(alone);
        ratios.push(rate(other, packets, count)? / alone);
    }
    Ok((median(&mut rates), median(&mut ratios)))
}

/// Measures one kind and number of rules and prints its row.
fn measure(empty: &mut Lab, mix: &Mix, count: usize) -> Result<(), LabError> {
    let rules = compile(&(mix.flows)(count));
    let packets = traffic::unmatched(&rules);
    let mut ruled = Lab::routed()?;
    let mut kernel = start(&ruled);
    let load = commit(&mut kernel, &rules, &[]);
    check_installed(&mut kernel, count);
    check_forwarded(&mut ruled, &packets)?;
    let (alone, ours) = compare(empty, (&mut ruled, PACKETS), &packets, ROUNDS)?;
    let one_more = one_more(&mut kernel, &rules);
    kernel.stop().expect("nftables stops");
    let listed = if count <= LONGEST_LINEAR {
        let mut listed = Lab::routed()?;
        linear::load(&listed, &rules);
        check_forwarded(&mut listed, &packets)?;
        // A long list is slow enough to be measured with fewer packets.
        let fewer = (PACKETS / (1 + count / 100)).max(1_000);
        let (_, ratio) = compare(empty, (&mut listed, fewer), &packets, LINEAR_ROUNDS)?;
        format!("{ratio:.3}")
    } else {
        "-".into()
    };
    let target = target(count);
    println!(
        "{:<8} {count:>7} {alone:>9.0} {ours:>7.3} {listed:>7} {:>6.0} ms {one_more:>7.2} ms   >= {target:.2}  {}",
        mix.name,
        load.as_secs_f64() * 1e3,
        verdict(ours >= target),
    );
    Ok(())
}

fn main() -> Result<(), LabError> {
    headline(
        "cargo bench --bench forwarding [-- RULES...]",
        "forwarding rate of packets that no rule matches, as a share of the rate with an empty table `inet flowacl`\n\
         hosts: destination /32, protocol, port; sources: prefixes of /8 to /32; blend: 15% other templates, 5% IPv6",
    );
    println!(
        "{:<8} {:>7} {:>9} {:>7} {:>7} {:>9} {:>10}   target",
        "mix", "rules", "empty/s", "ours", "linear", "load", "one more"
    );
    let mut empty = Lab::routed()?;
    let mut kernel = start(&empty);
    for mix in &MIXES {
        for count in counts::counts(&[10, 1_000, 10_000, 100_000]) {
            measure(&mut empty, mix, count)?;
        }
    }
    kernel.stop().expect("nftables stops");
    Ok(())
}
