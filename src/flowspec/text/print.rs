//! Flow Specifications to text: one line, canonical, reads back to the same octets.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::rule::LimitUnit;

use crate::flowspec::action::{Rate, RatePerSource, RouteTarget, TrafficFilteringActions};
use crate::wire::nlri::{
    BitmaskOp, BitmaskType, Component, Nlri, NumericOp, NumericType, PrefixPattern,
    RouteDistinguisher,
};

use super::words::{self, Keyword};

/// `flow route { match { … } then { … } }`.
pub fn format_flow(nlri: &Nlri, actions: &TrafficFilteringActions) -> String {
    let mut text = "flow route { ".to_string();
    let components = nlri.components();
    let ipv6 = nlri.family().is_ipv6();
    if ipv6 && !components.iter().any(says_ipv6) {
        text.push_str("family ");
        text.push_str(nlri.family().name());
        text.push_str("; ");
    }
    if let Some(distinguisher) = nlri.route_distinguisher() {
        append(
            &mut text,
            format_args!("rd {}; ", format_route_distinguisher(distinguisher)),
        );
    }
    append(
        &mut text,
        format_args!("match {{ {}; }} ", components_text(&components, ipv6)),
    );
    if !actions.interface_sets.is_empty() {
        let sets: Vec<_> = actions
            .interface_sets
            .iter()
            .map(|set| set.to_string())
            .collect();
        append(
            &mut text,
            format_args!("scope {{ interface-set {}; }} ", list_text(&sets)),
        );
    }
    append(
        &mut text,
        format_args!("then {{ {}; }} }}", action_statements(actions).join("; ")),
    );
    text
}

/// The components alone: `destination 192.0.2.0/24; protocol =udp`.
pub fn format_match(nlri: &Nlri) -> String {
    components_text(&nlri.components(), nlri.family().is_ipv6())
}

/// `65535:100`, `192.0.2.1:100`, `70000:100`, and all eight octets in hexadecimal for types that
/// are not assigned.
pub fn format_route_distinguisher(distinguisher: RouteDistinguisher) -> String {
    let [kind_high, kind_low, a, b, c, d, e, f] = distinguisher.0;
    let low = u16::from_be_bytes([e, f]);
    match u16::from_be_bytes([kind_high, kind_low]) {
        0 => {
            let asn = u16::from_be_bytes([a, b]);
            RouteTarget::TwoOctetAs(asn, u32::from_be_bytes([c, d, e, f])).to_string()
        }
        1 => RouteTarget::Ipv4(Ipv4Addr::new(a, b, c, d), low).to_string(),
        2 => RouteTarget::FourOctetAs(u32::from_be_bytes([a, b, c, d]), low).to_string(),
        _ => format!("0x{}", hex::encode(distinguisher.0)),
    }
}

/// True when the printed component can only be IPv6.
fn says_ipv6(component: &Component) -> bool {
    match component {
        Component::DestinationPrefix(_) | Component::SourcePrefix(_) => true,
        Component::Numeric(kind, _) => {
            matches!(kind, NumericType::Protocol | NumericType::FlowLabel)
        }
        Component::Bitmask(..) => false,
    }
}

/// All components, joined by `; `.
fn components_text(components: &[Component], ipv6: bool) -> String {
    let texts: Vec<_> = components
        .iter()
        .map(|component| component_text(component, ipv6))
        .collect();
    texts.join("; ")
}

/// One component: its name and its prefix or list.
fn component_text(component: &Component, ipv6: bool) -> String {
    let (keyword, value) = match component {
        Component::DestinationPrefix(prefix) => (Keyword::Destination, format_prefix(prefix, ipv6)),
        Component::SourcePrefix(prefix) => (Keyword::Source, format_prefix(prefix, ipv6)),
        Component::Numeric(kind, ops) => {
            let terms = ops.iter().map(|op| (op.and, numeric_text(*kind, op)));
            (Keyword::Numeric(*kind), terms_text(terms))
        }
        Component::Bitmask(kind, ops) => {
            let terms = ops.iter().map(|op| (op.and, bitmask_text(*kind, op)));
            (Keyword::Bitmask(*kind), terms_text(terms))
        }
    };
    format!("{} {value}", words::component_name(keyword, ipv6))
}

/// `192.0.2.0/24`, `2001:db8::/32`, and `::1234:0:0/80/64` with an offset.
pub fn format_prefix(prefix: &PrefixPattern, ipv6: bool) -> String {
    let length = prefix.length;
    if !ipv6 {
        return format!("{}/{length}", Ipv4Addr::from((prefix.bits >> 96) as u32));
    }
    let address = Ipv6Addr::from(prefix.bits);
    match prefix.offset {
        0 => format!("{address}/{length}"),
        offset => format!("{address}/{length}/{offset}"),
    }
}

/// Terms side by side, `&` before those that are joined by AND.
fn terms_text(terms: impl Iterator<Item = (bool, String)>) -> String {
    let mut alternatives: Vec<String> = Vec::new();
    let mut count = 0;
    for (and, term) in terms {
        count += 1;
        match alternatives.last_mut() {
            Some(group) if and => {
                group.push('&');
                group.push_str(&term);
            }
            Some(_) | None => alternatives.push(term),
        }
    }
    if count == 1 {
        alternatives.concat()
    } else {
        format!("[ {} ]", alternatives.join(" "))
    }
}

/// A single word, or several in brackets.
fn list_text(words: &[String]) -> String {
    match words {
        [word] => word.clone(),
        several => format!("[ {} ]", several.join(" ")),
    }
}

/// One numeric term.
fn numeric_text(kind: NumericType, op: &NumericOp) -> String {
    let operator = match (op.less, op.greater, op.equal) {
        (false, false, false) => "false",
        (true, true, true) => "true",
        (false, false, true) => "=",
        (true, true, false) => "!=",
        (true, false, false) => "<",
        (true, false, true) => "<=",
        (false, true, false) => ">",
        (false, true, true) => ">=",
    };
    if op.less == op.greater && op.greater == op.equal {
        return match (op.value, op.width) {
            (0, 1) => operator.to_string(),
            (value, width) => format!("{operator}{}", number_text(value, width)),
        };
    }
    let name = match kind {
        NumericType::Protocol if op.width == 1 => words::protocol_name(op.value),
        _ => None,
    };
    let value = name.map_or_else(|| number_text(op.value, op.width), str::to_string);
    format!("{operator}{value}")
}

/// One bitmask term.
fn bitmask_text(kind: BitmaskType, op: &BitmaskOp) -> String {
    let operator = match (op.not, op.all) {
        (false, false) => "",
        (false, true) => "=",
        (true, false) => "!",
        (true, true) => "!=",
    };
    let minimal = minimal_width(u64::from(op.value)) == op.width;
    let names = if minimal {
        words::bits_text(kind, op.value)
    } else {
        None
    };
    let value = match names {
        Some(names) => names,
        None if op.value == 0 && minimal => "0".to_string(),
        None => hex_text(u64::from(op.value), op.width),
    };
    format!("{operator}{value}")
}

/// Octets that a value needs at least: 1, 2, 4 or 8.
pub fn minimal_width(value: u64) -> u8 {
    match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        0x1_0000_0000.. => 8,
    }
}

/// Decimal when the width is the least possible, otherwise hexadecimal with all digits.
fn number_text(value: u64, width: u8) -> String {
    if minimal_width(value) == width {
        value.to_string()
    } else {
        hex_text(value, width)
    }
}

/// Hexadecimal with two digits for each octet of the width.
fn hex_text(value: u64, width: u8) -> String {
    format!("0x{value:0digits$x}", digits = 2 * usize::from(width))
}

/// The statements of `then`, without those that stand in `scope`.
fn action_statements(actions: &TrafficFilteringActions) -> Vec<String> {
    let mut statements = Vec::new();
    match actions.rate_bytes_per_sec {
        // Both zeros.
        Some(0.0) => statements.push("discard".to_string()),
        Some(rate) => statements.push(format!("rate-limit {}", Rate(rate))),
        None => {}
    }
    if let Some(rate) = actions.rate_packets_per_sec {
        statements.push(format!("rate-limit {} packets", Rate(rate)));
    }
    statements.extend(actions.rates_per_source.iter().map(per_source_text));
    if let Some(dscp) = actions.mark_dscp {
        statements.push(format!("mark {dscp}"));
    }
    // "terminal" is the RFC's name for the bit that lets evaluation go on.
    match (actions.sample, actions.continue_evaluation) {
        (true, true) => statements.push("action sample-terminal".to_string()),
        (true, false) => statements.push("action sample".to_string()),
        (false, true) => statements.push("action terminal".to_string()),
        (false, false) => {}
    }
    if let Some(target) = actions.redirect_route_target {
        statements.push(format!("redirect {target}"));
    }
    let redirects = actions.redirect_next_hops.iter();
    statements.extend(redirects.map(|address| next_hop_text("redirect", *address)));
    statements.extend(
        actions
            .copy_to
            .map(|address| next_hop_text("copy", address)),
    );
    if statements.is_empty() {
        statements.push("accept".to_string());
    }
    statements
}

/// A rate for each source by itself.
fn per_source_text(rate: &RatePerSource) -> String {
    let unit = match rate.unit {
        LimitUnit::Bytes => "",
        LimitUnit::Packets => " packets",
    };
    let of = match rate.table {
        0 => String::new(),
        _ => format!(" of {}", rate.max_sources()),
    };
    let (rate, length) = (Rate(rate.rate_per_sec), rate.prefix_length);
    format!("rate-limit {rate}{unit} per-source /{length}{of}")
}

/// Redirect or copy to an address, in the standard form.
fn next_hop_text(verb: &str, address: IpAddr) -> String {
    format!("{verb}-to-nexthop-ietf {address}")
}

/// Appends formatted text.
fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all text");
}
