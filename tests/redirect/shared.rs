//! Several next hops that share the packets of a rule.

use dataplane::backend::Backend;
use dataplane::desired::Unreachable;

use crate::scene::{Fate, Scene, ip, rules, settings, start};
use crate::waiting::eventually;

/// Sources of packets: so many that one next hop has them all in one of 2^31 runs.
const SOURCES: u8 = 32;

/// Rules whose packets both scrubbers share.
const FLOWS: [(&str, &str); 2] = [
    (
        "destination 203.0.113.5/32;",
        "redirect 10.9.2.2; redirect 10.9.1.2;",
    ),
    (
        "destination 2001:db8::5/128;",
        "redirect fd00:9:1::2; redirect fd00:9:2::2;",
    ),
];

/// A packet of a source: of IPv4 where `ipv6` is false.
fn packet(source: u8, ipv6: bool) -> String {
    match ipv6 {
        false => format!("udp 192.0.2.{source}:9 > 203.0.113.5:53 len 100"),
        true => format!("udp [2001:db8:7::{source:x}]:9 > [2001:db8::5]:53 len 100"),
    }
}

/// Where the packets of each source go in a family.
fn fates(scene: &mut Scene, ipv6: bool) -> Vec<Fate> {
    let send = |source| scene.send(&packet(source, ipv6), true);
    (1..=SOURCES).map(send).collect()
}

/// Waits until packets of both families go to these places and to no others.
fn wait_for(scene: &mut Scene, what: &str, places: &[Fate]) {
    for ipv6 in [false, true] {
        eventually(what, || {
            scene.kernel.audit().unwrap();
            let found = fates(scene, ipv6);
            let all_of = |of: &[Fate], among: &[Fate]| of.iter().all(|fate| among.contains(fate));
            match all_of(places, &found) && all_of(&found, places) {
                true => Ok(()),
                false => Err(format!("ipv6 {ipv6}: {found:?}")),
            }
        });
    }
}

#[test]
fn next_hops_share_the_packets_and_stand_in_for_each_other() {
    const FIRST: Fate = Fate::Scrubber(1, 0);
    const SECOND: Fate = Fate::Scrubber(2, 0);
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.install(&rules(1, &FLOWS)).unwrap();
    wait_for(&mut scene, "both have their share", &[FIRST, SECOND]);
    assert_eq!(scene.kernel.impaired(), []);
    for ipv6 in [false, true] {
        let before = fates(&mut scene, ipv6);
        assert_eq!(fates(&mut scene, ipv6), before, "a flow stays where it is");
    }

    // Another process goes on with what is there.
    let before = scene.entries();
    assert!(
        before.iter().any(|line| line.contains("lookup 5200")),
        "{before:?}"
    );
    drop(std::mem::take(&mut scene.kernel));
    scene.kernel = start(&scene.lab, settings(Unreachable::Pass), rules(1, &FLOWS)).unwrap();
    assert_eq!(scene.entries(), before);
    wait_for(&mut scene, "after a restart", &[FIRST, SECOND]);

    let links = ["first", "second"].into_iter().zip([SECOND, FIRST]);
    for (number, (name, other)) in links.enumerate() {
        ip(&scene.scrubbers[number], "link set router down");
        wait_for(&mut scene, &format!("the {name} is down"), &[other]);
        let reasons: Vec<String> = scene.kernel.impaired().into_iter().map(|it| it.1).collect();
        let number = number + 1;
        let reason = |address: String| {
            format!("not all next hops are used: {address} is behind scrub{number}, which is down")
        };
        let addresses = [format!("10.9.{number}.2"), format!("fd00:9:{number}::2")];
        assert_eq!(reasons, addresses.map(reason));
        let scrubber = &scene.scrubbers[number - 1];
        ip(scrubber, "link set router up");
        ip(
            scrubber,
            &format!("addr replace fd00:9:{number}::2/64 dev router nodad"),
        );
        wait_for(&mut scene, &format!("the {name} is back"), &[FIRST, SECOND]);
        assert_eq!(scene.kernel.impaired(), []);
    }

    for scrubber in &scene.scrubbers {
        ip(scrubber, "link set router down");
    }
    wait_for(&mut scene, "none is there", &[Fate::Victim(0)]);
    let impaired = scene.kernel.impaired();
    assert_eq!(
        impaired[0].1,
        "not redirected: 10.9.1.2 is behind scrub1, which is down, 10.9.2.2 is behind scrub2, which is down; \
         packets are routed by their destination"
    );
    scene.install(&[]).unwrap();
    assert_eq!(scene.entries(), [""; 0]);
}
