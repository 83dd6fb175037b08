//! Every component: packets that must and that must not match.

use dataplane::packet::Packet;
use flowacl::flowspec::matches::matches;
use flowacl::lab::Lab;
use flowacl::lab::packet::{Header, PacketBuilder};

use crate::corpus::samples;
use crate::flows::{flow, rules};
use crate::network::{Fate, Trial, available, settings};

/// A name, what a Flow Specification matches, packets that it must match, and packets that it must not.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// RFC 8955 §4.2.2.
const IPV4: &[Row] = &[
    (
        "type 1, destination prefix",
        "destination 203.0.113.0/25;",
        &[
            "proto 47 192.0.2.1 > 203.0.113.0",
            "udp 192.0.2.1:1 > 203.0.113.127:2",
            "tcp 192.0.2.1 > 203.0.113.5 frag last",
        ],
        &[
            "proto 47 192.0.2.1 > 203.0.113.128",
            "proto 47 203.0.113.5 > 192.0.2.1",
            "udp [2001:db8::1]:1 > [2001:db8::5]:2",
        ],
    ),
    (
        "type 1, everything",
        "destination 0.0.0.0/0;",
        &[
            "proto 47 192.0.2.1 > 203.0.113.0",
            "udp 192.0.2.1 > 203.0.113.127 frag middle",
        ],
        &["udp [2001:db8::1]:1 > [2001:db8::5]:2"],
    ),
    (
        "type 2, source host",
        "source 198.51.100.7/32;",
        &["udp 198.51.100.7:1 > 203.0.113.5:2"],
        &[
            "udp 198.51.100.6:1 > 203.0.113.5:2",
            "udp 203.0.113.5:1 > 198.51.100.7:2",
        ],
    ),
    (
        "type 3, list of protocols",
        "protocol [ =tcp =47 ];",
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2",
            "proto 47 192.0.2.1 > 203.0.113.5",
            "tcp 192.0.2.1 > 203.0.113.5 frag last",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2",
            "proto 46 192.0.2.1 > 203.0.113.5",
        ],
    ),
    (
        "type 3, negation",
        "protocol !=udp;",
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2",
            "proto 255 192.0.2.1 > 203.0.113.5",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2",
            "udp 192.0.2.1 > 203.0.113.5 frag middle",
        ],
    ),
    (
        "type 4, either port, the whole list on one port",
        "port >=100&<=200;",
        &[
            "udp 192.0.2.1:100 > 203.0.113.5:9",
            "tcp 192.0.2.1:9 > 203.0.113.5:200",
            "udp 192.0.2.1:150 > 203.0.113.5:160",
        ],
        &[
            "udp 192.0.2.1:99 > 203.0.113.5:201",
            "udp 192.0.2.1:9 > 203.0.113.5:2000",
            "proto 132 192.0.2.1 > 203.0.113.5 len 60",
            "udp 192.0.2.1 > 203.0.113.5 frag last len 60",
        ],
    ),
    (
        "type 4, negation: some port is another",
        "port !=53;",
        &[
            "udp 192.0.2.1:53 > 203.0.113.5:54",
            "udp 192.0.2.1:1 > 203.0.113.5:53",
        ],
        &[
            "udp 192.0.2.1:53 > 203.0.113.5:53",
            "udp 192.0.2.1 > 203.0.113.5 frag last",
            "proto 47 192.0.2.1 > 203.0.113.5",
        ],
    ),
    (
        "type 5, destination port, boundaries",
        "destination-port [ =0 >=1024&<65535 ];",
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:0",
            "tcp 192.0.2.1:1 > 203.0.113.5:1024",
            "udp 192.0.2.1:1 > 203.0.113.5:65534",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:1",
            "udp 192.0.2.1:1024 > 203.0.113.5:1023",
            "udp 192.0.2.1:1 > 203.0.113.5:65535",
        ],
    ),
    (
        "type 5, true asks for a port",
        "destination-port true;",
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:0",
            "tcp 192.0.2.1:1 > 203.0.113.5:65535",
        ],
        &[
            "icmp 192.0.2.1 > 203.0.113.5 type 0",
            "proto 47 192.0.2.1 > 203.0.113.5 len 60",
            "tcp 192.0.2.1 > 203.0.113.5 frag last",
        ],
    ),
    (
        "type 6, source port, false never matches",
        "source-port false;",
        &[],
        &["udp 192.0.2.1:0 > 203.0.113.5:0"],
    ),
    (
        "type 6, source port",
        "source-port =123;",
        &[
            "udp 192.0.2.1:123 > 203.0.113.5:4",
            "tcp 192.0.2.1:123 > 203.0.113.5:4",
            "udp 192.0.2.1:123 > 203.0.113.5:4 frag first",
        ],
        &[
            "udp 192.0.2.1:4 > 203.0.113.5:123",
            "udp 192.0.2.1 > 203.0.113.5 frag last",
        ],
    ),
    (
        "types 7 and 8, ICMP",
        "icmp-type [ =8 =3 ]; icmp-code <=1;",
        &[
            "icmp 192.0.2.1 > 203.0.113.5 type 8",
            "icmp 192.0.2.1 > 203.0.113.5 type 3 code 1",
        ],
        &[
            "icmp 192.0.2.1 > 203.0.113.5 type 3 code 2",
            "icmp 192.0.2.1 > 203.0.113.5 type 4",
            "proto 58 192.0.2.1 > 203.0.113.5 len 60",
            "icmp 192.0.2.1 > 203.0.113.5 frag last len 60",
        ],
    ),
    (
        "type 9, any of the bits",
        "tcp-flags rst+fin;",
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags rst,ack",
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags fin",
        ],
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags syn,ack",
            "udp 192.0.2.1:1 > 203.0.113.5:2",
            "tcp 192.0.2.1 > 203.0.113.5 frag last len 60",
        ],
    ),
    (
        "type 9, SYN without ACK",
        "tcp-flags =syn&!ack;",
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags syn",
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags syn,ece,cwr",
        ],
        &[
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags syn,ack",
            "tcp 192.0.2.1:1 > 203.0.113.5:2 flags none",
        ],
    ),
    (
        "type 10, packet length",
        "packet-length [ >=468&<=469 =28 ];",
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 len 28",
            "udp 192.0.2.1:1 > 203.0.113.5:2 len 468",
            "udp 192.0.2.1 > 203.0.113.5 frag last len 469",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 len 467",
            "udp 192.0.2.1:1 > 203.0.113.5:2 len 470",
            "tcp 192.0.2.1:1 > 203.0.113.5:2 len 60000",
        ],
    ),
    (
        "type 11, DSCP",
        "dscp [ =46 >=62 ];",
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 dscp 46",
            "udp 192.0.2.1:1 > 203.0.113.5:2 dscp 63",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 dscp 45",
            "udp 192.0.2.1:1 > 203.0.113.5:2 dscp 61",
        ],
    ),
    (
        "type 12, is a fragment but the first",
        "fragment is-fragment;",
        &[
            "udp 192.0.2.1 > 203.0.113.5 frag last len 60",
            "tcp 192.0.2.1 > 203.0.113.5 frag middle len 60",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 frag first len 60",
            "udp 192.0.2.1:1 > 203.0.113.5:2 frag df",
        ],
    ),
    (
        "type 12, first or last",
        "fragment [ first-fragment last-fragment ];",
        &[
            "udp 192.0.2.1 > 203.0.113.5 frag last len 60",
            "udp 192.0.2.1:1 > 203.0.113.5:2 frag first len 60",
        ],
        &[
            "udp 192.0.2.1 > 203.0.113.5 frag middle len 60",
            "udp 192.0.2.1:1 > 203.0.113.5:2",
        ],
    ),
    (
        "type 12, Don't Fragment",
        "fragment dont-fragment;",
        &["udp 192.0.2.1:1 > 203.0.113.5:2 frag df"],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2",
            "udp 192.0.2.1 > 203.0.113.5 frag last len 60",
        ],
    ),
    (
        "type 12, no fragment at all",
        "fragment not-a-fragment;",
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2",
            "udp 192.0.2.1:1 > 203.0.113.5:2 frag df",
        ],
        &[
            "udp 192.0.2.1:1 > 203.0.113.5:2 frag first len 60",
            "udp 192.0.2.1 > 203.0.113.5 frag middle len 60",
        ],
    ),
];

/// RFC 8956 §3.
const IPV6: &[Row] = &[
    (
        "type 1, destination prefix",
        "destination 2001:db8:2::/47;",
        &[
            "udp [2001:db8::1]:1 > [2001:db8:3::5]:2",
            "udp 2001:db8::1 > 2001:db8:2::5 frag last",
        ],
        &[
            "udp [2001:db8::1]:1 > [2001:db8:4::5]:2",
            "udp 192.0.2.1:1 > 203.0.113.5:2",
        ],
    ),
    (
        "type 1, offset: only the interface identifier",
        "destination ::1234:5678:9a00:0/104/64;",
        &["udp [2001:db8::1]:1 > [2001:db8:7::1234:5678:9aff:ffff]:2"],
        &[
            "udp [2001:db8::1]:1 > [2001:db8:7::1234:5678:9b00:0]:2",
            "udp [2001:db8::1]:1 > [2001:db8:7::1235:5678:9a00:0]:2",
        ],
    ),
    (
        "type 2, source with an offset within an octet",
        "source ::1/128/127;",
        &["udp [2001:db8::7]:1 > [2001:db8::5]:2"],
        &["udp [2001:db8::6]:1 > [2001:db8::5]:2"],
    ),
    (
        "type 3, upper-layer protocol",
        "next-header [ =udp =58 ];",
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:2",
            "icmp6 2001:db8::1 > 2001:db8::5 type 128",
            "udp 2001:db8::1 > 2001:db8::5 frag last",
        ],
        &[
            "tcp [2001:db8::1]:1 > [2001:db8::5]:2",
            "proto 47 2001:db8::1 > 2001:db8::5",
        ],
    ),
    (
        "type 4, either port",
        "port =53;",
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:53",
            "tcp [2001:db8::1]:53 > [2001:db8::5]:1",
        ],
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:2",
            "proto 132 2001:db8::1 > 2001:db8::5 len 80",
            "udp 2001:db8::1 > 2001:db8::5 frag last len 80",
        ],
    ),
    (
        "type 7, ICMPv6",
        "icmp-type =128;",
        &["icmp6 2001:db8::1 > 2001:db8::5 type 128"],
        &[
            "icmp6 2001:db8::1 > 2001:db8::5 type 129",
            "proto 1 2001:db8::1 > 2001:db8::5 len 80",
        ],
    ),
    (
        "type 10, packet length with the header",
        "packet-length =100;",
        &["udp [2001:db8::1]:1 > [2001:db8::5]:2 len 100"],
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 len 140",
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 len 60",
        ],
    ),
    (
        "type 11, the six bits of DSCP",
        "traffic-class =46;",
        &["udp [2001:db8::1]:1 > [2001:db8::5]:2 dscp 46"],
        &["udp [2001:db8::1]:1 > [2001:db8::5]:2 dscp 47"],
    ),
    (
        "type 12, fragments",
        "fragment [ is-fragment first-fragment ];",
        &[
            "udp 2001:db8::1 > 2001:db8::5 frag middle len 80",
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 frag first len 80",
        ],
        &["udp [2001:db8::1]:1 > [2001:db8::5]:2 len 80"],
    ),
    (
        "type 13, flow label",
        "flow-label [ =0xabcde >=0xffffe ];",
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 label 703710",
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 label 1048575",
        ],
        &[
            "udp [2001:db8::1]:1 > [2001:db8::5]:2",
            "udp [2001:db8::1]:1 > [2001:db8::5]:2 label 1048573",
        ],
    ),
];

#[test]
fn components_match_what_they_must_and_nothing_else() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    let corpus = samples();
    for (name, text, must, must_not) in IPV4.iter().chain(IPV6) {
        let family = if IPV6.iter().any(|row| row.1 == *text) {
            "family ipv6-flow;"
        } else {
            ""
        };
        let flow = flow(&format!(
            "flow route {{ {family} match {{ {text} }} then {{ discard; }} }}"
        ));
        trial.install(&rules(std::slice::from_ref(&flow)));
        let wanted = must.iter().map(|text| (*text, Fate::Dropped));
        let others = must_not.iter().map(|text| (*text, Fate::Passed(0)));
        let mut expected = Vec::new();
        let mut packets = Vec::new();
        for (index, (text, fate)) in wanted.chain(others).enumerate() {
            let packet = Packet::from_text(text).unwrap();
            let builder = PacketBuilder::of(&packet).unwrap_or_else(|| panic!("{name}: {text}"));
            let number = |header: Header| {
                header
                    .identification(0xff00 + index as u16)
                    .hop_limit(100 + index as u8)
            };
            packets.push(builder.header(number).build());
            let fate = match fate {
                Fate::Dropped => fate,
                Fate::Passed(_) => Fate::Passed(packet.dscp),
            };
            expected.push((text.to_string(), fate));
        }
        for sample in &corpus {
            let packet = Packet::parse(&sample.octets).unwrap();
            let fate = match matches(&flow.nlri, &packet) {
                true => Fate::Dropped,
                false => Fate::Passed(packet.dscp),
            };
            expected.push((sample.name.clone(), fate));
            packets.push(sample.octets.clone());
        }
        let outcome = trial.send(&packets);
        for (index, (packet, fate)) in expected.iter().enumerate() {
            assert_eq!(outcome.sim[index], *fate, "sim, {name}: {packet}");
            assert_eq!(outcome.kernel[index], *fate, "kernel, {name}: {packet}");
        }
        let dropped = expected
            .iter()
            .filter(|(_, fate)| *fate == Fate::Dropped)
            .count();
        assert_eq!(outcome.kernel_counters, outcome.sim_counters, "{name}");
        assert_eq!(
            outcome.kernel_counters[0].1.packets, dropped as u64,
            "{name}"
        );
    }
}
