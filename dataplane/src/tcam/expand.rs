//! From a match to entries: exact, or the reason why there are none.

use super::cubes::{Cube, cover};
use super::entry::{Entry, Ports};
use super::profile::{Fields, Language};
use crate::backend::Unsupported;
use crate::interval::IntervalSet;
use crate::rule::{AddressPattern, Family, FragmentKind, FragmentSet, Match};

/// Protocol number of ICMP.
const ICMP: u8 = 1;
/// Protocol number of TCP.
const TCP: u8 = 6;
/// Protocol number of UDP.
const UDP: u8 = 17;
/// Protocol number of ICMPv6.
const ICMPV6: u8 = 58;
/// IPv6 extension headers, of which none is ever the upper-layer protocol of a packet: what is behind AH and ESP is not
/// known.
const EXTENSION_HEADERS: [u32; 6] = [0, 43, 44, 50, 51, 60];
/// Octets of the shortest IPv4 packet.
const LEAST_IPV4_PACKET: u32 = 20;
/// Octets of the longest IPv4 packet.
const GREATEST_IPV4_PACKET: u32 = 65_535;
/// The greatest IPv6 flow label.
const GREATEST_FLOW_LABEL: u32 = 0xf_ffff;

/// Entries whose union holds exactly the packets of the family that `matches` holds.
///
/// No entry at all when no packet can match. Fails with the component that the language cannot say, or when there would be
/// more than [`Language::entries_per_rule`]. Ranges of ports are as wide as they come: what they take is the matter of
/// [`ports`](super::ports). Where the language has interfaces, it is for the caller to say them.
pub fn expand(
    matches: &Match,
    family: Family,
    language: &Language,
) -> Result<Vec<Entry>, Unsupported> {
    if !can_match(matches, family) {
        return Ok(Vec::new());
    }
    let mut base = Entry::everything(family);
    base.destination = prefix("destination", matches.destination)?;
    base.source = prefix("source", matches.source)?;
    packet_length(matches, family)?;
    flow_label(matches)?;
    if matches.rare.interfaces.is_some() && !language.interfaces {
        return refuse(
            "interface-set",
            "an entry holds for all interfaces of its table",
        );
    }
    let fields = language.fields(family);
    let Some(fragments) = fragments(matches, family, fields)? else {
        return Ok(Vec::new());
    };
    base.later_fragment = fragments == Fragments::Later;
    let protocols = protocols(matches, family, language)?;
    let transports = transports(matches, language, fields, &protocols)?;
    let dscp = dscp(matches, fields)?;
    let count = [protocols.len(), transports.len(), dscp.len()]
        .into_iter()
        .fold(1usize, usize::saturating_mul);
    let widths = [
        ("protocol", protocols.len()),
        ("dscp", dscp.len()),
        (transport_component(matches), transports.len()),
    ];
    let widest = widths.into_iter().max_by_key(|(_, width)| *width);
    let widest = widest.map_or("protocol", |(component, _)| component);
    check_count(widest, count, language)?;
    let mut entries = Vec::with_capacity(count);
    for protocol in &protocols {
        for transport in &transports {
            for dscp in &dscp {
                entries.push(Entry {
                    protocol: *protocol,
                    destination_port: transport.destination_port,
                    source_port: transport.source_port,
                    icmp_type: transport.icmp_type,
                    icmp_code: transport.icmp_code,
                    tcp_flags: transport.tcp_flags,
                    dscp: *dscp,
                    ..base.clone()
                });
            }
        }
    }
    Ok(entries)
}

/// The refusal of a component.
fn refuse<T>(component: &str, reason: impl std::fmt::Display) -> Result<T, Unsupported> {
    Err(Unsupported(format!("{component}: {reason}")))
}

/// The pattern as a prefix; a prefix that holds every address is no test.
fn prefix(
    component: &str,
    pattern: Option<AddressPattern>,
) -> Result<Option<AddressPattern>, Unsupported> {
    match pattern {
        Some(pattern) if pattern.mask() == 0 => Ok(None),
        Some(pattern) if pattern.prefix_length().is_none() => {
            refuse(component, "the switch matches prefixes, without an offset")
        }
        pattern => Ok(pattern),
    }
}

/// False when a set is empty, or fields are looked at that no packet has together.
fn can_match(matches: &Match, family: Family) -> bool {
    matches.overlaps(&Match::default(), family)
}

/// Passes over what every packet has; the length is not in the key of any table.
fn packet_length(matches: &Match, family: Family) -> Result<(), Unsupported> {
    let every = IntervalSet::from_ranges([(LEAST_IPV4_PACKET, GREATEST_IPV4_PACKET)]);
    match &matches.rare.packet_length {
        None => Ok(()),
        // Jumbograms have no length that a filter sees, so that in IPv6 even the full set restricts.
        Some(set) if family == Family::Ipv4 && set.intersection(&every) == every => Ok(()),
        Some(_) => refuse("packet-length", "the switch does not match it"),
    }
}

/// Passes over what every IPv6 packet has; no IPv4 packet comes here.
fn flow_label(matches: &Match) -> Result<(), Unsupported> {
    match &matches.rare.flow_label {
        Some(set) if !set.is_full(GREATEST_FLOW_LABEL) => {
            refuse("flow-label", "the switch does not match it")
        }
        Some(_) | None => Ok(()),
    }
}

/// Which packets are left by the fragment component.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragments {
    /// The component is no test, or what is tested beside it is the same test.
    Any,
    /// Fragments with an offset.
    Later,
}

/// What the fragment component asks for; `None` when no packet is left.
fn fragments(
    matches: &Match,
    family: Family,
    fields: &Fields,
) -> Result<Option<Fragments>, Unsupported> {
    let Some(set) = matches.fragment else {
        return Ok(Some(Fragments::Any));
    };
    let members = |later: bool| members(set, family, later);
    // What looks at a transport header never matches later fragments.
    let with_header = matches.needs_transport_header();
    match (members(false), members(true)) {
        (Members::All, _) if with_header => Ok(Some(Fragments::Any)),
        (Members::None, _) if with_header => Ok(None),
        (Members::None, Members::None) => Ok(None),
        (Members::All, Members::All) => Ok(Some(Fragments::Any)),
        (Members::None, Members::All) if fields.later_fragments => Ok(Some(Fragments::Later)),
        (Members::None, Members::All) => refuse(
            "fragment",
            format_args!("the switch does not match fragments of {family}"),
        ),
        (Members::All | Members::Some | Members::None, _) => refuse(
            "fragment",
            "the switch only knows whether the fragment offset is 0, and matches only where it is not",
        ),
    }
}

/// How many of some states are in a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    None,
    Some,
    All,
}

/// How many states of packets are in `set`: of later fragments, or of all others.
fn members(set: FragmentSet, family: Family, later: bool) -> Members {
    let dont_fragment: &[bool] = match family {
        Family::Ipv4 => &[false, true],
        Family::Ipv6 => &[false],
    };
    let kinds = FragmentKind::ALL.into_iter();
    let states = kinds
        .filter(|kind| kind.is_later() == later)
        .flat_map(|kind| dont_fragment.iter().map(move |df| (kind, *df)));
    let inside: Vec<bool> = states.map(|(kind, df)| set.contains(kind, df)).collect();
    match (inside.contains(&true), inside.contains(&false)) {
        (true, false) => Members::All,
        (true, true) => Members::Some,
        (false, _) => Members::None,
    }
}

/// The protocols that can match, one for each entry; `None` stands for no test.
fn protocols(
    matches: &Match,
    family: Family,
    language: &Language,
) -> Result<Vec<Option<u8>>, Unsupported> {
    let single = |numbers: &[u8]| {
        IntervalSet::from_ranges(numbers.iter().map(|n| (u32::from(*n), u32::from(*n))))
    };
    let looks_at_ports = matches.rare.port.is_some()
        || matches.destination_port.is_some()
        || matches.source_port.is_some();
    let mut implied = None;
    if looks_at_ports {
        implied = Some(single(&[TCP, UDP]));
    }
    if matches.rare.icmp_type.is_some() || matches.rare.icmp_code.is_some() {
        implied = Some(single(&[match family {
            Family::Ipv4 => ICMP,
            Family::Ipv6 => ICMPV6,
        }]));
    }
    if matches.rare.tcp_flags.is_some() {
        implied = Some(single(&[TCP]));
    }
    let all = match (&matches.protocol, implied) {
        (None, None) => return Ok(vec![None]),
        // Every IPv4 packet has a protocol.
        (Some(set), None) if family == Family::Ipv4 && set.is_full(255) => return Ok(vec![None]),
        (Some(set), None) => set.clone(),
        (None, Some(implied)) => implied,
        (Some(set), Some(implied)) => set.intersection(&implied),
    };
    let never = match family {
        Family::Ipv4 => IntervalSet::empty(),
        Family::Ipv6 => IntervalSet::from_ranges(EXTENSION_HEADERS.map(|n| (n, n))),
    };
    let all = all.difference(&never);
    if !language.protocol_zero && all.contains(0) {
        return refuse("protocol", "0 stands for any protocol in this ACL language");
    }
    Ok(values(&all).map(Some).collect())
}

/// The members of a set of octets.
fn values(set: &IntervalSet) -> impl Iterator<Item = u8> {
    let values = set.ranges().iter().flat_map(|(first, last)| *first..=*last);
    values.filter_map(|value| u8::try_from(value).ok())
}

/// The tests of one entry that are about the transport header.
#[derive(Clone, Copy, Default)]
struct Transport {
    destination_port: Option<Ports>,
    source_port: Option<Ports>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    tcp_flags: Option<Cube>,
}

/// What entries test of the transport header: the same for all protocols, of which there is one where anything but ports
/// is looked at.
fn transports(
    matches: &Match,
    language: &Language,
    fields: &Fields,
    protocols: &[Option<u8>],
) -> Result<Vec<Transport>, Unsupported> {
    if !matches.needs_transport_header() || protocols.is_empty() {
        return Ok(vec![Transport::default()]);
    }
    if matches.rare.icmp_type.is_some() || matches.rare.icmp_code.is_some() {
        return icmp(matches, language, fields, protocols);
    }
    let mut transports = Vec::new();
    let flags = flags(matches, language, fields)?;
    for (destination_port, source_port) in port_pairs(matches, language, &flags)? {
        for tcp_flags in &flags {
            transports.push(Transport {
                destination_port,
                source_port,
                tcp_flags: *tcp_flags,
                ..Transport::default()
            });
        }
    }
    let looks_at_ports = |t: &Transport| t.destination_port.is_some() || t.source_port.is_some();
    if !fields.ports && transports.iter().any(looks_at_ports) {
        return refuse("port", "the switch does not match it");
    }
    Ok(transports)
}

/// TCP flags of entries; `None` where the component, if there is one, holds whatever the flags are.
fn flags(
    matches: &Match,
    language: &Language,
    fields: &Fields,
) -> Result<Vec<Option<Cube>>, Unsupported> {
    let Some(set) = &matches.rare.tcp_flags else {
        return Ok(vec![None]);
    };
    if set.mask() == 0 {
        return Ok(vec![None]);
    }
    if !fields.tcp_flags {
        return refuse("tcp-flags", "the switch does not match them");
    }
    let beyond = set.mask() & !language.tcp_flag_bits;
    if beyond != 0 {
        return refuse(
            "tcp-flags",
            format_args!(
                "the switch compares the bits {:#04x}, not {beyond:#04x}",
                language.tcp_flag_bits
            ),
        );
    }
    Ok(cover(set).into_iter().map(Some).collect())
}

/// Tests of destination and source ports.
type PortPair = (Option<Ports>, Option<Ports>);

/// Destination and source ports of entries.
///
/// Where nothing else tests the transport header, at least one of them is not `None`, so that the entry does not hold for
/// later fragments.
fn port_pairs(
    matches: &Match,
    language: &Language,
    flags: &[Option<Cube>],
) -> Result<Vec<PortPair>, Unsupported> {
    let all = IntervalSet::full(u32::from(u16::MAX));
    let restricted = |set: &Option<IntervalSet>| set.clone().unwrap_or_else(|| all.clone());
    let destinations = restricted(&matches.destination_port).intersection(&all);
    let sources = restricted(&matches.source_port).intersection(&all);
    let either = restricted(&matches.rare.port);
    let by_source = (destinations.clone(), sources.intersection(&either));
    let by_destination = (destinations.intersection(&either), sources.clone());
    // The one is the whole where it does not restrict.
    let boxes = if by_source.1 == sources {
        vec![by_source]
    } else if by_destination.0 == destinations {
        vec![by_destination]
    } else {
        vec![by_destination, by_source]
    };
    let tested = flags.iter().all(Option::is_some);
    let mut pairs = Vec::new();
    for (destinations, sources) in boxes {
        let is_open = |set: &IntervalSet| *set == all;
        let force = !tested && is_open(&destinations) && is_open(&sources);
        let destinations = tests(&destinations, language, force);
        let sources = tests(&sources, language, false);
        let count = pairs.len() + destinations.len().saturating_mul(sources.len());
        check_count(transport_component(matches), count, language)?;
        let with_all_sources =
            |destination| sources.iter().map(move |source| (destination, *source));
        pairs.extend(destinations.into_iter().flat_map(with_all_sources));
    }
    Ok(pairs)
}

/// The tests for a set of ports; all ports are no test, unless `force` asks for one.
fn tests(set: &IntervalSet, language: &Language, force: bool) -> Vec<Option<Ports>> {
    let is_open = set.is_full(u32::from(u16::MAX));
    if is_open && !force {
        return vec![None];
    }
    let mut tests = Vec::new();
    for &(first, last) in set.ranges() {
        let port = |port: u32| u16::try_from(port).expect("ports are sets of 16-bit numbers");
        let (mut first, last) = (port(first), port(last));
        // A switch may take the range of all ports for no test.
        if first == 0 && last > 0 && (!language.port_range_from_zero || is_open) {
            tests.push(Some(Ports::single(0)));
            first = 1;
        }
        if last - first < language.least_port_range.saturating_sub(1) {
            tests.extend((first..=last).map(Ports::single).map(Some));
        } else {
            tests.push(Some(Ports { first, last }));
        }
    }
    tests
}

/// ICMP types and codes of entries.
fn icmp(
    matches: &Match,
    language: &Language,
    fields: &Fields,
    protocols: &[Option<u8>],
) -> Result<Vec<Transport>, Unsupported> {
    if !fields.icmp {
        return refuse("icmp-type", "the switch does not match it");
    }
    // Without any test of the header an entry would hold for later fragments, too.
    let octets = |set: &Option<IntervalSet>, needed: bool| match set {
        Some(set) if needed || !set.is_full(255) => values(set).map(Some).collect(),
        Some(_) | None => vec![None],
    };
    let tests_code = |set: &IntervalSet| !set.is_full(255);
    let code_alone = matches.rare.icmp_type.is_none();
    let needed = !matches.rare.icmp_code.as_ref().is_some_and(tests_code);
    let types = octets(&matches.rare.icmp_type, needed || !language.icmp_code_alone);
    let codes = octets(&matches.rare.icmp_code, code_alone);
    if code_alone && !language.icmp_code_alone {
        return refuse(
            "icmp-code",
            "the switch matches codes only together with a type",
        );
    }
    if protocols == [Some(ICMP)]
        && let Some(any) = language.any_icmp_type
        && types.contains(&Some(any))
    {
        return refuse(
            "icmp-type",
            format_args!("{any} stands for any type in this ACL language"),
        );
    }
    if !language.icmp_zero && (types.contains(&Some(0)) || codes.contains(&Some(0))) {
        return refuse("icmp-type", "the switch does not take 0 as type or code");
    }
    let pairs = types.iter().flat_map(|icmp_type| {
        codes.iter().map(|icmp_code| Transport {
            icmp_type: *icmp_type,
            icmp_code: *icmp_code,
            ..Transport::default()
        })
    });
    Ok(pairs.collect())
}

/// DSCP of entries.
fn dscp(matches: &Match, fields: &Fields) -> Result<Vec<Option<u8>>, Unsupported> {
    match &matches.rare.dscp {
        None => Ok(vec![None]),
        Some(set) if set.is_full(63) => Ok(vec![None]),
        Some(_) if !fields.dscp => refuse("dscp", "the switch does not match it"),
        Some(set) => Ok(values(set).filter(|dscp| *dscp < 64).map(Some).collect()),
    }
}

/// The component that most entries are about, of those about the transport header.
fn transport_component(matches: &Match) -> &'static str {
    let rare = &matches.rare;
    match () {
        () if rare.icmp_type.is_some() => "icmp-type",
        () if rare.icmp_code.is_some() => "icmp-code",
        () if rare.port.is_some() => "port",
        () if matches.destination_port.is_some() => "destination-port",
        () if matches.source_port.is_some() => "source-port",
        () => "tcp-flags",
    }
}

/// Fails when a rule may not have so many entries.
fn check_count(component: &str, count: usize, language: &Language) -> Result<(), Unsupported> {
    if count > language.entries_per_rule {
        return refuse(
            component,
            format_args!(
                "{count} entries would be needed, and a rule may have {}",
                language.entries_per_rule
            ),
        );
    }
    Ok(())
}
