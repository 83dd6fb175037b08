//! What Traffic Filtering Actions name: route targets, groups of interfaces, and what no RFC defines.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use dataplane::rule::{Limit, LimitUnit};

use super::Rate;

/// A limit for each source by itself, as flowspec-xdp asks for it with experimental codes. No RFC defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePerSource {
    /// What is counted.
    pub unit: LimitUnit,
    /// Units a second; 0 discards.
    pub rate_per_sec: f32,
    /// Leading bits of an address that make it another source. Any octet; no address has more than 32 or 128.
    pub prefix_length: u8,
    /// How many sources are to be told apart, less one, in units of [`SOURCES_STEP`].
    pub table: u8,
}

/// The unit in which [`RatePerSource::table`] counts sources.
pub const SOURCES_STEP: u32 = 4096;

impl RatePerSource {
    /// How many sources are to be told apart: 4,096 to 1,048,576.
    pub fn max_sources(&self) -> u32 {
        (u32::from(self.table) + 1) * SOURCES_STEP
    }

    /// The limit that each source has. One of 0 is no limit, it discards.
    pub fn limit(&self) -> Limit {
        Limit {
            unit: self.unit,
            rate_per_sec: f64::from(self.rate_per_sec),
        }
    }
}

/// `rate-limit 1000 packets/s for each source /24 of 4096`.
impl fmt::Display for RatePerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.name();
        let (rate, length, sources) = (
            Rate(self.rate_per_sec),
            self.prefix_length,
            self.max_sources(),
        );
        write!(
            f,
            "rate-limit {rate} {unit}/s for each source /{length} of {sources}"
        )
    }
}

/// A redirect as it was sent before there was a standard. Whether it is followed is for the configuration to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegacyRedirect {
    /// Type and sub-type: 0x0800 or 0x800b.
    pub code: u16,
    /// Where to.
    pub target: LegacyTarget,
    /// Packets go on, and a copy goes there.
    pub copy: bool,
}

/// Where a [`LegacyRedirect`] leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegacyTarget {
    /// The next hop of the route (draft-simpson-idr-flowspec-redirect, and Juniper's first form).
    NextHop,
    /// An address in the community.
    Address(IpAddr),
    /// A route target for IPv6, before RFC 8956 gave it another code.
    RouteTarget(RouteTarget),
}

/// `redirect in the form 0x0800`.
impl fmt::Display for LegacyRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.copy { "copy" } else { "redirect" };
        write!(f, "{verb} in the form {:#06x}", self.code)
    }
}

/// A route target in the format that it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteTarget {
    /// 0x8008.
    TwoOctetAs(u16, u32),
    /// 0x8108.
    Ipv4(Ipv4Addr, u16),
    /// 0x8208 (RFC 5668 layout).
    FourOctetAs(u32, u16),
    /// 0x000d of RFC 8956 §6.1.
    Ipv6(Ipv6Addr, u16),
}

/// `65001:100`, `192.0.2.1:100`, `[2001:db8::1]:100`. An AS that would fit two octets but was sent
/// in four has an `L`: `100L:5`.
impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteTarget::TwoOctetAs(asn, local) => write!(f, "{asn}:{local}"),
            RouteTarget::Ipv4(address, local) => write!(f, "{address}:{local}"),
            RouteTarget::FourOctetAs(asn, local) if *asn <= u32::from(u16::MAX) => {
                write!(f, "{asn}L:{local}")
            }
            RouteTarget::FourOctetAs(asn, local) => write!(f, "{asn}:{local}"),
            RouteTarget::Ipv6(address, local) => write!(f, "[{address}]:{local}"),
        }
    }
}

/// Reads what [`RouteTarget`] is shown as.
impl FromStr for RouteTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ipv6 = || {
            let (address, local) = text.strip_prefix('[')?.split_once("]:")?;
            Some(Self::Ipv6(address.parse().ok()?, local.parse().ok()?))
        };
        let (global, local) = text.split_once(':').unwrap_or_default();
        let two_octet_as = || Some(Self::TwoOctetAs(global.parse().ok()?, local.parse().ok()?));
        let address = || Some(Self::Ipv4(global.parse().ok()?, local.parse().ok()?));
        let four_octet_as = || {
            let asn: u32 = match global.strip_suffix(['L', 'l']) {
                Some(asn) => asn.parse().ok()?,
                None => global
                    .parse()
                    .ok()
                    .filter(|asn| *asn > u32::from(u16::MAX))?,
            };
            Some(Self::FourOctetAs(asn, local.parse().ok()?))
        };
        ipv6()
            .or_else(two_octet_as)
            .or_else(address)
            .or_else(four_octet_as)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no route target such as 65001:100, 192.0.2.1:100, 70000:100, \
                     100L:5 or [2001:db8::1]:100"
                )
            })
    }
}

/// A group of interfaces that a rule applies to (draft-ietf-idr-flowspec-interfaceset).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceSet {
    /// True for 0x0702, false for 0x4702, which must not come from another AS.
    pub transitive: bool,
    /// The AS that numbers the groups.
    pub asn: u32,
    /// Applies to incoming packets.
    pub input: bool,
    /// Applies to outgoing packets.
    pub output: bool,
    /// Group, 14 bits.
    pub group: u16,
}

/// A group of interfaces, as the AS that numbers it and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceGroup {
    /// The AS.
    pub asn: u32,
    /// 14 bits.
    pub group: u16,
}

/// `65001:10`.
impl fmt::Display for InterfaceGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.asn, self.group)
    }
}

/// Reads what [`InterfaceGroup`] is shown as.
impl FromStr for InterfaceGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (asn, group) = text.split_once(':')?;
            let group = group.parse().ok().filter(|group| *group < 1 << 14)?;
            let asn = asn.parse().ok()?;
            Some(Self { asn, group })
        };
        parse().ok_or_else(|| {
            format!("{text:?} is not an AS and a group below 16384, such as 65001:10")
        })
    }
}

impl InterfaceSet {
    /// Which group it is.
    pub fn interface_group(&self) -> InterfaceGroup {
        let Self { asn, group, .. } = *self;
        InterfaceGroup { asn, group }
    }
}

/// `transitive:input:65001:10`, as ExaBGP writes it; the direction is `none` when neither bit is
/// set.
impl fmt::Display for InterfaceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transitive = if self.transitive {
            "transitive"
        } else {
            "non-transitive"
        };
        let direction = match (self.input, self.output) {
            (true, true) => "input-output",
            (true, false) => "input",
            (false, true) => "output",
            (false, false) => "none",
        };
        write!(f, "{transitive}:{direction}:{}:{}", self.asn, self.group)
    }
}
