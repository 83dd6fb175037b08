//! Either half fails, at any moment.

use super::*;

#[test]
fn hardware_that_fails_leaves_new_rules_to_the_software_and_is_asked_again() {
    let (mut layered, hardware, software) = started(100);
    put(&mut layered, &one_port_each(1..=1));
    hardware.fail([Some(unavailable("cl-acltool was killed"))]);
    put(&mut layered, &one_port_each(2..=2));
    assert_eq!((hardware.ids(), software.ids()), (vec![1], vec![1, 2]));
    let reason = "only where packets reach the software, not in the hardware: \
                  the hardware has failed and is asked again: cl-acltool was killed";
    assert_eq!(layered.impaired(), [(RuleId(2), reason.to_string())]);
    let warning = "rules wait for the hardware, which has failed and is asked again: \
                   cl-acltool was killed";
    assert_eq!(layered.warnings(), [warning]);
    // Nobody waits for hardware that does not answer.
    let commits = || hardware.0.lock().unwrap().commits;
    let before = commits();
    put(&mut layered, &one_port_each(3..=3));
    assert_eq!(commits(), before);
    // A withdrawal of what it has has to reach it, though.
    hardware.fail([Some(unavailable("cl-acltool was killed"))]);
    let first = &one_port_each(1..=1)[0];
    let gone = Changes {
        put: Vec::new(),
        remove: vec![(first.family, first.order.clone())],
    };
    let error = layered.commit(&gone).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "{error:?}");
    assert_eq!((hardware.ids(), software.ids()), (vec![1], vec![1, 2, 3]));
    layered.commit(&gone).unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![], vec![2, 3]));
    // Asked again after a pause, and after a longer one when it fails again.
    hardware.fail([Some(unavailable("still"))]);
    let mut turns = 0;
    while hardware.ids() != [2, 3] {
        turns += 1;
        assert!(turns < 10);
        layered.audit().unwrap();
    }
    assert_eq!(
        turns, 5,
        "one of pause, a failure, two of pause, and it works"
    );
    assert_eq!((layered.impaired(), layered.warnings()), (vec![], vec![]));
}

#[test]
fn a_rule_that_hardware_refuses_without_a_name_is_found() {
    let (mut layered, hardware, software) = started(100);
    hardware.0.lock().unwrap().poison = Some(RuleId(6));
    put(&mut layered, &one_port_each(1..=9));
    assert_eq!(software.ids(), (1..=9).collect::<Vec<_>>());
    assert_eq!(hardware.ids(), [0; 0]);
    for _ in 0..12 {
        layered.audit().unwrap();
    }
    assert_eq!(hardware.ids(), [1, 2, 3, 4, 5, 7, 8, 9]);
    let reason = "only where packets reach the software, not in the hardware: something is wrong";
    assert_eq!(layered.impaired(), [(RuleId(6), reason.to_string())]);
    assert_eq!(layered.warnings(), [""; 0]);
}

#[test]
fn halves_that_disagree_are_noticed_and_put_right() {
    let (mut layered, hardware, software) = started(100);
    let rules = one_port_each(1..=2);
    put(&mut layered, &rules);
    let gone = Changes {
        put: Vec::new(),
        remove: vec![(rules[0].family, rules[0].order.clone())],
    };
    // The software lets it go, the hardware does not, and the software does not take it back.
    hardware.fail([Some(unavailable("no answer"))]);
    software.fail([None, Some(unavailable("no memory"))]);
    let error = layered.commit(&gone).unwrap_err();
    let expected = "no answer; nor does small go back to what it had before, \
                    which is tried again: no memory";
    assert!(matches!(&error, BackendError::Unavailable(reason) if reason == expected));
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![2]));
    let warning = "small is not what it shall be beside the hardware: no memory";
    assert_eq!(layered.warnings(), [warning]);
    // The next look fails, the one after it does not.
    software.fail([Some(unavailable("no memory"))]);
    assert!(layered.audit().is_err());
    assert_eq!(software.ids(), [2]);
    assert_eq!(layered.audit().unwrap(), None);
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![1, 2]));
    assert_eq!(layered.warnings(), [""; 0]);
    // A commit does so, too, before anything else.
    hardware.fail([Some(unavailable("no answer"))]);
    software.fail([None, Some(unavailable("no memory"))]);
    layered.commit(&gone).unwrap_err();
    software.fail([Some(unavailable("no memory"))]);
    layered.commit(&gone).unwrap_err();
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![2]));
    layered.commit(&gone).unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![2], vec![2]));
}

#[test]
fn what_does_not_go_with_other_settings_leaves_the_hardware() {
    let (mut layered, hardware, software) = started(100);
    put(&mut layered, &one_port_each(1..=3));
    hardware.0.lock().unwrap().settled = Some(RuleId(2));
    layered.reconfigure(&Settings::default(), &[]).unwrap();
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 3], vec![1, 2, 3])
    );
    let reason = "only where packets reach the software, not in the hardware: full";
    assert_eq!(layered.impaired(), [(RuleId(2), reason.to_string())]);
}

#[test]
fn rules_of_an_earlier_process_are_taken_over_by_whatever_takes_them() {
    let resume = |room, faults: Vec<Option<BackendError>>| {
        let (hardware, software) = (Shared::new(room), Shared::new(usize::MAX));
        hardware.fail(faults);
        let mut layered = Layered::new(Box::new(hardware.clone()), Box::new(software.clone()));
        let result = layered.resume(&Settings::default(), &[], &one_port_each(1..=4));
        (layered, hardware, software, result)
    };
    let (_, hardware, software, result) = resume(2, vec![]);
    result.unwrap();
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 2], vec![1, 2, 3, 4])
    );
    // Without an answer at first, and then with none at all.
    let (mut layered, hardware, software, result) = resume(9, vec![Some(unavailable("busy"))]);
    result.unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![], vec![1, 2, 3, 4]));
    (0..2).for_each(|_| assert_eq!(layered.audit().unwrap(), None));
    assert_eq!(
        (hardware.ids(), layered.warnings()),
        (vec![1, 2, 3, 4], vec![])
    );
    let (.., result) = resume(
        9,
        vec![Some(unavailable("busy")), Some(unavailable("gone"))],
    );
    assert!(matches!(result, Err(BackendError::Unavailable(reason)) if reason == "gone"));
}
