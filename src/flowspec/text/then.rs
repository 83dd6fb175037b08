//! The statements of `then` and `scope`: communities, in the order written.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::rule::LimitUnit;

use crate::flowspec::action::{
    InterfaceSet, RatePerSource, RouteTarget, SOURCES_STEP, TrafficFilteringActions,
};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};

use super::TextError;
use super::administrators::{parse_administrators, parse_ipv6_administrators};
use super::lexer::Token;
use super::parser::Parser;

/// The statements of `then`, for error messages.
const ACTIONS: &str = "an action (accept, discard, rate-limit, mark, action, redirect, \
    redirect-to-nexthop-ietf, copy-to-nexthop-ietf, redirect-to-nexthop, community, \
    large-community, extended-community)";

/// Sub-type of route targets (RFC 4360 §4).
const ROUTE_TARGET: u8 = 0x02;
/// Sub-type of route origins (RFC 4360 §5).
const ROUTE_ORIGIN: u8 = 0x03;

/// Communities of all kinds as they are collected.
#[derive(Default)]
pub(super) struct Communities {
    /// Attribute 16.
    pub extended: Vec<ExtendedCommunity>,
    /// Attribute 25.
    pub ipv6: Vec<Ipv6ExtendedCommunity>,
    /// Attribute 8.
    pub standard: Vec<u32>,
    /// Attribute 32.
    pub large: Vec<LargeCommunity>,
}

impl Communities {
    /// Takes one statement of `then`.
    pub(super) fn then_statement(&mut self, parser: &mut Parser<'_>) -> Result<(), TextError> {
        let mut actions = TrafficFilteringActions::default();
        let name = parser.word(ACTIONS)?;
        match name.text {
            "accept" => {}
            "discard" => actions.rate_bytes_per_sec = Some(0.0),
            "rate-limit" => {
                let rate = parse_rate(parser)?;
                let unit = match parser.accept("packets") {
                    true => LimitUnit::Packets,
                    false => LimitUnit::Bytes,
                };
                if unit == LimitUnit::Bytes {
                    parser.accept("bytes");
                }
                if parser.accept("per-source") {
                    let (prefix_length, table) = parse_sources(parser)?;
                    actions.rates_per_source.push(RatePerSource {
                        unit,
                        rate_per_sec: rate,
                        prefix_length,
                        table,
                    });
                } else {
                    match unit {
                        LimitUnit::Bytes => actions.rate_bytes_per_sec = Some(rate),
                        LimitUnit::Packets => actions.rate_packets_per_sec = Some(rate),
                    }
                }
            }
            "rate-limit-packets" => actions.rate_packets_per_sec = Some(parse_rate(parser)?),
            "mark" => {
                let value = parser.word("a DSCP from 0 to 63")?;
                let dscp = value.text.parse().ok().filter(|dscp| *dscp <= 63);
                actions.mark_dscp =
                    Some(dscp.ok_or_else(|| value.unexpected("a DSCP from 0 to 63"))?);
            }
            "action" => parse_traffic_action(parser, &mut actions)?,
            "redirect" => parse_redirect(parser, &mut actions)?,
            "redirect-to-nexthop-ietf" | "redirect-to-ip" => {
                actions.redirect_next_hops.push(parse_address(parser)?);
            }
            "copy-to-nexthop-ietf" | "copy-to-ip" | "copy" => {
                actions.copy_to = Some(parse_address(parser)?);
            }
            "redirect-to-nexthop" => {
                self.extended
                    .push(ExtendedCommunity([0x08, 0x00, 0, 0, 0, 0, 0, 0]));
            }
            "community" => {
                for word in parser.list("a community such as 65000:1")? {
                    self.standard.push(parse_community(word)?);
                }
            }
            "large-community" => {
                for word in parser.list("a large community such as 65000:1:2")? {
                    self.large.push(parse_large_community(word)?);
                }
            }
            "extended-community" => {
                for word in parser.list("an extended community such as target:65000:1")? {
                    self.extended_community(word)?;
                }
            }
            _ => return Err(name.unexpected(ACTIONS)),
        }
        self.add(&actions);
        parser.end_of_statement()
    }

    /// Takes one statement of `scope`.
    pub(super) fn scope_statement(&mut self, parser: &mut Parser<'_>) -> Result<(), TextError> {
        parser.expect("interface-set")?;
        let words = parser.list("an interface set such as transitive:input:65000:1")?;
        let sets: Result<Vec<_>, _> = words.into_iter().map(parse_interface_set).collect();
        self.add(&TrafficFilteringActions {
            interface_sets: sets?,
            ..Default::default()
        });
        parser.end_of_statement()
    }

    /// Adds the communities that ask for these actions.
    fn add(&mut self, actions: &TrafficFilteringActions) {
        let (extended, ipv6) = actions.to_communities();
        self.extended.extend(extended);
        self.ipv6.extend(ipv6);
    }

    /// Adds an extended community: octets in hexadecimal, or a few kinds by name.
    fn extended_community(&mut self, word: Token<'_>) -> Result<(), TextError> {
        let unexpected = || {
            word.unexpected(
                "an extended community: 0x with 16 or 40 digits, or target:, origin: or redirect: \
                 with two numbers",
            )
        };
        if let Some(digits) = word.text.strip_prefix("0x") {
            let mut eight = [0; 8];
            let mut twenty = [0; 20];
            if hex::decode_to_slice(digits, &mut eight).is_ok() {
                self.extended.push(ExtendedCommunity(eight));
            } else if hex::decode_to_slice(digits, &mut twenty).is_ok() {
                self.ipv6.push(Ipv6ExtendedCommunity(twenty));
            } else {
                return Err(unexpected());
            }
            return Ok(());
        }
        let (kind, value) = match word.text.split_once(':') {
            Some((kind @ ("target" | "origin" | "redirect"), value)) => (kind, value),
            Some(_) | None => ("target", word.text),
        };
        let target = match value.split_once(':') {
            // An address may stand in the place of the four-octet number.
            Some((asn, local)) if local.contains('.') => {
                let local = local.parse::<Ipv4Addr>().map(u32::from).ok();
                asn.parse()
                    .ok()
                    .zip(local)
                    .map(|(asn, local)| RouteTarget::TwoOctetAs(asn, local))
            }
            Some(_) | None => parse_administrators(value),
        };
        let target = target.ok_or_else(unexpected)?;
        match kind {
            "redirect" => self.add(&TrafficFilteringActions {
                redirect_route_target: Some(target),
                ..Default::default()
            }),
            "origin" => self
                .extended
                .extend(administrators_community(ROUTE_ORIGIN, target)),
            _ => self
                .extended
                .extend(administrators_community(ROUTE_TARGET, target)),
        }
        Ok(())
    }
}

/// Reads a rate: a number that is not negative.
fn parse_rate(parser: &mut Parser<'_>) -> Result<f32, TextError> {
    const EXPECTED: &str = "a rate such as 9600 (octets a second) or 50 packets";
    let word = parser.word(EXPECTED)?;
    let rate = word
        .text
        .parse()
        .ok()
        .filter(|rate: &f32| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| word.unexpected(EXPECTED))
}

/// Reads which sources have a rate for themselves: `/24` or `/24 of 8192`. Returns the prefix length, and how many
/// sources are told apart as [`RatePerSource::table`] has it.
fn parse_sources(parser: &mut Parser<'_>) -> Result<(u8, u8), TextError> {
    const LENGTH: &str = "the prefix length of a source such as /24";
    const SOURCES: &str = "how many sources are told apart: a multiple of 4096, at most 1048576";
    let word = parser.word(LENGTH)?;
    let length = word.text.strip_prefix('/').and_then(|n| n.parse().ok());
    let length = length.ok_or_else(|| word.unexpected(LENGTH))?;
    if !parser.accept("of") {
        return Ok((length, 0));
    }
    let word = parser.word(SOURCES)?;
    let table = word.text.parse().ok().and_then(|sources: u32| {
        let steps = sources.checked_div(SOURCES_STEP)?.checked_sub(1)?;
        let is_whole = sources.is_multiple_of(SOURCES_STEP);
        u8::try_from(steps).ok().filter(|_| is_whole)
    });
    Ok((length, table.ok_or_else(|| word.unexpected(SOURCES))?))
}

/// Reads an address.
fn parse_address(parser: &mut Parser<'_>) -> Result<IpAddr, TextError> {
    let word = parser.word("an address")?;
    word.text.parse().map_err(|_| word.unexpected("an address"))
}

/// Reads `sample`, `terminal` or both. "Terminal" is the RFC's name for the bit that lets
/// evaluation go on.
fn parse_traffic_action(
    parser: &mut Parser<'_>,
    actions: &mut TrafficFilteringActions,
) -> Result<(), TextError> {
    const EXPECTED: &str =
        "\"sample\", \"terminal\" (which lets evaluation continue) or \"sample-terminal\"";
    let word = parser.word(EXPECTED)?;
    (actions.sample, actions.continue_evaluation) = match word.text {
        "sample" => (true, false),
        "terminal" | "continue" => (false, true),
        "sample-terminal" | "sample-continue" => (true, true),
        _ => return Err(word.unexpected(EXPECTED)),
    };
    Ok(())
}

/// Reads what `redirect` leads to: a route target, or an address.
fn parse_redirect(
    parser: &mut Parser<'_>,
    actions: &mut TrafficFilteringActions,
) -> Result<(), TextError> {
    const EXPECTED: &str =
        "a route target such as 65000:1, 192.0.2.1:1 or [2001:db8::1]:1, or an address";
    if parser.accept("[") {
        actions.redirect_route_target = Some(parse_ipv6_administrators(parser)?);
        return Ok(());
    }
    let word = parser.word(EXPECTED)?;
    match word.text.parse() {
        Ok(address) => actions.redirect_next_hops.push(address),
        Err(_) => {
            let target =
                parse_administrators(word.text).ok_or_else(|| word.unexpected(EXPECTED))?;
            actions.redirect_route_target = Some(target);
        }
    }
    Ok(())
}

/// Reads `transitive:input:65000:1`.
fn parse_interface_set(word: Token<'_>) -> Result<InterfaceSet, TextError> {
    let parse = || {
        let [transitive, direction, asn, group] =
            word.text.split(':').collect::<Vec<_>>().try_into().ok()?;
        let transitive = match transitive {
            "transitive" => true,
            "non-transitive" => false,
            _ => return None,
        };
        let (input, output) = match direction {
            "input" => (true, false),
            "output" => (false, true),
            "input-output" => (true, true),
            "none" => (false, false),
            _ => return None,
        };
        let group = group.parse().ok().filter(|group| *group < 1 << 14)?;
        Some(InterfaceSet {
            transitive,
            asn: asn.parse().ok()?,
            input,
            output,
            group,
        })
    };
    parse().ok_or_else(|| {
        word.unexpected(
            "an interface set: transitive or non-transitive, input, output or input-output, \
             an AS number and a group below 16384, joined by ':'",
        )
    })
}

/// Reads `65000:1`, one number, or a well-known name (RFC 1997, RFC 3765, RFC 7999).
fn parse_community(word: Token<'_>) -> Result<u32, TextError> {
    let parse = || match word.text {
        "no-export" => Some(0xffff_ff01),
        "no-advertise" => Some(0xffff_ff02),
        "no-export-subconfed" => Some(0xffff_ff03),
        "nopeer" | "no-peer" => Some(0xffff_ff04),
        "blackhole" => Some(0xffff_029a),
        text => match (text.split_once(':'), text.strip_prefix("0x")) {
            (Some((high, low)), _) => Some(
                u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?),
            ),
            (None, Some(digits)) => u32::from_str_radix(digits, 16).ok(),
            (None, None) => text.parse().ok(),
        },
    };
    parse().ok_or_else(|| word.unexpected("a community such as 65000:1 or no-export"))
}

/// Reads `65000:1:2` (RFC 8092 §5).
fn parse_large_community(word: Token<'_>) -> Result<LargeCommunity, TextError> {
    let parse = || {
        let numbers: Option<Vec<u32>> =
            word.text.split(':').map(|part| part.parse().ok()).collect();
        let [global, local1, local2] = numbers?.try_into().ok()?;
        Some(LargeCommunity {
            global,
            local1,
            local2,
        })
    };
    parse().ok_or_else(|| word.unexpected("a large community such as 65000:1:2"))
}

/// A route target or route origin community. There is none of eight octets for IPv6.
fn administrators_community(sub_kind: u8, target: RouteTarget) -> Option<ExtendedCommunity> {
    let mut octets = [0; 8];
    octets[1] = sub_kind;
    match target {
        RouteTarget::TwoOctetAs(asn, local) => {
            octets[2..4].copy_from_slice(&asn.to_be_bytes());
            octets[4..].copy_from_slice(&local.to_be_bytes());
        }
        RouteTarget::Ipv4(address, local) => {
            octets[0] = 0x01;
            octets[2..6].copy_from_slice(&address.octets());
            octets[6..].copy_from_slice(&local.to_be_bytes());
        }
        RouteTarget::FourOctetAs(asn, local) => {
            octets[0] = 0x02;
            octets[2..6].copy_from_slice(&asn.to_be_bytes());
            octets[6..].copy_from_slice(&local.to_be_bytes());
        }
        RouteTarget::Ipv6(..) => return None,
    }
    Some(ExtendedCommunity(octets))
}
