//! What goes wrong on a switch: the last good file comes back, and nobody is told that it went well.

use std::fs;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, BackendError};
use dataplane::cumulus::Cumulus;
use dataplane::desired::{Changes, Settings};
use dataplane::rule::RuleId;

use crate::scene::{Switch, has_python, rules};

const FLOWS: &str = "flow {
    route { match { destination 203.0.113.1/32; protocol udp; source-port =123; } then { discard; } }
    route { match { destination 203.0.113.2/32; protocol udp; source-port =123; } then { discard; } }
    route { match { destination 203.0.113.3/32; protocol udp; source-port =123; } then { discard; } }
}";

/// The line of flow N.
fn line(n: u8) -> String {
    format!("-t mangle -A PREROUTING -i swp+ -d 203.0.113.{n}/32 -p udp --sport 123 -j DROP")
}

/// A commit of rules.
fn put(backend: &mut Cumulus, indexes: &[usize]) -> Result<(), BackendError> {
    let rules = rules(FLOWS);
    backend.commit(&Changes {
        put: indexes.iter().map(|index| rules[*index].clone()).collect(),
        remove: Vec::new(),
    })
}

/// A switch that has the first rule.
fn started() -> (Switch, Cumulus) {
    let switch = Switch::new("spectrum1", false);
    let mut backend = switch.backend();
    backend.start(&Settings::default(), &[]).unwrap();
    put(&mut backend, &[0]).unwrap();
    (switch, backend)
}

#[test]
fn a_run_that_fails_leaves_the_last_good_file() {
    if !has_python() {
        return;
    }
    let refuse = format!("once refuse {}", line(2));
    let stranger = "once refuse -A INPUT -i swp+ -j DROP";
    enum Error {
        Refused(Option<u64>),
        Unavailable,
    }
    use Error::{Refused, Unavailable};
    let rows = [
        ("once crash", Refused(None), "it crashed"),
        ("once silent", Refused(None), "did not say that it is done"),
        ("once lie", Unavailable, "of 2 ipv4 lines the switch has 1"),
        ("once fail", Refused(None), "hw sync failed"),
        (refuse.as_str(), Refused(Some(2)), "TOS match extension"),
        (stranger, Unavailable, "error processing rule"),
        ("once hang", Unavailable, "was killed"),
        (
            "fail",
            Unavailable,
            "nor does the switch take what it had before",
        ),
    ];
    for (fault, expected, words) in rows {
        let (mut switch, _) = started();
        if fault == stranger {
            fs::write(
                switch.path("policy.d/50_others.rules"),
                "[iptables]\n-A INPUT -i swp+ -j DROP\n",
            )
            .unwrap();
        }
        if fault == "once hang" {
            switch.options.timeout = Duration::from_secs(3);
        }
        let mut backend = switch.backend();
        backend.start(&Settings::default(), &[]).unwrap();
        put(&mut backend, &[0]).unwrap();
        let (file, hardware) = (switch.file(), switch.hardware());
        switch.set_fault(fault);
        let error = put(&mut backend, &[1]).unwrap_err();
        let reason = error.to_string();
        assert!(reason.contains(words), "{fault}: {reason}");
        match (expected, error) {
            (Refused(expected), BackendError::Refused { rule, .. }) => {
                assert_eq!(rule, expected.map(RuleId), "{fault}");
            }
            (Unavailable, BackendError::Unavailable(_)) => {}
            (_, error) => panic!("{fault}: {error:?}"),
        }
        assert_eq!(switch.file(), file, "{fault}");
        assert_eq!(switch.hardware(), hardware, "{fault}");
        if fault == "fail" {
            // Nobody knows any more what the switch has: it is told again, without a commit.
            let [(RuleId(1), reason)] = &backend.impaired()[..] else {
                panic!("{:?}", backend.impaired());
            };
            assert!(
                reason.starts_with("not known whether the switch has it: "),
                "{reason}"
            );
            switch.repair();
            let installations = switch.installations();
            let start = Instant::now();
            while !backend.impaired().is_empty() {
                assert!(
                    start.elapsed() < Duration::from_secs(20),
                    "{:?}",
                    backend.impaired()
                );
                assert_eq!(backend.audit().unwrap(), None);
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(switch.installations(), installations + 1);
        }
        put(&mut backend, &[1]).unwrap();
        assert_eq!(switch.hardware()[..2], [line(1), line(2)], "{fault}");
    }
}

#[test]
fn a_trial_keeps_what_the_tool_refuses_out_of_the_hardware() {
    if !has_python() {
        return;
    }
    let mut switch = Switch::new("spectrum1", false);
    switch.options.dry_run = true;
    let mut backend = switch.backend();
    backend.start(&Settings::default(), &[]).unwrap();
    put(&mut backend, &[0]).unwrap();
    let installations = switch.installations();
    switch.set_fault(&format!("refuse {}", line(2)));
    let error = put(&mut backend, &[1]).unwrap_err();
    assert!(
        matches!(
            error,
            BackendError::Refused {
                rule: Some(RuleId(2)),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        switch.installations(),
        installations + 1,
        "what was there, again"
    );
    assert_eq!(switch.hardware(), [line(1)]);
}

#[test]
fn a_full_disk_leaves_the_last_good_file() {
    if !has_python() {
        return;
    }
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    // A mount namespace of its own: nobody else sees the small disk.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("skipped: no mount namespace: {error}");
                return;
            }
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let switch = Switch::new("spectrum1", false);
            let disk = switch.path("policy.d");
            mount(
                Some("tmpfs"),
                &disk,
                Some("tmpfs"),
                MsFlags::empty(),
                Some("size=16k"),
            )
            .unwrap();
            let mut backend = switch.backend();
            backend.start(&Settings::default(), &[]).unwrap();
            put(&mut backend, &[0]).unwrap();
            let file = switch.file();
            let others = disk.join("others");
            // Takes all that is left.
            let _ = fs::write(&others, vec![b'#'; 16 << 10]);
            let error = put(&mut backend, &[1]).unwrap_err();
            assert!(matches!(&error, BackendError::Unavailable(_)), "{error:?}");
            assert!(error.to_string().contains("No space left"), "{error}");
            assert_eq!((switch.file(), switch.hardware()), (file, vec![line(1)]));
            fs::remove_file(others).unwrap();
            put(&mut backend, &[1]).unwrap();
            assert_eq!(switch.hardware(), [line(1), line(2)]);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn what_others_do_to_the_file_is_noticed_and_undone() {
    if !has_python() {
        return;
    }
    let (switch, mut backend) = started();
    let (file, path) = (switch.file(), &switch.options.policy_file);
    assert_eq!(backend.audit().unwrap(), None);
    fs::write(path, "[iptables]\n").unwrap();
    let culprit = backend.audit().unwrap().unwrap();
    assert!(
        culprit.0.starts_with("somebody who changed "),
        "{culprit:?}"
    );
    assert_eq!(switch.file(), file);
    fs::remove_file(path).unwrap();
    let culprit = backend.audit().unwrap().unwrap();
    assert!(
        culprit.0.starts_with("somebody who removed "),
        "{culprit:?}"
    );
    assert_eq!((switch.file(), switch.hardware()), (file, vec![line(1)]));
    // Touched, but the same.
    fs::write(path, switch.file().unwrap()).unwrap();
    assert_eq!(backend.audit().unwrap(), None);

    let policy_conf = fs::read_to_string(&switch.options.policy_conf).unwrap();
    fs::write(&switch.options.policy_conf, "# nothing\n").unwrap();
    assert_eq!(backend.audit().unwrap(), None);
    let [(RuleId(1), reason)] = &backend.impaired()[..] else {
        panic!("{:?}", backend.impaired());
    };
    assert!(reason.contains("does not include"), "{reason}");
    let error = put(&mut backend, &[1]).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "{error:?}");
    fs::write(&switch.options.policy_conf, policy_conf).unwrap();
    assert_eq!(backend.audit().unwrap(), None);
    assert_eq!(backend.impaired(), []);
    put(&mut backend, &[1]).unwrap();
}

#[test]
fn a_later_process_takes_the_rules_over_and_a_stop_removes_them() {
    if !has_python() {
        return;
    }
    let (switch, backend) = started();
    drop(backend);
    let mut later = switch.backend();
    let ids: Vec<u64> = later.recover().unwrap().iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [1]);
    let rules = rules(FLOWS);
    later
        .resume(&Settings::default(), &[], &rules[..1])
        .unwrap();
    assert_eq!(switch.hardware(), [line(1)]);
    let suspended = Settings {
        suspended: true,
        ..Settings::default()
    };
    later.reconfigure(&suspended, &[]).unwrap();
    assert_eq!(switch.hardware(), [""; 0]);
    assert_eq!(switch.backend().recover().unwrap().len(), 1);
    later.reconfigure(&Settings::default(), &[]).unwrap();
    assert_eq!(switch.hardware(), [line(1)]);
    later.stop().unwrap();
    assert_eq!((switch.file(), switch.hardware()), (None, vec![]));
}

#[test]
fn counters_belong_to_their_rules_and_survive_commits() {
    if !has_python() {
        return;
    }
    let (switch, mut backend) = started();
    let others = "[iptables]\n-t mangle -A PREROUTING -i swp+ -p 47 -j ACCEPT\n";
    fs::write(switch.path("policy.d/00_others.rules"), others).unwrap();
    put(&mut backend, &[1]).unwrap();
    // The stand-in counts N packets for line N of the chain, and the first is not ours.
    let packets = |backend: &mut Cumulus| -> Vec<(u64, u64)> {
        let counters = backend.counters().unwrap();
        counters
            .iter()
            .map(|(id, counter)| (id.0, counter.packets))
            .collect()
    };
    assert_eq!(packets(&mut backend), [(1, 2), (2, 3)]);
    assert_eq!(packets(&mut backend), [(1, 2), (2, 3)], "nothing new");
    let rules = rules(FLOWS);
    let first = Changes {
        put: Vec::new(),
        remove: vec![(rules[0].family, rules[0].order.clone())],
    };
    backend.commit(&first).unwrap();
    // Its line is now the second, and its counter began anew at 2.
    assert_eq!(packets(&mut backend), [(2, 5)]);
}
