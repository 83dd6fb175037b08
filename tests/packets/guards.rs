//! What no rule ever touches, whatever the rules say: nobody is locked out.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dataplane::backend::Backend;
use dataplane::desired::{InterfacePattern, Link, Settings};
use dataplane::guard::Guard;
use dataplane::interval::IntervalSet;
use dataplane::packet::Packet;
use dataplane::rule::{AddressPattern, Family, Match, left_aligned};
use flowacl::lab::packet::PacketBuilder;
use flowacl::lab::{Lab, LabError, UPSTREAM};

use crate::flows::rules_of;
use crate::network::{Fate, Trial, available, settings};

/// The rules that have locked people out.
const LOCK_OUT: [(&str, &str); 5] = [
    ("destination 0.0.0.0/0;", "discard;"),
    ("destination ::/0;", "discard;"),
    ("protocol tcp;", "discard;"),
    ("port =179;", "discard;"),
    ("destination-port =22;", "discard;"),
];

/// What a host needs of the router: TCP to `port` from `source`.
fn protected_port(family: Family, source: Option<AddressPattern>, port: u32) -> Guard {
    Guard {
        family,
        traffic: Match {
            source,
            protocol: Some(IntervalSet::single(6)),
            destination_port: Some(IntervalSet::single(port)),
            ..Match::default()
        },
        to_this_machine: true,
        on_link: false,
        purpose: "ssh".into(),
    }
}

#[test]
fn sessions_and_protected_ports_survive_rules_that_discard_everything() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let addresses = [
        ("host-ipv4", "10.0.0.1", "10.0.0.2", 30, Family::Ipv4),
        ("host-ipv6", "fd00:9::1", "fd00:9::2", 64, Family::Ipv6),
    ];
    let mut guards = Vec::new();
    for (_, _, host, _, family) in addresses {
        let (_, host) = left_aligned(host.parse().unwrap());
        let host = AddressPattern::new(host, 0, 128);
        let elsewhere = AddressPattern::new(!0, 0, 16);
        guards.extend([
            Guard::session(family, AddressPattern::new(0, 0, 0), 179, "BGP"),
            protected_port(family, Some(host), 22),
            protected_port(family, Some(elsewhere), 23),
        ]);
    }
    let settings = Settings {
        interfaces: vec![InterfacePattern::any()],
        guards,
        ..settings()
    };
    let mut trial = Trial::start(lab, settings, &[]);
    trial.install(&rules_of(&LOCK_OUT));
    for (name, router, host, prefix_length, family) in addresses {
        let (router, host) = (router.parse().unwrap(), host.parse().unwrap());
        // A new link: IPv6 has to discover its neighbor first.
        let namespace = trial.lab.attach(name, router, host, prefix_length).unwrap();
        for (port, patience, connects) in [
            (179, 10_000, true),
            (22, 10_000, true),
            (23, 300, false),
            (180, 300, false),
        ] {
            let address = SocketAddr::new(router, port);
            let listener = trial.lab.router.run(move || TcpListener::bind(address));
            let _listener = listener.unwrap();
            let result = namespace.run(move || {
                TcpStream::connect_timeout(&address, Duration::from_millis(patience)).map(|_| ())
            });
            match result {
                Ok(()) => assert!(connects, "{family}: port {port} can be reached"),
                Err(error) => {
                    assert!(!connects, "{family}: port {port}: {error}");
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{family}");
                }
            }
        }
    }
}

/// Packets, and whether they pass the rules that discard everything.
fn check(trial: &mut Trial, rows: &[(&str, &str, bool)]) {
    trial.install(&rules_of(&LOCK_OUT));
    let build = |text: &str| {
        let packet = Packet::from_text(text).unwrap();
        PacketBuilder::of(&packet).expect(text).build()
    };
    let packets: Vec<_> = rows.iter().map(|(_, text, _)| build(text)).collect();
    let outcome = trial.send(&packets);
    for ((name, _, passes), fate) in rows.iter().zip(&outcome.kernel) {
        assert_eq!(*fate != Fate::Dropped, *passes, "{name}");
    }
    assert_eq!(outcome.kernel, outcome.sim);
    assert_eq!(outcome.kernel_counters, outcome.sim_counters);
}

#[test]
fn transit_is_protected_where_it_is_asked_for() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let prefix = |text: &str, length| {
        let (_, address) = left_aligned(text.parse().unwrap());
        Some(AddressPattern::new(address, 0, length))
    };
    let guard = |family, traffic| Guard {
        family,
        traffic,
        to_this_machine: false,
        on_link: false,
        purpose: "management".into(),
    };
    let settings = Settings {
        guards: vec![
            guard(
                Family::Ipv4,
                Match {
                    source: prefix("198.51.100.0", 24),
                    ..Match::default()
                },
            ),
            guard(
                Family::Ipv6,
                Match {
                    destination: prefix("2001:db8:1::", 48),
                    protocol: Some(IntervalSet::single(17)),
                    destination_port: Some(IntervalSet::from_ranges([(3784, 3785)])),
                    ..Match::default()
                },
            ),
        ],
        ..settings()
    };
    check(
        &mut Trial::start(lab, settings, &[]),
        &[
            (
                "from the network",
                "udp 198.51.100.9:1 > 203.0.113.5:1",
                true,
            ),
            (
                "a later fragment of it",
                "proto 17 198.51.100.9 > 203.0.113.5 frag last",
                true,
            ),
            (
                "ICMP from it",
                "icmp 198.51.100.9 > 203.0.113.5 type 8",
                true,
            ),
            ("from another", "udp 198.51.101.9:1 > 203.0.113.5:1", false),
            (
                "to the port",
                "udp [2001:db8::1]:1 > [2001:db8:1::5]:3785",
                true,
            ),
            (
                "to another port",
                "udp [2001:db8::1]:1 > [2001:db8:1::5]:3786",
                false,
            ),
            (
                "from the port",
                "udp [2001:db8::1]:3785 > [2001:db8:1::5]:1",
                false,
            ),
            (
                "of another protocol",
                "tcp [2001:db8::1]:1 > [2001:db8:1::5]:3785",
                false,
            ),
            (
                "to another network",
                "udp [2001:db8::1]:1 > [2001:db8:2::5]:3785",
                false,
            ),
            (
                "a fragment",
                "proto 17 2001:db8::1 > 2001:db8:1::5 frag middle",
                true,
            ),
            (
                "one of another protocol",
                "proto 6 2001:db8::1 > 2001:db8:1::5 frag middle",
                false,
            ),
        ],
    );
}

#[test]
fn at_bridge_ports_only_sessions_of_this_machine_are_protected() {
    let Some(lab) = available(Lab::bridged) else {
        return;
    };
    let link = |index, name: &str, kind: &str, master| Link {
        index,
        name: name.into(),
        kind: Some(kind.into()),
        master,
        ..Link::default()
    };
    let own = ["192.0.2.2", "192.0.2.130", "2001:db8::2"];
    let links = [
        Link {
            addresses: own
                .map(|own| left_aligned(own.parse::<IpAddr>().unwrap()))
                .into(),
            ..link(1, "bridge", "bridge", None)
        },
        link(2, UPSTREAM, "veth", Some(1)),
        link(3, "customer", "veth", Some(1)),
        link(4, "fence", "veth", Some(1)),
    ];
    let any = AddressPattern::new(0, 0, 0);
    let settings = Settings {
        guards: Family::ALL
            .map(|family| Guard::session(family, any, 179, "BGP"))
            .into(),
        ..settings()
    };
    check(
        &mut Trial::start(lab, settings, &links),
        &[
            ("a session", "tcp 198.51.100.9:1024 > 192.0.2.2:179", true),
            (
                "with the other address",
                "tcp 198.51.100.9:179 > 192.0.2.130:1024",
                true,
            ),
            (
                "a fragment of it",
                "proto 6 198.51.100.9 > 192.0.2.2 frag last",
                true,
            ),
            (
                "of another machine",
                "tcp 198.51.100.9:1024 > 192.0.2.3:179",
                false,
            ),
            (
                "in IPv6",
                "tcp [2001:db8::9]:1024 > [2001:db8::2]:179",
                true,
            ),
            (
                "of another machine, in IPv6",
                "tcp [2001:db8::9]:1024 > [2001:db8::3]:179",
                false,
            ),
            (
                "a solicitation",
                "icmp6 fe80::9 > 2001:db8::3 type 135 hops 255",
                true,
            ),
            (
                "one from far away",
                "icmp6 fe80::9 > 2001:db8::3 type 135 hops 64",
                false,
            ),
            (
                "an echo request",
                "icmp6 fe80::9 > 2001:db8::3 type 128 hops 255",
                false,
            ),
        ],
    );
}

#[test]
fn suspended_rules_touch_nothing_and_keep_their_counters() {
    type Build = fn() -> Result<Lab, LabError>;
    for build in [Lab::routed as Build, Lab::bridged] {
        let Some(lab) = available(build) else {
            return;
        };
        let links: Vec<Link> = ["bridge", UPSTREAM, "customer", "fence"]
            .iter()
            .zip(1..)
            .map(|(name, index)| Link {
                index,
                name: name.to_string(),
                kind: Some(if index == 1 { "bridge" } else { "veth" }.into()),
                master: (index > 1).then_some(1),
                ..Link::default()
            })
            .collect();
        let mut trial = Trial::start(lab, settings(), &links);
        trial.install(&rules_of(&LOCK_OUT));
        let packet = |port| {
            let text = format!("tcp 198.51.100.9:{port} > 203.0.113.5:22");
            let packet = Packet::from_text(&text).unwrap();
            PacketBuilder::of(&packet).unwrap().build()
        };
        let packets: Vec<_> = (1..4).map(packet).collect();
        for (suspended, counted) in [(false, 3), (true, 3), (false, 6)] {
            let settings = Settings {
                suspended,
                ..settings()
            };
            trial.kernel.reconfigure(&settings, &links).unwrap();
            trial.sim.reconfigure(&settings, &links).unwrap();
            let outcome = trial.send(&packets);
            let passed = |fate: &Fate| *fate != Fate::Dropped;
            assert_eq!(outcome.kernel.iter().all(passed), suspended);
            assert_eq!(outcome.kernel, outcome.sim);
            assert_eq!(outcome.kernel_counters, outcome.sim_counters);
            let counted_now: u64 = outcome.sim_counters.iter().map(|(_, c)| c.packets).sum();
            assert_eq!(counted_now, counted);
        }
    }
}
