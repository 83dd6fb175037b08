use super::*;
use crate::interval::IntervalSet;
use crate::label::Label;
use crate::packet::Packet;
use crate::rule::{Action, RareFields};
use crate::sonic::Mode;
use proptest::prelude::*;
use proptest::sample::select;

/// One step of a history: rules that are put, as their place in the order and what they do, and places that are emptied.
type Step = (Vec<(u8, u8, bool)>, Vec<u8>);

/// Destinations: nested prefixes of the first octet, by number.
const PREFIXES: [(u128, u8); 6] = [
    (0, 0),
    (0, 1),
    (0, 2),
    (1 << 127, 1),
    (1 << 126, 2),
    (3 << 126, 2),
];

fn options(priorities: (u32, u32)) -> Options {
    Options {
        mode: Mode::ApplDb,
        priorities,
        ..Options::default()
    }
}

/// A rule at a place in the order, for a destination, with or without ports that become several entries.
fn rule(place: u8, kind: u8, discard: bool) -> Arc<Rule> {
    let (value, length) = PREFIXES[usize::from(kind) % PREFIXES.len()];
    let order = OrderKey::from([place]);
    let ports = (kind >= 6).then(|| IntervalSet::from_ranges([(10, 20), (30, 30)]));
    Arc::new(Rule {
        id: RuleId(u64::from(place) + 1),
        family: Family::Ipv4,
        tier: order.clone(),
        order,
        label: Label::from("a rule"),
        matches: Match {
            destination: Some(AddressPattern::new(value, 0, length)),
            rare: RareFields {
                port: ports,
                ..RareFields::default()
            }
            .into(),
            ..Match::default()
        },
        action: Action {
            discard,
            ..Action::default()
        },
    })
}

/// Packets of every kind that rules tell apart.
fn packets() -> Vec<Packet> {
    let hosts = ["0.0.0.1", "64.0.0.1", "128.0.0.1", "192.0.0.1"];
    let of_host = |host: &&str| {
        let kinds = [
            format!("udp 9.9.9.9:5 > {host}:15"),
            format!("proto 47 9.9.9.9 > {host}"),
        ];
        kinds.map(|text| Packet::from_text(&text).unwrap())
    };
    hosts.iter().flat_map(of_host).collect()
}

/// What entries do to a packet.
fn fate(entries: &BTreeMap<Arc<str>, Placed>, packet: &Packet) -> Verdict {
    let mut best: Option<(&Placed, Verdict)> = None;
    for placed in entries.values() {
        let Content::Entry(entry, verdict) = &placed.content else {
            unreachable!("nothing was found");
        };
        if !entry.contains(packet) {
            continue;
        }
        match best {
            Some((other, of)) if other.priority == placed.priority => {
                // The old and the new entries of one rule.
                assert!(of == *verdict || other.owner == placed.owner);
            }
            Some((other, _)) if other.priority > placed.priority => {}
            _ => best = Some((placed, *verdict)),
        }
    }
    best.map_or(Verdict::Forward, |(_, verdict)| verdict)
}

/// What the rules of a model do to a packet.
fn wanted(model: &Model, packet: &Packet) -> Verdict {
    let mut rules = model.table(packet.family).rules();
    let first = rules.find(|held| held.rule.matches.contains(packet));
    match first.is_some_and(|held| held.rule.action.discard) {
        true => Verdict::Drop,
        false => Verdict::Forward,
    }
}

/// Carries phases out in an order that nobody can foresee, and looks at every packet after each entry.
fn carry_out(
    entries: &mut BTreeMap<Arc<str>, Placed>,
    phases: &[Phase],
    seed: u64,
    mut look: impl FnMut(&BTreeMap<Arc<str>, Placed>),
) {
    let shuffled = |list: &[Placed]| {
        let mut list = list.to_vec();
        list.sort_by_key(|placed| (u64::from(placed.priority) + 7).wrapping_mul(seed | 1) >> 7);
        list
    };
    for phase in phases {
        for placed in shuffled(&phase.put) {
            assert!(entries.insert(placed.name.clone(), placed).is_none());
            look(entries);
        }
        for placed in shuffled(&phase.remove) {
            assert!(entries.remove(&placed.name).is_some());
            look(entries);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = proptest::collection::vec((0u8..24, 0u8..12, any::<bool>()), 0..8);
    let remove = proptest::collection::vec(0u8..24, 0..6);
    proptest::collection::vec((put, remove), 1..8)
}

proptest! {
    /// Whatever changes: a packet meets what it met before or what it meets afterwards, at every moment.
    #[test]
    fn no_packet_meets_anything_else(
        steps in steps(),
        greatest in select(vec![40u32, 52, 60, 1000]),
        seed in any::<u64>(),
    ) {
        let mut model = Model::new(&options((1, greatest)), 0);
        let mut entries: BTreeMap<Arc<str>, Placed> = BTreeMap::new();
        let packets = packets();
        for (put, remove) in steps {
            let mut rules: BTreeMap<u8, Arc<Rule>> = BTreeMap::new();
            for (place, kind, discard) in put {
                rules.insert(place, rule(place, kind, discard));
            }
            let changes = Changes {
                put: rules.into_values().collect(),
                remove: remove.iter().map(|place| (Family::Ipv4, OrderKey::from([*place]))).collect(),
            };
            let (next, phases) = match model.plan(&changes) {
                Ok(planned) => planned,
                Err(Refusal::Full(rules)) => {
                    prop_assert!(greatest < 1000 && !rules.is_empty());
                    continue;
                }
                Err(refusal) => panic!("{refusal}"),
            };
            let fates: Vec<[Verdict; 2]> = packets
                .iter()
                .map(|packet| [wanted(&model, packet), wanted(&next, packet)])
                .collect();
            carry_out(&mut entries, &phases, seed, |entries| {
                for (packet, fates) in packets.iter().zip(&fates) {
                    let now = fate(entries, packet);
                    assert!(fates.contains(&now), "{now:?} between {fates:?}");
                }
            });
            for (packet, [_, after]) in packets.iter().zip(&fates) {
                prop_assert_eq!(fate(&entries, packet), *after);
            }
            let names: Vec<Arc<str>> = next.placed().map(|placed| placed.name.clone()).collect();
            prop_assert_eq!(names.len(), entries.len());
            prop_assert!(next.placed().all(|placed| entries.get(&placed.name) == Some(placed)));
            model = next;
        }
    }

    /// A later process writes nothing where there is nothing to change.
    #[test]
    fn what_is_there_is_taken_over(steps in steps(), greatest in select(vec![60u32, 1000])) {
        let options = options((1, greatest));
        let mut model = Model::new(&options, 0);
        for (put, remove) in steps {
            let rules: BTreeMap<u8, Arc<Rule>> = put
                .into_iter()
                .map(|(place, kind, discard)| (place, rule(place, kind, discard)))
                .collect();
            let changes = Changes {
                put: rules.into_values().collect(),
                remove: remove.iter().map(|place| (Family::Ipv4, OrderKey::from([*place]))).collect(),
            };
            if let Ok((next, _)) = model.plan(&changes) {
                model = next;
            }
        }
        let found: Vec<Found> = model
            .placed()
            .map(|placed| Found {
                family: placed.family,
                name: placed.name.clone(),
                fields: placed.fields(Dialect::of(&options)),
            })
            .collect();
        let rules: Vec<Arc<Rule>> = model.rules().map(|held| held.rule.clone()).collect();
        let taken = Model::plan_from(&options, 0, found.clone(), &rules, Vec::new());
        let (taken, phases) = taken.unwrap();
        prop_assert_eq!(phases, []);
        prop_assert_eq!(taken.placed().count(), found.len());
        // One rule less: its entries go, and nothing else happens.
        if let Some((gone, rest)) = rules.split_last() {
            let (_, phases) = Model::plan_from(&options, 0, found, rest, Vec::new()).unwrap();
            for phase in &phases {
                prop_assert!(phase.put.is_empty());
                prop_assert!(phase.remove.iter().all(|placed| placed.owner == Owner::Rule(gone.id)));
            }
            let removed: usize = phases.iter().map(|phase| phase.remove.len()).sum();
            prop_assert_eq!(removed, model.table(Family::Ipv4).get(&gone.order).unwrap().placed.len());
        }
    }
}

#[test]
fn what_protects_comes_first_and_goes_last() {
    let options = options((1, 100));
    let guards = vec![Entry {
        protocol: Some(6),
        ..Entry::everything(Family::Ipv4)
    }];
    let rules = [rule(1, 0, true)];
    let (model, phases) = Model::plan_from(&options, 0, Vec::new(), &rules, guards).unwrap();
    assert_eq!(phases.len(), 2, "{phases:?}");
    assert_eq!(phases[0].put[0].owner, Owner::Guard);
    assert_eq!(phases[0].put[0].priority, 100);
    let (_, phases) = model.plan_guards(Vec::new()).unwrap();
    assert_eq!(phases.len(), 1);
    assert_eq!(phases[0].remove[0].owner, Owner::Guard);
}
