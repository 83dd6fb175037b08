//! What good octets mean, held against what the vectors say in words and numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowacl::flowspec::action::{
    InterfaceSet, LegacyRedirect, LegacyTarget, RouteTarget, TrafficFilteringActions,
};
use flowacl::wire::attribute::{AsPathSegmentKind, Attributes, Origin};
use flowacl::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{HEADER_LENGTH, MAX_EXTENDED_MESSAGE_LENGTH, Message, split};
use flowacl::wire::nlri::{BitmaskType, Component, Nlri, NumericType, PrefixPattern};
use flowacl::wire::path::PathOf;
use flowacl::wire::update::{Update, decode};
use serde_json::Value;

use crate::file::PATH_IDENTIFIER_LENGTH;
use crate::{Vector, context_for, load, read_all};

/// Words of `quirks` for octets that normalising changes.
const NORMALISED: [&str; 4] = ["ignored", "treated as", "AND bit set", "octet form"];
/// Words of `quirks` for values of which the vectors' text shows bits that we clear.
const SHOWN_UNCLEARED: [&str; 3] = ["fragment", "dscp high bits", "data-offset"];

fn has_quirk(decoded: &Value, words: &[&str]) -> bool {
    let quirks = decoded["quirks"].as_array().into_iter().flatten();
    let mut quirks = quirks.filter_map(Value::as_str);
    quirks.any(|quirk| words.iter().any(|word| quirk.contains(word)))
}

/// Holds one decoded NLRI against its description.
fn check_nlri(id: &str, nlri: &Nlri, expected: &Value) {
    let family = nlri.family();
    let received = hex::decode(expected["nlri"].as_str().unwrap()).unwrap();
    let received = match expected["path_id"].is_null() {
        true => &received[..],
        false => &received[PATH_IDENTIFIER_LENGTH..],
    };
    let normalised = has_quirk(expected, &NORMALISED);
    assert_eq!(nlri.encoded() != received, normalised, "{id}: {nlri:?}");
    assert_eq!(
        read_all(family, &nlri.encoded()),
        Some(vec![nlri.clone()]),
        "{id}"
    );
    let rebuilt = Nlri::new(family, nlri.route_distinguisher(), &nlri.components());
    assert_eq!(rebuilt.as_ref(), Ok(nlri), "{id}");
    if !has_quirk(expected, &SHOWN_UNCLEARED) {
        assert_eq!(in_words(nlri), expected["text"].as_str().unwrap(), "{id}");
    }
    if let Some(expected) = expected["rd"].as_str() {
        let rd = flowacl::flowspec::text::format_route_distinguisher(
            nlri.route_distinguisher().expect("a VPN family"),
        );
        assert!(rd.ends_with(expected), "{id}: {rd}, not {expected}");
    }
}

/// An NLRI in the words of the vectors, which are not ours.
fn in_words(nlri: &Nlri) -> String {
    let ipv6 = nlri.family().is_ipv6();
    let words: Vec<String> = nlri
        .components()
        .iter()
        .map(|component| match component {
            Component::DestinationPrefix(prefix) => {
                format!("dst {}", prefix_in_words(ipv6, prefix))
            }
            Component::SourcePrefix(prefix) => format!("src {}", prefix_in_words(ipv6, prefix)),
            Component::Numeric(kind, ops) => {
                let name = match kind {
                    NumericType::Protocol if ipv6 => "next-header",
                    NumericType::Protocol => "proto",
                    NumericType::Port => "port",
                    NumericType::DestinationPort => "dport",
                    NumericType::SourcePort => "sport",
                    NumericType::IcmpType => "icmp-type",
                    NumericType::IcmpCode => "icmp-code",
                    NumericType::PacketLength => "length",
                    NumericType::Dscp => "dscp",
                    NumericType::FlowLabel => "flow-label",
                };
                let term = |op: &flowacl::wire::nlri::NumericOp| {
                    let comparison = match (op.less, op.greater, op.equal) {
                        (false, false, false) => return (op.and, "false".into()),
                        (true, true, true) => return (op.and, "true".into()),
                        (true, false, false) => "<",
                        (true, false, true) => "<=",
                        (false, true, false) => ">",
                        (false, true, true) => ">=",
                        (false, false, true) => "==",
                        (true, true, false) => "!=",
                    };
                    (op.and, format!("{comparison}{}", op.value))
                };
                format!("{name} {}", joined(ops.iter().map(term)))
            }
            Component::Bitmask(kind, ops) => {
                let name = match kind {
                    BitmaskType::TcpFlags => "tcp-flags",
                    BitmaskType::Fragment => "fragment",
                };
                let term = |op: &flowacl::wire::nlri::BitmaskOp| {
                    let value = op.value;
                    let test = match op.all {
                        true => format!("(data & {value:#x})=={value:#x}"),
                        false => format!("(data & {value:#x})!=0"),
                    };
                    (op.and, if op.not { format!("!({test})") } else { test })
                };
                format!("{name} {}", joined(ops.iter().map(term)))
            }
        })
        .collect();
    words.join("; ")
}

fn prefix_in_words(ipv6: bool, prefix: &PrefixPattern) -> String {
    let PrefixPattern {
        length,
        offset,
        bits,
    } = *prefix;
    match (ipv6, offset) {
        (false, _) => format!("{}/{length}", Ipv4Addr::from((bits >> 96) as u32)),
        (true, 0) => format!("{}/{length}", Ipv6Addr::from(bits)),
        (true, _) => format!("{}/{offset}-{length}", Ipv6Addr::from(bits)),
    }
}

fn joined(terms: impl Iterator<Item = (bool, String)>) -> String {
    let mut words = String::new();
    for (index, (and, term)) in terms.enumerate() {
        words += match (index, and) {
            (0, _) => "",
            (_, true) => " && ",
            (_, false) => " || ",
        };
        words += &term;
    }
    words
}

/// The actions that described communities ask for.
fn actions(described: &[Value]) -> TrafficFilteringActions {
    let mut actions = TrafficFilteringActions::default();
    for one in described {
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        let flag = |field: &str| one[field] == true;
        // RFC 8955 §7.1: a negative rate is 0.
        let rate = || Some(one["rate"].as_f64().unwrap().max(0.0) as f32);
        let target = || text("value").rsplit_once(':').unwrap();
        match (text("name"), text("type")) {
            ("traffic-rate-bytes", _) => actions.rate_bytes_per_sec = rate(),
            ("traffic-rate-packets", _) => actions.rate_packets_per_sec = rate(),
            ("traffic-action", _) => {
                actions.continue_evaluation = flag("terminal_bit47");
                actions.sample = flag("sample_bit46");
            }
            ("traffic-marking", _) => actions.mark_dscp = one["dscp"].as_u64().map(|d| d as u8),
            ("rt-redirect-as2", _) => {
                let (asn, local) = target();
                let (asn, local) = (asn.parse().unwrap(), local.parse().unwrap());
                actions.redirect_route_target = Some(RouteTarget::TwoOctetAs(asn, local));
            }
            ("rt-redirect-as4", _) => {
                let (asn, local) = target();
                let (asn, local) = (asn.parse().unwrap(), local.parse().unwrap());
                actions.redirect_route_target = Some(RouteTarget::FourOctetAs(asn, local));
            }
            ("rt-redirect-ipv4", _) => {
                let (address, local) = target();
                let (address, local) = (address.parse().unwrap(), local.parse().unwrap());
                actions.redirect_route_target = Some(RouteTarget::Ipv4(address, local));
            }
            (_, "0x010c") => {
                let address = text("value").parse().unwrap();
                match flag("copy") {
                    true => actions.copy_to = Some(address),
                    false => actions.redirect_next_hops.push(address),
                }
            }
            (_, "0x000c") => {
                let copy = one["local"].as_u64().unwrap() & 1 == 1;
                let address = text("addr").parse().unwrap();
                match copy {
                    true => actions.copy_to = Some(address),
                    false => actions.redirect_next_hops.push(address),
                }
            }
            (_, "0x0800") => {
                let address = one.get("nexthop_in_ec").or(one.get("addr"));
                let address: IpAddr = address.unwrap().as_str().unwrap().parse().unwrap();
                actions.legacy_redirect = Some(LegacyRedirect {
                    code: 0x0800,
                    target: match address.is_unspecified() {
                        true => LegacyTarget::NextHop,
                        false => LegacyTarget::Address(address),
                    },
                    copy: one.get("copy").is_some_and(|copy| copy == true),
                });
            }
            (_, "0x800b") => {
                actions.legacy_redirect = Some(LegacyRedirect {
                    code: 0x800b,
                    target: LegacyTarget::NextHop,
                    copy: false,
                });
            }
            (_, "0x0702" | "0x4702") => actions.interface_sets.push(InterfaceSet {
                transitive: flag("transitive"),
                asn: one["as"].as_u64().unwrap() as u32,
                input: flag("input"),
                output: flag("output"),
                group: one["group"].as_u64().unwrap() as u16,
            }),
            // Route targets, colors and the unknown ask for nothing.
            _ => {}
        }
    }
    actions
}

/// Holds communities against their description.
fn check_actions(
    id: &str,
    extended: &[ExtendedCommunity],
    ipv6: &[Ipv6ExtendedCommunity],
    described: &[Value],
) {
    assert_eq!(extended.len() + ipv6.len(), described.len(), "{id}");
    let mut found = TrafficFilteringActions::from_communities(extended, ipv6)
        .unwrap_or_else(|error| panic!("{id}: {error}"));
    found.notes.clear();
    assert_eq!(found, actions(described), "{id}");
}

#[test]
fn nlri_mean_what_the_vectors_say() {
    let mut compared = 0;
    for vector in load("vectors.jsonl") {
        let Some(family) = vector.family().filter(|_| vector.kind() == "nlri") else {
            continue;
        };
        let Some(routes) = read_all(family, &vector.octets()) else {
            continue;
        };
        assert_eq!(routes.len(), vector.decoded().len(), "{}", vector.id());
        for (nlri, expected) in routes.iter().zip(vector.decoded()) {
            check_nlri(vector.id(), nlri, expected);
            compared += 1;
        }
    }
    assert!(compared > 120, "only {compared}");
}

#[test]
fn communities_ask_for_what_the_vectors_say() {
    let mut compared = 0;
    for vector in load("vectors.jsonl") {
        if vector.kind() != "extcomm" {
            continue;
        }
        let octets = vector.octets();
        let (eight, twenty) = match vector.text("family") {
            "ipv6-extcomm" => (&[][..], octets.as_chunks::<20>().0),
            _ => (octets.as_chunks::<8>().0, &[][..]),
        };
        let extended: Vec<_> = eight.iter().copied().map(ExtendedCommunity).collect();
        let ipv6: Vec<_> = twenty.iter().copied().map(Ipv6ExtendedCommunity).collect();
        check_actions(vector.id(), &extended, &ipv6, vector.decoded());
        compared += 1;
    }
    assert!(compared > 30, "only {compared}");
}

#[test]
fn updates_carry_the_routes_and_attributes_that_the_vectors_name() {
    let mut compared = 0;
    for vector in load("vectors.jsonl") {
        if vector.kind() != "message" || !vector.is_valid() {
            continue;
        }
        let attributes = vector.decoded_attributes();
        if let Some((update, four_octet_as)) = decode_in_its_session(&vector) {
            for attribute in attributes {
                check_attribute(&vector, &update, four_octet_as, attribute);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "only {compared}");
}

/// The UPDATE of a message, and whether AS numbers have four octets in it.
fn decode_in_its_session(vector: &Vector) -> Option<(Update, bool)> {
    let message = split(&mut vector.octets(), MAX_EXTENDED_MESSAGE_LENGTH);
    let Ok(Some(Message::Update(body))) = message else {
        return None;
    };
    assert_eq!(vector.octets()[HEADER_LENGTH..], body);
    [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .find_map(|(ibgp, four_octet_as)| {
            let update = decode(&body, &context_for(vector, ibgp, four_octet_as)).ok()?;
            update.errors.is_empty().then_some((update, four_octet_as))
        })
}

fn check_attribute(vector: &Vector, update: &Update, four_octet_as: bool, expected: &Value) {
    let id = vector.id();
    let value = || hex::decode(expected["value"].as_str().unwrap()).unwrap();
    let number = || u32::from_be_bytes(value().try_into().unwrap());
    let attributes: &Attributes = &update.attributes;
    match expected["type"].as_str().unwrap() {
        "ORIGIN" => {
            let origin = [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(value()[0])];
            assert_eq!(attributes.origin, Some(origin), "{id}");
        }
        "AS_PATH" => {
            let mut octets = Vec::new();
            for segment in &attributes.as_path {
                let kind = match segment.kind {
                    AsPathSegmentKind::Set => 1,
                    AsPathSegmentKind::Sequence => 2,
                    AsPathSegmentKind::ConfedSequence => 3,
                    AsPathSegmentKind::ConfedSet => 4,
                };
                octets.extend([kind, segment.asns.len() as u8]);
                let width = if four_octet_as { 0 } else { 2 };
                octets.extend(
                    segment
                        .asns
                        .iter()
                        .flat_map(|asn| asn.to_be_bytes()[width..].to_vec()),
                );
            }
            assert_eq!(octets, value(), "{id}");
        }
        "LOCAL_PREF" => assert_eq!(attributes.local_pref, Some(number()), "{id}"),
        "MED" => assert_eq!(attributes.med, Some(number()), "{id}"),
        "COMMUNITIES" => {
            let octets = attributes.communities.iter().flat_map(|c| c.to_be_bytes());
            assert_eq!(octets.collect::<Vec<_>>(), value(), "{id}");
        }
        "EXT_COMMUNITIES" => {
            let described = expected["ec"].as_array().unwrap();
            check_actions(id, &attributes.extended_communities, &[], described);
        }
        "MP_REACH_NLRI" => {
            if let Some(family) = vector.family() {
                assert_eq!(hex::encode(&attributes.mp_next_hop), expected["nh"], "{id}");
                check_routes(id, family, &update.announced, expected);
            }
        }
        "MP_UNREACH_NLRI" => {
            assert_eq!(update.end_of_rib.is_some(), expected["eor"] == true, "{id}");
            if let Some(family) = vector.family() {
                check_routes(id, family, &update.withdrawn, expected);
            }
        }
        // Means nothing to FlowSpec.
        "NEXT_HOP" => {}
        other => panic!("{id}: {other} is not compared"),
    }
}

fn check_routes(id: &str, family: FlowFamily, routes: &[PathOf<Nlri>], expected: &Value) {
    let expected = expected["nlri"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    assert_eq!(routes.len(), expected.len(), "{id}");
    for (path, expected) in routes.iter().zip(expected) {
        assert_eq!(path.route.family(), family, "{id}");
        check_nlri(id, &path.route, expected);
    }
}
