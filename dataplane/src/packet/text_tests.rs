use super::*;

#[test]
fn packets_are_read() {
    let v4 = Packet {
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
        dscp: 0,
        fragment: FragmentKind::Whole,
        dont_fragment: false,
        flow_label: None,
        interface: None,
    };
    let later = Packet {
        source_port: None,
        destination_port: None,
        ..v4.clone()
    };
    let v6 = Packet {
        family: Family::Ipv6,
        destination: 0x2001_0db8_0000_0000_0000_0000_0000_0005,
        source: 0x2001_0db8_0000_0000_0000_0000_0000_0001,
        destination_port: Some(53),
        packet_length: Some(100),
        flow_label: Some(0),
        interface: None,
        ..v4.clone()
    };
    let rows = [
        (
            "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468",
            v4.clone(),
        ),
        (
            "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468 frag df,first dscp 46",
            Packet {
                fragment: FragmentKind::First,
                dont_fragment: true,
                dscp: 46,
                ..v4.clone()
            },
        ),
        (
            "udp 198.51.100.7 > 203.0.113.5 len 468 frag last",
            Packet {
                fragment: FragmentKind::Last,
                ..later.clone()
            },
        ),
        (
            "proto 17 198.51.100.7:123 > 203.0.113.5:4444",
            Packet {
                packet_length: Some(28),
                ..v4.clone()
            },
        ),
        (
            "tcp 198.51.100.7:123 > 203.0.113.5:4444 flags syn,ack",
            Packet {
                protocol: Some(6),
                tcp_flags: Some(0x12),
                packet_length: Some(40),
                ..v4.clone()
            },
        ),
        (
            "icmp 198.51.100.7 > 203.0.113.5 type 8",
            Packet {
                protocol: Some(1),
                icmp_type: Some(8),
                icmp_code: Some(0),
                packet_length: Some(28),
                ..later.clone()
            },
        ),
        (
            "proto 47 198.51.100.7 > 203.0.113.5 len 100",
            Packet {
                protocol: Some(47),
                packet_length: Some(100),
                ..later.clone()
            },
        ),
        (
            "udp [2001:db8::1]:123 > [2001:db8::5]:53 len 100",
            v6.clone(),
        ),
        (
            "icmp6 2001:db8::1 > [2001:db8::5] type 128 code 3 label 1048575",
            Packet {
                protocol: Some(58),
                source_port: None,
                destination_port: None,
                icmp_type: Some(128),
                icmp_code: Some(3),
                flow_label: Some(0xf_ffff),
                interface: None,
                packet_length: Some(48),
                ..v6
            },
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(Packet::from_text(text), Ok(expected), "{text}");
    }
}

#[test]
fn errors_say_what_was_expected() {
    let rows = [
        (
            "",
            "the protocol is missing: expected `PROTOCOL SOURCE > DESTINATION",
        ),
        ("sctp 1.2.3.4 > 5.6.7.8", "unknown protocol \"sctp\""),
        (
            "proto 256 1.2.3.4 > 5.6.7.8",
            "proto \"256\" is not a number from 0 to 255",
        ),
        (
            "udp 1.2.3.4:1 5.6.7.8:2",
            "expected `>` between source and destination",
        ),
        ("udp 1.2.3.4:1 >", "the destination address is missing"),
        (
            "udp 1.2.3:1 > 5.6.7.8:2",
            "\"1.2.3:1\" is not an address, ADDRESS:PORT",
        ),
        ("udp 1.2.3.4:1 > [::1]:2", "different families"),
        (
            "udp 1.2.3.4 > 5.6.7.8:2",
            "a packet of udp needs ports: write ADDRESS:PORT",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 frag last",
            "a later fragment has no ports",
        ),
        (
            "icmp 1.2.3.4:1 > 5.6.7.8 type 8",
            "a packet of icmp has no ports",
        ),
        ("icmp 1.2.3.4 > 5.6.7.8", "needs a type: write `type N`"),
        ("icmp ::1 > ::2 type 8", "icmp is for IPv4; IPv6 has icmp6"),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 type 8",
            "a packet of udp has no ICMP type and code",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 flags syn",
            "a packet of udp has no TCP flags",
        ),
        (
            "tcp 1.2.3.4:1 > 5.6.7.8:2 flags sin",
            "\"sin\" is not a TCP flag: expected some of fin, syn",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 len 10",
            "len 10 is not the length of such a packet: 20 to 65535",
        ),
        ("udp 1.2.3.4:1 > 5.6.7.8:2 len", "len needs a value"),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 len 99 len 99",
            "len is given twice",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 dscp 64",
            "dscp \"64\" is not a number from 0 to 63",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 label 1",
            "IPv4 packets have no flow label",
        ),
        (
            "udp [::1]:1 > [::2]:2 frag df",
            "IPv6 packets have no Don't Fragment bit",
        ),
        (
            "udp 1.2.3.4:1 > 5.6.7.8:2 frag some",
            "frag \"some\" is not one of first, middle, last, df",
        ),
        ("udp 1.2.3.4:1 > 5.6.7.8:2 ttl 5", "unknown word \"ttl\""),
    ];
    for (text, expected) in rows {
        let error = Packet::from_text(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}
