//! Packets of every kind that a router forwards.

use flowacl::lab::packet::{ACK, Extension, Header, PacketBuilder, SYN, protocol};

/// One packet and what it is.
pub struct Sample {
    /// Says what it is.
    pub name: String,
    /// The IP packet.
    pub octets: Vec<u8>,
}

/// Packets of both families; no two are the same.
pub fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for (family, source, destination) in [
        ("IPv4", "198.51.100.7", "203.0.113.5"),
        ("IPv6", "2001:db8:1::7", "2001:db8:2::5"),
    ] {
        let from = samples.len();
        let new = |index: usize| {
            let identification = (from + index) as u16;
            PacketBuilder::new(Header::between(source, destination).identification(identification))
        };
        let kinds = transports(new);
        samples.extend(kinds.into_iter().map(|(name, builder)| Sample {
            name: format!("{family} {name}"),
            octets: builder.build(),
        }));
    }
    for (index, (name, header)) in headers().into_iter().enumerate() {
        let header = header.identification(0x7000 + index as u16);
        samples.push(Sample {
            name: name.into(),
            octets: PacketBuilder::new(header).udp(9, index as u16, &[]).build(),
        });
    }
    samples.extend(extension_chains());
    samples
}

/// Every kind of payload; `new` begins the packet with this number.
fn transports(new: impl Fn(usize) -> PacketBuilder) -> Vec<(String, PacketBuilder)> {
    let garbage = [0, 53, 0, 53, 0, 53, 0, 53, 0, 53, 0, 53, 0x50, 0x02, 0, 53];
    let mut kinds: Vec<(String, PacketBuilder)> = Vec::new();
    let mut add = |name: &str, change: &dyn Fn(PacketBuilder) -> PacketBuilder| {
        kinds.push((name.into(), change(new(kinds.len()))));
    };
    add("TCP SYN", &|p| p.tcp(1024, 53, SYN, &[]));
    add("TCP SYN ACK with data", &|p| {
        p.tcp(53, 1024, SYN | ACK, &[0; 100])
    });
    add("TCP with the ninth flag", &|p| p.tcp(53, 1024, 0x100, &[]));
    add("UDP", &|p| p.udp(123, 53, &[0; 440]));
    add("UDP of 9000 octets", &|p| p.udp(123, 53, &[0; 9000]));
    add("echo request", &|p| p.icmp(8, 0, &[0, 1, 0, 1]));
    add("echo reply of the other family", &|p| {
        p.icmp(129, 3, &[0, 1, 0, 1])
    });
    for number in [
        2,
        4,
        41,
        protocol::GRE,
        protocol::ESP,
        protocol::AH,
        protocol::ICMP,
        protocol::ICMPV6,
        protocol::NO_NEXT_HEADER,
        89,
        protocol::SCTP,
        135,
        136,
        253,
        255,
    ] {
        let name = format!("protocol {number} with garbage that reads as port 53");
        add(&name, &|p| p.protocol(number, &garbage));
    }
    for number in [protocol::TCP, protocol::UDP] {
        for length in [0, 1, 2, 3, 4, 7, 13] {
            let name = format!("protocol {number} cut after {length} octets");
            add(&name, &|p| p.protocol(number, &garbage[..length]));
        }
    }
    for number in [
        protocol::TCP,
        protocol::UDP,
        protocol::ICMP,
        protocol::ICMPV6,
        protocol::SCTP,
    ] {
        for (name, offset, more) in [
            ("first fragment", 0, true),
            ("middle fragment", 1, true),
            ("middle fragment far behind", 8000, true),
            ("last fragment", 1, false),
            ("last fragment far behind", 8000, false),
        ] {
            let name = format!("protocol {number}, {name}");
            add(&name, &|p| {
                p.protocol(number, &garbage).fragment(offset, more)
            });
        }
        let name = format!("protocol {number}, empty last fragment");
        add(&name, &|p| p.protocol(number, &[]).fragment(1, false));
    }
    kinds
}

/// Header fields that `transports` leaves alone.
fn headers() -> Vec<(&'static str, Header)> {
    let v4 = || Header::between("198.51.100.7", "203.0.113.6");
    let v6 = || Header::between("2001:db8:1::7", "2001:db8:2::6");
    vec![
        ("IPv4 with Don't Fragment", v4().dont_fragment()),
        ("IPv4 with DSCP 46 and ECN", v4().dscp(46).ecn(3)),
        ("IPv4 with options", v4().options(&[1, 1, 1])),
        (
            "IPv4 with as many options as there can be",
            v4().options(&[1; 40]),
        ),
        ("IPv6 with DSCP 63 and ECN", v6().dscp(63).ecn(1)),
        ("IPv6 with a flow label", v6().flow_label(0xabcde)),
        (
            "IPv6 with the greatest flow label",
            v6().flow_label(0xf_ffff),
        ),
    ]
}

/// IPv6 extension headers in orders that occur and in some that should not.
fn extension_chains() -> Vec<Sample> {
    use Extension::*;
    let chains: &[&[Extension]] = &[
        &[HopByHop],
        &[DestinationOptions],
        &[Routing],
        &[Authentication],
        &[Fragment(0, false)],
        &[Fragment(0, true)],
        &[Fragment(1, true)],
        &[Fragment(1, false)],
        &[HopByHop, Fragment(1, false)],
        &[DestinationOptions, Fragment(1, true)],
        &[Routing, Fragment(0, true)],
        &[
            HopByHop,
            DestinationOptions,
            Routing,
            Fragment(0, true),
            DestinationOptions,
        ],
        &[Fragment(1, false), DestinationOptions],
        &[Fragment(1, false), Authentication],
        &[Authentication, Fragment(1, false)],
        &[Fragment(0, false), Authentication, DestinationOptions],
        &[DestinationOptions, DestinationOptions, DestinationOptions],
    ];
    let build = |(index, chain): (usize, &&[Extension])| {
        let header = Header::between("2001:db8:1::7", "2001:db8:2::7");
        let udp = PacketBuilder::new(header).udp(123, 53, &vec![0; index]);
        let packet = chain
            .iter()
            .fold(udp, |packet, next| packet.extension(*next));
        Sample {
            name: format!("IPv6 {chain:?}"),
            octets: packet.build(),
        }
    };
    chains.iter().enumerate().map(build).collect()
}
