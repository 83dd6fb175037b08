//! What happens once, though both halves have the rule: limits, marks, counts.

use super::*;

#[test]
fn limits_and_marks_happen_once() {
    let (mut layered, hardware, software) = started(10);
    let both = Action {
        limits: vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 10.0,
        }],
        mark_dscp: Some(46),
        ..Action::default()
    };
    put(
        &mut layered,
        &[rule(1, (53, 53), false, None, both.clone())],
    );
    let action = |shared: &Shared| {
        shared
            .0
            .lock()
            .unwrap()
            .rules
            .values()
            .next()
            .unwrap()
            .action
            .clone()
    };
    assert_eq!(
        (action(&hardware), action(&software)),
        (both.clone(), Action::default())
    );
    // From now on somebody looks at what it changes.
    put(&mut layered, &[rule(2, (1, 9), false, Some(46), discard())]);
    assert_eq!((hardware.ids(), action(&software)), (vec![2], both));
}

#[test]
fn limits_are_in_one_half_at_least_at_every_moment() {
    let (mut layered, hardware, software) = started(1);
    let limited = |id: u64| {
        let limits = vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 10.0,
        }];
        let action = Action {
            limits,
            ..Action::default()
        };
        rule(id, (id as u32, id as u32), false, None, action)
    };
    // The software was told to limit, the hardware has no room: the software goes on.
    put(&mut layered, &[limited(1), limited(2)]);
    assert_eq!(hardware.ids(), [1]);
    assert_eq!((software.limits(1), software.limits(2)), (false, true));
    // What cannot leave the limits out for now has both, and that is put right.
    remove(&mut layered, &limited(1));
    assert!(!software.limits(2));
    remove(&mut layered, &limited(2));
    software.fail([None, Some(unavailable("no memory"))]);
    put(&mut layered, &[limited(3)]);
    assert!(software.limits(3) && hardware.limits(3));
    layered.audit().unwrap();
    assert!(!software.limits(3) && hardware.limits(3));
}

/// How many packets each rule has counted.
fn packets(layered: &mut Layered) -> Vec<(u64, u64)> {
    let counters = layered.counters().unwrap();
    counters.iter().map(|(id, it)| (id.0, it.packets)).collect()
}

/// Has a packet to a port pass the hardware and, if it does, the software.
fn send(hardware: &Shared, software: &Shared, port: u16) {
    let packet = Packet {
        destination_port: Some(port),
        packet_length: Some(1000),
        ..Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:9").unwrap()
    };
    if hardware.forward(&packet).0 {
        software.forward(&packet);
    }
}

#[test]
fn rules_that_move_go_on_counting() {
    let (mut layered, hardware, software) = started(1);
    let rules = one_port_each(1..=2);
    put(&mut layered, &rules);
    let send = |port| send(&hardware, &software, port);
    (0..3).for_each(|_| send(1));
    (0..5).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(1, 3), (2, 5)]);
    // The second moves into the hardware, and out again when there is less room.
    remove(&mut layered, &rules[0]);
    assert_eq!(
        (hardware.ids(), packets(&mut layered)),
        (vec![2], vec![(2, 5)])
    );
    (0..4).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(2, 9)]);
    // One that has come by another way.
    let packet = Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:2 len 1000").unwrap();
    assert!(!software.forward(&packet).0);
    assert_eq!(packets(&mut layered), [(2, 10)]);
    // It has to leave when a rule comes before it that the hardware cannot say.
    let long = rule(1, (1, 9), true, None, Action::default());
    put(&mut layered, &[long]);
    assert_eq!(hardware.ids(), [0; 0]);
    (0..2).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(1, 0), (2, 12)]);
}

#[test]
fn rules_that_begin_or_cease_to_discard_in_hardware_go_on_counting() {
    let (mut layered, hardware, software) = started(9);
    let actions = [Action::default(), discard(), Action::default(), discard()];
    let mut sent = 0;
    for (action, more) in actions.into_iter().zip([3, 5, 4, 2]) {
        put(&mut layered, &[rule(1, (1, 1), false, None, action)]);
        assert_eq!(hardware.ids(), [1]);
        assert_eq!(packets(&mut layered), [(1, sent)], "changed");
        (0..more).for_each(|_| send(&hardware, &software, 1));
        sent += more;
        assert_eq!(packets(&mut layered), [(1, sent)]);
    }
}

#[test]
fn a_rule_that_moves_while_the_hardware_is_not_read_goes_on_counting() {
    let (mut layered, hardware, software) = started(1);
    let rules = [1, 2].map(|id| rule(id, (id as u32, id as u32), false, None, Action::default()));
    put(&mut layered, &rules);
    (0..5).for_each(|_| send(&hardware, &software, 2));
    hardware.0.lock().unwrap().is_blind = true;
    remove(&mut layered, &rules[0]);
    assert_eq!(hardware.ids(), [2]);
    hardware.0.lock().unwrap().is_blind = false;
    // More than the software had counted.
    (0..7).for_each(|_| send(&hardware, &software, 2));
    assert_eq!(packets(&mut layered), [(2, 12)]);
}
