//! A later process takes over what an earlier one had installed.

use super::*;

#[test]
fn after_a_restart() {
    let (one, two) = (&[host(1)][..], &[host(1), host(2)][..]);
    let mixed = &[host(1), ipv6(6)][..];
    let resent = |action| Announce(1, two.to_vec(), action);
    let rows: &[Row] = &[
        ("nobody is there yet", two, &[], &[], &[(1, Stale); 2], 0),
        ("session up", two, &[], &[Up(1)], &[(1, Stale); 2], 0),
        (
            "all resent",
            two,
            &[],
            &[Up(1), resent(DISCARD), EndOfRib(1, Ipv4Flow)],
            &[(1, Installed); 2],
            0,
        ),
        (
            "one resent so far",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "one resent and no more",
            two,
            &[],
            &[
                Up(1),
                Announce(1, one.to_vec(), DISCARD),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "none resent",
            two,
            &[],
            &[Up(1), EndOfRib(1, Ipv4Flow)],
            &[],
            2,
        ),
        (
            "withdrawn before it was resent",
            two,
            &[],
            &[Up(1), Withdraw(1, one.to_vec())],
            &[(1, Stale)],
            1,
        ),
        (
            "other actions",
            one,
            &[],
            &[
                Up(1),
                Announce(1, one.to_vec(), RATE_1000),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "actions that cannot be enforced",
            one,
            &[],
            &[Up(1), Announce(1, one.to_vec(), REDIRECT)],
            &[(1, RouteState::Unsupported)],
            1,
        ),
        (
            "End-of-RIB of the other family",
            mixed,
            &[],
            &[Up(1), EndOfRib(1, Ipv6Flow)],
            &[(1, Stale)],
            1,
        ),
        (
            "End-of-RIB of another neighbor",
            one,
            &[],
            &[Up(1), Up(2), EndOfRib(2, Ipv4Flow)],
            &[(1, Stale)],
            0,
        ),
        (
            "both neighbors resend",
            one,
            one,
            &[
                Up(2),
                Announce(2, one.to_vec(), DISCARD),
                EndOfRib(2, Ipv4Flow),
                Up(1),
                Announce(1, one.to_vec(), DISCARD),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed), (2, Shadowed)],
            0,
        ),
        (
            "the other neighbor announces it: what was preferred stays so",
            one,
            one,
            &[Up(2), Announce(2, one.to_vec(), RATE_1000)],
            &[(1, Stale), (2, Shadowed)],
            0,
        ),
        (
            "only the other neighbor resends it",
            one,
            one,
            &[
                Up(2),
                Announce(2, one.to_vec(), DISCARD),
                Up(1),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(2, Installed)],
            0,
        ),
        (
            "shortly before the time is over",
            one,
            one,
            &[Wait(119)],
            &[(1, Stale)],
            0,
        ),
        ("the time is over", two, &[], &[Wait(120)], &[], 2),
        (
            "the time is over for what was not resent",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Wait(120)],
            &[(1, Installed)],
            1,
        ),
        (
            "the session goes down again",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Down(1)],
            &[],
            2,
        ),
        (
            "a second session after the first",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Up(1)],
            &[(1, Stale)],
            1,
        ),
        (
            "its neighbor is no longer configured",
            one,
            &[host(2)],
            &[Neighbors("192.0.2.2/32")],
            &[(2, Stale)],
            1,
        ),
        (
            "its neighbor is one of a prefix",
            one,
            &[host(2)],
            &[Neighbors("192.0.2.0/24")],
            &[(1, Stale), (2, Stale)],
            0,
        ),
    ];
    for (name, first, second, steps, routes, writes) in rows {
        let mut bench = Bench::with(first, second);
        bench.restart();
        bench.play(steps);
        assert_eq!(bench.routes(), *routes, "{name}");
        assert_eq!(bench.writes, *writes, "{name}");
        let installed = bench.sim.counters().unwrap().len();
        let in_force = |(_, state): &&(u8, RouteState)| matches!(state, Stale | Installed);
        assert_eq!(installed, routes.iter().filter(in_force).count(), "{name}");

        bench.play(&[Wait(120)]);
        let stale = bench.routes().iter().any(|(_, state)| *state == Stale);
        assert!(!stale && bench.engine.next_deadline().is_none(), "{name}");
    }
}

#[test]
fn counters_go_on_through_two_restarts() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    bench.send(1);
    bench.restart();
    bench.send(1);
    bench.send(2);
    assert_eq!(bench.packets(), [2, 1]);
    bench.play(&[Up(1), Announce(1, vec![host(1)], DISCARD)]);
    bench.play(&[EndOfRib(1, Ipv4Flow), Announce(1, vec![host(3)], DISCARD)]);
    bench.restart();
    bench.send(1);
    assert_eq!(
        bench.packets(),
        [3, 0],
        "a new rule has an id of its own, and none of the past"
    );
}

#[test]
fn a_stale_route_says_for_how_long() {
    let mut bench = Bench::with(&[host(1)], &[]);
    bench.restart();
    bench.now += Duration::from_millis(1_200);
    let rules = bench.engine.rules(bench.now);
    assert_eq!(
        rules[0].reason.as_deref(),
        Some(
            "kept from before the restart until 192.0.2.1 has resent its routes, at most 119 s more"
        )
    );
    let counts = bench.engine.peer_counts(address(1));
    assert_eq!((counts.received, counts.stale, counts.installed), (1, 1, 0));
    assert_eq!(
        bench.engine.next_deadline().unwrap() - bench.now,
        KEPT - Duration::from_millis(1_200)
    );
}

#[test]
fn stale_routes_leave_room_for_new_ones() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    bench.restart();
    let policy = ImportPolicy {
        max_routes: 2,
        ..ImportPolicy::default()
    };
    let up = Event::PeerUp {
        peer: address(1),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        ibgp: true,
        families: vec![Ipv4Flow],
        policy,
        restart: NegotiatedRestart::default(),
    };
    bench.engine.step(bench.now, up);
    let all = vec![host(3), host(4), host(5)];
    bench.play(&[Announce(1, all, DISCARD)]);
    let expected = [Stale, Stale, Installed, Installed, RouteState::Rejected];
    assert_eq!(bench.routes(), expected.map(|state| (1, state)));
    bench.play(&[EndOfRib(1, Ipv4Flow), Withdraw(1, vec![host(3)])]);
    assert_eq!(bench.routes(), [(1, Installed); 2]);
}

#[test]
fn a_family_that_is_not_negotiated_is_not_waited_for() {
    let mut bench = Bench::with(&[host(1), ipv6(6)], &[]);
    bench.restart();
    let up = Event::PeerUp {
        peer: address(1),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        ibgp: true,
        families: vec![Ipv6Flow],
        policy: ImportPolicy::default(),
        restart: NegotiatedRestart::default(),
    };
    bench.engine.step(bench.now, up);
    bench.play(&[]);
    assert_eq!(bench.engine.rules(bench.now)[0].family, "ipv6-flow");
    assert_eq!(bench.routes(), [(1, Stale)]);
}

#[test]
fn what_the_configuration_does_not_want_any_more_goes_at_once() {
    let inside = |network: &str| ImportPolicy {
        destinations: vec![network.parse().unwrap()],
        ..ImportPolicy::default()
    };
    let mut bench = Bench::with(&[host(1), ipv6(6)], &[host(9)]);
    let recovery = bench.restart_with(|peer, family| {
        (peer == address(1) && family == Ipv4Flow).then(|| inside("203.0.113.1/32"))
    });
    assert_eq!(bench.routes(), [(1, Stale)]);
    assert_eq!(bench.sim.counters().unwrap().len(), 1);
    let reasons: Vec<&str> = recovery.left_out.iter().map(|(_, why)| &**why).collect();
    assert_eq!(
        reasons,
        [
            "neighbor 192.0.2.2 is not configured for ipv4-flow",
            "neighbor 192.0.2.1 is not configured for ipv6-flow",
        ]
    );
    let recovery = bench.restart_with(|_, _| Some(inside("203.0.113.2/32")));
    assert_eq!(
        recovery.left_out[0].1,
        "destination prefix 203.0.113.1/32 outside import.destinations"
    );
    assert_eq!(bench.routes(), []);
}

#[test]
fn what_cannot_be_ours_is_left_out() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    let [first, second] = &bench.sim.recover().unwrap()[..] else {
        panic!("there are two")
    };
    let with_id = |rule: &Recovered, id| Recovered {
        id: RuleId(id),
        memo: rule.memo.clone(),
    };
    let rows = [
        (
            "no memo",
            Recovered {
                id: RuleId(9),
                memo: Vec::new(),
            },
            "there is no memo",
        ),
        (
            "an id twice",
            with_id(second, first.id.0),
            "its id is not its own",
        ),
        (
            "no id left",
            with_id(second, u64::MAX),
            "its id is not its own",
        ),
        (
            "a route twice",
            with_id(first, 9),
            "there is another for the same Flow Specification",
        ),
    ];
    for (name, bad, reason) in rows {
        let mut engine = Engine::new(LOCAL, bench.sim.capability());
        let recovered = [first.clone(), bad.clone()];
        let (now, until) = (bench.now, bench.now + KEPT);
        let recovery = engine.recover(now, until, &recovered, |_, _| Some(Default::default()));
        assert_eq!(recovery.rules.len(), 1, "{name}");
        assert_eq!(recovery.left_out, [(bad.id, reason.into())], "{name}");
        assert!(
            engine.is_settled() && engine.rules(now).len() == 1,
            "{name}"
        );
    }
    assert_eq!(bench.packets(), [0, 0]);
}
