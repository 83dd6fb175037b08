use super::*;
use crate::flowspec::text::parse_flows;
use crate::wire::iana::FlowFamily;
use dataplane::rule::FragmentKind;

/// A whole UDP packet 198.51.100.7:123 > 203.0.113.5:4444 of 468 octets.
fn udp() -> Packet {
    Packet {
        family: Family::Ipv4,
        destination: 0xcb00_7105 << 96,
        source: 0xc633_6407 << 96,
        protocol: Some(17),
        source_port: Some(123),
        destination_port: Some(4444),
        icmp_type: None,
        icmp_code: None,
        tcp_flags: None,
        packet_length: Some(468),
        hop_limit: 64,
        dscp: 46,
        fragment: FragmentKind::Whole,
        dont_fragment: false,
        flow_label: None,
        interface: None,
    }
}

/// A TCP packet that opens a connection.
fn tcp_syn() -> Packet {
    Packet {
        protocol: Some(6),
        tcp_flags: Some(0x002),
        ..udp()
    }
}

/// A later fragment of the same UDP packet.
fn later_fragment() -> Packet {
    Packet {
        source_port: None,
        destination_port: None,
        fragment: FragmentKind::Last,
        ..udp()
    }
}

/// An ICMP echo request.
fn echo_request() -> Packet {
    Packet {
        protocol: Some(1),
        icmp_type: Some(8),
        icmp_code: Some(0),
        source_port: None,
        destination_port: None,
        ..udp()
    }
}

/// An SCTP packet: it has ports, but not for RFC 8955.
fn sctp() -> Packet {
    Packet {
        protocol: Some(132),
        ..udp()
    }
}

/// An IPv6 UDP packet with a flow label.
fn udp6() -> Packet {
    Packet {
        family: Family::Ipv6,
        destination: 0x2001_0db8_0000_1234_0000_0000_0000_0005,
        flow_label: Some(7),
        interface: None,
        ..udp()
    }
}

/// An IPv6 packet whose upper-layer protocol is out of reach.
fn unknown6() -> Packet {
    Packet {
        protocol: None,
        source_port: None,
        destination_port: None,
        packet_length: None,
        ..udp6()
    }
}

/// An ICMPv6 echo request.
fn echo_request6() -> Packet {
    Packet {
        protocol: Some(58),
        icmp_type: Some(128),
        icmp_code: Some(0),
        ..unknown6()
    }
}

#[test]
fn components_match_what_the_rfc_says() {
    let rows = [
        ("destination 203.0.113.0/24", udp(), true),
        ("destination 203.0.112.0/24", udp(), false),
        ("destination 0.0.0.0/0", udp(), true),
        ("source 198.51.100.7/32", udp(), true),
        ("source 198.51.100.6/32", udp(), false),
        ("destination ::/0", udp(), false),
        ("destination 2001:db8::/32", udp6(), true),
        ("destination 0:0:0:1234::/64/48", udp6(), true),
        ("destination 0:0:0:1235::/64/48", udp6(), false),
        ("destination 0.0.0.0/0", udp6(), false),
        ("protocol udp", udp(), true),
        ("protocol !=udp", udp(), false),
        ("protocol udp", later_fragment(), true),
        ("next-header true", unknown6(), false),
        ("next-header !=tcp", unknown6(), false),
        ("port 123", udp(), true),
        ("port 4444", udp(), true),
        (
            "port >=10&<=20",
            Packet {
                source_port: Some(10),
                destination_port: Some(2000),
                ..udp()
            },
            true,
        ),
        (
            "port >=10&<=20",
            Packet {
                source_port: Some(9),
                destination_port: Some(21),
                ..udp()
            },
            false,
        ),
        ("port !=123", udp(), true),
        ("port true", later_fragment(), false),
        ("port !=1", later_fragment(), false),
        ("port true", sctp(), false),
        ("port true", echo_request(), false),
        ("destination-port 4444", udp(), true),
        ("destination-port 123", udp(), false),
        ("source-port 123", udp(), true),
        ("source-port 65659", udp(), false),
        ("destination-port <70000", udp(), true),
        ("icmp-type 8", echo_request(), true),
        ("icmp-code 0", echo_request(), true),
        ("icmp-type true", udp(), false),
        ("icmp-type 8; icmp-code !=0", echo_request(), false),
        (
            "next-header 58; icmp-type echo-request",
            echo_request6(),
            true,
        ),
        (
            "icmp-type 8",
            Packet {
                protocol: Some(58),
                ..echo_request()
            },
            false,
        ),
        (
            "flow-label 7; icmp-type true",
            Packet {
                protocol: Some(1),
                ..echo_request6()
            },
            false,
        ),
        ("tcp-flags syn", tcp_syn(), true),
        ("tcp-flags =syn+ack", tcp_syn(), false),
        ("tcp-flags syn&!ack", tcp_syn(), true),
        ("tcp-flags !ack", udp(), false),
        ("tcp-flags =0", tcp_syn(), true),
        ("tcp-flags 0", tcp_syn(), false),
        ("packet-length >=400&<=500", udp(), true),
        ("packet-length true", unknown6(), false),
        ("dscp 46", udp(), true),
        ("dscp <46", udp(), false),
        ("fragment is-fragment", later_fragment(), true),
        (
            "fragment is-fragment",
            Packet {
                fragment: FragmentKind::First,
                ..udp()
            },
            false,
        ),
        (
            "fragment first-fragment",
            Packet {
                fragment: FragmentKind::First,
                ..udp()
            },
            true,
        ),
        (
            "fragment not-a-fragment",
            Packet {
                fragment: FragmentKind::First,
                ..udp()
            },
            false,
        ),
        ("fragment not-a-fragment", later_fragment(), false),
        ("fragment not-a-fragment", udp(), true),
        (
            "fragment dont-fragment",
            Packet {
                dont_fragment: true,
                ..udp()
            },
            true,
        ),
        (
            "fragment first-fragment; port 123",
            Packet {
                fragment: FragmentKind::First,
                ..udp()
            },
            true,
        ),
        ("flow-label 7", udp6(), true),
        ("flow-label >7", udp6(), false),
        ("icmp-type 8; port true", echo_request(), false),
    ];
    for (text, packet, expected) in rows {
        let flows = parse_flows(&format!("flow route {{ match {{ {text}; }} }}")).unwrap();
        assert_eq!(
            matches(&flows[0].nlri, &packet),
            expected,
            "{text} on {packet:?}"
        );
    }
}

#[test]
fn evaluation_vectors_of_other_implementations_hold() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/evaluation.jsonl"
    );
    let mut seen = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut value = vec![vector["component_type"].as_u64().unwrap() as u8];
        value.extend(hex::decode(vector["oplist_hex"].as_str().unwrap()).unwrap());
        let nlri = Nlri::decode(FlowFamily::Ipv4Flow, &value).unwrap();
        for (list, expected) in [("matches", true), ("non_matches", false)] {
            for field in vector[list].as_array().unwrap() {
                let field = field.as_u64().unwrap();
                let holds = match &nlri.components()[0] {
                    Component::Numeric(_, ops) => numeric_matches(ops, field),
                    Component::Bitmask(_, ops) => bitmask_matches(ops, field as u16),
                    other => panic!("{other:?} has no operators"),
                };
                assert_eq!(holds, expected, "{} on {field}", vector["id"]);
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "only {seen} values");
}

#[test]
fn evaluation_collects_actions_until_a_rule_decides() {
    // Rules in order; whether dropped, mark, sampled, number of limits, rules that matched,
    // deciding rule.
    type Row = (
        &'static [&'static str],
        bool,
        Option<u8>,
        bool,
        usize,
        &'static [usize],
        Option<usize>,
    );
    let rows: &[Row] = &[
        (&[], false, None, false, 0, &[], None),
        (
            &["protocol tcp > discard"],
            false,
            None,
            false,
            0,
            &[],
            None,
        ),
        (
            &["protocol udp > accept", "port 123 > discard"],
            false,
            None,
            false,
            0,
            &[0],
            Some(0),
        ),
        (
            &["protocol udp > action terminal", "port 123 > discard"],
            true,
            None,
            false,
            0,
            &[0, 1],
            Some(1),
        ),
        (
            &[
                "port 123 > mark 1; action terminal",
                "protocol udp > mark 2; action sample",
            ],
            false,
            Some(1),
            true,
            0,
            &[0, 1],
            Some(1),
        ),
        (
            &[
                "port 123 > rate-limit 9; action terminal",
                "dscp 46 > rate-limit 5; rate-limit 6 packets per-source /24",
            ],
            false,
            None,
            false,
            3,
            &[0, 1],
            Some(1),
        ),
        (
            &["port 123 > action terminal"],
            false,
            None,
            false,
            0,
            &[0],
            None,
        ),
        (
            &[
                "port 123 > discard; action sample-terminal",
                "dscp 46 > mark 1",
            ],
            true,
            None,
            true,
            0,
            &[0],
            Some(0),
        ),
    ];
    for (rules, dropped, mark, sampled, limits, matched, deciding) in rows {
        let text: String = rules
            .iter()
            .map(|rule| rule.split_once(" > ").unwrap())
            .map(|(matches, then)| {
                format!("flow route {{ match {{ {matches}; }} then {{ {then}; }} }}\n")
            })
            .collect();
        let flows = parse_flows(&text).unwrap();
        let verdict = evaluate(
            flows.iter().map(|flow| (&flow.nlri, &flow.actions)),
            &udp(),
            |_| false,
        );
        assert_eq!(verdict.dropped, *dropped, "{rules:?}");
        assert_eq!(verdict.marked_dscp, *mark, "{rules:?}");
        assert_eq!(verdict.sampled, *sampled, "{rules:?}");
        let limiters = verdict.limits.len() + verdict.source_limits.len();
        assert_eq!(limiters, *limits, "{rules:?}");
        assert_eq!(verdict.matched, *matched, "{rules:?}");
        assert_eq!(verdict.deciding, *deciding, "{rules:?}");
    }
}
