//! Path attributes to octets, as a controller sends them.

use super::decode::{AS_TRANS, is_confederation};
use super::{AsPathSegment, AsPathSegmentKind, Attributes, Origin, RawAttribute, code};
use crate::wire::update::DecodeContext;

/// Appends one attribute; a value over 255 octets takes the extended length.
pub fn write_attribute(flags: u8, code: u8, value: &[u8], octets: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(length) => octets.extend([flags, code, length]),
        Err(_) => {
            octets.extend([flags | code::EXTENDED_LENGTH, code]);
            octets.extend((value.len() as u16).to_be_bytes());
        }
    }
    octets.extend_from_slice(value);
}

/// Encodes attributes ascending by type code, without MP_REACH_NLRI and MP_UNREACH_NLRI.
///
/// LOCAL_PREF goes only to internal neighbors, where it is mandatory: 100 when absent.
pub fn encode(attributes: &Attributes, context: &DecodeContext) -> Vec<u8> {
    let mut list = List::default();
    let origin = match attributes.origin.unwrap_or(Origin::Igp) {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    list.add(code::ORIGIN, vec![origin]);
    let path = || attributes.as_path.iter();
    list.add(code::AS_PATH, as_path(path(), context.four_octet_as));
    if let Some(med) = attributes.med {
        list.add(code::MULTI_EXIT_DISC, med.to_be_bytes().into());
    }
    if context.ibgp {
        let local_pref = attributes.local_pref.unwrap_or(100);
        list.add(code::LOCAL_PREF, local_pref.to_be_bytes().into());
        let originator = attributes.originator_id.iter();
        let originator = originator.flat_map(|id| id.octets()).collect();
        list.add_unless_empty(code::ORIGINATOR_ID, originator);
        let clusters = attributes.cluster_list.iter();
        let clusters = clusters.flat_map(|id| id.octets()).collect();
        list.add_unless_empty(code::CLUSTER_LIST, clusters);
    }
    if attributes.atomic_aggregate {
        list.add(code::ATOMIC_AGGREGATE, Vec::new());
    }
    if let Some((asn, address)) = attributes.aggregator {
        let in_four = [&asn.to_be_bytes()[..], &address.octets()].concat();
        if context.four_octet_as {
            list.add(code::AGGREGATOR, in_four);
        } else {
            let short = u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes();
            list.add(code::AGGREGATOR, [&short[..], &address.octets()].concat());
            if u16::try_from(asn).is_err() {
                list.add(code::AS4_AGGREGATOR, in_four);
            }
        }
    }
    let communities = attributes.communities.iter();
    let communities = communities.flat_map(|c| c.to_be_bytes()).collect();
    list.add_unless_empty(code::COMMUNITIES, communities);
    let extended = attributes.extended_communities.iter();
    let extended = extended.flat_map(|c| c.0).collect();
    list.add_unless_empty(code::EXTENDED_COMMUNITIES, extended);
    // RFC 6793 §4.2.2: the path as it is, without the segments that must not stand in AS4_PATH.
    let segments = || path().filter(|segment| !is_confederation(segment));
    let mut asns = segments().flat_map(|segment| &segment.asns);
    if !context.four_octet_as && asns.any(|asn| u16::try_from(*asn).is_err()) {
        list.add_unless_empty(code::AS4_PATH, as_path(segments(), true));
    }
    let ipv6 = attributes.ipv6_extended_communities.iter();
    let ipv6 = ipv6.flat_map(|c| c.0).collect();
    list.add_unless_empty(code::IPV6_EXTENDED_COMMUNITIES, ipv6);
    let large = attributes.large_communities.iter();
    let parts = large.flat_map(|c| [c.global, c.local1, c.local2]);
    let large = parts.flat_map(u32::to_be_bytes).collect();
    list.add_unless_empty(code::LARGE_COMMUNITY, large);
    let unknown = attributes.unknown.iter().cloned();
    list.0.extend(unknown);
    list.into_octets()
}

/// Attributes to be written.
#[derive(Default)]
struct List(Vec<RawAttribute>);

impl List {
    /// Adds an attribute that we know.
    fn add(&mut self, code: u8, value: Vec<u8>) {
        let flags = code::expected_flags(code).expect("all attributes written here are known");
        self.0.push(RawAttribute { flags, code, value });
    }

    /// As [`Self::add`], for attributes that must not be empty.
    fn add_unless_empty(&mut self, code: u8, value: Vec<u8>) {
        if !value.is_empty() {
            self.add(code, value);
        }
    }

    /// Ascending by type code.
    fn into_octets(mut self) -> Vec<u8> {
        self.0.sort_by_key(|attribute| attribute.code);
        let mut octets = Vec::new();
        for RawAttribute { flags, code, value } in &self.0 {
            let flags = flags & !code::EXTENDED_LENGTH;
            write_attribute(flags, *code, value, &mut octets);
        }
        octets
    }
}

/// AS_PATH in the width that was negotiated; an AS that does not fit two octets becomes AS_TRANS (RFC 6793 §4.2.2).
fn as_path<'a>(segments: impl Iterator<Item = &'a AsPathSegment>, four_octet: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    for segment in segments {
        let kind = match segment.kind {
            AsPathSegmentKind::Set => 1,
            AsPathSegmentKind::Sequence => 2,
            AsPathSegmentKind::ConfedSequence => 3,
            AsPathSegmentKind::ConfedSet => 4,
        };
        for asns in segment.asns.chunks(255) {
            octets.extend([kind, asns.len() as u8]);
            for asn in asns {
                if four_octet {
                    octets.extend(asn.to_be_bytes());
                } else {
                    octets.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                }
            }
        }
    }
    octets
}
