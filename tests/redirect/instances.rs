//! Next hops in a routing table: with an rt-redirect beside it, the address is one of the table's.

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::Unreachable;
use dataplane::rule::Rule;

use crate::scene::{Fate, Scene, ip, rules, settings, start};
use crate::waiting::eventually;

/// Packets to three hosts in each family, told apart by their last octet.
const HOSTS: [u8; 3] = [5, 6, 7];

/// One address, as the machine itself reaches it, as table 101 does, and as table 999 does, which has no route to it.
fn by_instances() -> Vec<Arc<Rule>> {
    rules(
        1,
        &[
            ("destination 203.0.113.5/32;", "redirect 198.51.100.7;"),
            (
                "destination 203.0.113.6/32;",
                "redirect 198.51.100.7; redirect 70000:101;",
            ),
            (
                "destination 203.0.113.7/32;",
                "redirect 65001:999; redirect 198.51.100.7;",
            ),
            ("destination 2001:db8::5/128;", "redirect 2001:db8:ff::7;"),
            (
                "destination 2001:db8::6/128;",
                "redirect 70000:101; redirect 2001:db8:ff::7;",
            ),
            (
                "destination 2001:db8::7/128;",
                "redirect 2001:db8:ff::7; redirect 65001:999;",
            ),
        ],
    )
}

/// Leads the next hops to a scrubber, in a table.
fn lead(scene: &Scene, table: &str, scrubber: u32) {
    for (destination, gateway) in [
        ("198.51.100.0/24", format!("10.9.{scrubber}.2")),
        ("2001:db8:ff::/64", format!("fd00:9:{scrubber}::2")),
    ] {
        let route = format!("{destination} via {gateway} table {table}");
        ip(&scene.lab.router, &format!("route replace {route}"));
    }
}

/// Waits until packets to the three hosts go there, in both families.
fn wait_for(scene: &mut Scene, what: &str, fates: [Fate; 3]) {
    eventually(what, || {
        scene.kernel.audit().unwrap();
        for (host, fate) in HOSTS.into_iter().zip(fates) {
            for packet in [
                format!("udp 192.0.2.1:9 > 203.0.113.{host}:53 len 100"),
                format!("udp [2001:db8::1]:9 > [2001:db8::{host}]:53 len 100"),
            ] {
                let found = scene.send(&packet, false);
                if found != fate {
                    return Err(format!("{packet}: {found:?}, not {fate:?}"));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_next_hop_is_looked_for_in_the_table_of_the_route_target() {
    for (unreachable, without, packets) in [
        (Unreachable::Discard, Fate::Dropped, "are discarded"),
        (
            Unreachable::Pass,
            Fate::Scrubber(2, 0),
            "are routed by their destination in table 999",
        ),
    ] {
        let Some(mut scene) = Scene::new(unreachable) else {
            return;
        };
        lead(&scene, "main", 1);
        for destination in [
            "203.0.113.0/24 via 10.9.2.2",
            "2001:db8::/64 via fd00:9:2::2",
        ] {
            let route = format!("route replace {destination} table 999");
            ip(&scene.lab.router, &route);
        }
        let before = scene.entries();
        scene.install(&by_instances()).unwrap();
        let [first, second] = [1, 2].map(|number| Fate::Scrubber(number, 0));
        wait_for(&mut scene, "by its default route", [first, second, without]);
        let impaired = scene.kernel.impaired();
        let reasons: Vec<&str> = impaired.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        let why = "there is no route to 198.51.100.7 in table 999";
        assert_eq!(
            reasons[0],
            format!("not redirected: {why}; packets {packets}")
        );

        lead(&scene, "101", 1);
        lead(&scene, "999", 2);
        wait_for(&mut scene, "by others", [first, first, second]);
        assert_eq!(scene.kernel.impaired(), []);

        // The next process goes on with the same marks and entries.
        let entries = scene.entries();
        drop(std::mem::take(&mut scene.kernel));
        scene.kernel = start(&scene.lab, settings(unreachable), by_instances()).unwrap();
        assert_eq!(scene.entries(), entries);
        wait_for(&mut scene, "after a restart", [first, first, second]);

        // What others take away is back at once.
        for family in ["-4", "-6"] {
            let flush = format!("{family} rule flush proto 148");
            ip(&scene.lab.router, &flush);
        }
        scene.kernel.audit().unwrap();
        assert_eq!(sorted(scene.entries()), sorted(entries));
        assert_eq!(scene.kernel.impaired(), []);

        scene.install(&[]).unwrap();
        assert_eq!(scene.entries(), before, "after a withdraw");
    }
}

#[test]
fn a_new_next_hop_is_not_looked_for_where_policy_rules_are_missing() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    lead(&scene, "main", 1);
    let mut flows = vec![("destination 203.0.113.9/32;", "redirect 70000:101;")];
    scene.install(&rules(1, &flows)).unwrap();
    for family in ["-4", "-6"] {
        let flush = format!("{family} rule flush proto 148");
        ip(&scene.lab.router, &flush);
    }
    flows.extend([
        (
            "destination 203.0.113.6/32;",
            "redirect 198.51.100.7; redirect 70000:101;",
        ),
        (
            "destination 2001:db8::6/128;",
            "redirect 2001:db8:ff::7; redirect 70000:101;",
        ),
    ]);
    // Nobody has looked since they are gone.
    scene.install(&rules(1, &flows)).unwrap();
    for packet in [
        "udp 192.0.2.1:9 > 203.0.113.6:53 len 100",
        "udp [2001:db8::1]:9 > [2001:db8::6]:53 len 100",
    ] {
        assert_eq!(scene.send(packet, true), Fate::Scrubber(2, 0), "{packet}");
    }
}

#[test]
fn both_the_table_and_the_next_hop_take_a_value_of_the_mark() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.kernel.stop().unwrap();
    let mut narrow = settings(Unreachable::Pass);
    narrow.redirect.mark = 0x0001_0000;
    scene.kernel = start(&scene.lab, narrow, Vec::new()).unwrap();
    let both = [(
        "destination 203.0.113.6/32;",
        "redirect 198.51.100.7; redirect 70000:101;",
    )];
    let error = scene.install(&rules(1, &both)).unwrap_err().to_string();
    assert_eq!(
        error,
        "redirect to next hop 198.51.100.7 in table 101: all 1 values of redirect_mark are in use"
    );
    assert_eq!(scene.entries(), [""; 0], "nothing of it remains");
    let table = [("destination 203.0.113.6/32;", "redirect 70000:101;")];
    scene.install(&rules(1, &table)).unwrap();
    let packet = "udp 192.0.2.1:9 > 203.0.113.6:53 len 100";
    assert_eq!(scene.send(packet, true), Fate::Scrubber(2, 0));
}

/// Lines in an order that does not depend on when they were added.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
