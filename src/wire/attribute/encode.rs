//! Path attributes to octets, as a controller sends them.

use super::decode::{AS_TRANS, is_confederation};
use super::{AsPathSegment, AsPathSegmentKind, Attributes, Origin, code};
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
    let mut octets = Vec::new();
    let mut write = |code: u8, value: &[u8]| {
        let flags = code::expected_flags(code).expect("all attributes written here are known");
        write_attribute(flags, code, value, &mut octets);
    };
    let origin = match attributes.origin.unwrap_or(Origin::Igp) {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    write(code::ORIGIN, &[origin]);
    let path = || attributes.as_path.iter();
    write(code::AS_PATH, &as_path(path(), context.four_octet_as));
    if let Some(med) = attributes.med {
        write(code::MULTI_EXIT_DISC, &med.to_be_bytes());
    }
    if context.ibgp {
        write(
            code::LOCAL_PREF,
            &attributes.local_pref.unwrap_or(100).to_be_bytes(),
        );
    }
    let mut write_list = |code: u8, value: Vec<u8>| {
        if !value.is_empty() {
            write(code, &value);
        }
    };
    let communities = &attributes.communities;
    write_list(
        code::COMMUNITIES,
        communities.iter().flat_map(|c| c.to_be_bytes()).collect(),
    );
    if context.ibgp {
        let originator = attributes.originator_id.iter();
        write_list(
            code::ORIGINATOR_ID,
            originator.flat_map(|id| id.octets()).collect(),
        );
        let clusters = attributes.cluster_list.iter();
        write_list(
            code::CLUSTER_LIST,
            clusters.flat_map(|id| id.octets()).collect(),
        );
    }
    let extended = attributes.extended_communities.iter();
    write_list(
        code::EXTENDED_COMMUNITIES,
        extended.flat_map(|c| c.0).collect(),
    );
    // RFC 6793 §4.2.2: the path as it is, without the segments that must not stand in AS4_PATH.
    let segments = || path().filter(|segment| !is_confederation(segment));
    let mut asns = segments().flat_map(|segment| &segment.asns);
    if !context.four_octet_as && asns.any(|asn| u16::try_from(*asn).is_err()) {
        write_list(code::AS4_PATH, as_path(segments(), true));
    }
    let ipv6 = attributes.ipv6_extended_communities.iter();
    write_list(
        code::IPV6_EXTENDED_COMMUNITIES,
        ipv6.flat_map(|c| c.0).collect(),
    );
    let large = attributes.large_communities.iter();
    let parts = large.flat_map(|c| [c.global, c.local1, c.local2]);
    write_list(
        code::LARGE_COMMUNITY,
        parts.flat_map(u32::to_be_bytes).collect(),
    );
    octets
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
