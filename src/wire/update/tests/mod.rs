//! UPDATE messages, octet by octet.

mod attributes;
mod errors;
mod properties;
mod routes;

use proptest::collection::vec;
use proptest::prelude::*;

use super::encode::end_of_rib;
use super::{DecodeContext, Update, decode};
use crate::wire::attribute::{
    AsPathSegment, AsPathSegmentKind, Attributes, Origin, RawAttribute, code,
};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::error::{Consequence, WireError};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::message::{HEADER_LENGTH, MAX_MESSAGE_LENGTH};
use crate::wire::nlri::Nlri;
use crate::wire::nlri::testing::{arbitrary_family, arbitrary_nlri};
use crate::wire::path::{PathId, PathOf};

/// ORIGIN IGP, an empty AS_PATH, LOCAL_PREF 100.
const MANDATORY: &str = "400101 00  400200  400504 00000064";
/// MP_REACH_NLRI for IPv4: protocol 6.
const REACH: &str = "800e09 0001 85 00 00 03 038106";
/// MP_UNREACH_NLRI for IPv4: protocol 6.
const UNREACH: &str = "800f07 0001 85 03 038106";

fn octets(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// A body with these attributes and nothing else; they begin at offset 4.
fn body(attributes: &[&str]) -> Vec<u8> {
    let attributes = octets(&attributes.concat());
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body
}

fn internal() -> DecodeContext {
    DecodeContext {
        four_octet_as: true,
        ibgp: true,
        unicast: Vec::new(),
        add_path: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
    }
}

fn external() -> DecodeContext {
    DecodeContext {
        ibgp: false,
        ..internal()
    }
}

fn protocol(number: u8) -> Nlri {
    Nlri::decode(FlowFamily::Ipv4Flow, &[3, 0x81, number]).unwrap()
}

/// Consequence and offset of everything wrong.
fn errors(update: &Update) -> Vec<(&'static str, usize)> {
    let brief = |error: &WireError| (error.consequence.name(), error.offset);
    update.errors.iter().map(brief).collect()
}

/// Several paths of IPv4 flows; IPv6 flows have one.
fn several_paths() -> DecodeContext {
    DecodeContext {
        add_path: vec![FlowFamily::Ipv4Flow.afi_safi()],
        ..internal()
    }
}
