//! Any sequence of changes: the hardware does what the reference evaluator says, and in between nothing else than what it says
//! before or after.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::Changes;
use dataplane::packet::Packet;
use dataplane::rule::{Family, OrderKey, Rule, RuleId};
use dataplane::sonic::Mode;
use flowacl::flowspec::text::Flow;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use crate::asic::{Asic, Fate};
use crate::flows::{random_flow, random_packet};
use crate::scene::{Scene, rule};

/// Commits of a run that is not told otherwise.
const STEPS: u64 = 25;
/// Packets whose fate is noted at every moment of a commit.
const PROBES: usize = 60;
/// Packets after each commit.
const PACKETS: usize = 500;

fn from_environment(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What is wanted after a step.
type Wanted = BTreeMap<(Family, OrderKey), (Flow, Arc<Rule>)>;

/// What a run has done.
#[derive(Debug, Default)]
struct Tally {
    commits: usize,
    put: usize,
    removed: usize,
    unsupported: usize,
    without_room: usize,
    dropped: usize,
    forwarded: usize,
    changed_fates: usize,
}

/// A random change; `None` where it is none.
fn change(
    scene: &mut Scene,
    random: &mut StdRng,
    next_id: &mut u64,
    tally: &mut Tally,
) -> (Changes, Wanted) {
    let mut wanted = scene.installed.clone();
    let mut changes = Changes::default();
    let few = random.random_bool(0.7);
    let most = if few { 3 } else { 40 };
    let withdrawn = random.random_range(0..=most);
    for key in scene.installed.keys().choose_multiple(random, withdrawn) {
        wanted.remove(key);
        changes.remove.push(key.clone());
    }
    let capability = scene.backend.capability();
    for _ in 0..random.random_range(0..=most) {
        let flow = random_flow(random);
        let mut new = rule(&flow, *next_id + 1);
        let key = (new.family, new.order.clone());
        if let Some((_, old)) = scene.installed.get(&key) {
            // The same route with other actions keeps its id.
            new = rule(&flow, old.id.0);
        } else if let Some((_, twice)) = wanted.get(&key) {
            new = rule(&flow, twice.id.0);
        } else {
            *next_id += 1;
        }
        if capability.check(&new).is_err() {
            tally.unsupported += 1;
            continue;
        }
        changes.remove.retain(|removed| *removed != key);
        changes
            .put
            .retain(|put| (put.family, &put.order) != (key.0, &key.1));
        changes.put.push(new.clone());
        wanted.insert(key, (flow, new));
    }
    (changes, wanted)
}

/// Commits as the engine does: what there is no room for is left out.
fn commit(scene: &mut Scene, mut changes: Changes, mut wanted: Wanted, tally: &mut Tally) {
    loop {
        match scene.backend.commit(&changes) {
            Ok(()) => {
                tally.commits += 1;
                tally.put += changes.put.len();
                tally.removed += changes.remove.len();
                scene.installed = wanted;
                return;
            }
            Err(BackendError::NoRoom(rules)) => {
                assert!(!rules.is_empty());
                tally.without_room += rules.len();
                let named: Vec<RuleId> = rules.iter().map(|(id, _)| *id).collect();
                let before = changes.put.len();
                changes.put.retain(|rule| !named.contains(&rule.id));
                assert!(
                    changes.put.len() < before,
                    "{rules:?} are not of this commit"
                );
                for (key, (_, rule)) in wanted.clone() {
                    if named.contains(&rule.id) {
                        match scene.installed.get(&key) {
                            Some(old) => wanted.insert(key, old.clone()),
                            None => wanted.remove(&key),
                        };
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn run(mode: Mode, asic: Asic, range_checkers: Option<usize>) {
    let tight = asic.capacity.is_some() || range_checkers.is_some();
    let scene = Scene::start_with(mode, asic, |options| dataplane::sonic::Options {
        range_checkers,
        priorities: (1, if tight { 160 } else { 400 }),
        ..options
    });
    let Some(mut scene) = scene else { return };
    let seed = from_environment("FLOWACL_SEED").unwrap_or_else(|| rand::rng().random());
    println!("FLOWACL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let mut next_id = 0;
    for step in 0..from_environment("FLOWACL_STEPS").unwrap_or(STEPS) {
        let (changes, wanted) = change(&mut scene, &mut random, &mut next_id, &mut tally);
        let probes: Vec<Packet> = (0..PROBES).map(|_| random_packet(&mut random)).collect();
        let before: Vec<Fate> = probes.iter().map(|probe| scene.reference(probe)).collect();
        scene.orchagent().asic().watch(probes);
        commit(&mut scene, changes, wanted, &mut tally);
        let seen = std::mem::take(&mut scene.orchagent().asic().probes);
        for ((probe, fates), before) in seen.iter().zip(before) {
            let after = scene.reference(probe);
            tally.changed_fates += usize::from(before != after);
            // A change that was tried and undone passes through its own states, too.
            for fate in fates.iter().filter(|_| !tight) {
                assert!(
                    *fate == before || *fate == after,
                    "step {step}: {before:?} to {after:?} by way of {fate:?}: {probe:?}"
                );
            }
        }
        for _ in 0..PACKETS {
            let packet = random_packet(&mut random);
            scene.check(&packet);
            match scene.reference(&packet) {
                Fate::Dropped => tally.dropped += 1,
                Fate::Forwarded => tally.forwarded += 1,
            }
        }
        assert_eq!(scene.backend.audit().unwrap(), None, "step {step}");
        assert_eq!(scene.backend.impaired(), [], "step {step}");
        if step % 8 == 7 {
            let created = scene.orchagent().asic().created;
            let ids = scene.restart();
            let expected: usize = scene.rules().len();
            assert!(ids.len() <= expected);
            let lost: Vec<_> = scene
                .rules()
                .into_iter()
                .filter(|rule| !ids.contains(&rule.id))
                .collect();
            // What no packet can match leaves nothing to be found.
            for rule in lost {
                scene.installed.remove(&(rule.family, rule.order.clone()));
            }
            let asic = scene.orchagent().asic();
            assert!(
                tight || asic.created == created,
                "what was there was written anew"
            );
        }
    }
    println!("{tally:?}");
    assert!(tally.dropped > 0 && tally.forwarded > 0 && tally.changed_fates > 0);
}

#[test]
fn changes_by_way_of_config_db() {
    run(Mode::ConfigDb, Asic::default(), None);
}

#[test]
fn changes_by_way_of_appl_db() {
    run(Mode::ApplDb, Asic::default(), None);
}

#[test]
fn changes_in_a_full_table() {
    let asic = Asic {
        capacity: Some(60),
        range_checkers: Some(8),
        ..Asic::default()
    };
    run(Mode::ApplDb, asic, Some(8));
}
