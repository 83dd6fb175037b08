//! Import policy: which routes of a neighbor are taken, and the reason for each that is not.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::wire::attribute::Attributes;
use crate::wire::nlri::{Component, Nlri, PrefixPattern};

/// Routes a neighbor may have in force when its policy names no number.
pub const DEFAULT_MAX_ROUTES: usize = 100_000;

/// What is taken from one neighbor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPolicy {
    /// The destination must lie inside one of these; empty: any destination, and none.
    pub destinations: Vec<IpNetwork>,
    /// Routes in force at most; the newest beyond are refused.
    pub max_routes: usize,
}

impl Default for ImportPolicy {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            max_routes: DEFAULT_MAX_ROUTES,
        }
    }
}

/// This speaker, as far as loop detection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalSpeaker {
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
}

impl ImportPolicy {
    /// Why the route is refused, or `None`. Does not look at `max_routes`, which depends on other routes.
    pub fn refusal(
        &self,
        local: LocalSpeaker,
        nlri: &Nlri,
        attributes: &Attributes,
    ) -> Option<String> {
        loop_refusal(local, attributes).or_else(|| self.destination_refusal(nlri))
    }

    fn destination_refusal(&self, nlri: &Nlri) -> Option<String> {
        if self.destinations.is_empty() {
            return None;
        }
        let components = nlri.components();
        let destination = components.iter().find_map(|component| match component {
            Component::DestinationPrefix(pattern) => Some(pattern),
            Component::SourcePrefix(_) | Component::Numeric(..) | Component::Bitmask(..) => None,
        });
        let Some(pattern) = destination else {
            return Some("no destination prefix, but import.destinations asks for one".into());
        };
        let ipv6 = nlri.family().is_ipv6();
        let inside = self
            .destinations
            .iter()
            .any(|network| contains(*network, ipv6, pattern));
        (!inside).then(|| "destination prefix outside import.destinations".into())
    }
}

/// True when every address that the pattern selects lies in `network`.
fn contains(network: IpNetwork, ipv6: bool, pattern: &PrefixPattern) -> bool {
    let (bits, same_family) = match network.network() {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, !ipv6),
        IpAddr::V6(address) => (u128::from(address), ipv6),
    };
    let length = u32::from(network.prefix());
    let mask = if length == 0 {
        0
    } else {
        u128::MAX << (128 - length)
    };
    same_family
        && (length == 0 || pattern.offset == 0)
        && u32::from(pattern.length) >= length
        && pattern.bits & mask == bits & mask
}

/// RFC 4271 §9.1.2 for AS loops, RFC 4456 §8 for reflected routes.
fn loop_refusal(local: LocalSpeaker, attributes: &Attributes) -> Option<String> {
    if attributes.originator_id == Some(local.router_id) {
        return Some("ORIGINATOR_ID is this router: reflected back (RFC 4456 §8)".into());
    }
    let looped = attributes
        .as_path
        .iter()
        .any(|segment| segment.asns.contains(&local.asn));
    looped.then(|| format!("AS_PATH contains AS {}: loop (RFC 4271 §9.1.2)", local.asn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::{AsPathSegment, AsPathSegmentKind};
    use crate::wire::iana::FlowFamily;

    const LOCAL: LocalSpeaker = LocalSpeaker {
        asn: 65140,
        router_id: Ipv4Addr::new(192, 0, 2, 2),
    };

    fn nlri(family: FlowFamily, hex: &str) -> Nlri {
        Nlri::decode(family, &hex::decode(hex).unwrap()).unwrap()
    }

    #[test]
    fn destinations_must_lie_inside() {
        use FlowFamily::{Ipv4Flow, Ipv6Flow};
        let rows = [
            ("inside", Ipv4Flow, "0120cb007105", "203.0.113.0/24", true),
            (
                "the prefix itself",
                Ipv4Flow,
                "0118cb0071",
                "203.0.113.0/24",
                true,
            ),
            (
                "wider than allowed",
                Ipv4Flow,
                "0110cb00",
                "203.0.113.0/24",
                false,
            ),
            ("beside", Ipv4Flow, "0118cb0072", "203.0.113.0/24", false),
            (
                "no destination",
                Ipv4Flow,
                "038111",
                "203.0.113.0/24",
                false,
            ),
            (
                "no destination, default route",
                Ipv4Flow,
                "038111",
                "0.0.0.0/0",
                false,
            ),
            (
                "only a source",
                Ipv4Flow,
                "0218cb0071",
                "203.0.113.0/24",
                false,
            ),
            (
                "other family",
                Ipv6Flow,
                "01200020010db8",
                "0.0.0.0/0",
                false,
            ),
            (
                "ipv6 inside",
                Ipv6Flow,
                "01200020010db8",
                "2001:db8::/32",
                true,
            ),
            (
                "ipv6 with offset",
                Ipv6Flow,
                "012808010db800",
                "2001:db8::/32",
                false,
            ),
            (
                "ipv6 with offset, any",
                Ipv6Flow,
                "01402000000001",
                "::/0",
                true,
            ),
        ];
        for (name, family, hex, allowed, accepted) in rows {
            let policy = ImportPolicy {
                destinations: vec![allowed.parse().unwrap()],
                ..Default::default()
            };
            let Ok(nlri) = Nlri::decode(family, &hex::decode(hex).unwrap()) else {
                panic!("{name}: bad test NLRI {hex}")
            };
            let refusal = policy.refusal(LOCAL, &nlri, &Attributes::default());
            assert_eq!(refusal.is_none(), accepted, "{name}: {refusal:?}");
        }
    }

    #[test]
    fn loops_are_refused() {
        let route = nlri(FlowFamily::Ipv4Flow, "038111");
        let path = |asns: &[u32]| {
            vec![AsPathSegment {
                kind: AsPathSegmentKind::Sequence,
                asns: asns.to_vec(),
            }]
        };
        let rows = [
            ("empty path", Attributes::default(), None),
            (
                "foreign path",
                Attributes {
                    as_path: path(&[1, 2]),
                    ..Default::default()
                },
                None,
            ),
            (
                "own AS",
                Attributes {
                    as_path: path(&[1, 65140]),
                    ..Default::default()
                },
                Some("AS_PATH"),
            ),
            (
                "own originator",
                Attributes {
                    originator_id: Some(LOCAL.router_id),
                    ..Default::default()
                },
                Some("ORIGINATOR_ID"),
            ),
        ];
        for (name, attributes, expected) in rows {
            let refusal = ImportPolicy::default().refusal(LOCAL, &route, &attributes);
            match expected {
                None => assert_eq!(refusal, None, "{name}"),
                Some(word) => assert!(refusal.unwrap().contains(word), "{name}"),
            }
        }
    }
}
