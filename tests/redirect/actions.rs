//! Every form of redirect, and how it works together with other actions and other rules.

use dataplane::backend::Backend;
use dataplane::desired::Unreachable;

use crate::scene::{Fate, Scene, rules};

const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100 dscp 5";
const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100 dscp 5";
const HOST: &str = "destination 203.0.113.5/32;";
const NET: &str = "destination 203.0.113.0/24;";
const HOST_V6: &str = "destination 2001:db8::5/128;";
const NET_V6: &str = "destination 2001:db8::/64;";

#[test]
fn packets_go_where_the_rules_say() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    type Rules = &'static [(&'static str, &'static str)];
    let rows: &[(&str, Rules, &str, Fate)] = &[
        ("no rule", &[], V4, Fate::Victim(5)),
        (
            "two-octet AS",
            &[(HOST, "redirect 65001:100;")],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "IPv4 address",
            &[(HOST, "redirect 192.0.2.1:100;")],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "four-octet AS",
            &[(HOST, "redirect 70000:101;")],
            V4,
            Fate::Scrubber(2, 5),
        ),
        (
            "IPv6 address",
            &[(HOST, "redirect [2001:db8::1]:101;")],
            V4,
            Fate::Scrubber(2, 5),
        ),
        (
            "IPv6 packets by a table",
            &[(HOST_V6, "redirect 65001:100;")],
            V6,
            Fate::Scrubber(1, 5),
        ),
        (
            "the other table",
            &[(HOST_V6, "redirect 70000:101;")],
            V6,
            Fate::Scrubber(2, 5),
        ),
        (
            "a table without a route",
            &[(HOST, "redirect 65001:999;")],
            V4,
            Fate::Dropped,
        ),
        (
            "… in IPv6",
            &[(HOST_V6, "redirect 65001:999;")],
            V6,
            Fate::Dropped,
        ),
        (
            "a next hop",
            &[(HOST, "redirect 10.9.1.2;")],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "the other next hop",
            &[(HOST, "redirect 10.9.2.2;")],
            V4,
            Fate::Scrubber(2, 5),
        ),
        (
            "an IPv6 next hop",
            &[(HOST_V6, "redirect fd00:9:2::2;")],
            V6,
            Fate::Scrubber(2, 5),
        ),
        (
            "a range of ports",
            &[(
                "destination 203.0.113.5/32; port >50&<60;",
                "redirect 10.9.2.2;",
            )],
            V4,
            Fate::Scrubber(2, 5),
        ),
        (
            "with a mark",
            &[(HOST, "mark 46; redirect 65001:100;")],
            V4,
            Fate::Scrubber(1, 46),
        ),
        (
            "with a mark in IPv6",
            &[(HOST_V6, "mark 46; redirect fd00:9:1::2;")],
            V6,
            Fate::Scrubber(1, 46),
        ),
        (
            "under a rate",
            &[(HOST, "rate-limit 1000000; redirect 65001:100;")],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "over a rate",
            &[(HOST, "rate-limit 1e-30; redirect 65001:100;")],
            V4,
            Fate::Dropped,
        ),
        (
            "discard",
            &[(HOST, "rate-limit 0; redirect 65001:100;")],
            V4,
            Fate::Dropped,
        ),
        (
            "it ends evaluation",
            &[(HOST, "redirect 65001:100;"), (NET, "discard;")],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "continue, then discard",
            &[
                (HOST, "redirect 65001:100; action terminal;"),
                (NET, "discard;"),
            ],
            V4,
            Fate::Dropped,
        ),
        (
            "continue, then accept",
            &[
                (HOST, "redirect 65001:100; action terminal;"),
                (NET, "accept;"),
            ],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "the first redirect wins",
            &[
                (HOST, "redirect 65001:100; action terminal;"),
                (NET, "redirect 10.9.2.2;"),
            ],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "the first redirect wins in IPv6",
            &[
                (HOST_V6, "redirect fd00:9:2::2; action terminal;"),
                (NET_V6, "redirect 65001:100;"),
            ],
            V6,
            Fate::Scrubber(2, 5),
        ),
        (
            "a mark, then a redirect",
            &[
                (HOST, "mark 46; action terminal;"),
                (NET, "mark 10; redirect 65001:100;"),
            ],
            V4,
            Fate::Scrubber(1, 46),
        ),
        (
            "a redirect, then a mark",
            &[
                (HOST, "redirect 65001:100; action terminal;"),
                (NET, "mark 10;"),
            ],
            V4,
            Fate::Scrubber(1, 10),
        ),
        (
            "accept before a redirect",
            &[(HOST, "accept;"), (NET, "redirect 65001:100;")],
            V4,
            Fate::Victim(5),
        ),
        (
            "after a limit that lets it pass",
            &[
                (HOST, "rate-limit 1000000; action terminal;"),
                (NET, "redirect 65001:100;"),
            ],
            V4,
            Fate::Scrubber(1, 5),
        ),
        (
            "other packets",
            &[("destination 203.0.113.6/32;", "redirect 65001:100;")],
            V4,
            Fate::Victim(5),
        ),
    ];
    for (name, flows, packet, fate) in rows {
        scene
            .install(&rules(1, flows))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let patient = matches!(fate, Fate::Scrubber(..));
        assert_eq!(scene.send(packet, patient), *fate, "{name}");
    }
    // All of these lead to different places at the same time.
    let all = rules(
        1,
        &[
            ("destination 203.0.113.1/32;", "redirect 65001:100;"),
            ("destination 203.0.113.2/32;", "redirect 10.9.2.2;"),
            ("destination 203.0.113.3/32;", "redirect 70000:101;"),
            ("destination 203.0.113.4/32;", "redirect 10.9.1.2;"),
        ],
    );
    scene.install(&all).unwrap();
    for (host, fate) in [
        (1, Fate::Scrubber(1, 0)),
        (2, Fate::Scrubber(2, 0)),
        (3, Fate::Scrubber(2, 0)),
        (4, Fate::Scrubber(1, 0)),
        (5, Fate::Victim(0)),
    ] {
        let packet = format!("udp 192.0.2.1:9 > 203.0.113.{host}:53 len 60");
        assert_eq!(scene.send(&packet, host != 5), fate, "host {host}");
    }
}

#[test]
fn each_packet_goes_to_one_place_and_is_counted_once() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    let count = 20;
    let all = usize::from(count);
    // To the victim, and to each scrubber.
    let rows = [
        ("by a table", HOST, "redirect 65001:100;", V4, (0, [all, 0])),
        (
            "… in IPv6",
            HOST_V6,
            "redirect 65001:100;",
            V6,
            (0, [all, 0]),
        ),
        (
            "by a next hop",
            HOST,
            "redirect 10.9.2.2;",
            V4,
            (0, [0, all]),
        ),
        (
            "… in IPv6",
            HOST_V6,
            "mark 46; redirect fd00:9:2::2;",
            V6,
            (0, [0, all]),
        ),
        (
            "by a next hop of a table",
            HOST,
            "redirect 70000:101; redirect 10.9.1.2;",
            V4,
            (0, [0, all]),
        ),
        (
            "with a sample and a rate",
            HOST,
            "rate-limit 1e9; action sample; redirect 65001:100;",
            V4,
            (0, [all, 0]),
        ),
        ("nowhere", HOST, "redirect 65001:999;", V4, (0, [0, 0])),
        ("not at all", HOST, "mark 46;", V4, (all, [0, 0])),
    ];
    for (name, matches, then, packet, expected) in rows {
        scene.install(&rules(1, &[(matches, then)])).unwrap();
        let before = scene.kernel.counters().unwrap()[0].1.packets;
        assert_eq!(scene.spread(packet, count, expected.1), expected, "{name}");
        let after = scene.kernel.counters().unwrap()[0].1.packets;
        assert_eq!(after - before, u64::from(count), "{name}");
    }
}
