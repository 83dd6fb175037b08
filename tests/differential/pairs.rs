//! Pairs of rules that one packet matches, though their shapes or their values look as if none could.
//!
//! Whoever looks rules up by value, one of each shape, loses one rule of such a pair.

use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::text::parse_flows;
use flowacl::lab::Lab;
use flowacl::wire::nlri::{Component, Nlri};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::model::Model;
use crate::network::{Trial, available, settings};
use crate::specifications::Route;
use crate::{Tally, compare, packets};

/// Name, and what the two match. A `wide` one has its values in twice as many octets as they need.
const PAIRS: &[(&str, &str, &str)] = &[
    ("one port and the other", "port =53;", "port =80;"),
    (
        "either port and the source port",
        "port =53;",
        "source-port =53;",
    ),
    (
        "either port and both",
        "port =53;",
        "destination-port =53; source-port =53;",
    ),
    (
        "either port under nested destinations",
        "destination 203.0.113.5/32; port =53;",
        "destination 203.0.113.0/24; port =80;",
    ),
    (
        "a protocol in one octet and in two",
        "destination 203.0.113.5/32; protocol =udp;",
        "wide destination 203.0.113.5/32; protocol =udp;",
    ),
    (
        "a port in one octet and in two",
        "destination 203.0.113.5/32; destination-port =53;",
        "wide destination 203.0.113.5/32; destination-port =53;",
    ),
    (
        "a port and a range of it alone",
        "destination 203.0.113.5/32; destination-port =53;",
        "destination 203.0.113.5/32; destination-port >=53&<=53;",
    ),
    (
        "a port and a range around it",
        "destination 203.0.113.5/32; source-port =443;",
        "destination 203.0.113.5/32; source-port >=400&<=500;",
    ),
    (
        "ranges that overlap",
        "destination 203.0.113.5/32; source-port >=100&<=450;",
        "destination 203.0.113.5/32; source-port >=400&<=500;",
    ),
    (
        "a list in two orders",
        "destination 203.0.113.5/32; source-port [ =53 =80 ];",
        "destination 203.0.113.5/32; source-port [ =80 =53 ];",
    ),
    (
        "a value twice",
        "destination 203.0.113.5/32; source-port [ =53 =53 ];",
        "destination 203.0.113.5/32; source-port =53;",
    ),
    (
        "a value and its complement's complement",
        "protocol =udp;",
        "protocol !=tcp;",
    ),
    (
        "a list and one of it",
        "destination 203.0.113.5/32; protocol [ =tcp =udp ];",
        "destination 203.0.113.5/32; protocol =udp;",
    ),
    (
        "nested destinations",
        "destination 203.0.113.5/32; protocol =udp;",
        "destination 203.0.113.0/24; protocol =udp;",
    ),
    (
        "a destination and none",
        "destination 203.0.113.5/32; protocol =udp;",
        "protocol =udp;",
    ),
    (
        "destinations and every destination",
        "destination 203.0.113.0/24;",
        "destination 0.0.0.0/0;",
    ),
    (
        "nested sources",
        "destination 203.0.113.5/32; source 198.51.100.0/24;",
        "destination 203.0.113.5/32; source 198.51.0.0/16;",
    ),
    (
        "crossed prefixes",
        "destination 203.0.113.5/32; source 198.51.0.0/16;",
        "destination 203.0.113.0/24; source 198.51.100.7/32;",
    ),
    (
        "a source and a destination",
        "destination 203.0.113.5/32;",
        "source 198.51.100.7/32;",
    ),
    (
        "a protocol and a port",
        "destination 203.0.113.5/32; protocol =udp;",
        "destination 203.0.113.5/32; destination-port =53;",
    ),
    (
        "a protocol that has no ports, and ports",
        "destination 203.0.113.5/32; protocol =47;",
        "destination 203.0.113.5/32; port =53;",
    ),
    (
        "a protocol and its type",
        "destination 203.0.113.5/32; protocol =icmp;",
        "destination 203.0.113.5/32; icmp-type =8;",
    ),
    (
        "fragments and a protocol",
        "destination 203.0.113.5/32; fragment is-fragment;",
        "destination 203.0.113.5/32; protocol =udp;",
    ),
    (
        "fragments and a port",
        "destination 203.0.113.5/32; fragment first-fragment;",
        "destination 203.0.113.5/32; port =53;",
    ),
    (
        "all of some flags and any of them",
        "tcp-flags =syn+ack;",
        "tcp-flags syn+ack;",
    ),
    ("flags and no flags", "tcp-flags syn;", "tcp-flags !ack;"),
    (
        "lengths that overlap",
        "packet-length >=100&<=1000;",
        "packet-length =468;",
    ),
    (
        "IPv6 prefixes with an offset and without",
        "destination 2001:db8:0:1::/64;",
        "destination 0:0:0:1::/64/32;",
    ),
    (
        "IPv6 prefixes with two offsets",
        "destination 0:db8:0:1::/64/16;",
        "destination 0:0:0:1::/64/32;",
    ),
    (
        "IPv6 sources with an offset",
        "source 2400::/16; protocol =udp;",
        "source 0:0:0:1::/64/48; protocol =udp;",
    ),
    (
        "flow labels that overlap",
        "flow-label =2048;",
        "flow-label >=2000&<=3000;",
    ),
];

/// What a rule of a pair may do.
fn actions() -> [TrafficFilteringActions; 5] {
    let none = TrafficFilteringActions::default();
    let mark = TrafficFilteringActions {
        mark_dscp: Some(10),
        ..none.clone()
    };
    [
        TrafficFilteringActions {
            rate_bytes_per_sec: Some(0.0),
            ..none.clone()
        },
        TrafficFilteringActions {
            continue_evaluation: true,
            ..mark.clone()
        },
        TrafficFilteringActions {
            mark_dscp: Some(20),
            ..mark
        },
        TrafficFilteringActions {
            continue_evaluation: true,
            sample: true,
            ..none.clone()
        },
        none,
    ]
}

#[test]
fn pairs_that_one_packet_matches() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    let mut tally = Tally::default();
    let mut random = StdRng::seed_from_u64(0);
    for (name, first, second) in PAIRS {
        println!("{name}");
        let nlris = [nlri(first), nlri(second)];
        let mut contested = 0;
        for (i, first) in actions().iter().enumerate() {
            for (j, second) in actions().iter().enumerate() {
                let mut order = [(&nlris[0], first), (&nlris[1], second)];
                order.rotate_left((i + j) % 2);
                let before = tally.contested;
                pair(&mut trial, &mut random, order, &mut tally);
                contested += tally.contested - before;
            }
        }
        // The table would test nothing otherwise.
        let disjoint = name.starts_with("a protocol that has no ports");
        assert_eq!(contested == 0, disjoint, "{name}");
    }
    println!(
        "{} packets match a rule, {} both",
        tally.matched, tally.contested
    );
}

/// Installs one rule after the other and sends packets.
fn pair(
    trial: &mut Trial,
    random: &mut StdRng,
    rules: [(&Nlri, &TrafficFilteringActions); 2],
    tally: &mut Tally,
) {
    let mut model = Model::default();
    trial.install(&[]);
    for (nlri, actions) in rules {
        let route = Route {
            nlri: nlri.clone(),
            actions: actions.clone(),
        };
        trial.commit(&model.announce(random, route));
    }
    let packets = packets(random, &model);
    let outcome = trial.send(&packets);
    compare(trial, &mut model, &packets, &outcome, "a pair", tally);
}

/// What a text says; see [`PAIRS`].
fn nlri(text: &str) -> Nlri {
    let narrow = text.strip_prefix("wide ").unwrap_or(text);
    let flow = format!("flow route {{ match {{ {narrow} }} then {{ discard; }} }}");
    let flows = parse_flows(&flow).unwrap_or_else(|errors| panic!("{flow}: {errors:?}"));
    let nlri = flows[0].nlri.clone();
    if narrow == text {
        return nlri;
    }
    let mut components = nlri.components();
    for component in &mut components {
        if let Component::Numeric(_, ops) = component {
            for op in ops {
                op.width *= 2;
            }
        }
    }
    Nlri::new(nlri.family(), None, &components).expect("wider values are allowed")
}
