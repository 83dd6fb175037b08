//! Packets, and which of them a rule holds.

use std::sync::Arc;

use dataplane::packet::Packet;
use dataplane::rule::{Family, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::matches::matches;
use flowacl::wire::cursor::Cursor;
use flowacl::wire::nlri::{Component, Nlri, PrefixPattern};

use crate::flows::family;

/// Aim the packet at the prefixes of the NLRI, so that the other components decide.
const AIMED: u8 = 0x80;

/// An IP packet, and the same octets as a description of one.
pub fn packet(octets: &[u8]) {
    if let Some(packet) = Packet::parse(octets) {
        check_packet(&packet);
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        match Packet::from_text(text) {
            Ok(packet) => check_packet(&packet),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}

/// No field that such a packet does not have.
fn check_packet(packet: &Packet) {
    let transport = packet.source_port.is_some() || packet.icmp_type.is_some();
    assert!(transport || (packet.destination_port.is_none() && packet.tcp_flags.is_none()));
    assert!(!transport || (packet.protocol.is_some() && !packet.fragment.is_later()));
    assert!(packet.tcp_flags.is_none_or(|flags| flags <= 0x0fff));
    assert!(packet.dscp < 64);
    assert_eq!(packet.flow_label.is_some(), packet.family == Family::Ipv6);
    assert!(!packet.dont_fragment || packet.family == Family::Ipv4);
}

/// A choice, an NLRI and a packet: the rule holds the packet exactly when the Flow Specification matches it.
pub fn lower(octets: &[u8]) {
    let Some((choice, rest)) = octets.split_first() else {
        return;
    };
    let mut cursor = Cursor::new(rest, 0);
    let Ok(Ok(nlri)) = Nlri::read(family(*choice), &mut cursor) else {
        return;
    };
    let Some(mut packet) = Packet::parse(cursor.rest()) else {
        return;
    };
    if choice & AIMED != 0 {
        aim(&nlri, &mut packet);
    }
    let actions = Arc::new(TrafficFilteringActions::default());
    let Ok(lowered) =
        flowacl::engine::lower::lower(&nlri, &actions, RuleId(1), &Bindings::default())
    else {
        return assert!(nlri.family().is_vpn());
    };
    let held = lowered.rule.family == packet.family && lowered.rule.matches.contains(&packet);
    assert_eq!(
        held,
        matches(&nlri, &packet),
        "{}: {packet:?}",
        lowered.rule.label
    );
}

/// Gives the packet the addresses that the NLRI wants.
fn aim(nlri: &Nlri, packet: &mut Packet) {
    let aimed = |prefix: &PrefixPattern, address: u128| {
        let mask = |length: u8| u128::MAX.checked_shr(length.into()).unwrap_or(0);
        let compared = mask(prefix.offset) & !mask(prefix.length);
        address & !compared | prefix.bits
    };
    for component in nlri.components() {
        match component {
            Component::DestinationPrefix(prefix) => {
                packet.destination = aimed(&prefix, packet.destination);
            }
            Component::SourcePrefix(prefix) => packet.source = aimed(&prefix, packet.source),
            Component::Numeric(..) | Component::Bitmask(..) => {}
        }
    }
}
