//! Code points from the IANA registries.

use std::fmt;
use std::str::FromStr;

/// Address family and subsequent address family. Open: unknown values are carried.
/// <https://www.iana.org/assignments/address-family-numbers>, <https://www.iana.org/assignments/safi-namespace>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    /// Address Family Identifier.
    pub afi: u16,
    /// Subsequent Address Family Identifier.
    pub safi: u8,
}

impl AfiSafi {
    /// IPv4 unicast.
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };
    /// IPv6 unicast.
    pub const IPV6_UNICAST: Self = Self { afi: 2, safi: 1 };
}

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = FlowFamily::from_afi_safi(*self).map(FlowFamily::name);
        let unicast = || UnicastFamily::from_afi_safi(*self).map(UnicastFamily::name);
        match flow.or_else(unicast) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}/{}", self.afi, self.safi),
        }
    }
}

/// The four FlowSpec families (RFC 8955 §4 and §8, RFC 8956 §2). Closed: these are what we decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowFamily {
    /// AFI 1, SAFI 133.
    Ipv4Flow,
    /// AFI 2, SAFI 133.
    Ipv6Flow,
    /// AFI 1, SAFI 134.
    Ipv4FlowVpn,
    /// AFI 2, SAFI 134.
    Ipv6FlowVpn,
}

impl FlowFamily {
    /// All four, in order.
    pub const ALL: [FlowFamily; 4] = [
        FlowFamily::Ipv4Flow,
        FlowFamily::Ipv6Flow,
        FlowFamily::Ipv4FlowVpn,
        FlowFamily::Ipv6FlowVpn,
    ];

    /// The family's code points.
    pub const fn afi_safi(self) -> AfiSafi {
        match self {
            FlowFamily::Ipv4Flow => AfiSafi { afi: 1, safi: 133 },
            FlowFamily::Ipv6Flow => AfiSafi { afi: 2, safi: 133 },
            FlowFamily::Ipv4FlowVpn => AfiSafi { afi: 1, safi: 134 },
            FlowFamily::Ipv6FlowVpn => AfiSafi { afi: 2, safi: 134 },
        }
    }

    /// The family with these code points, if it is one of the four.
    pub fn from_afi_safi(afi_safi: AfiSafi) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.afi_safi() == afi_safi)
    }

    /// True for the families that filter IPv6 packets.
    pub const fn is_ipv6(self) -> bool {
        matches!(self, FlowFamily::Ipv6Flow | FlowFamily::Ipv6FlowVpn)
    }

    /// True for the families whose NLRI begin with a route distinguisher.
    pub const fn is_vpn(self) -> bool {
        matches!(self, FlowFamily::Ipv4FlowVpn | FlowFamily::Ipv6FlowVpn)
    }

    /// The name used in configuration, commands and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FlowFamily::Ipv4Flow => "ipv4-flow",
            FlowFamily::Ipv6Flow => "ipv6-flow",
            FlowFamily::Ipv4FlowVpn => "ipv4-flow-vpn",
            FlowFamily::Ipv6FlowVpn => "ipv6-flow-vpn",
        }
    }
}

impl fmt::Display for FlowFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FlowFamily {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|family| family.name() == name)
            .ok_or_else(|| {
                format!("{name:?} is not one of ipv4-flow, ipv6-flow, ipv4-flow-vpn, ipv6-flow-vpn")
            })
    }
}

/// The families whose routes Flow Specifications are validated against (RFC 8955 §6, RFC 9117).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnicastFamily {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl UnicastFamily {
    /// Both, in order.
    pub const ALL: [UnicastFamily; 2] = [UnicastFamily::Ipv4Unicast, UnicastFamily::Ipv6Unicast];

    /// The family that destinations in `family` are validated against.
    pub const fn of(family: FlowFamily) -> Self {
        if family.is_ipv6() {
            UnicastFamily::Ipv6Unicast
        } else {
            UnicastFamily::Ipv4Unicast
        }
    }

    /// The family's code points.
    pub const fn afi_safi(self) -> AfiSafi {
        match self {
            UnicastFamily::Ipv4Unicast => AfiSafi::IPV4_UNICAST,
            UnicastFamily::Ipv6Unicast => AfiSafi::IPV6_UNICAST,
        }
    }

    /// The family with these code points, if it is one of the two.
    pub fn from_afi_safi(afi_safi: AfiSafi) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.afi_safi() == afi_safi)
    }

    /// The name used in configuration and commands.
    pub const fn name(self) -> &'static str {
        match self {
            UnicastFamily::Ipv4Unicast => "ipv4-unicast",
            UnicastFamily::Ipv6Unicast => "ipv6-unicast",
        }
    }
}

impl fmt::Display for UnicastFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
