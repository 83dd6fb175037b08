//! Next hops that come and go, and such that other routers lead to.

use dataplane::backend::Backend;
use dataplane::desired::{Changes, Unreachable};

use crate::scene::{Fate, Scene, ip, rules};
use crate::waiting::eventually;

const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100";
const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100";

/// Waits until the audit has led packets to where they shall go.
fn wait_for(scene: &mut Scene, what: &str, fates: [Fate; 2]) {
    eventually(what, || {
        scene.kernel.audit().unwrap();
        let found = [scene.send(V4, false), scene.send(V6, false)];
        match found == fates {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn an_unreachable_next_hop_does_what_the_configuration_says() {
    let rows = [
        (
            Unreachable::Pass,
            Fate::Victim(0),
            "are routed by their destination",
        ),
        (Unreachable::Discard, Fate::Dropped, "are discarded"),
    ];
    for (unreachable, fate, words) in rows {
        let Some(mut scene) = Scene::new(unreachable) else {
            return;
        };
        let redirect = rules(
            1,
            &[
                ("destination 203.0.113.5/32;", "redirect 10.9.1.2;"),
                ("destination 2001:db8::5/128;", "redirect fd00:9:1::2;"),
            ],
        );
        scene.install(&redirect).unwrap();
        wait_for(&mut scene, "at first", [Fate::Scrubber(1, 0); 2]);
        assert_eq!(scene.kernel.impaired(), []);

        // The far end of the cable goes down.
        ip(&scene.scrubbers[0], "link set router down");
        wait_for(&mut scene, "carrier lost", [fate; 2]);
        let impaired = scene.kernel.impaired();
        assert_eq!(impaired.len(), 2, "{impaired:?}");
        assert!(
            impaired
                .iter()
                .all(|(_, reason)| reason.contains("down") && reason.ends_with(words)),
            "{impaired:?}"
        );
        ip(&scene.scrubbers[0], "link set router up");
        ip(
            &scene.scrubbers[0],
            "addr replace fd00:9:1::2/64 dev router nodad",
        );
        wait_for(&mut scene, "carrier back", [Fate::Scrubber(1, 0); 2]);
        assert_eq!(scene.kernel.impaired(), []);

        // The neighbor goes away.
        ip(&scene.scrubbers[0], "addr flush dev router");
        ip(&scene.lab.router, "neigh flush all dev scrub1");
        wait_for(&mut scene, "no answer", [fate; 2]);
        ip(&scene.scrubbers[0], "addr add 10.9.1.2/24 dev router");
        ip(
            &scene.scrubbers[0],
            "addr add fd00:9:1::2/64 dev router nodad",
        );
        wait_for(&mut scene, "answers again", [Fate::Scrubber(1, 0); 2]);
    }
}

#[test]
fn a_next_hop_behind_another_router_is_followed() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    ip(&scene.lab.router, "route add 198.51.100.0/24 via 10.9.1.2");
    ip(
        &scene.lab.router,
        "route add 2001:db8:ff::/64 via fd00:9:1::2",
    );
    let redirect = rules(
        1,
        &[
            ("destination 203.0.113.5/32;", "redirect 198.51.100.7;"),
            ("destination 2001:db8::5/128;", "redirect 2001:db8:ff::7;"),
        ],
    );
    scene.install(&redirect).unwrap();
    wait_for(&mut scene, "by the first", [Fate::Scrubber(1, 0); 2]);
    ip(
        &scene.lab.router,
        "route replace 198.51.100.0/24 via 10.9.2.2",
    );
    ip(&scene.lab.router, "route del 2001:db8:ff::/64");
    ip(
        &scene.lab.router,
        "route add 2001:db8:ff::/64 via fd00:9:2::2",
    );
    wait_for(&mut scene, "by the second", [Fate::Scrubber(2, 0); 2]);
    ip(
        &scene.lab.router,
        "route replace unreachable 198.51.100.0/24",
    );
    ip(&scene.lab.router, "route del 2001:db8:ff::/64");
    ip(&scene.lab.router, "route add unreachable 2001:db8:ff::/64");
    wait_for(&mut scene, "unreachable", [Fate::Dropped; 2]);
    let impaired = scene.kernel.impaired();
    assert!(
        impaired[0].1.contains("there is no route to 198.51.100.7"),
        "{impaired:?}"
    );
}

#[test]
fn a_route_that_encapsulates_is_not_followed_without() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    for route in [
        "198.51.100.0/24 encap ip id 7 dst 10.9.1.2 via 10.9.1.2 dev scrub1",
        "2001:db8:ff::/64 encap ip6 id 7 dst fd00:9:1::2 via fd00:9:1::2 dev scrub1",
    ] {
        ip(&scene.lab.router, &format!("route add {route}"));
    }
    let redirect = rules(
        1,
        &[
            ("destination 203.0.113.5/32;", "redirect 198.51.100.7;"),
            ("destination 2001:db8::5/128;", "redirect 2001:db8:ff::7;"),
        ],
    );
    scene.install(&redirect).unwrap();
    assert_eq!(
        [scene.send(V4, false), scene.send(V6, false)],
        [Fate::Dropped; 2]
    );
    let impaired = scene.kernel.impaired();
    let reasons: Vec<&str> = impaired.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "not redirected: the route to 198.51.100.7 encapsulates packets; packets are discarded",
            "not redirected: the route to 2001:db8:ff::7 encapsulates packets; packets are discarded",
        ]
    );
}

#[test]
fn neighbors_that_others_keep_stay_theirs() {
    const ADDRESS: &str = "lladdr 02:00:00:00:04:02";
    let rows = [
        ("static", 1, ADDRESS.to_owned(), "PERMANENT"),
        (
            "never looked for",
            1,
            format!("{ADDRESS} nud noarp"),
            "NOARP",
        ),
        (
            "learned by a program",
            1,
            format!("{ADDRESS} nud reachable extern_learn"),
            "extern_learn",
        ),
        ("managed", 2, "managed".to_owned(), "managed"),
    ];
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    // The first answers nobody who looks for it.
    ip(&scene.scrubbers[0], "addr flush dev router");
    for (name, number, neighbor, word) in rows {
        let next_hops = [format!("10.9.{number}.2"), format!("fd00:9:{number}::2")];
        for address in &next_hops {
            let place = format!("{address} dev scrub{number}");
            ip(
                &scene.lab.router,
                &format!("neigh replace {place} {neighbor}"),
            );
        }
        let [ipv4, ipv6] = next_hops
            .each_ref()
            .map(|address| format!("redirect {address};"));
        let redirect = rules(
            1,
            &[
                ("destination 203.0.113.5/32;", ipv4.as_str()),
                ("destination 2001:db8::5/128;", ipv6.as_str()),
            ],
        );
        scene.install(&redirect).unwrap();
        for _ in 0..2 {
            scene.kernel.audit().unwrap();
            assert_eq!(scene.kernel.impaired(), [], "{name}");
            let found = [scene.send(V4, true), scene.send(V6, true)];
            assert_eq!(found, [Fate::Scrubber(number, 0); 2], "{name}");
            for address in &next_hops {
                let shown = ip(&scene.lab.router, &format!("neigh show {address} nud all"));
                assert!(shown.contains(word), "{name}: {shown}");
            }
        }
        scene.install(&[]).unwrap();
    }
}

#[test]
fn a_vrf_that_is_not_there_is_an_unreachable_route() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    scene
        .install(&rules(
            1,
            &[("destination 203.0.113.5/32;", "redirect 65001:7;")],
        ))
        .unwrap();
    assert_eq!(scene.send(V4, false), Fate::Dropped);
    let impaired = scene.kernel.impaired();
    assert!(
        impaired[0].1.contains("there is no VRF scrub"),
        "{impaired:?}"
    );
    scene.kernel.commit(&Changes::default()).unwrap();
}

#[test]
fn a_strict_reverse_path_filter_drops_only_where_it_looks_at_marks() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    let router = &scene.lab.router;
    let attacker = "192.168.255.2";
    ip(
        router,
        &format!("neigh add {attacker} lladdr 02:00:00:00:01:02 dev upstream"),
    );
    ip(router, &format!("route add 192.0.2.0/24 via {attacker}"));
    router
        .set_sysctl("ipv4/conf/upstream/rp_filter", "1")
        .unwrap();
    let flows = [("destination 203.0.113.5/32;", "redirect 65001:100;")];
    scene.install(&rules(1, &flows)).unwrap();
    for (value, fate) in [("0", Fate::Scrubber(1, 0)), ("1", Fate::Dropped)] {
        let router = &scene.lab.router;
        router
            .set_sysctl("ipv4/conf/upstream/src_valid_mark", value)
            .unwrap();
        assert_eq!(scene.send(V4, value == "0"), fate, "src_valid_mark {value}");
    }
}
