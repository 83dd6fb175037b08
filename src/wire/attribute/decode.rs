//! Values of path attributes: octets to types, with RFC 7606 §7's consequence for each that is malformed.

use std::net::Ipv4Addr;

use super::{AsPathSegment, AsPathSegmentKind, Attributes, Origin, RawAttribute, code};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::cursor::{Cursor, Truncated};
use crate::wire::error::WireError;
use crate::wire::update::DecodeContext;

/// AS_TRANS (RFC 6793 §9): stands for an AS that does not fit two octets.
pub(super) const AS_TRANS: u16 = 23456;

/// Attributes that complete others once all are read (RFC 6793 §4.2.3).
#[derive(Debug, Default)]
pub struct As4 {
    path: Option<Vec<AsPathSegment>>,
    aggregator: Option<(u32, Ipv4Addr)>,
}

/// Reads one attribute's value into `attributes`. MP_REACH_NLRI and MP_UNREACH_NLRI are the caller's.
pub fn read_value(
    context: &DecodeContext,
    flags: u8,
    code: u8,
    value: &mut Cursor<'_>,
    attributes: &mut Attributes,
    as4: &mut As4,
) -> Result<(), WireError> {
    let offset = value.offset();
    let length = value.len();
    let bad_length = || {
        let name = code::name(code);
        WireError::treat_as_withdraw(offset, format!("{name} of {length} octets"))
    };
    match code {
        code::ORIGIN => attributes.origin = Some(read_origin(value)?),
        code::AS_PATH => {
            let path = read_as_path(context.four_octet_as, code, value)?;
            // RFC 5065 §5: they never leave a confederation, and every external neighbor is outside of ours.
            if !context.ibgp && path.iter().any(is_confederation) {
                let reason = "AS_PATH with confederation segments from an external neighbor";
                return Err(WireError::treat_as_withdraw(offset, reason));
            }
            attributes.as_path = path;
        }
        // Of the FlowSpec families it says nothing, of others we take nothing: only its form is checked.
        code::NEXT_HOP if length != 4 => return Err(bad_length()),
        code::NEXT_HOP => {}
        code::MULTI_EXIT_DISC => {
            attributes.med = Some(read_exactly(value, Cursor::u32).ok_or_else(bad_length)?);
        }
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST if !context.ibgp => {
            let reason = format!("{} from an external neighbor", code::name(code));
            return Err(WireError::attribute_discard(offset, reason));
        }
        code::LOCAL_PREF => {
            attributes.local_pref = Some(read_exactly(value, Cursor::u32).ok_or_else(bad_length)?);
        }
        code::ATOMIC_AGGREGATE => {
            if length != 0 {
                return Err(discard(bad_length()));
            }
            attributes.atomic_aggregate = true;
        }
        code::AGGREGATOR => {
            let read = read_aggregator(context.four_octet_as, value);
            attributes.aggregator = Some(read.ok_or_else(|| discard(bad_length()))?);
        }
        code::COMMUNITIES => {
            attributes.communities = read_list(value, |octets: [u8; 4]| u32::from_be_bytes(octets))
                .ok_or_else(bad_length)?;
        }
        code::ORIGINATOR_ID => {
            let id = read_exactly(value, Cursor::u32).ok_or_else(bad_length)?;
            attributes.originator_id = Some(id.into());
        }
        code::CLUSTER_LIST => {
            attributes.cluster_list =
                read_list(value, |octets: [u8; 4]| octets.into()).ok_or_else(bad_length)?;
        }
        code::EXTENDED_COMMUNITIES => {
            let communities = read_list(value, ExtendedCommunity).ok_or_else(bad_length)?;
            check_actions(offset, &communities)?;
            attributes.extended_communities = communities;
        }
        code::IPV6_EXTENDED_COMMUNITIES => {
            attributes.ipv6_extended_communities =
                read_list(value, Ipv6ExtendedCommunity).ok_or_else(bad_length)?;
        }
        code::LARGE_COMMUNITY => {
            attributes.large_communities =
                read_list(value, read_large_community).ok_or_else(bad_length)?;
        }
        // RFC 6793 §4.1: a speaker of four-octet AS numbers must not send these; they are discarded.
        code::AS4_PATH | code::AS4_AGGREGATOR if context.four_octet_as => {
            let reason = format!("{} from a four-octet AS speaker", code::name(code));
            return Err(WireError::attribute_discard(offset, reason));
        }
        // RFC 7606 replaces the discard of RFC 6793 §6 only for flags; malformed contents are discarded.
        code::AS4_PATH => {
            let mut path = read_as_path(true, code, value).map_err(discard)?;
            // RFC 6793 §6: they are invalid here, and the rest of the path counts.
            path.retain(|segment| !is_confederation(segment));
            as4.path = Some(path);
        }
        code::AS4_AGGREGATOR => {
            let read = read_aggregator(true, value);
            as4.aggregator = Some(read.ok_or_else(|| discard(bad_length()))?);
        }
        // RFC 9234 §5.
        code::ONLY_TO_CUSTOMER if length != 4 => return Err(bad_length()),
        _ => {
            let value = value.rest().to_vec();
            attributes.unknown.push(RawAttribute { flags, code, value });
        }
    }
    Ok(())
}

/// Merges AS4_PATH and AS4_AGGREGATOR from a speaker of two-octet AS numbers (RFC 6793 §4.2.3).
pub fn merge_as4(attributes: &mut Attributes, as4: As4) {
    if let Some((asn, _)) = attributes.aggregator
        && as4.aggregator.is_some()
    {
        if asn != u32::from(AS_TRANS) {
            return;
        }
        attributes.aggregator = as4.aggregator;
    }
    let Some(tail) = as4.path else { return };
    let count = |path: &[AsPathSegment]| path.iter().map(path_count).sum::<usize>();
    let Some(mut lead) = count(&attributes.as_path).checked_sub(count(&tail)) else {
        return;
    };
    let mut merged = Vec::new();
    for mut segment in std::mem::take(&mut attributes.as_path) {
        if lead == 0 {
            break;
        }
        match segment.kind {
            AsPathSegmentKind::Sequence => {
                segment.asns.truncate(lead);
                lead -= segment.asns.len();
            }
            AsPathSegmentKind::Set => lead -= 1,
            AsPathSegmentKind::ConfedSequence | AsPathSegmentKind::ConfedSet => {}
        }
        merged.push(segment);
    }
    merged.extend(tail);
    attributes.as_path = merged;
}

/// ASes of a segment as RFC 6793 §4.2.3 counts them.
fn path_count(segment: &AsPathSegment) -> usize {
    match segment.kind {
        AsPathSegmentKind::Sequence => segment.asns.len(),
        AsPathSegmentKind::Set => 1,
        AsPathSegmentKind::ConfedSequence | AsPathSegmentKind::ConfedSet => 0,
    }
}

/// True for the segments of RFC 5065.
pub(super) fn is_confederation(segment: &AsPathSegment) -> bool {
    match segment.kind {
        AsPathSegmentKind::ConfedSequence | AsPathSegmentKind::ConfedSet => true,
        AsPathSegmentKind::Sequence | AsPathSegmentKind::Set => false,
    }
}

/// Turns a treat-as-withdraw into the discard that the attribute's specification wants.
fn discard(error: WireError) -> WireError {
    WireError::attribute_discard(error.offset, error.reason)
}

fn read_origin(value: &mut Cursor<'_>) -> Result<Origin, WireError> {
    let offset = value.offset();
    match value.rest() {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [other] => Err(WireError::treat_as_withdraw(
            offset,
            format!("ORIGIN {other}"),
        )),
        octets => {
            let reason = format!("ORIGIN of {} octets", octets.len());
            Err(WireError::treat_as_withdraw(offset, reason))
        }
    }
}

/// RFC 7606 §7.2, RFC 7607 for AS 0.
fn read_as_path(
    four_octet: bool,
    code: u8,
    value: &mut Cursor<'_>,
) -> Result<Vec<AsPathSegment>, WireError> {
    let name = code::name(code);
    let truncated = |error: Truncated| {
        WireError::treat_as_withdraw(error.offset, format!("{name} cut short: {error}"))
    };
    let mut path = Vec::new();
    while !value.is_empty() {
        let offset = value.offset();
        let error = |what: String| WireError::treat_as_withdraw(offset, format!("{name} {what}"));
        let kind = match value.u8().map_err(truncated)? {
            1 => AsPathSegmentKind::Set,
            2 => AsPathSegmentKind::Sequence,
            3 => AsPathSegmentKind::ConfedSequence,
            4 => AsPathSegmentKind::ConfedSet,
            other => return Err(error(format!("segment of type {other}"))),
        };
        let count = usize::from(value.u8().map_err(truncated)?);
        if count == 0 {
            return Err(error("segment without an AS".into()));
        }
        let mut octets = value
            .take(count * if four_octet { 4 } else { 2 })
            .map_err(truncated)?;
        let mut asns = Vec::with_capacity(count);
        while !octets.is_empty() {
            let asn = if four_octet {
                octets.u32()
            } else {
                octets.u16().map(u32::from)
            };
            asns.push(asn.map_err(truncated)?);
        }
        if asns.contains(&0) {
            return Err(error("contains AS 0".into()));
        }
        path.push(AsPathSegment { kind, asns });
    }
    Ok(path)
}

/// `None`: wrong length.
fn read_aggregator(four_octet: bool, value: &mut Cursor<'_>) -> Option<(u32, Ipv4Addr)> {
    let asn = if four_octet {
        value.u32()
    } else {
        value.u16().map(u32::from)
    }
    .ok()?;
    let address = read_exactly(value, Cursor::u32)?;
    Some((asn, address.into()))
}

/// Reads all that is left as one value; `None` when the length is another.
fn read_exactly<'a, T>(
    value: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Truncated>,
) -> Option<T> {
    let read = read(value).ok()?;
    value.is_empty().then_some(read)
}

/// Reads all that is left as items of `N` octets; `None` when there is none, or a part of one (RFC 7606 §7.8, §7.14).
fn read_list<T, const N: usize>(
    value: &mut Cursor<'_>,
    item: impl Fn([u8; N]) -> T,
) -> Option<Vec<T>> {
    let (items, rest) = value.rest().as_chunks::<N>();
    (!items.is_empty() && rest.is_empty()).then(|| items.iter().copied().map(item).collect())
}

fn read_large_community(octets: [u8; 12]) -> LargeCommunity {
    let [g0, g1, g2, g3, a0, a1, a2, a3, b0, b1, b2, b3] = octets;
    LargeCommunity {
        global: u32::from_be_bytes([g0, g1, g2, g3]),
        local1: u32::from_be_bytes([a0, a1, a2, a3]),
        local2: u32::from_be_bytes([b0, b1, b2, b3]),
    }
}

/// A rate that is not a number cannot be decoded, which makes the UPDATE malformed (RFC 8955 §10).
fn check_actions(offset: usize, communities: &[ExtendedCommunity]) -> Result<(), WireError> {
    let is_nan = |it: &ExtendedCommunity| it.rate_per_sec().is_some_and(f32::is_nan);
    match communities.iter().position(is_nan) {
        Some(index) => Err(WireError::treat_as_withdraw(
            offset + index * size_of::<ExtendedCommunity>(),
            "traffic-rate that is not a number",
        )),
        None => Ok(()),
    }
}
