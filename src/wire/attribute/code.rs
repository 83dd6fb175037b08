//! Attribute type codes and flags (RFC 4271 §4.3, <https://www.iana.org/assignments/bgp-parameters>).

/// Flag: optional; clear on well-known attributes.
pub const OPTIONAL: u8 = 0x80;
/// Flag: passed on by speakers that do not know the attribute.
pub const TRANSITIVE: u8 = 0x40;
/// Flag: two length octets.
pub const EXTENDED_LENGTH: u8 = 0x10;

/// ORIGIN.
pub const ORIGIN: u8 = 1;
/// AS_PATH.
pub const AS_PATH: u8 = 2;
/// NEXT_HOP: means nothing for the FlowSpec families.
pub const NEXT_HOP: u8 = 3;
/// MULTI_EXIT_DISC.
pub const MULTI_EXIT_DISC: u8 = 4;
/// LOCAL_PREF.
pub const LOCAL_PREF: u8 = 5;
/// ATOMIC_AGGREGATE.
pub const ATOMIC_AGGREGATE: u8 = 6;
/// AGGREGATOR.
pub const AGGREGATOR: u8 = 7;
/// COMMUNITIES (RFC 1997).
pub const COMMUNITIES: u8 = 8;
/// ORIGINATOR_ID (RFC 4456).
pub const ORIGINATOR_ID: u8 = 9;
/// CLUSTER_LIST (RFC 4456).
pub const CLUSTER_LIST: u8 = 10;
/// MP_REACH_NLRI (RFC 4760).
pub const MP_REACH_NLRI: u8 = 14;
/// MP_UNREACH_NLRI (RFC 4760).
pub const MP_UNREACH_NLRI: u8 = 15;
/// EXTENDED COMMUNITIES (RFC 4360).
pub const EXTENDED_COMMUNITIES: u8 = 16;
/// AS4_PATH (RFC 6793).
pub const AS4_PATH: u8 = 17;
/// AS4_AGGREGATOR (RFC 6793).
pub const AS4_AGGREGATOR: u8 = 18;
/// PMSI_TUNNEL (RFC 6514).
pub const PMSI_TUNNEL: u8 = 22;
/// Tunnel Encapsulation (RFC 9012).
pub const TUNNEL_ENCAPSULATION: u8 = 23;
/// IPv6 Address Specific Extended Communities (RFC 5701).
pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
/// AIGP (RFC 7311).
pub const AIGP: u8 = 26;
/// BGP-LS (RFC 9552).
pub const LINK_STATE: u8 = 29;
/// LARGE_COMMUNITY (RFC 8092).
pub const LARGE_COMMUNITY: u8 = 32;
/// Only to Customer (RFC 9234).
pub const ONLY_TO_CUSTOMER: u8 = 35;
/// BGP Prefix-SID (RFC 8669).
pub const PREFIX_SID: u8 = 40;

/// The optional and transitive bits that an attribute must have, where we know it.
pub fn expected_flags(code: u8) -> Option<u8> {
    Some(match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI | AIGP
        | LINK_STATE => OPTIONAL,
        AGGREGATOR
        | COMMUNITIES
        | EXTENDED_COMMUNITIES
        | AS4_PATH
        | AS4_AGGREGATOR
        | PMSI_TUNNEL
        | TUNNEL_ENCAPSULATION
        | IPV6_EXTENDED_COMMUNITIES
        | LARGE_COMMUNITY
        | ONLY_TO_CUSTOMER
        | PREFIX_SID => OPTIONAL | TRANSITIVE,
        _ => return None,
    })
}

/// True for attributes whose specification discards them when they are malformed, flags included.
pub fn is_discarded_when_malformed(code: u8) -> bool {
    matches!(code, AIGP | LINK_STATE | PREFIX_SID)
}

/// The attribute's name in its specification, for messages.
pub fn name(code: u8) -> String {
    let name = match code {
        ORIGIN => "ORIGIN",
        AS_PATH => "AS_PATH",
        NEXT_HOP => "NEXT_HOP",
        MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        LOCAL_PREF => "LOCAL_PREF",
        ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        AGGREGATOR => "AGGREGATOR",
        COMMUNITIES => "COMMUNITIES",
        ORIGINATOR_ID => "ORIGINATOR_ID",
        CLUSTER_LIST => "CLUSTER_LIST",
        MP_REACH_NLRI => "MP_REACH_NLRI",
        MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        EXTENDED_COMMUNITIES => "EXTENDED COMMUNITIES",
        AS4_PATH => "AS4_PATH",
        AS4_AGGREGATOR => "AS4_AGGREGATOR",
        PMSI_TUNNEL => "PMSI_TUNNEL",
        TUNNEL_ENCAPSULATION => "TUNNEL ENCAPSULATION",
        IPV6_EXTENDED_COMMUNITIES => "IPV6 EXTENDED COMMUNITIES",
        AIGP => "AIGP",
        LINK_STATE => "BGP-LS",
        LARGE_COMMUNITY => "LARGE_COMMUNITY",
        ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
        PREFIX_SID => "PREFIX_SID",
        _ => return format!("attribute {code}"),
    };
    name.into()
}
