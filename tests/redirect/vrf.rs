//! Redirects to VRFs, in the virtual machine: many kernels of build machines have none.

use dataplane::backend::Backend;
use dataplane::desired::Unreachable;

use crate::machine;
use crate::scene::{Fate, Scene, ip, rules};
use crate::waiting::eventually;

const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100";
const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100";

/// Puts the router's interface to a scrubber into a VRF, with a default route to it.
fn join(scene: &Scene, vrf: &str, number: u32) {
    let router = &scene.lab.router;
    let table = 1000 + number;
    ip(router, &format!("link set scrub{number} master {vrf}"));
    // What is in the VRF loses its IPv6 address with the move.
    let address = format!("addr replace fd00:9:{number}::1/64 dev scrub{number} nodad");
    ip(router, &address);
    let gateways = [format!("10.9.{number}.2"), format!("fd00:9:{number}::2")];
    for gateway in gateways {
        ip(
            router,
            &format!("route replace default via {gateway} table {table}"),
        );
    }
}

#[test]
fn packets_are_routed_in_a_vrf() {
    if !machine::inside("vrf::packets_are_routed_in_a_vrf") {
        return;
    }
    let mut scene = Scene::new(Unreachable::Discard).expect("the machine has all that is needed");
    let flows = [
        ("destination 203.0.113.5/32;", "redirect 65001:7;"),
        ("destination 2001:db8::5/128;", "mark 46; redirect 65001:7;"),
    ];
    scene.install(&rules(1, &flows)).unwrap();
    let fates = [Fate::Dropped; 2];
    assert_eq!(
        [scene.send(V4, false), scene.send(V6, false)],
        fates,
        "no VRF yet"
    );
    assert_eq!(scene.kernel.impaired().len(), 2);
    for number in [1, 2] {
        // The VRF goes and comes back with another table.
        let table = 1000 + number;
        ip(
            &scene.lab.router,
            &format!("link add scrub type vrf table {table}"),
        );
        ip(&scene.lab.router, "link set scrub up");
        scene.kernel.audit().unwrap();
        let now = [scene.send(V4, false), scene.send(V6, false)];
        assert_eq!(now, fates, "a VRF without routes");
        assert_eq!(scene.kernel.impaired(), []);
        join(&scene, "scrub", number);
        let scrubber = number as usize;
        let fates = [Fate::Scrubber(scrubber, 0), Fate::Scrubber(scrubber, 46)];
        eventually("packets in the VRF", || {
            let now = [scene.send(V4, true), scene.send(V6, true)];
            (now == fates)
                .then_some(())
                .ok_or_else(|| format!("{now:?}"))
        });
        ip(&scene.lab.router, "link del scrub");
        scene.kernel.audit().unwrap();
        assert_eq!(scene.kernel.impaired().len(), 2);
    }
    next_hops_are_those_of_the_vrf(&mut scene);
    packets_that_come_in_by_a_vrf_leave_it(&mut scene);
    scene.install(&[]).unwrap();
    assert_eq!(scene.entries(), [""; 0]);
}

/// Both scrubbers are in the VRF: its default route leads to the first, and that to the next hop to the second.
fn next_hops_are_those_of_the_vrf(scene: &mut Scene) {
    let flows = [
        ("destination 203.0.113.5/32;", "redirect 65001:7;"),
        ("destination 2001:db8::5/128;", "redirect 65001:7;"),
        (
            "destination 203.0.113.6/32;",
            "redirect 65001:7; redirect 198.51.100.7;",
        ),
        (
            "destination 2001:db8::6/128;",
            "redirect 65001:7; redirect 2001:db8:ff::7;",
        ),
    ];
    scene.install(&rules(1, &flows)).unwrap();
    let impaired = scene.kernel.impaired();
    assert_eq!(impaired.len(), 4, "{impaired:?}");
    assert!(
        impaired
            .iter()
            .all(|(_, reason)| reason.contains("there is no VRF scrub")),
        "{impaired:?}"
    );
    ip(&scene.lab.router, "link add scrub type vrf table 1001");
    ip(&scene.lab.router, "link set scrub up");
    join(scene, "scrub", 1);
    ip(&scene.lab.router, "link set scrub2 master scrub");
    let address = "addr replace fd00:9:2::1/64 dev scrub2 nodad";
    ip(&scene.lab.router, address);
    for route in [
        "198.51.100.0/24 via 10.9.2.2",
        "2001:db8:ff::/64 via fd00:9:2::2",
    ] {
        ip(&scene.lab.router, &format!("route add {route} vrf scrub"));
    }
    // A new next hop is looked for in the VRF, though nobody has looked since that is there.
    let new = [(
        "destination 203.0.113.8/32;",
        "redirect 65001:7; redirect 198.51.100.8;",
    )];
    scene
        .install(&rules(1, &[&flows[..], &new].concat()))
        .unwrap();
    let packet = "udp 192.0.2.1:9 > 203.0.113.8:53 len 100";
    assert_eq!(scene.send(packet, true), Fate::Scrubber(2, 0));
    scene.install(&rules(1, &flows)).unwrap();
    wait_for_hosts(scene, "packets to next hops in the VRF");
    assert_eq!(scene.kernel.impaired(), []);
}

/// Waits until packets to host 5 go to the first scrubber, those to 6 to the second, and those to 7 to the victim.
fn wait_for_hosts(scene: &mut Scene, what: &str) {
    eventually(what, || {
        scene.kernel.audit().unwrap();
        send_to_hosts(scene)
    });
}

/// Sends a packet to each of the three hosts, in both families; fails when one does not go where it is to.
fn send_to_hosts(scene: &mut Scene) -> Result<(), String> {
    let fates = [Fate::Scrubber(1, 0), Fate::Scrubber(2, 0), Fate::Victim(0)];
    for (host, fate) in (5..).zip(fates) {
        for packet in [
            format!("udp 192.0.2.1:9 > 203.0.113.{host}:53 len 100"),
            format!("udp [2001:db8::1]:9 > [2001:db8::{host}]:53 len 100"),
        ] {
            let found = scene.send(&packet, true);
            if found != fate {
                return Err(format!("{packet}: {found:?}"));
            }
        }
    }
    Ok(())
}

/// The attacker and the victim are in a VRF, whose packets go through prerouting twice: they are redirected as others are,
/// and counted once.
fn packets_that_come_in_by_a_vrf_leave_it(scene: &mut Scene) {
    let router = &scene.lab.router;
    ip(router, "link add inner type vrf table 2000");
    ip(router, "link set inner up");
    for link in ["upstream", "fence", "customer"] {
        ip(router, &format!("link set {link} master inner"));
    }
    // They lose with the move what is not an IPv4 address.
    ip(router, "addr replace fd00:1::1/64 dev upstream nodad");
    ip(router, "addr replace fd00:2::1/64 dev customer nodad");
    for gateway in ["192.168.255.6", "fd00:2::2"] {
        let neighbor = format!("neigh replace {gateway} lladdr 02:00:00:00:02:02 dev customer");
        ip(router, &neighbor);
        let default = format!("route replace default via {gateway} dev customer vrf inner");
        ip(router, &default);
    }
    wait_for_hosts(scene, "packets of another VRF");
    let packets = |scene: &mut Scene| {
        let counters = scene.kernel.counters().unwrap();
        let mut counters: Vec<_> = counters
            .into_iter()
            .map(|(rule, counter)| (rule, counter.packets))
            .collect();
        counters.sort();
        counters
    };
    let before = packets(scene);
    send_to_hosts(scene).unwrap();
    let once = before.into_iter().map(|(rule, count)| (rule, count + 1));
    assert_eq!(packets(scene), once.collect::<Vec<_>>());
}

#[test]
fn what_other_tests_show_holds_on_an_older_kernel() {
    if !machine::available() {
        return;
    }
    // What remains in the tables does not depend on the kernel.
    machine::run_tests(&["-t", "400"], &["--skip", "vrf::", "--skip", "remains::"]);
}
