//! The extended communities that ask for actions, read and written (RFC 8955 §7, RFC 8956 §6).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::rule::LimitUnit;

use super::{
    InterfaceSet, LegacyRedirect, LegacyTarget, MAX_NEXT_HOPS, Rate, RatePerSource, RouteTarget,
    TrafficFilteringActions,
};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};

/// Type and sub-type octets of the communities that ask for something.
///
/// <https://www.iana.org/assignments/bgp-extended-communities>
pub(super) mod code {
    pub const TRAFFIC_RATE_BYTES: [u8; 2] = [0x80, 0x06];
    pub const TRAFFIC_RATE_PACKETS: [u8; 2] = [0x80, 0x0c];
    pub const TRAFFIC_ACTION: [u8; 2] = [0x80, 0x07];
    pub const TRAFFIC_MARKING: [u8; 2] = [0x80, 0x09];
    pub const RT_REDIRECT_TWO_OCTET_AS: [u8; 2] = [0x80, 0x08];
    pub const RT_REDIRECT_IPV4: [u8; 2] = [0x81, 0x08];
    pub const RT_REDIRECT_FOUR_OCTET_AS: [u8; 2] = [0x82, 0x08];
    pub const RT_REDIRECT_IPV6: [u8; 2] = [0x00, 0x0d];
    pub const REDIRECT_TO_IPV4: [u8; 2] = [0x01, 0x0c];
    pub const REDIRECT_TO_IPV6: [u8; 2] = [0x00, 0x0c];
    pub const INTERFACE_SET: [u8; 2] = [0x07, 0x02];
    pub const INTERFACE_SET_NON_TRANSITIVE: [u8; 2] = [0x47, 0x02];
    /// draft-simpson-idr-flowspec-redirect.
    pub const LEGACY_REDIRECT_SIMPSON: [u8; 2] = [0x08, 0x00];
    /// Juniper's first redirect to the next hop, and the IPv6 redirect before RFC 8956.
    pub const LEGACY_REDIRECT_JUNIPER: [u8; 2] = [0x80, 0x0b];
    /// Experimental codes of flowspec-xdp.
    pub const RATE_BYTES_PER_SOURCE: [u8; 2] = [0x83, 0x06];
    pub const RATE_PACKETS_PER_SOURCE: [u8; 2] = [0x83, 0x0c];
}

/// Octet 7 of traffic-action: go on with later rules. The RFC's name "terminal action" reads
/// backwards (§7.3).
const TRAFFIC_ACTION_TERMINAL: u8 = 0x01;
/// Octet 7 of traffic-action: sample.
const TRAFFIC_ACTION_SAMPLE: u8 = 0x02;
/// Local administrator of redirect to IP: copy instead of redirect.
const REDIRECT_COPY: u16 = 0x0001;
/// Interface-set: applies to outgoing packets.
const INTERFACE_SET_OUTPUT: u16 = 0x8000;
/// Interface-set: applies to incoming packets.
const INTERFACE_SET_INPUT: u16 = 0x4000;

/// An action that cannot be decoded: the route is malformed and handled as withdrawn (RFC 8955
/// §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The rate is an IEEE 754 NaN.
    #[error("{name} {} has a rate that is not a number", hex::encode(.community.0))]
    RateNotANumber {
        /// The action's name in the RFC.
        name: &'static str,
        /// The community as received.
        community: ExtendedCommunity,
    },
}

impl TrafficFilteringActions {
    /// Reads the actions out of attributes 16 and 25, in the order received. Unknown communities
    /// ask for nothing.
    ///
    /// Fails when an action cannot be decoded; the caller must treat the route as withdrawn (RFC
    /// 8955 §10).
    pub fn from_communities(
        extended: &[ExtendedCommunity],
        ipv6: &[Ipv6ExtendedCommunity],
    ) -> Result<Self, ActionError> {
        let mut actions = Self::default();
        for community in extended {
            actions.add(community)?;
        }
        for community in ipv6 {
            actions.add_ipv6(community);
        }
        Ok(actions)
    }

    /// The communities that ask for these actions, in a fixed order. Rates carry the informational
    /// AS 0.
    pub fn to_communities(&self) -> (Vec<ExtendedCommunity>, Vec<Ipv6ExtendedCommunity>) {
        let mut extended = Vec::new();
        let mut ipv6 = Vec::new();
        let mut add = |code: [u8; 2], value: [u8; 6]| extended.push(community(code, value));

        let [rate_bytes, rate_packets] = [self.rate_bytes_per_sec, self.rate_packets_per_sec];
        if let Some(rate) = rate_bytes {
            add(
                code::TRAFFIC_RATE_BYTES,
                join(0u16.to_be_bytes(), rate.to_be_bytes()),
            );
        }
        if let Some(rate) = rate_packets {
            add(
                code::TRAFFIC_RATE_PACKETS,
                join(0u16.to_be_bytes(), rate.to_be_bytes()),
            );
        }
        if self.sample || self.continue_evaluation {
            let sample = if self.sample {
                TRAFFIC_ACTION_SAMPLE
            } else {
                0
            };
            let terminal = if self.continue_evaluation {
                TRAFFIC_ACTION_TERMINAL
            } else {
                0
            };
            add(code::TRAFFIC_ACTION, [0, 0, 0, 0, 0, sample | terminal]);
        }
        if let Some(dscp) = self.mark_dscp {
            add(code::TRAFFIC_MARKING, [0, 0, 0, 0, 0, dscp]);
        }
        match self.redirect_route_target {
            Some(RouteTarget::TwoOctetAs(asn, local)) => {
                add(
                    code::RT_REDIRECT_TWO_OCTET_AS,
                    join(asn.to_be_bytes(), local.to_be_bytes()),
                );
            }
            Some(RouteTarget::Ipv4(address, local)) => {
                add(
                    code::RT_REDIRECT_IPV4,
                    join(address.octets(), local.to_be_bytes()),
                );
            }
            Some(RouteTarget::FourOctetAs(asn, local)) => {
                add(
                    code::RT_REDIRECT_FOUR_OCTET_AS,
                    join(asn.to_be_bytes(), local.to_be_bytes()),
                );
            }
            Some(RouteTarget::Ipv6(address, local)) => {
                ipv6.push(ipv6_community(code::RT_REDIRECT_IPV6, address, local));
            }
            None => {}
        }
        let redirects = self.redirect_next_hops.iter().map(|address| (address, 0));
        let copies = self.copy_to.iter().map(|address| (address, REDIRECT_COPY));
        for (address, local) in redirects.chain(copies) {
            match address {
                IpAddr::V4(address) => add(
                    code::REDIRECT_TO_IPV4,
                    join(address.octets(), local.to_be_bytes()),
                ),
                IpAddr::V6(address) => {
                    ipv6.push(ipv6_community(code::REDIRECT_TO_IPV6, *address, local));
                }
            }
        }
        if let Some(LegacyRedirect { code, target, copy }) = self.legacy_redirect {
            let (code, local) = (code.to_be_bytes(), if copy { REDIRECT_COPY } else { 0 });
            match target {
                LegacyTarget::NextHop => add(code, join([0; 4], local.to_be_bytes())),
                LegacyTarget::Address(IpAddr::V4(address)) => {
                    add(code, join(address.octets(), local.to_be_bytes()));
                }
                LegacyTarget::Address(IpAddr::V6(address)) => {
                    ipv6.push(ipv6_community(code, address, local));
                }
                LegacyTarget::RouteTarget(RouteTarget::Ipv6(address, local)) => {
                    ipv6.push(ipv6_community(code, address, local));
                }
                // There are other codes for these.
                LegacyTarget::RouteTarget(_) => {}
            }
        }
        for rate in &self.rates_per_source {
            let code = match rate.unit {
                LimitUnit::Bytes => code::RATE_BYTES_PER_SOURCE,
                LimitUnit::Packets => code::RATE_PACKETS_PER_SOURCE,
            };
            let table = [rate.table, rate.prefix_length];
            add(code, join(table, rate.rate_per_sec.to_be_bytes()));
        }
        for set in &self.interface_sets {
            let code = match set.transitive {
                true => code::INTERFACE_SET,
                false => code::INTERFACE_SET_NON_TRANSITIVE,
            };
            let output = if set.output { INTERFACE_SET_OUTPUT } else { 0 };
            let input = if set.input { INTERFACE_SET_INPUT } else { 0 };
            let group = set.group & !(INTERFACE_SET_OUTPUT | INTERFACE_SET_INPUT);
            add(
                code,
                join(
                    set.asn.to_be_bytes(),
                    (output | input | group).to_be_bytes(),
                ),
            );
        }
        (extended, ipv6)
    }

    /// Follows a redirect in a legacy form as if it had been sent in the standard one. `next_hop`: that of the route, as
    /// in MP_REACH_NLRI. One that leads nowhere stays.
    pub fn follow_legacy_redirect(&mut self, next_hop: &[u8]) {
        let Some(legacy) = self.legacy_redirect else {
            return;
        };
        let address = match legacy.target {
            LegacyTarget::RouteTarget(target) => {
                self.legacy_redirect = None;
                return self.add_route_target(target);
            }
            LegacyTarget::Address(address) => Some(address),
            LegacyTarget::NextHop => address_of_next_hop(next_hop),
        };
        if let Some(address) = address {
            self.legacy_redirect = None;
            self.notes.push(format!("{legacy} leads to {address}"));
            let standard = &self.redirect_next_hops;
            match standard.first() {
                Some(first) if !legacy.copy && !standard.contains(&address) => {
                    self.notes.push(format!(
                        "redirect-to-ip {address} has no effect: the standard {first} applies"
                    ));
                }
                _ => self.add_next_hop(address, legacy.copy),
            }
        }
    }

    /// Adds what one community of attribute 16 asks for.
    fn add(&mut self, community: &ExtendedCommunity) -> Result<(), ActionError> {
        let [kind, sub_kind, a, b, c, d, e, f] = community.0;
        let high = u16::from_be_bytes([a, b]);
        let low = u16::from_be_bytes([e, f]);
        match [kind, sub_kind] {
            code::TRAFFIC_RATE_BYTES => {
                let rate = decode_rate("traffic-rate-bytes", community)?;
                add_rate(
                    "traffic-rate-bytes",
                    &mut self.rate_bytes_per_sec,
                    rate,
                    &mut self.notes,
                );
            }
            code::TRAFFIC_RATE_PACKETS => {
                let rate = decode_rate("traffic-rate-packets", community)?;
                add_rate(
                    "traffic-rate-packets",
                    &mut self.rate_packets_per_sec,
                    rate,
                    &mut self.notes,
                );
            }
            code::TRAFFIC_ACTION => {
                self.continue_evaluation |= f & TRAFFIC_ACTION_TERMINAL != 0;
                self.sample |= f & TRAFFIC_ACTION_SAMPLE != 0;
            }
            code::TRAFFIC_MARKING => {
                keep_first(
                    "traffic-marking",
                    &mut self.mark_dscp,
                    f & 0x3f,
                    &mut self.notes,
                );
            }
            code::RT_REDIRECT_TWO_OCTET_AS => {
                self.add_route_target(RouteTarget::TwoOctetAs(
                    high,
                    u32::from_be_bytes([c, d, e, f]),
                ));
            }
            code::RT_REDIRECT_IPV4 => {
                self.add_route_target(RouteTarget::Ipv4(Ipv4Addr::new(a, b, c, d), low));
            }
            code::RT_REDIRECT_FOUR_OCTET_AS => {
                self.add_route_target(RouteTarget::FourOctetAs(
                    u32::from_be_bytes([a, b, c, d]),
                    low,
                ));
            }
            code::REDIRECT_TO_IPV4 => {
                self.add_next_hop(
                    IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                    low & REDIRECT_COPY != 0,
                );
            }
            code::INTERFACE_SET | code::INTERFACE_SET_NON_TRANSITIVE => {
                self.interface_sets.push(InterfaceSet {
                    transitive: [kind, sub_kind] == code::INTERFACE_SET,
                    asn: u32::from_be_bytes([a, b, c, d]),
                    input: low & INTERFACE_SET_INPUT != 0,
                    output: low & INTERFACE_SET_OUTPUT != 0,
                    group: low & !(INTERFACE_SET_OUTPUT | INTERFACE_SET_INPUT),
                });
            }
            code::LEGACY_REDIRECT_SIMPSON | code::LEGACY_REDIRECT_JUNIPER => {
                let address = Ipv4Addr::new(a, b, c, d);
                let is_simpson = [kind, sub_kind] == code::LEGACY_REDIRECT_SIMPSON;
                let target = match is_simpson && !address.is_unspecified() {
                    true => LegacyTarget::Address(IpAddr::V4(address)),
                    false => LegacyTarget::NextHop,
                };
                self.add_legacy([kind, sub_kind], target, low & REDIRECT_COPY != 0);
            }
            code::RATE_BYTES_PER_SOURCE | code::RATE_PACKETS_PER_SOURCE => {
                let (name, unit) = match [kind, sub_kind] {
                    code::RATE_PACKETS_PER_SOURCE => {
                        ("rate-packets-per-source", LimitUnit::Packets)
                    }
                    _ => ("rate-bytes-per-source", LimitUnit::Bytes),
                };
                let rate = RatePerSource {
                    unit,
                    rate_per_sec: decode_rate(name, community)?,
                    prefix_length: b,
                    table: a,
                };
                self.add_rate_per_source(name, rate);
            }
            // Code points are an open set: what we do not know asks for nothing.
            _ => {}
        }
        Ok(())
    }

    /// Keeps the lowest rate of each unit and prefix length; an infinite one limits nothing.
    fn add_rate_per_source(&mut self, name: &str, rate: RatePerSource) {
        if rate.rate_per_sec.is_infinite() {
            self.notes.push(format!("{name} is infinite: no limit"));
            return;
        }
        let is_alike = |other: &&mut RatePerSource| {
            (other.unit, other.prefix_length) == (rate.unit, rate.prefix_length)
        };
        match self.rates_per_source.iter_mut().find(is_alike) {
            None => self.rates_per_source.push(rate),
            Some(kept) if *kept == rate => {}
            Some(kept) => {
                let loser = match rate.rate_per_sec < kept.rate_per_sec {
                    true => std::mem::replace(kept, rate),
                    false => rate,
                };
                let note = format!("{loser} has no effect: {kept} applies");
                self.notes.push(note);
            }
        }
    }

    /// Adds what one community of attribute 25 asks for.
    fn add_ipv6(&mut self, community: &Ipv6ExtendedCommunity) {
        let [kind, sub_kind, rest @ ..] = community.0;
        let [address @ .., high, low] = rest;
        let address = Ipv6Addr::from(address);
        let local = u16::from_be_bytes([high, low]);
        match [kind, sub_kind] {
            code::RT_REDIRECT_IPV6 => self.add_route_target(RouteTarget::Ipv6(address, local)),
            code::REDIRECT_TO_IPV6 => {
                self.add_next_hop(IpAddr::V6(address), local & REDIRECT_COPY != 0);
            }
            code::LEGACY_REDIRECT_SIMPSON => {
                let target = match address.is_unspecified() {
                    true => LegacyTarget::NextHop,
                    false => LegacyTarget::Address(IpAddr::V6(address)),
                };
                self.add_legacy([kind, sub_kind], target, local & REDIRECT_COPY != 0);
            }
            code::LEGACY_REDIRECT_JUNIPER => {
                let target = LegacyTarget::RouteTarget(RouteTarget::Ipv6(address, local));
                self.add_legacy([kind, sub_kind], target, false);
            }
            // As above.
            _ => {}
        }
    }

    /// Keeps the first route target.
    fn add_route_target(&mut self, target: RouteTarget) {
        keep_first(
            "rt-redirect",
            &mut self.redirect_route_target,
            target,
            &mut self.notes,
        );
    }

    /// Keeps the first address to copy to, and as many to redirect to as may share the packets.
    fn add_next_hop(&mut self, address: IpAddr, copy: bool) {
        if copy {
            return keep_first("copy-to-ip", &mut self.copy_to, address, &mut self.notes);
        }
        let kept = &mut self.redirect_next_hops;
        if kept.contains(&address) {
            return;
        }
        match kept.len() < MAX_NEXT_HOPS {
            true => kept.push(address),
            false => self.notes.push(format!(
                "redirect-to-ip {address} has no effect: {MAX_NEXT_HOPS} others apply"
            )),
        }
    }

    /// Keeps the first redirect in a legacy form.
    fn add_legacy(&mut self, code: [u8; 2], target: LegacyTarget, copy: bool) {
        let code = u16::from_be_bytes(code);
        let legacy = LegacyRedirect { code, target, copy };
        keep_first("legacy", &mut self.legacy_redirect, legacy, &mut self.notes);
    }
}

/// The address in the next hop of a route: alone, behind a route distinguisher, or before a link-local one.
fn address_of_next_hop(next_hop: &[u8]) -> Option<IpAddr> {
    let address = match next_hop.len() {
        12 | 24 | 48 => next_hop.get(8..)?,
        _ => next_hop,
    };
    match address.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(address).ok()?)),
        16 | 32 | 40 => Some(IpAddr::from(<[u8; 16]>::try_from(address.get(..16)?).ok()?)),
        _ => None,
    }
}

/// The rate of a traffic-rate community: never negative, maybe infinite (RFC 8955 §7.1).
fn decode_rate(name: &'static str, community: &ExtendedCommunity) -> Result<f32, ActionError> {
    match community.rate_per_sec() {
        Some(rate) if !rate.is_nan() => {
            // Not `max`: it may keep the sign of -0.0.
            Ok(if rate > 0.0 { rate } else { 0.0 })
        }
        _ => Err(ActionError::RateNotANumber {
            name,
            community: *community,
        }),
    }
}

/// Keeps the lowest rate; an infinite one limits nothing.
fn add_rate(name: &str, kept: &mut Option<f32>, rate: f32, notes: &mut Vec<String>) {
    if rate.is_infinite() {
        notes.push(format!("{name} is infinite: no limit"));
        return;
    }
    let Some(other) = *kept else {
        *kept = Some(rate);
        return;
    };
    if other != rate {
        let (low, high) = if rate < other {
            (rate, other)
        } else {
            (other, rate)
        };
        notes.push(format!(
            "{name} {} has no effect: the lower {} applies",
            Rate(high),
            Rate(low)
        ));
        *kept = Some(low);
    }
}

/// Keeps the first of several actions of one kind.
fn keep_first<T: PartialEq + fmt::Display>(
    name: &str,
    kept: &mut Option<T>,
    value: T,
    notes: &mut Vec<String>,
) {
    match kept {
        None => *kept = Some(value),
        Some(first) if *first == value => {}
        Some(first) => {
            notes.push(format!(
                "{name} {value} has no effect: the earlier {first} applies"
            ));
        }
    }
}

/// An extended community of this type and sub-type.
fn community([kind, sub_kind]: [u8; 2], [a, b, c, d, e, f]: [u8; 6]) -> ExtendedCommunity {
    ExtendedCommunity([kind, sub_kind, a, b, c, d, e, f])
}

/// An IPv6-address-specific extended community of this type and sub-type (RFC 5701 §2).
fn ipv6_community(code: [u8; 2], address: Ipv6Addr, local: u16) -> Ipv6ExtendedCommunity {
    let mut octets = [0; 20];
    octets[..2].copy_from_slice(&code);
    octets[2..18].copy_from_slice(&address.octets());
    octets[18..].copy_from_slice(&local.to_be_bytes());
    Ipv6ExtendedCommunity(octets)
}

/// Two fields that fill the six octets after type and sub-type.
fn join<const A: usize, const B: usize>(first: [u8; A], second: [u8; B]) -> [u8; 6] {
    const { assert!(A + B == 6) };
    let mut octets = [0; 6];
    octets[..A].copy_from_slice(&first);
    octets[A..].copy_from_slice(&second);
    octets
}
