//! Copies of packets: tables of their own, since nf_tables duplicates packets only in tables of one family. Pure.
//!
//! Which packets are copied is found out once, by the rules of our main table: they mark them, with a value for each
//! address. A base chain right behind theirs looks the value up, sends the copy, and takes the mark away. A table is
//! there only while some rule copies packets of its family.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;

use super::expression::Verdict;
use super::field::{Field, Test, data_type};
use super::message::{Attributes, FAMILY_IPV4, FAMILY_IPV6, Kind, Message, TABLE, TABLE_FLAGS};
use super::object::{CHAIN_TYPE, MAP, NftRule, PRIORITY};
use super::statement::Statement;
use crate::interval::IntervalSet;
use crate::rule::Family;

/// The only chain.
const CHAIN: &str = "prerouting";
/// The map from marks to addresses.
pub(super) const COPIES: &str = "copies";

/// Addresses that packets of one family are copied to, by the value of the mark.
pub(super) type Targets = BTreeMap<u32, IpAddr>;

/// The kernel's number of the family of a table (`NFPROTO_*`).
pub(super) fn protocol_family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => FAMILY_IPV4,
        Family::Ipv6 => FAMILY_IPV6,
    }
}

/// An address as the kernel has it.
fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The rules of the chain. A packet that has come to the end of its way is not copied either.
fn rules(family: Family, mask: u32) -> [NftRule; 3] {
    let travels = Test::for_set(&IntervalSet::from_ranges([(2, 255)]));
    let map = COPIES.into();
    let unmarked = vec![
        Statement::MarkIs { mask, value: 0 },
        Statement::Verdict(Verdict::Accept),
    ];
    let copied = vec![
        Statement::Match(Field::HopLimit(family), travels),
        Statement::CopyToIn { mask, map },
    ];
    let clear = vec![Statement::SetMark { mask, value: 0 }];
    [unmarked, copied, clear].map(|statements| NftRule::of_frame(statements, ""))
}

/// The messages that create the table with these targets. `flags` are those of the table.
pub(super) fn create(family: Family, flags: u32, mask: u32, targets: &Targets) -> Vec<Message> {
    let new = |kind, attributes| Message::new(kind, NLM_F_CREATE, attributes);
    let hook = Attributes::new()
        .u32(1, 0)
        .bytes(2, &(PRIORITY + 1).to_be_bytes());
    let chain = Attributes::of_table()
        .string(3, CHAIN)
        .nested(4, hook)
        .u32(5, 1)
        .string(7, CHAIN_TYPE);
    let (address_type, width) = match family {
        Family::Ipv4 => (data_type::IPV4_ADDRESS, 4),
        Family::Ipv6 => (data_type::IPV6_ADDRESS, 16),
    };
    // Byte orders tell nft how to print: those of keys (0), in host order, and of values (1).
    let mut byte_orders = vec![0, 4];
    byte_orders.extend(1u32.to_ne_bytes());
    byte_orders.extend([1, 4]);
    byte_orders.extend(2u32.to_ne_bytes());
    let map = Attributes::of_table()
        .string(2, COPIES)
        .u32(3, MAP)
        .u32(4, data_type::MARK)
        .u32(5, 4)
        .u32(6, address_type)
        .u32(7, width)
        .u32(10, 1)
        .bytes(13, &byte_orders);
    let value = |octets: &[u8]| Attributes::new().bytes(1, octets);
    let elements = targets.iter().fold(Attributes::new(), |list, element| {
        let (mark, address) = element;
        let element = Attributes::new()
            .nested(1, value(&mark.to_ne_bytes()))
            .nested(2, value(&address_octets(*address)));
        list.nested(1, element)
    });
    let elements = Attributes::of_table().string(2, COPIES).nested(3, elements);
    let mut messages = vec![
        new(
            Kind::NewTable,
            Attributes::of_table().u32(TABLE_FLAGS, flags),
        ),
        new(Kind::NewChain, chain),
        new(Kind::NewSet, map),
        new(Kind::NewSetElem, elements),
    ];
    let mut last_set = 1;
    for rule in rules(family, mask) {
        rule.create(CHAIN, &mut last_set, &mut messages);
    }
    let family = protocol_family(family);
    let messages = messages.into_iter();
    messages.map(|message| message.of_family(family)).collect()
}

/// The message that deletes the table, which must be there.
pub(super) fn delete(family: Family) -> Message {
    Message::new(Kind::DelTable, 0, Attributes::of_table()).of_family(protocol_family(family))
}

/// The table as `nft -f` would read it.
pub(super) fn text(family: Family, mask: u32, targets: &Targets) -> String {
    let (name, address_type) = match family {
        Family::Ipv4 => ("ip", "ipv4_addr"),
        Family::Ipv6 => ("ip6", "ipv6_addr"),
    };
    let elements: Vec<String> = targets
        .iter()
        .map(|(mark, address)| format!("{mark:#010x} : {address}"))
        .collect();
    let mut out = format!(
        "table {name} {TABLE} {{\n\tmap {COPIES} {{\n\t\ttype mark : {address_type}\n\
         \t\telements = {{ {} }}\n\t}}\n\n\tchain {CHAIN} {{\n\
         \t\ttype {CHAIN_TYPE} hook prerouting priority {}; policy accept;\n",
        elements.join(",\n\t\t\t     "),
        PRIORITY + 1
    );
    for rule in rules(family, mask) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n}\n");
    out
}
