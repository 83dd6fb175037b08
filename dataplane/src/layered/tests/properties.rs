//! Any rules and faults: both together are the whole.

use super::*;

fn arbitrary_rule() -> impl Strategy<Value = (u64, (u32, u32), bool, Option<u32>, Action)> {
    let action = (any::<bool>(), any::<bool>(), proptest::option::of(40u8..48)).prop_map(
        |(discard, continue_evaluation, mark_dscp)| Action {
            discard,
            continue_evaluation,
            mark_dscp,
            ..Action::default()
        },
    );
    let dscp = proptest::option::weighted(0.1, 40u32..48);
    (
        1u64..30,
        (0u32..8, 0u32..8),
        proptest::bool::weighted(0.2),
        dscp,
        action,
    )
}

/// How a commit of one half ends.
fn arbitrary_fault() -> impl Strategy<Value = Option<BackendError>> {
    proptest::option::weighted(
        0.15,
        prop_oneof![
            Just(unavailable("no answer")),
            Just(BackendError::Refused {
                rule: None,
                reason: "something is wrong".into()
            }),
        ],
    )
}

proptest! {
    #[test]
    fn both_together_are_the_whole(
        steps in vec((vec(arbitrary_rule(), 0..12), vec(1u64..30, 0..6), 0usize..4), 1..5),
        room in 0usize..12,
        faults in prop_oneof![
            Just((vec![], vec![])),
            (vec(arbitrary_fault(), 0..20), vec(arbitrary_fault(), 0..20)),
        ],
        packets in vec((0u16..8, select_length(), 40u8..48), 30),
    ) {
        let (mut layered, hardware, software) = started(room);
        layered.withheld = Withheld::new(2);
        let mut whole = Sim::new();
        whole.start(&Settings::default(), &[]).unwrap();
        let is_sound = faults.0.iter().chain(&faults.1).all(Option::is_none);
        hardware.fail(faults.0);
        software.fail(faults.1);
        for (puts, removes, audits) in steps {
            let put: BTreeMap<u64, Arc<Rule>> = puts
                .into_iter()
                .map(|(id, (a, b), long, dscp, action)| {
                    (id, rule(id, (a.min(b), a.max(b)), long, dscp, action))
                })
                .collect();
            let remove = removes.iter().filter(|id| !put.contains_key(id));
            let remove = remove.map(|id| (Family::Ipv4, OrderKey::from(id.to_be_bytes())));
            let changes = Changes { remove: remove.collect(), put: put.into_values().collect() };
            // All of it, or nothing.
            if layered.commit(&changes).is_ok() {
                whole.commit(&changes).unwrap();
            }
            for _ in 0..audits {
                let _ = layered.audit();
            }
            if layered.astray.is_some() {
                software.repair();
                layered.audit().unwrap();
            }
            for (port, length, dscp) in &packets {
                let packet = Packet {
                    destination_port: Some(*port),
                    packet_length: Some(*length),
                    dscp: *dscp,
                    ..Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:9").unwrap()
                };
                let verdict = whole.forward(Duration::ZERO, &packet, 100);
                let (passed, dscp) = hardware.forward(&packet);
                let behind = Packet { dscp, ..packet.clone() };
                let (passed, dscp) = match passed {
                    true => software.forward(&behind),
                    false => (false, dscp),
                };
                prop_assert_eq!(passed, verdict.passed, "{:?}", packet);
                if passed {
                    prop_assert_eq!(dscp, verdict.dscp, "{:?}", packet);
                }
            }
        }
        // When nothing fails any more the hardware has all that it has room for.
        hardware.repair();
        software.repair();
        for _ in 0..200 {
            layered.audit().unwrap();
        }
        prop_assert_eq!(layered.warnings(), Vec::<String>::new());
        let offer = layered.divide(&layered.rules, usize::MAX).fresh;
        prop_assert!(offer.is_empty(), "{:?} was not offered: {:?}", offer, layered.impaired());
        // A rule that a fault has kept out may have taken the room of others until some rule goes.
        let mut reasons = layered.impaired().into_iter().map(|(_, reason)| reason);
        let is_short_of_room = is_sound && reasons.any(|reason| reason.ends_with(": full"));
        prop_assert!(!is_short_of_room || hardware.ids().len() == room, "{:?}", layered.impaired());
    }
}

/// Lengths of which rules match some.
fn select_length() -> impl Strategy<Value = u32> {
    proptest::sample::select(vec![100u32, 1000])
}
