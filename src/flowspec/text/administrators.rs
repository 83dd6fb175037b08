//! Numbers in two parts: route targets and route distinguishers.

use std::net::Ipv6Addr;

use crate::flowspec::action::RouteTarget;
use crate::wire::nlri::RouteDistinguisher;

use super::TextError;
use super::lexer::Token;
use super::parser::Parser;

/// Reads `65535:100`, `192.0.2.1:100`, `70000:100`, `100L:5`; no IPv6 here.
pub(super) fn parse_administrators(text: &str) -> Option<RouteTarget> {
    let target = text.parse().ok()?;
    match target {
        RouteTarget::TwoOctetAs(..) | RouteTarget::Ipv4(..) | RouteTarget::FourOctetAs(..) => {
            Some(target)
        }
        RouteTarget::Ipv6(..) => None,
    }
}

/// Reads `[2001:db8::1]:100` from what the lexer makes of it, having taken the opening bracket.
pub(super) fn parse_ipv6_administrators(parser: &mut Parser<'_>) -> Result<RouteTarget, TextError> {
    let address = parser.word("an IPv6 address")?;
    let parsed: Ipv6Addr = address
        .text
        .parse()
        .map_err(|_| address.unexpected("an IPv6 address"))?;
    parser.expect("]")?;
    let local = parser.word("a number such as :100")?;
    let number = local
        .text
        .strip_prefix(':')
        .and_then(|digits| digits.parse().ok());
    let number = number.ok_or_else(|| local.unexpected("a number from :0 to :65535"))?;
    Ok(RouteTarget::Ipv6(parsed, number))
}

/// Reads a route distinguisher: three formats with a name (RFC 4364 §4.2), or eight octets in
/// hexadecimal.
pub(super) fn parse_route_distinguisher(word: Token<'_>) -> Result<RouteDistinguisher, TextError> {
    let octets = word.text.strip_prefix("0x").map(|digits| {
        let mut octets = [0; 8];
        hex::decode_to_slice(digits, &mut octets)
            .ok()
            .map(|()| octets)
    });
    let octets = octets.unwrap_or_else(|| match parse_administrators(word.text)? {
        RouteTarget::TwoOctetAs(asn, local) => {
            Some(distinguisher(0, asn.to_be_bytes(), local.to_be_bytes()))
        }
        RouteTarget::Ipv4(address, local) => {
            Some(distinguisher(1, address.octets(), local.to_be_bytes()))
        }
        RouteTarget::FourOctetAs(asn, local) => {
            Some(distinguisher(2, asn.to_be_bytes(), local.to_be_bytes()))
        }
        RouteTarget::Ipv6(..) => None,
    });
    octets.map(RouteDistinguisher).ok_or_else(|| {
        word.unexpected("a route distinguisher such as 65000:1, 192.0.2.1:1 or 0x0000fde800000001")
    })
}

/// The octets of a route distinguisher of this type.
fn distinguisher<const A: usize, const B: usize>(
    kind: u16,
    global: [u8; A],
    local: [u8; B],
) -> [u8; 8] {
    const { assert!(A + B == 6) };
    let mut octets = [0; 8];
    octets[..2].copy_from_slice(&kind.to_be_bytes());
    octets[2..2 + A].copy_from_slice(&global);
    octets[2 + A..].copy_from_slice(&local);
    octets
}
