//! A neighbor that changes its mind faster than the kernel takes it: the session lives, commits are few, memory stays,
//! and in the end the kernel holds what was said last.
//!
//! `FLOWACL_STORM_SECS` sets how long a steady storm lasts, `FLOWACL_STORM_ROUNDS` how often all rules change in a flood.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use flowacl::flowspec::text::Flow;

use crate::controller::{Controller, flow};
use crate::from_environment;
use crate::router::Router;
use crate::waiting::eventually;

/// Rules that come and go.
const RULES: usize = 2_000;
/// Rules that change in one step of a steady storm: announced, or withdrawn.
const STEP: usize = 500;
/// Time between two steps: 10,000 changes a second.
const PERIOD: Duration = Duration::from_millis(50);
/// The hold time of the session, the shortest there is (RFC 4271 §4.2).
const HOLD_SECS: u16 = 3;
/// Commits a second that are not too many.
const COMMITS_PER_SEC: u64 = 20;
/// By how much the daemon may grow in a flood, in KiB.
const GROWTH_KIB: u64 = 32 * 1024;

/// All rules of the storm.
fn rules() -> Vec<Flow> {
    let one = |number: usize| {
        let (high, low) = (number / 250, number % 250);
        let destination = format!("destination 203.0.{high}.{low}/32; protocol =udp;");
        flow(&destination, "discard;")
    };
    (0..RULES).map(one).collect()
}

/// Commits that the daemon has logged.
pub fn commits(router: &Router) -> u64 {
    let log = router.log();
    let numbers = log.split("commits=").skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    });
    numbers.sum()
}

/// Waits until exactly these rules are enforced; the session must be the first.
fn ends_with(router: &Router, wanted: &[Flow]) {
    let nlri = |flow: &Flow| hex::encode(flow.nlri.encoded());
    let wanted: BTreeSet<String> = wanted.iter().map(nlri).collect();
    eventually("the kernel has what was said last", || {
        let rules = router.show("rules")?;
        let rules = rules["rules"].as_array().into_iter().flatten();
        let installed = rules.filter(|rule| rule["state"] == "installed");
        let found: BTreeSet<String> = installed
            .filter_map(|rule| Some(rule["nlri"].as_str()?.to_owned()))
            .collect();
        let in_kernel = router.objects("counter").len();
        match found == wanted && in_kernel == wanted.len() {
            true => Ok(()),
            false => Err(format!(
                "{} rules of which {in_kernel} are in the kernel instead of {}",
                found.len(),
                wanted.len()
            )),
        }
    });
    let neighbors = router.show("neighbors").unwrap();
    assert_eq!(neighbors["neighbors"][0]["ups"], 1, "{}", router.log());
}

#[test]
fn a_steady_storm_costs_few_commits_and_no_session() {
    let Some(router) = Router::start(true) else {
        return;
    };
    let rules = rules();
    let secs = from_environment("FLOWACL_STORM_SECS", 5);
    let connect = || Controller::connect_with(HOLD_SECS);
    let mut controller = router.namespace().run(connect).unwrap();
    let silences = controller.watch().unwrap();
    controller.announce(&rules).unwrap();
    ends_with(&router, &rules);
    let (before, start) = (commits(&router), Instant::now());
    let mut next = start;
    let mut steps = rules.chunks(STEP).cycle();
    let mut gone: &[Flow] = &[];
    while start.elapsed() < Duration::from_secs(secs) {
        // One part comes back when the next one goes.
        controller.announce(gone).unwrap();
        gone = steps.next().unwrap();
        controller.withdraw(gone).unwrap();
        next += 2 * PERIOD;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    controller.announce(gone).unwrap();
    controller.withdraw(&rules[..STEP]).unwrap();
    ends_with(&router, &rules[STEP..]);
    let took = start.elapsed().as_secs_f64();
    // The log has them a second later.
    eventually("the last commits are logged", || {
        let (first, log) = (commits(&router), router.log());
        std::thread::sleep(Duration::from_millis(1_200));
        match commits(&router) == first && router.log() == log {
            true => Ok(()),
            false => Err("the log still grows".into()),
        }
    });
    let number = commits(&router) - before;
    println!("{number} commits in {took:.1} s");
    assert!(number > 0, "{}", router.log());
    let bound = (took * COMMITS_PER_SEC as f64) as u64;
    assert!(number <= bound, "{number} commits in {took:.1} s");
    let longest = silences.longest();
    let hold = Duration::from_secs(HOLD_SECS.into());
    assert!(longest < hold, "the daemon said nothing for {longest:?}");
}

#[test]
fn a_flood_ends_in_what_was_said_last() {
    let Some(router) = Router::start(true) else {
        return;
    };
    let rules = rules();
    let rounds = from_environment("FLOWACL_STORM_ROUNDS", 50);
    let connect = || Controller::connect_with(HOLD_SECS);
    let mut controller = router.namespace().run(connect).unwrap();
    let silences = controller.watch().unwrap();
    controller.announce(&rules).unwrap();
    ends_with(&router, &rules);
    let before = router.rss_kib();
    for _ in 0..rounds {
        controller.withdraw(&rules).unwrap();
        controller.announce(&rules).unwrap();
    }
    controller.withdraw(&rules[..STEP]).unwrap();
    ends_with(&router, &rules[STEP..]);
    let after = router.rss_kib();
    println!("{before} KiB before, {after} KiB after");
    assert!(
        after <= before + GROWTH_KIB,
        "{before} KiB, then {after} KiB"
    );
    let longest = silences.longest();
    let hold = Duration::from_secs(HOLD_SECS.into());
    assert!(longest < hold, "the daemon said nothing for {longest:?}");
}
