//! Communities that accept or refuse a route: standard, extended and large ones.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::wire::attribute::Attributes;
use crate::wire::community::{ExtendedCommunity, LargeCommunity};

/// Type and sub-type octets of route targets (RFC 4360 §4, RFC 5668).
const ROUTE_TARGET_TWO_OCTET_AS: [u8; 2] = [0x00, 0x02];
/// See [`ROUTE_TARGET_TWO_OCTET_AS`].
const ROUTE_TARGET_IPV4: [u8; 2] = [0x01, 0x02];
/// See [`ROUTE_TARGET_TWO_OCTET_AS`].
const ROUTE_TARGET_FOUR_OCTET_AS: [u8; 2] = [0x02, 0x02];

/// Standard communities with a name (<https://www.iana.org/assignments/bgp-well-known-communities>).
const WELL_KNOWN: &[(&str, u32)] = &[
    ("graceful-shutdown", 0xffff_0000),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

/// A community as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Community {
    /// `65000:100`, or a well-known name (RFC 1997).
    Standard(u32),
    /// `rt:65000:100`, `rt:192.0.2.1:100` or all eight octets, `0x0002fde800000064` (RFC 4360).
    Extended(ExtendedCommunity),
    /// `65000:1:2` (RFC 8092).
    Large(LargeCommunity),
}

impl Community {
    /// True when a route with these attributes carries it.
    pub fn is_in(self, attributes: &Attributes) -> bool {
        match self {
            Community::Standard(value) => attributes.communities.contains(&value),
            Community::Extended(value) => attributes.extended_communities.contains(&value),
            Community::Large(value) => attributes.large_communities.contains(&value),
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(value) => {
                match WELL_KNOWN.iter().find(|(_, known)| known == value) {
                    Some((name, _)) => f.write_str(name),
                    None => write!(f, "{}:{}", value >> 16, value & 0xffff),
                }
            }
            Community::Extended(community) => {
                let [high, low, a, b, c, d, e, g] = community.0;
                match [high, low] {
                    ROUTE_TARGET_TWO_OCTET_AS => {
                        let asn = u16::from_be_bytes([a, b]);
                        write!(f, "rt:{asn}:{}", u32::from_be_bytes([c, d, e, g]))
                    }
                    ROUTE_TARGET_IPV4 => {
                        let address = Ipv4Addr::new(a, b, c, d);
                        write!(f, "rt:{address}:{}", u16::from_be_bytes([e, g]))
                    }
                    ROUTE_TARGET_FOUR_OCTET_AS if [a, b] != [0, 0] => {
                        let asn = u32::from_be_bytes([a, b, c, d]);
                        write!(f, "rt:{asn}:{}", u16::from_be_bytes([e, g]))
                    }
                    _ => write!(f, "0x{}", hex::encode(community.0)),
                }
            }
            Community::Large(community) => write!(
                f,
                "{}:{}:{}",
                community.global, community.local1, community.local2
            ),
        }
    }
}

impl FromStr for Community {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "{text:?} is not a community: 65000:100, rt:65000:100, 65000:1:2, all octets of \
                 an extended one as 0x0002fde800000064, or a name as blackhole"
            )
        })
    }
}

/// Reads a community in any of its forms.
fn parse(text: &str) -> Option<Community> {
    if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
        return Some(Community::Standard(*value));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let octets = hex::decode(digits).ok()?.try_into().ok()?;
        return Some(Community::Extended(ExtendedCommunity(octets)));
    }
    if let Some(target) = text.strip_prefix("rt:") {
        let (administrator, local) = target.split_once(':')?;
        return route_target(administrator, local).map(Community::Extended);
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [high, low] => {
            let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
            Some(Community::Standard(u32::from(high) << 16 | u32::from(low)))
        }
        [global, local1, local2] => Some(Community::Large(LargeCommunity {
            global: global.parse().ok()?,
            local1: local1.parse().ok()?,
            local2: local2.parse().ok()?,
        })),
        _ => None,
    }
}

/// A route target with its administrator: an address, or an AS in as few octets as it needs.
fn route_target(administrator: &str, local: &str) -> Option<ExtendedCommunity> {
    let mut octets = Vec::with_capacity(8);
    if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        octets.extend(ROUTE_TARGET_IPV4);
        octets.extend(address.octets());
        octets.extend(local.parse::<u16>().ok()?.to_be_bytes());
    } else if let Ok(asn) = administrator.parse::<u16>() {
        octets.extend(ROUTE_TARGET_TWO_OCTET_AS);
        octets.extend(asn.to_be_bytes());
        octets.extend(local.parse::<u32>().ok()?.to_be_bytes());
    } else {
        octets.extend(ROUTE_TARGET_FOUR_OCTET_AS);
        octets.extend(administrator.parse::<u32>().ok()?.to_be_bytes());
        octets.extend(local.parse::<u16>().ok()?.to_be_bytes());
    }
    octets.try_into().ok().map(ExtendedCommunity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read_and_written() {
        let extended = |hex: &str| {
            let octets = hex::decode(hex).unwrap();
            Some(Community::Extended(ExtendedCommunity(
                octets.try_into().unwrap(),
            )))
        };
        let large = LargeCommunity {
            global: 4_200_000_000,
            local1: 1,
            local2: 2,
        };
        let rows = [
            ("65000:100", Some(Community::Standard(0xfde8_0064))),
            ("blackhole", Some(Community::Standard(0xffff_029a))),
            ("4200000000:1:2", Some(Community::Large(large))),
            ("rt:65000:100", extended("0002fde800000064")),
            ("rt:192.0.2.1:100", extended("0102c00002010064")),
            ("rt:4200000000:100", extended("0202fa56ea000064")),
            ("0x80060000447a0000", extended("80060000447a0000")),
            ("65536:1", None),
            ("65000", None),
            ("1:2:3:4", None),
            ("rt:65000", None),
            ("rt:70000:70000", None),
            ("0x8006", None),
            ("black-hole", None),
        ];
        for (text, expected) in rows {
            let community = text.parse::<Community>().ok();
            assert_eq!(community, expected, "{text}");
            if let Some(community) = community {
                assert_eq!(community.to_string(), text);
            }
        }
    }
}
