//! A session is lost and comes back, or does not.

use super::*;

#[test]
fn after_the_loss_of_a_session() {
    use RefreshMarker::{Begin, End};
    const BOTH: &[FlowFamily] = &[Ipv4Flow, Ipv6Flow];
    const GR: Cause = Cause::Restart;
    let (one, two) = (&[host(1)][..], &[host(1), host(2)][..]);
    let mixed = &[host(1), ipv6(6)][..];
    let lost = Lost(1, GR, 120, 0);
    let resent = |routes: &[Nlri]| Announce(1, routes.to_vec(), DISCARD);
    let rows: &[Row] = &[
        ("down for good", two, &[], &[Down(1)], &[], 2),
        (
            "lost",
            two,
            &[],
            &[lost.clone(), Wait(119)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "does not come back",
            two,
            &[],
            &[lost.clone(), Wait(120)],
            &[],
            2,
        ),
        (
            "back in time, with all routes",
            two,
            &[],
            &[
                lost.clone(),
                Wait(100),
                Back(1, BOTH, &[]),
                resent(two),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed); 2],
            0,
        ),
        (
            "back in time, with one route less",
            two,
            &[],
            &[
                lost.clone(),
                Back(1, BOTH, &[]),
                resent(one),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back, with other actions",
            one,
            &[],
            &[
                lost.clone(),
                Back(1, BOTH, &[]),
                Announce(1, one.to_vec(), RATE_1000),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back, but takes its time: the restart time no longer counts",
            two,
            &[],
            &[lost.clone(), Wait(119), Back(1, BOTH, &[]), Wait(60)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "back, and never done",
            two,
            &[],
            &[
                lost.clone(),
                Wait(119),
                Back(1, BOTH, &[]),
                resent(one),
                Wait(61),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back without the capability",
            two,
            &[],
            &[lost.clone(), Up(1)],
            &[],
            2,
        ),
        (
            "back, and one family was not preserved",
            mixed,
            &[],
            &[lost.clone(), Back(1, &[Ipv4Flow], &[])],
            &[(1, Stale)],
            1,
        ),
        (
            "lost again before all is resent",
            two,
            &[],
            &[lost.clone(), Back(1, BOTH, &[]), resent(one), lost.clone()],
            &[(1, Stale)],
            1,
        ),
        (
            "lost again, and for good",
            two,
            &[],
            &[lost.clone(), Back(1, BOTH, &[]), resent(two), Down(1)],
            &[],
            2,
        ),
        (
            "announces nothing while it is away",
            one,
            &[],
            &[lost.clone(), resent(&[host(3)]), Withdraw(1, one.to_vec())],
            &[(1, Stale)],
            0,
        ),
        (
            "its neighbor is no longer configured",
            one,
            &[host(2)],
            &[lost.clone(), Neighbors("192.0.2.2/32")],
            &[(2, Installed)],
            1,
        ),
        (
            "the other neighbor takes over what is swept",
            one,
            one,
            &[lost.clone(), Wait(120)],
            &[(2, Installed)],
            0,
        ),
        (
            "policy reaches stale routes",
            one,
            &[],
            &[lost.clone(), Policy(1, "198.51.100.0/24")],
            &[(1, RouteState::Rejected)],
            1,
        ),
        // Held without graceful restart.
        (
            "held, and back without the capability",
            two,
            &[],
            &[Lost(1, Cause::Hold, 60, 0), Wait(59), Up(1), resent(one)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "held, and swept by End-of-RIB",
            two,
            &[],
            &[
                Lost(1, Cause::Hold, 60, 0),
                Up(1),
                resent(one),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "held for so long and no longer, back or not",
            two,
            &[],
            &[
                Lost(1, Cause::Hold, 60, 0),
                Wait(59),
                Up(1),
                resent(one),
                Wait(1),
            ],
            &[(1, Installed)],
            1,
        ),
        // Long-lived.
        (
            "long-lived after the restart time",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(120), Wait(999)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "long-lived without a restart time",
            two,
            &[],
            &[Lost(1, GR, 0, 1000), Wait(999)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "long-lived comes to its end",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(120), Wait(1000)],
            &[],
            2,
        ),
        (
            "nobody looked for long",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(1120)],
            &[],
            2,
        ),
        (
            "long-lived, and back with all",
            two,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(500),
                Back(1, &[], BOTH),
                resent(two),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed); 2],
            0,
        ),
        (
            "long-lived, and not preserved",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(500), Back(1, BOTH, &[])],
            &[],
            2,
        ),
        (
            "long-lived, and lost once more: its time does not begin again",
            one,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(120),
                Back(1, &[], BOTH),
                Lost(1, GR, 120, 1000),
                Wait(120),
                Wait(879),
            ],
            &[(1, Stale)],
            0,
        ),
        (
            "long-lived, lost once more, and its time is over",
            one,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(120),
                Back(1, &[], BOTH),
                Lost(1, GR, 120, 1000),
                Wait(120),
                Wait(880),
            ],
            &[],
            1,
        ),
        (
            "what must not be long-lived goes after the restart time",
            one,
            &[],
            &[
                AnnounceForShort(1, vec![host(7)]),
                Lost(1, GR, 120, 1000),
                Wait(120),
            ],
            &[(1, Stale)],
            2,
        ),
        (
            "long-lived is the last choice",
            one,
            one,
            &[Lost(1, GR, 120, 1000), Wait(120)],
            &[(2, Installed), (1, Shadowed)],
            0,
        ),
        (
            "stale for a short time is preferred as before",
            one,
            one,
            &[Lost(1, GR, 120, 1000), Wait(119)],
            &[(1, Stale), (2, Shadowed)],
            0,
        ),
        // Enhanced refresh.
        (
            "a refresh begins",
            two,
            &[],
            &[Refresh(1, Begin)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "a refresh with one route less",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), Refresh(1, End)],
            &[(1, Installed)],
            1,
        ),
        (
            "End-of-RIB is not the end of a refresh",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), EndOfRib(1, Ipv4Flow)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "a refresh without end",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), Wait(180)],
            &[(1, Installed)],
            1,
        ),
        (
            "a refresh of the other family",
            &[ipv6(6)],
            &[],
            &[Refresh(1, Begin), Refresh(1, End)],
            &[(1, Installed)],
            0,
        ),
        (
            "lost in the middle of a refresh: nothing was withdrawn yet",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), lost.clone()],
            &[(1, Stale); 2],
            0,
        ),
        (
            "a refresh brings what there is room for now",
            two,
            &[],
            &[
                Limit(1, 2),
                resent(&[host(3)]),
                Refresh(1, Begin),
                resent(&[host(2), host(3)]),
                Refresh(1, End),
            ],
            &[(1, Installed); 2],
            2,
        ),
    ];
    for (name, first, second, steps, routes, writes) in rows {
        let mut bench = Bench::with(first, second);
        bench.play(steps);
        assert_eq!(bench.routes(), *routes, "{name}");
        assert_eq!(bench.writes, *writes, "{name}");
        let installed = bench.sim.counters().unwrap().len();
        let in_force = |(_, state): &&(u8, RouteState)| matches!(state, Stale | Installed);
        assert_eq!(installed, routes.iter().filter(in_force).count(), "{name}");
        for rule in bench.engine.rules(bench.now) {
            assert_eq!(rule.reason.is_none(), rule.state == Installed, "{name}");
        }

        bench.play(&[Wait(120), Wait(2000)]);
        let stale = bench.routes().iter().any(|(_, state)| *state == Stale);
        assert!(!stale && bench.engine.next_deadline().is_none(), "{name}");
    }
}

/// The controller flaps: the packet filter is never told, and its counters go on.
#[test]
fn a_hundred_flaps_cost_no_write() {
    let routes: Vec<Nlri> = (0..50).map(host).collect();
    let mut bench = Bench::with(&routes, &[]);
    for flap in 1..=100 {
        bench.send(7);
        let families = &[Ipv4Flow, Ipv6Flow];
        bench.play(&[
            Lost(1, Cause::Restart, 120, 0),
            Wait(1 + flap % 119),
            Back(1, families, &[]),
            Announce(1, routes.clone(), DISCARD),
            EndOfRib(1, Ipv4Flow),
            EndOfRib(1, Ipv6Flow),
        ]);
        assert_eq!(bench.writes, 0, "flap {flap}");
        assert!(bench.routes().iter().all(|(_, state)| *state == Installed));
        assert_eq!(bench.packets()[7], flap, "flap {flap}");
    }
    assert!(bench.engine.next_deadline().is_none());
}

#[test]
fn the_reason_of_a_stale_route_follows_its_stages() {
    let mut bench = Bench::with(&[host(1)], &[]);
    let rows: [(&[Step], &str, u64); 6] = [
        (
            &[Lost(1, Cause::Restart, 120, 1000)],
            "192.0.2.1 restarts (RFC 4724)",
            120,
        ),
        (
            &[Wait(20), Back(1, &[Ipv4Flow], &[])],
            "192.0.2.1 is back (RFC 4724)",
            160,
        ),
        (
            &[Lost(1, Cause::Hold, 30, 0)],
            "the session with 192.0.2.1 was lost",
            30,
        ),
        (
            &[
                Up(1),
                Announce(1, vec![host(1)], DISCARD),
                Lost(1, Cause::Restart, 10, 1000),
                Wait(10),
            ],
            "192.0.2.1 is gone for long (RFC 9494)",
            1000,
        ),
        (
            &[
                Up(1),
                Announce(1, vec![host(1)], DISCARD),
                Refresh(1, RefreshMarker::Begin),
                Wait(1),
            ],
            "192.0.2.1 sends its routes again (RFC 7313)",
            179,
        ),
        (
            &[Wait(9)],
            "192.0.2.1 sends its routes again (RFC 7313)",
            170,
        ),
    ];
    for (steps, why, secs) in rows {
        if matches!(steps, [Lost(_, Cause::Hold, ..)]) {
            bench.play(&[Announce(1, vec![host(1)], DISCARD)]);
        }
        bench.play(steps);
        let reason = bench.engine.rules(bench.now)[0].reason.clone();
        let expected =
            format!("{why}: kept until 192.0.2.1 has resent its routes, at most {secs} s more");
        assert_eq!(reason, Some(expected));
        assert_eq!(
            bench.engine.stale_secs_left(bench.now, address(1)),
            Some(secs)
        );
    }
}
