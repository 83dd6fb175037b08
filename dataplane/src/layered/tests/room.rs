//! What hardware refuses or has no room for, and when it is offered again.

use super::*;

#[test]
fn what_hardware_refuses_and_what_comes_behind_is_in_software() {
    let (mut layered, hardware, software) = started(100);
    let long = rule(1, (50, 60), true, None, Action::default());
    let behind = rule(2, (55, 70), false, None, discard());
    let beside = rule(3, (71, 80), false, None, discard());
    put(&mut layered, &[long.clone(), behind, beside]);
    assert_eq!((hardware.ids(), software.ids()), (vec![3], vec![1, 2, 3]));
    let start = "only where packets reach the software, not in the hardware: ";
    let expected = [
        (RuleId(1), format!("{start}packet-length")),
        (
            RuleId(2),
            format!("{start}r1 comes before it, overlaps it and is not in the hardware"),
        ),
    ];
    assert_eq!(layered.impaired(), expected);
    remove(&mut layered, &long);
    assert_eq!((hardware.ids(), software.ids()), (vec![2, 3], vec![2, 3]));
    assert_eq!(layered.impaired(), []);
}

#[test]
fn what_has_no_room_in_software_has_none() {
    let (hardware, software) = (Shared::new(1), Shared::new(2));
    let layered = Layered::new(Box::new(hardware), Box::new(software));
    let rules: Vec<_> = (1..=3)
        .map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect();
    let refused = layered.without_room(&Settings::default(), &rules);
    assert_eq!(refused, [(RuleId(3), "full".into())]);
}

#[test]
fn what_finds_no_room_waits_in_software() {
    let (mut layered, hardware, software) = started(2);
    let rules: Vec<_> = (1..=4)
        .map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect();
    put(&mut layered, &rules);
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 2], vec![1, 2, 3, 4])
    );
    remove(&mut layered, &rules[0]);
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![2, 3], vec![2, 3, 4])
    );
}

#[test]
fn a_rule_that_goes_does_not_have_all_others_tried_again() {
    let (mut layered, hardware, _) = started(10);
    let rules = one_port_each(1..=200);
    // One after the other, as each attempt names one.
    for rule in &rules {
        put(&mut layered, std::slice::from_ref(rule));
    }
    assert_eq!(hardware.ids(), (1..=10).collect::<Vec<_>>());
    let commits = || hardware.0.lock().unwrap().commits;
    let before = commits();
    remove(&mut layered, &rules[0]);
    assert_eq!(
        hardware.ids(),
        (2..=11).collect::<Vec<_>>(),
        "the oldest comes in"
    );
    assert!(
        commits() - before <= 1 + RELEASED,
        "{} attempts",
        commits() - before
    );
    // When there is room for all of them they are in it soon.
    hardware.0.lock().unwrap().room = 1000;
    remove(&mut layered, &rules[1]);
    (0..10).for_each(|_| assert_eq!(layered.audit().unwrap(), None));
    assert_eq!(hardware.ids(), (3..=200).collect::<Vec<_>>());
    assert_eq!(layered.impaired(), []);
}

#[test]
fn of_rules_that_are_offered_again_those_come_in_that_fit() {
    // Full, with so many more that wait for room.
    let full = |names_all| {
        let (mut layered, hardware, software) = started(50);
        hardware.0.lock().unwrap().names_all = names_all;
        let rules = one_port_each(1..=240);
        put(&mut layered, &rules);
        assert_eq!(hardware.ids(), (1..=50).collect::<Vec<_>>());
        (layered, hardware, software, rules)
    };
    let remove_some = |layered: &mut Layered, rules: &[Arc<Rule>]| {
        let keys = rules.iter().map(|it| (it.family, it.order.clone()));
        let changes = Changes {
            put: Vec::new(),
            remove: keys.collect(),
        };
        layered.commit(&changes).unwrap();
    };
    for names_all in [true, false] {
        let (mut layered, hardware, _, rules) = full(names_all);
        // 32 come in at once, of the next 32 only 8 fit.
        remove_some(&mut layered, &rules[..40]);
        assert_eq!(hardware.ids(), (41..=82).collect::<Vec<_>>());
        layered.audit().unwrap();
        assert_eq!(hardware.ids(), (41..=90).collect::<Vec<_>>());
        let (id, reason) = layered.impaired().swap_remove(0);
        assert!(id.0 == 91 && reason.ends_with(": full"), "{id} {reason}");
    }
    // A failure of the other half in that moment keeps nobody out.
    let (mut layered, hardware, software, rules) = full(true);
    remove_some(&mut layered, &rules[..40]);
    software.fail([Some(unavailable("no memory"))]);
    (0..2).for_each(|_| drop(layered.audit()));
    assert_eq!(hardware.ids(), (41..=90).collect::<Vec<_>>());
}

#[test]
fn a_commit_that_fails_leaves_the_room_that_it_wanted_to_others() {
    let (mut layered, hardware, _) = started(2);
    layered.withheld = Withheld::new(1);
    put(&mut layered, &one_port_each(1..=4));
    hardware.0.lock().unwrap().room = 3;
    remove(&mut layered, &one_port_each(1..=1)[0]);
    assert_eq!(hardware.ids(), [2, 3], "one at a time");
    // There is no room for the fourth beside those of a commit that is not carried out.
    hardware.fail([
        None,
        Some(unavailable("no answer")),
        Some(unavailable("no answer")),
    ]);
    let second = &one_port_each(2..=2)[0];
    let changes = Changes {
        put: [0, 1]
            .map(|id| rule(id, (0, 0), false, None, discard()))
            .to_vec(),
        remove: vec![(second.family, second.order.clone())],
    };
    layered.commit(&changes).unwrap_err();
    (0..5).for_each(|_| drop(layered.audit()));
    assert_eq!(hardware.ids(), [2, 3, 4]);
}

#[test]
fn a_rule_that_makes_way_leaves_room_for_others() {
    let (mut layered, hardware, _) = started(2);
    put(&mut layered, &one_port_each(2..=4));
    assert_eq!(hardware.ids(), [2, 3]);
    // The hardware cannot say it, and it comes before one of those that it has.
    put(
        &mut layered,
        &[rule(1, (2, 2), true, None, Action::default())],
    );
    assert_eq!(hardware.ids(), [3]);
    layered.audit().unwrap();
    assert_eq!(hardware.ids(), [3, 4]);
}

#[test]
fn what_hardware_is_given_some_at_a_time_says_that_it_waits() {
    let (mut layered, hardware, _) = started(1);
    layered.withheld = Withheld::new(1);
    hardware.0.lock().unwrap().commit_max = 8;
    let first = one_port_each(60..=60).remove(0);
    let narrow = rule(61, (61, 61), false, None, discard());
    let broad = rule(62, (62, 200), false, None, discard());
    for rule in [&first, &narrow, &broad] {
        put(&mut layered, std::slice::from_ref(rule));
    }
    // All behind the broad one, for which there is no room.
    put(&mut layered, &one_port_each(101..=120));
    hardware.0.lock().unwrap().room = 100;
    remove(&mut layered, &first);
    assert_eq!(hardware.ids(), [61]);
    let mut outside = Vec::new();
    for _ in 0..3 {
        layered.audit().unwrap();
        let impaired = layered.impaired();
        let waits = "only where packets reach the software, not in the hardware: \
                     it waits while the hardware is given others, some at a time";
        assert!(impaired.iter().all(|(_, it)| it == waits), "{impaired:?}");
        outside.push(impaired.len());
    }
    assert_eq!(outside, [13, 5, 0]);
}
