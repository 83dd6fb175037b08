use super::*;
use proptest::prelude::*;

const TO: [u8; 4] = [203, 0, 113, 5];
const FROM: [u8; 4] = [198, 51, 100, 7];

/// An IPv4 packet: 20 octets of header, `fragment` is the word with flags and offset.
fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0xb8];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(FROM);
    packet.extend(TO);
    packet.extend(payload);
    packet
}

/// An IPv6 packet: `payload` begins with the header that `next_header` names.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x8a, 0xbc, 0xde];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    packet.extend(payload);
    packet
}

/// Headers one after the other.
fn chain(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const UDP_123_53: &[u8] = &[0, 123, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
const TCP_SYN_NS: &[u8] = &[
    0, 80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x51, 0x02, 0, 0, 0, 0, 0, 0,
];

/// Hop-by-Hop or Destination Options of 8 octets: PadN.
fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}
fn routing(next: u8) -> [u8; 8] {
    [next, 0, 4, 0, 0, 0, 0, 0]
}
fn fragment(next: u8, offset_and_more: u16) -> [u8; 8] {
    let [high, low] = offset_and_more.to_be_bytes();
    [next, 0, high, low, 0, 0, 0, 9]
}
/// AH with 12 octets of integrity check value.
fn authentication(next: u8) -> [u8; 24] {
    let mut header = [0xaa; 24];
    (header[0], header[1]) = (next, 4);
    header
}

/// The fields that the walk decides: kind, protocol, ports, ICMP type and code, TCP flags.
type Transport = (
    FragmentKind,
    Option<u8>,
    (Option<u16>, Option<u16>),
    (Option<u8>, Option<u8>),
    Option<u16>,
);

fn transport(packet: &Packet) -> Transport {
    (
        packet.fragment,
        packet.protocol,
        (packet.source_port, packet.destination_port),
        (packet.icmp_type, packet.icmp_code),
        packet.tcp_flags,
    )
}

const NO_PORTS: (Option<u16>, Option<u16>) = (None, None);
const NO_ICMP: (Option<u8>, Option<u8>) = (None, None);

#[test]
fn transport_fields_exist_where_the_transport_header_does() {
    use FragmentKind::*;
    let udp = (Some(123), Some(53));
    let rows: Vec<(&str, Vec<u8>, Transport)> = vec![
        (
            "UDP",
            ipv4(17, 0, UDP_123_53),
            (Whole, Some(17), udp, NO_ICMP, None),
        ),
        (
            "TCP with the ninth flag",
            ipv4(6, 0, TCP_SYN_NS),
            (Whole, Some(6), (Some(80), Some(256)), NO_ICMP, Some(0x102)),
        ),
        (
            "ICMP",
            ipv4(1, 0, &[8, 1, 0, 0]),
            (Whole, Some(1), NO_PORTS, (Some(8), Some(1)), None),
        ),
        (
            "SCTP has no ports here",
            ipv4(132, 0, UDP_123_53),
            (Whole, Some(132), NO_PORTS, NO_ICMP, None),
        ),
        (
            "ICMPv6 in IPv4",
            ipv4(58, 0, &[128, 0, 0, 0]),
            (Whole, Some(58), NO_PORTS, NO_ICMP, None),
        ),
        (
            "first fragment",
            ipv4(17, 0x2000, UDP_123_53),
            (First, Some(17), udp, NO_ICMP, None),
        ),
        (
            "middle fragment",
            ipv4(17, 0x2001, UDP_123_53),
            (Middle, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "last fragment",
            ipv4(17, 0x1fff, UDP_123_53),
            (Last, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "UDP cut after 3 octets",
            ipv4(17, 0, &[0, 123, 0]),
            (Whole, Some(17), (Some(123), None), NO_ICMP, None),
        ),
        (
            "UDP cut after 1 octet",
            ipv4(17, 0, &[0]),
            (Whole, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "TCP cut before the flags",
            ipv4(6, 0, &TCP_SYN_NS[..13]),
            (Whole, Some(6), (Some(80), Some(256)), NO_ICMP, None),
        ),
        (
            "ICMP cut after 1 octet",
            ipv4(1, 0, &[8]),
            (Whole, Some(1), NO_PORTS, (Some(8), None), None),
        ),
        (
            "IPv6 UDP",
            ipv6(17, UDP_123_53),
            (Whole, Some(17), udp, NO_ICMP, None),
        ),
        (
            "ICMPv6",
            ipv6(58, &[128, 3]),
            (Whole, Some(58), NO_PORTS, (Some(128), Some(3)), None),
        ),
        (
            "ICMP in IPv6",
            ipv6(1, &[8, 0]),
            (Whole, Some(1), NO_PORTS, NO_ICMP, None),
        ),
        (
            "all extension headers in order",
            ipv6(
                0,
                &chain(&[
                    &options(60),
                    &options(43),
                    &routing(44),
                    &fragment(60, 1),
                    &options(17),
                    UDP_123_53,
                ]),
            ),
            (First, Some(17), udp, NO_ICMP, None),
        ),
        (
            "atomic fragment",
            ipv6(44, &chain(&[&fragment(17, 0), UDP_123_53])),
            (Whole, Some(17), udp, NO_ICMP, None),
        ),
        (
            "reserved bits of the Fragment header",
            ipv6(44, &chain(&[&fragment(17, 6), UDP_123_53])),
            (Whole, Some(17), udp, NO_ICMP, None),
        ),
        (
            "IPv6 middle",
            ipv6(44, &chain(&[&fragment(17, 9), UDP_123_53])),
            (Middle, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "IPv6 last behind options",
            ipv6(60, &chain(&[&options(44), &fragment(17, 8), UDP_123_53])),
            (Last, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "last fragment of an extension header",
            ipv6(44, &chain(&[&fragment(60, 8), UDP_123_53])),
            (Last, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "last fragment of ESP",
            ipv6(44, &chain(&[&fragment(50, 8), UDP_123_53])),
            (Last, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "no next header",
            ipv6(59, UDP_123_53),
            (Whole, Some(59), NO_PORTS, NO_ICMP, None),
        ),
        (
            "last fragment of nothing",
            ipv6(44, &chain(&[&fragment(59, 8), UDP_123_53])),
            (Last, Some(59), NO_PORTS, NO_ICMP, None),
        ),
        (
            "ESP",
            ipv6(50, UDP_123_53),
            (Whole, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "AH",
            ipv6(51, &chain(&[&authentication(17), UDP_123_53])),
            (Whole, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "offset in a second Fragment header",
            ipv6(
                44,
                &chain(&[&fragment(44, 0), &fragment(17, 8), UDP_123_53]),
            ),
            (Last, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "offset in a second Fragment header, of ESP",
            ipv6(
                44,
                &chain(&[&fragment(44, 1), &fragment(50, 8), UDP_123_53]),
            ),
            (Middle, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "second Fragment header of an extension header",
            ipv6(
                44,
                &chain(&[&fragment(44, 1), &fragment(60, 8), UDP_123_53]),
            ),
            (First, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "fragment behind AH",
            ipv6(
                51,
                &chain(&[&authentication(44), &fragment(17, 8), UDP_123_53]),
            ),
            (Last, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "options cut",
            ipv6(60, &[17]),
            (Whole, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "options longer than the packet",
            ipv6(60, &[17, 9, 0, 0, 0, 0, 0, 0]),
            (Whole, Some(17), NO_PORTS, NO_ICMP, None),
        ),
        (
            "Fragment header cut before the offset",
            ipv6(44, &[17, 0, 0]),
            (Whole, None, NO_PORTS, NO_ICMP, None),
        ),
        (
            "first fragment that ends within its chain",
            ipv6(44, &chain(&[&fragment(60, 1), &[17]])),
            (First, None, NO_PORTS, NO_ICMP, None),
        ),
    ];
    for (name, octets, expected) in rows {
        let packet = Packet::parse(&octets).unwrap_or_else(|| panic!("{name}: not parsed"));
        assert_eq!(transport(&packet), expected, "{name}");
    }
}

#[test]
fn header_fields_are_read() {
    let packet = Packet::parse(&ipv4(17, 0x4000, UDP_123_53)).unwrap();
    assert_eq!(packet.family, Family::Ipv4);
    assert_eq!(packet.source, u128::from(u32::from_be_bytes(FROM)) << 96);
    assert_eq!(packet.destination, u128::from(u32::from_be_bytes(TO)) << 96);
    assert_eq!((packet.dscp, packet.dont_fragment), (46, true));
    assert_eq!((packet.packet_length, packet.flow_label), (Some(32), None));

    let packet = Packet::parse(&ipv6(17, UDP_123_53)).unwrap();
    assert_eq!(packet.family, Family::Ipv6);
    assert_eq!(packet.source, 0x2001_0db8_0000_0000_0000_0000_0000_0001);
    assert_eq!(
        packet.destination,
        0x2001_0db8_0000_0000_0000_0000_0000_0005
    );
    assert_eq!((packet.dscp, packet.dont_fragment), (46, false));
    assert_eq!(
        (packet.packet_length, packet.flow_label),
        (Some(52), Some(0xabcde))
    );
}

#[test]
fn length_is_what_the_ip_header_states() {
    let mut padded = ipv4(17, 0, &[0, 123]);
    padded.resize(46, 0xff);
    let packet = Packet::parse(&padded).unwrap();
    assert_eq!(packet.packet_length, Some(22), "IPv4 padding");
    assert_eq!(
        packet.destination_port, None,
        "no port is read from IPv4 padding"
    );

    let mut padded = ipv6(17, &[0, 123]);
    padded.resize(60, 0xff);
    let packet = Packet::parse(&padded).unwrap();
    assert_eq!(packet.packet_length, Some(42), "IPv6 padding");
    assert_eq!(
        packet.destination_port, None,
        "no port is read from IPv6 padding"
    );

    let mut with_options = ipv4(17, 0, &chain(&[&[1, 1, 1, 0], UDP_123_53]));
    with_options[0] = 0x46;
    let packet = Packet::parse(&with_options).unwrap();
    assert_eq!(packet.source_port, Some(123), "behind IPv4 options");

    let mut jumbogram = ipv6(0, &chain(&[&options(17), UDP_123_53]));
    jumbogram[4..6].fill(0);
    let packet = Packet::parse(&jumbogram).unwrap();
    assert_eq!(packet.packet_length, None, "jumbogram");
    assert_eq!(packet.source_port, Some(123), "jumbogram");

    let empty = Packet::parse(&ipv6(17, &[])).unwrap();
    assert_eq!(empty.packet_length, Some(40), "no payload is no jumbogram");
}

#[test]
fn what_a_router_drops_is_not_a_packet() {
    let changed = |octets: &[u8], at: usize, value: u8| {
        let mut octets = octets.to_vec();
        octets[at] = value;
        octets
    };
    let (v4, v6) = (ipv4(17, 0, UDP_123_53), ipv6(17, UDP_123_53));
    let rows = [
        ("nothing", vec![]),
        ("version 5", changed(&v4, 0, 0x55)),
        ("IPv4 header of 16 octets", changed(&v4, 0, 0x44)),
        ("IPv4 header longer than the packet", changed(&v4, 0, 0x4f)),
        ("IPv4 total length below the header", changed(&v4, 3, 19)),
        ("IPv4 total length beyond the octets", changed(&v4, 3, 33)),
        ("IPv4 header cut", v4[..19].to_vec()),
        ("IPv6 payload beyond the octets", changed(&v6, 5, 13)),
        ("IPv6 header cut", v6[..39].to_vec()),
    ];
    for (name, octets) in rows {
        assert_eq!(Packet::parse(&octets), None, "{name}");
    }
}

proptest! {
    #[test]
    fn parse_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Packet::parse(&octets);
    }

    #[test]
    fn chains_of_any_headers_never_panic(
        first in 0u8..64,
        payload in proptest::collection::vec(
            prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60), Just(17), any::<u8>()], 0..120),
    ) {
        let packet = Packet::parse(&ipv6(first, &payload)).unwrap();
        let has_ports = packet.source_port.is_some() || packet.tcp_flags.is_some();
        prop_assert!(!(packet.fragment.is_later() && has_ports));
    }
}
