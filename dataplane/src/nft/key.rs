//! Keys: the fields of a packet that are looked up together. Pure.

use std::fmt;

use super::expression::{Base, Expression};
use super::field::Field;
use crate::interval::IntervalSet;
use crate::rule::{AddressPattern, Family, Match};

/// Bits of a data type in the number of a concatenation of types (`TYPE_BITS` of nft).
const TYPE_BITS: u32 = 6;

/// Fields that are looked up together, each with the bits that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Vec<(Field, u128)>);

/// What one rule says about the fields of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyValue {
    /// The fields.
    pub(super) key: Key,
    /// Their values, right-aligned.
    values: Vec<u128>,
    /// The protocol, where it is no field of the key.
    pub(super) protocol: Option<u8>,
}

impl KeyValue {
    /// Takes a match apart when it is nothing but a key: addresses, and one value each of protocol and
    /// ports. `None` when it says anything else, or nothing at all. A protocol beside other fields is kept apart:
    /// there are few, and packets of another one need not look anything up.
    pub(super) fn of(family: Family, matches: &Match) -> Option<Self> {
        let Match {
            destination,
            source,
            protocol,
            destination_port,
            source_port,
            fragment: None,
            rare,
        } = matches
        else {
            return None;
        };
        if !rare.is_none() {
            return None;
        }
        let mut whole = Self {
            key: Key(Vec::new()),
            values: Vec::new(),
            protocol: None,
        };
        whole.push_address(Field::Destination(family), destination.as_ref())?;
        whole.push_address(Field::Source(family), source.as_ref())?;
        let protocol_field = match family {
            Family::Ipv4 if !matches.needs_transport_header() => Field::Ipv4Protocol,
            Family::Ipv4 | Family::Ipv6 => Field::TransportProtocol,
        };
        whole.push_number(Field::SourcePort, source_port.as_ref())?;
        whole.push_number(Field::DestinationPort, destination_port.as_ref())?;
        match protocol {
            Some(protocol) if !whole.values.is_empty() => {
                let single = single_value(protocol_field, protocol)?;
                whole.protocol = u8::try_from(single).ok();
            }
            protocol => whole.push_number(protocol_field, protocol.as_ref())?,
        }
        (!whole.values.is_empty()).then_some(whole)
    }

    fn push_address(&mut self, field: Field, pattern: Option<&AddressPattern>) -> Option<()> {
        let Some(pattern) = pattern.filter(|pattern| pattern.mask() != 0) else {
            return Some(());
        };
        let unused = 128 - field.bits();
        let (mask, value) = (pattern.mask() >> unused, pattern.value() >> unused);
        // Behind an IPv4 address there are only zeros.
        (mask << unused == pattern.mask()).then_some(())?;
        self.key.0.push((field, mask));
        self.values.push(value);
        Some(())
    }

    fn push_number(&mut self, field: Field, set: Option<&IntervalSet>) -> Option<()> {
        let Some(set) = set else { return Some(()) };
        let value = single_value(field, set)?;
        self.key.0.push((field, all_bits(field)));
        self.values.push(u128::from(value));
        Some(())
    }

    /// The value of a field of the key, left-aligned.
    pub(super) fn value_of(&self, field: Field) -> Option<u128> {
        let mut fields = self.key.fields();
        let index = fields.position(|other| other == field)?;
        Some(self.values[index] << (128 - field.bits()))
    }

    /// The same under a key whose fields begin as those of this one do; `None` when it is the same key.
    pub(super) fn under(&self, key: &Key) -> Option<Self> {
        if self.key == *key {
            return None;
        }
        let left_aligned =
            |((field, _), value): (&(Field, u128), &u128)| value << (128 - field.bits());
        let prefixes: Vec<u128> = self
            .key
            .0
            .iter()
            .zip(&self.values)
            .map(left_aligned)
            .collect();
        Some(key.value_of(&prefixes))
    }

    /// The values as the kernel compares them.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for ((field, _), value) in self.key.0.iter().zip(&self.values) {
            octets.extend(field.key_octets(*value));
            if self.key.0.len() > 1 {
                octets.resize(octets.len().next_multiple_of(4), 0);
            }
        }
        octets
    }
}

/// The values as nft writes them: `203.0.113.5 . udp . 123`.
impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((field, _), value)) in self.key.0.iter().zip(&self.values).enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            field.write_value(*value, f)?;
        }
        Ok(())
    }
}

impl Key {
    /// The leading bits of addresses; of length 0 none.
    pub(super) fn prefixes(prefixes: &[(Field, u8)]) -> Self {
        let leading = |&(field, length): &(Field, u8)| {
            let unused = field.bits() - u32::from(length);
            let bits = all_bits(field).checked_shr(unused);
            (field, bits.map_or(0, |bits| bits << unused))
        };
        Self(prefixes.iter().map(leading).collect())
    }

    /// A key of more octets that says the same, for keys of two octets that begin an address.
    pub(super) fn wider(&self) -> Option<Self> {
        let address = match self.0.as_slice() {
            [(Field::SourceStart(Family::Ipv4), _)] => Field::Source(Family::Ipv4),
            [(Field::DestinationStart(Family::Ipv4), _)] => Field::Destination(Family::Ipv4),
            _ => return None,
        };
        Some(Self::prefixes(&[(address, 16)]))
    }

    /// All bits of a field.
    pub(super) fn whole(field: Field) -> Self {
        Self(vec![(field, all_bits(field))])
    }

    /// Values of the fields of this key, left-aligned and no longer than they are; more are ignored.
    pub(super) fn value_of(&self, prefixes: &[u128]) -> KeyValue {
        let value = |((field, _), prefix): (&(Field, u128), &u128)| prefix >> (128 - field.bits());
        KeyValue {
            key: self.clone(),
            values: self.0.iter().zip(prefixes).map(value).collect(),
            protocol: None,
        }
    }

    /// True when it has a field that only packets with a transport header have.
    pub(super) fn needs_transport_header(&self) -> bool {
        self.has(Field::SourcePort) || self.has(Field::DestinationPort)
    }

    /// True when the field is part of it.
    pub(super) fn has(&self, field: Field) -> bool {
        self.fields().any(|other| other == field)
    }

    /// The instructions that load the fields side by side.
    pub(super) fn expressions(&self) -> Vec<Expression> {
        let mut list = Vec::new();
        let mut octets = 0;
        for (field, mask) in &self.0 {
            for load in field.load_masked(*mask) {
                list.push(match octets {
                    0 => load,
                    octets => Expression::Behind(octets, Box::new(load)),
                });
            }
            octets += field.key_width().next_multiple_of(4) as u32;
        }
        list
    }

    /// nft's number for the type of the key.
    pub(super) fn data_type(&self) -> u32 {
        let join =
            |number: u32, (field, _): &(Field, u128)| number << TYPE_BITS | field.data_type();
        self.0.iter().fold(0, join)
    }

    /// Octets of a value.
    pub(super) fn width(&self) -> usize {
        match self.0.as_slice() {
            [(field, _)] => field.key_width(),
            fields => {
                let padded = |(field, _): &(Field, u128)| field.key_width().next_multiple_of(4);
                fields.iter().map(padded).sum()
            }
        }
    }

    /// The length of the prefix of an address that counts; `None` when the address is no part of the
    /// key, or bits in its middle are.
    pub(super) fn prefix_length(&self, address: Field) -> Option<u8> {
        let (_, mask) = self.0.iter().find(|(field, _)| *field == address)?;
        let length = (mask << (128 - address.bits())).leading_ones();
        (length == mask.count_ones()).then_some(length as u8)
    }

    /// The fields in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.0.iter().map(|(field, _)| *field)
    }

    /// The type in nft's language: `type ipv4_addr . inet_proto . inet_service`.
    pub(super) fn type_text(&self) -> String {
        if self.raw().is_some() {
            return format!("typeof {self}");
        }
        let names: Vec<&str> = self.fields().map(Field::type_name).collect();
        format!("type {}", names.join(" . "))
    }

    /// The place of the only field, if nft has no name for it.
    pub(super) fn raw(&self) -> Option<(Base, u32, u32)> {
        match self.0.as_slice() {
            [(field, _)] => field.raw(),
            _ => None,
        }
    }
}

/// As nft writes what is looked up: `ip daddr & 255.255.255.0 . meta l4proto`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, mask)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            f.write_str(field.text())?;
            if mask.count_ones() < field.bits() {
                f.write_str(" & ")?;
                field.write_value(*mask, f)?;
            }
        }
        Ok(())
    }
}

/// The only value of a set, as far as it fits the field.
fn single_value(field: Field, set: &IntervalSet) -> Option<u32> {
    match set.ranges() {
        [(first, last)] if first == last && u64::from(*first) >> field.bits() == 0 => Some(*first),
        _ => None,
    }
}

/// All bits of a field, right-aligned.
fn all_bits(field: Field) -> u128 {
    u128::MAX >> (128 - field.bits())
}
