//! Routes to UPDATE messages, as a controller sends them.

use super::{DecodeContext, Update};
use crate::wire::attribute::code::{MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
use crate::wire::attribute::encode::{encode, write_attribute};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::message::{HEADER_LENGTH, UPDATE, frame};
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;

/// Octets of an MP attribute besides its NLRI: flags, code, two length octets, AFI, SAFI, next hop length, reserved.
const MP_OVERHEAD: usize = 4 + 3 + 2;
/// Octets of an UPDATE body besides attributes and routes: its two length fields.
const BODY_OVERHEAD: usize = 4;

impl Update {
    /// Encodes the routes as whole messages of at most `max_length` octets; withdrawals come first.
    ///
    /// MP_REACH_NLRI stands before the other attributes (RFC 7606 §5.1). A route that does not fit a message
    /// beside its attributes is left out and returned in the second list.
    pub fn encode(
        &self,
        context: &DecodeContext,
        max_length: usize,
    ) -> (Vec<Vec<u8>>, Vec<PathOf<Nlri>>) {
        let mut messages = Vec::new();
        let mut left_out = Vec::new();
        let attributes = encode(&self.attributes, context);
        // Its length is one octet.
        let next_hop = &self.attributes.mp_next_hop;
        let next_hop = &next_hop[..next_hop.len().min(usize::from(u8::MAX))];
        let reach = next_hop.len() + attributes.len();
        for family in FlowFamily::ALL {
            let path_ids = context.has_path_ids(family.afi_safi());
            for (routes, more, rest) in [
                (&self.withdrawn, 0, None),
                (&self.announced, reach, Some((next_hop, &attributes[..]))),
            ] {
                let fixed = HEADER_LENGTH + BODY_OVERHEAD + MP_OVERHEAD + more;
                let room = max_length.saturating_sub(fixed);
                let of_family = routes.iter().filter(|path| path.route.family() == family);
                for nlri in pack(of_family, path_ids, room, &mut left_out) {
                    messages.push(message(family.afi_safi(), &nlri, rest));
                }
            }
        }
        if let Some(afi_safi) = self.end_of_rib {
            messages.push(end_of_rib(afi_safi));
        }
        (messages, left_out)
    }
}

/// The End-of-RIB marker of a family (RFC 4724 §2).
pub(super) fn end_of_rib(afi_safi: AfiSafi) -> Vec<u8> {
    if afi_safi == AfiSafi::IPV4_UNICAST {
        return frame(UPDATE, &[0; 4]);
    }
    message(afi_safi, &[], None)
}

/// Encoded NLRI, `path_ids` with the identifiers of their paths, in portions of at most `room` octets.
fn pack<'a>(
    routes: impl Iterator<Item = &'a PathOf<Nlri>>,
    path_ids: bool,
    room: usize,
    left_out: &mut Vec<PathOf<Nlri>>,
) -> Vec<Vec<u8>> {
    let mut portions: Vec<Vec<u8>> = Vec::new();
    for path in routes {
        let mut octets = path.route.encoded();
        if path_ids {
            octets.splice(0..0, path.id.to_be_bytes());
        }
        if octets.len() > room {
            left_out.push(path.clone());
            continue;
        }
        match portions.last_mut() {
            Some(portion) if portion.len() + octets.len() <= room => portion.extend(octets),
            _ => portions.push(octets),
        }
    }
    portions
}

/// One UPDATE: an announcement when there are a next hop, at most 255 octets, and attributes, else a withdrawal.
fn message(afi_safi: AfiSafi, nlri: &[u8], rest: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let mut value = afi_safi.afi.to_be_bytes().to_vec();
    value.push(afi_safi.safi);
    let mut octets = Vec::new();
    match rest {
        Some((next_hop, attributes)) => {
            value.push(next_hop.len() as u8);
            value.extend_from_slice(next_hop);
            // Reserved.
            value.push(0);
            value.extend_from_slice(nlri);
            write_attribute(OPTIONAL, MP_REACH_NLRI, &value, &mut octets);
            octets.extend_from_slice(attributes);
        }
        None => {
            value.extend_from_slice(nlri);
            write_attribute(OPTIONAL, MP_UNREACH_NLRI, &value, &mut octets);
        }
    }
    let mut body = vec![0, 0];
    body.extend((octets.len() as u16).to_be_bytes());
    body.extend(octets);
    frame(UPDATE, &body)
}
