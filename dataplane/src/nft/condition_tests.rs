//! The compiled instructions, run on octets of packets, against what the rule says about the
//! packets.

use proptest::prelude::*;

use super::super::expression::{Base, Comparison, Expression, MetaKey, SetReference};
use super::*;
use crate::desired::Sample;
use crate::nft::compile::{Context, Objects, RareTail, compile};
use crate::packet::Packet;
use crate::rule::Action;
use crate::rule::{RareFields, RuleId};

/// A packet with what the kernel knows about it before any rule runs.
#[derive(Clone, Debug)]
struct Received {
    octets: Vec<u8>,
    /// Protocol and offset of the transport header.
    transport: Option<(u8, usize)>,
    /// Offset of the IPv6 Fragment header.
    fragment_header: Option<usize>,
}

impl Received {
    /// Runs the instructions of one nft rule; true when they come to the verdict.
    fn passes(&self, statements: &[Statement]) -> bool {
        let mut register = Vec::new();
        let load = |from: usize, length: u32| -> Option<Vec<u8>> {
            self.octets
                .get(from..from + length as usize)
                .map(<[u8]>::to_vec)
        };
        for expression in statements.iter().flat_map(Statement::expressions) {
            let loaded = match &expression {
                Expression::Meta(MetaKey::NetworkProtocol) => match self.octets[0] >> 4 {
                    4 => Some(vec![2]),
                    _ => Some(vec![10]),
                },
                Expression::Meta(MetaKey::TransportProtocol) => {
                    self.transport.map(|(protocol, _)| vec![protocol])
                }
                Expression::Payload {
                    base: Base::Network,
                    offset,
                    length,
                } => load(*offset as usize, *length),
                Expression::Payload {
                    base: Base::Transport,
                    offset,
                    length,
                } => self
                    .transport
                    .and_then(|(_, header)| load(header + *offset as usize, *length)),
                Expression::Fragment { offset, length } => self
                    .fragment_header
                    .and_then(|at| load(at + *offset as usize, *length)),
                Expression::FragmentPresent => Some(vec![u8::from(self.fragment_header.is_some())]),
                Expression::Bitwise { mask, toggle } => {
                    let masked = register.iter().zip(mask).zip(toggle);
                    Some(
                        masked
                            .map(|((octet, mask), toggle)| octet & mask ^ toggle)
                            .collect(),
                    )
                }
                Expression::Compare(comparison, value) => {
                    let holds = match comparison {
                        Comparison::Equal => register == *value,
                        Comparison::NotEqual => register != *value,
                        Comparison::AtMost => register <= *value,
                        Comparison::AtLeast => register >= *value,
                    };
                    holds.then(|| register.clone())
                }
                Expression::Outside(first, last) => {
                    (register < *first || register > *last).then(|| register.clone())
                }
                Expression::Lookup(SetReference::Named(_)) => {
                    [6, 17].contains(&register[0]).then(|| register.clone())
                }
                Expression::Lookup(SetReference::Anonymous(set)) => {
                    // The last element not above the value tells whether an interval is open there.
                    let below = set.elements.iter().rfind(|element| element.key <= register);
                    let inside = below.is_some_and(|element| {
                        !element.interval_end && (set.intervals || element.key == register)
                    });
                    inside.then(|| register.clone())
                }
                Expression::Object(..) => Some(register.clone()),
                Expression::Verdict(_) => return true,
                Expression::Meta(MetaKey::Mark | MetaKey::InputName | MetaKey::InputKind)
                | Expression::SetMeta(_)
                | Expression::SetPayload { .. }
                | Expression::GoOnIn(_)
                | Expression::LoadFrom(_)
                | Expression::Duplicate
                | Expression::ObjectIn(..)
                | Expression::Behind(..)
                | Expression::Log { .. }
                | Expression::Random(_)
                | Expression::Absent(_)
                | Expression::Update(_)
                | Expression::DestinationType => panic!("no condition: {expression:?}"),
            };
            match loaded {
                Some(value) => register = value,
                None => return false,
            }
        }
        panic!("no verdict")
    }
}

/// Transport headers and what is left of them.
fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let protocol = prop::sample::select(vec![1u8, 6, 6, 6, 17, 17, 47, 58, 59, 132]);
    let port = prop::sample::select(vec![0u16, 22, 53, 80, 123, 65535]);
    let header = (port.clone(), port, any::<[u8; 16]>(), 0usize..28);
    (protocol, header).prop_map(|(protocol, (source, destination, rest, length))| {
        let mut octets = match protocol {
            1 | 58 => vec![source as u8 % 12, destination as u8 % 5, 0, 0],
            _ => [source.to_be_bytes(), destination.to_be_bytes()].concat(),
        };
        octets.extend_from_slice(&rest);
        octets.truncate(length);
        (protocol, octets)
    })
}

/// IPv4 packets.
fn ipv4() -> impl Strategy<Value = Received> {
    let fragment = prop::sample::select(vec![0u16, 0, 0x4000, 0x2000, 0x6000, 0x2001, 185, 0x4002]);
    (transport(), fragment, any::<u8>(), 0u8..4, 0usize..3).prop_map(
        |((protocol, payload), fragment, tos, host, options)| {
            let header = 20 + 4 * options;
            let mut octets = vec![0x40 | (header / 4) as u8, tos];
            octets.extend(((header + payload.len()) as u16).to_be_bytes());
            octets.extend([0, 1]);
            octets.extend(fragment.to_be_bytes());
            octets.extend([64, protocol, 0, 0, 192, 0, 2, host, 203, 0, 113, host]);
            octets.resize(header, 1);
            octets.extend(payload);
            let transport = Some((protocol, header));
            Received {
                octets,
                transport,
                fragment_header: None,
            }
        },
    )
}

/// IPv6 packets with up to two options headers and a Fragment header between them.
fn ipv6() -> impl Strategy<Value = Received> {
    let fragment = prop::sample::select(vec![None, None, Some(0u16), Some(1), Some(8), Some(9)]);
    let headers = (any::<bool>(), fragment, any::<bool>());
    (transport(), headers, any::<u32>(), 0u8..4).prop_map(
        |((protocol, payload), (options, fragment, more_options), word, host)| {
            // Numbers and octets of the headers behind the first; each names the next.
            let is_later = fragment.is_some_and(|field| field & 0xfff8 != 0);
            let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
            if options {
                chain.push((0, vec![0, 0, 1, 4, 0, 0, 0, 0]));
            }
            if let Some(field) = fragment {
                let field = field.to_be_bytes();
                chain.push((44, vec![0, 0, field[0], field[1], 0, 0, 0, 1]));
            }
            if more_options && !is_later {
                chain.push((60, vec![0, 0, 1, 4, 0, 0, 0, 0]));
            }
            chain.push((protocol, payload));
            let length: usize = chain.iter().map(|(_, octets)| octets.len()).sum();
            let mut octets = (6 << 28 | word & 0x0fff_ffff).to_be_bytes().to_vec();
            octets.extend((length as u16).to_be_bytes());
            octets.extend([chain[0].0, 64]);
            for last in [host, host + 8] {
                octets.extend([
                    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last,
                ]);
            }
            let (mut transport, mut fragment_header) = (None, None);
            for index in 0..chain.len() {
                let (number, mut header) = chain[index].clone();
                match chain.get(index + 1) {
                    Some((next, _)) => header[0] = *next,
                    None => transport = Some((number, octets.len())),
                }
                if number == 44 {
                    fragment_header = Some(octets.len());
                }
                octets.extend(header);
            }
            Received {
                octets,
                transport,
                fragment_header,
            }
        },
    )
}

/// Sets of numbers around those that packets have.
fn numbers(maximum: u32, interesting: &'static [u32]) -> impl Strategy<Value = IntervalSet> {
    let value = prop_oneof![4 => prop::sample::select(interesting), 1 => 0..=maximum];
    let range = (value.clone(), prop_oneof![value, Just(maximum), Just(0)]);
    let ranges = prop::collection::vec(range, 0..7);
    ranges.prop_map(|ranges| {
        IntervalSet::from_ranges(ranges.into_iter().flat_map(|(a, b)| {
            // Reversed ranges would be empty: take the first end alone.
            if a <= b { [(a, b)] } else { [(a, a)] }
        }))
    })
}

/// A field of a match, rarely present.
fn rarely<T: Clone + std::fmt::Debug + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.25, strategy)
}

fn matches() -> impl Strategy<Value = Match> {
    let ports = || rarely(numbers(65535, &[0, 21, 22, 53, 54, 80, 123, 65535]));
    let address = (any::<bool>(), 0u8..4, 0u8..=128, 0u8..=128).prop_map(|(v6, host, a, b)| {
        let value = match v6 {
            true => 0x2001_0db8 << 96 | u128::from(host),
            false => u128::from(0xcb00_7100 | u32::from(host)) << 96,
        };
        AddressPattern::new(value, if v6 { a.min(b) } else { 0 }, a.max(b))
    });
    let flags = (
        prop::sample::select(vec![0x12u16, 0x3f, 0xfff, 0x100, 0]),
        any::<u64>(),
    )
        .prop_map(|(relevant, seed)| {
            MaskedValues::from_predicate(relevant, |value| {
                seed.rotate_left(u32::from(value)).count_ones() & 1 == 1 || seed % 4 == 0
            })
        });
    let fragment = any::<u8>().prop_map(|seed| {
        FragmentSet::from_predicate(|kind, dont| {
            seed >> (kind as u8 + if dont { 4 } else { 0 }) & 1 == 1
        })
    });
    let network = (
        rarely(address),
        rarely(numbers(255, &[0, 1, 6, 17, 44, 58, 59, 60, 132])),
        rarely(numbers(70_000, &[20, 40, 41, 48, 60, 99_999])),
        rarely(numbers(63, &[0, 1, 8, 46, 63])),
        rarely(fragment),
        rarely(numbers(0xf_ffff, &[0, 1, 0xf_ffff])),
    );
    let transport = (
        (ports(), ports(), ports()),
        rarely(numbers(255, &[0, 1, 3, 8, 11])),
        rarely(numbers(255, &[0, 1, 4])),
        rarely(flags),
    );
    (network, transport).prop_map(
        |(
            (destination, protocol, packet_length, dscp, fragment, flow_label),
            ((port, destination_port, source_port), icmp_type, icmp_code, tcp_flags),
        )| Match {
            destination,
            source: None,
            protocol,
            destination_port,
            source_port,
            fragment,
            rare: RareFields {
                port,
                icmp_type,
                icmp_code,
                tcp_flags,
                packet_length,
                dscp,
                flow_label,
                interfaces: None,
            }
            .into(),
        },
    )
}

/// How many of the nft rules of a match a packet passes.
fn passed(matches: &Match, received: &Received, packet: &Packet) -> usize {
    let rule = Rule {
        id: RuleId(1),
        family: packet.family,
        order: [].into(),
        tier: [].into(),
        label: "".into(),
        matches: matches.clone(),
        action: Action {
            discard: true,
            ..Action::default()
        },
    };
    let class = match (packet.fragment.is_later(), packet.protocol) {
        (true, _) => Class::Later,
        (false, Some(6)) => Class::Tcp,
        (false, Some(17)) => Class::Udp,
        (false, _) => Class::Rest,
    };
    let context = Context {
        sample: Sample::default(),
        collect_marks: None,
    };
    let objects = Objects::Named {
        counter: String::new(),
        limits: Vec::new(),
        rare: RareTail::default(),
    };
    let rules = compile(&rule, class.into(), &context, &objects);
    rules
        .iter()
        .filter(|rule| received.passes(&rule.statements))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn exactly_one_alternative_passes_what_the_rule_matches(
        matches in matches(),
        received in prop::collection::vec(prop_oneof![ipv4(), ipv6()], 8),
    ) {
        for received in &received {
            let Some(packet) = Packet::parse(&received.octets) else {
                prop_assert!(false, "the generator makes whole packets: {received:?}");
                unreachable!()
            };
            let expected = usize::from(matches.contains(&packet));
            prop_assert_eq!(passed(&matches, received, &packet), expected, "{:?} {:?}", packet, received);
        }
    }
}

#[test]
fn rules_that_need_a_transport_header_never_see_later_fragments() {
    let ports = Match {
        rare: RareFields {
            port: Some(IntervalSet::full(65535)),
            ..RareFields::default()
        }
        .into(),
        ..Match::default()
    };
    for family in Family::ALL {
        for (class, alternatives) in [
            (Class::Tcp, 1),
            (Class::Udp, 1),
            (Class::Rest, 0),
            (Class::Later, 0),
        ] {
            let all = Alternatives::of(family, &ports, class.into());
            assert_eq!(all.0.len(), alternatives, "{class:?}");
        }
    }
}
