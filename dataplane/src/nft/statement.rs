//! Statements of nft rules: what they say in nft's language, and the instructions they are made of.
//!
//! The text and the instructions come from the same value, and tests have `nft` itself compile the
//! text and compare the results.

use std::fmt;

use super::expression::{
    Base, Comparison, Expression, MetaKey, ObjectKind, SetDefinition, SetElement, SetReference,
    Verdict,
};
use super::field::{Field, Test, data_type};
use super::key::Key;
use crate::rule::Family;

/// The bits of the packet mark that carry a DSCP from the rule that sets it to the end of
/// evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScratchMark {
    shift: u32,
}

impl ScratchMark {
    /// Finds seven contiguous bits in `available`.
    pub(super) fn new(available: u32) -> Option<Self> {
        (0..=25)
            .find(|shift| (available >> shift) & 0x7f == 0x7f)
            .map(|shift| Self { shift })
    }

    /// All bits used.
    pub(super) fn mask(self) -> u32 {
        0x7f << self.shift
    }

    /// The bit that says that a DSCP has been chosen.
    pub(super) fn chosen(self) -> u32 {
        0x40 << self.shift
    }

    /// The bits that say that this DSCP has been chosen.
    pub(super) fn value(self, dscp: u8) -> u32 {
        (0x40 | u32::from(dscp)) << self.shift
    }
}

/// Which interface names are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InterfaceTest {
    /// This name.
    Is(String),
    /// Any other name.
    IsNot(String),
    /// Names that begin so.
    StartsWith(String),
    /// One of these names.
    In(Vec<String>),
}

impl InterfaceTest {
    /// The test that passes where this one fails, if one statement can say it.
    pub(super) fn opposite(&self) -> Option<Self> {
        match self {
            Self::Is(name) => Some(Self::IsNot(name.clone())),
            Self::IsNot(name) => Some(Self::Is(name.clone())),
            Self::StartsWith(_) | Self::In(_) => None,
        }
    }
}

/// One statement of an nft rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// The packet is of this family.
    Family(Family),
    /// A field passes a test.
    Match(Field, Test),
    /// The interface that the packet came in by is meant.
    Interface(InterfaceTest),
    /// The packet has come in by a VRF device.
    FromVrf,
    /// The destination is an address of this machine, as the routing tables have it.
    ToThisMachine,
    /// The destination is one of these addresses, right-aligned.
    ToOneOf(Family, Vec<u128>),
    /// One packet in so many, at random.
    OneIn(u32),
    /// Bits of the packet mark are this value.
    MarkIs { mask: u32, value: u32 },
    /// Sets bits of the packet mark.
    SetMark { mask: u32, value: u32 },
    /// Writes a DSCP.
    SetDscp(Family, u8),
    /// Counts in a named counter.
    Counter(String),
    /// Goes on if the packet is over a named limit, or with a limit that is made so if it is within.
    Limit(String),
    /// Goes on if the set or map of this name has the packet's key.
    In(Key, String),
    /// Goes on if the set of this name does not have the packet's key.
    NotIn(Key, String),
    /// Puts the packet's key into the set of this name, and goes on if the packet is within the limit of the key there.
    Update(Key, String),
    /// Goes on with the chain that a map has for the packet's key, if it has one.
    GoOnIn(Key, String),
    /// Counts in the counter that a map has for the packet's key; goes on only if there is one.
    CounterIn(Key, String),
    /// Goes on if the packet is over the limit that a map has for its key.
    OverLimitIn(Key, String),
    /// Sends a copy of the packet to the address that a map has for bits of the packet mark; goes on only if it has
    /// one.
    CopyToIn { mask: u32, map: String },
    /// Copies the packet to an NFLOG group.
    Log { group: u16, snap_length: u32 },
    /// Ends the rule.
    Verdict(Verdict),
}

impl Statement {
    /// The field that it tests.
    fn field(&self) -> Option<Field> {
        if let Self::Match(field, _) = self {
            Some(*field)
        } else {
            None
        }
    }

    /// The statement's instructions.
    pub(super) fn expressions(&self) -> Vec<Expression> {
        match self {
            Self::Family(family) => {
                let number = match family {
                    Family::Ipv4 => 2,
                    Family::Ipv6 => 10,
                };
                vec![
                    Expression::Meta(MetaKey::NetworkProtocol),
                    Expression::Compare(Comparison::Equal, vec![number]),
                ]
            }
            Self::Match(field, test) => test.expressions(*field),
            Self::Interface(test) => {
                let last = match test {
                    InterfaceTest::Is(name) => {
                        Expression::Compare(Comparison::Equal, padded_name(name))
                    }
                    InterfaceTest::IsNot(name) => {
                        Expression::Compare(Comparison::NotEqual, padded_name(name))
                    }
                    InterfaceTest::StartsWith(prefix) => {
                        Expression::Compare(Comparison::Equal, prefix.as_bytes().to_vec())
                    }
                    InterfaceTest::In(names) => {
                        let element = |name: &String| SetElement {
                            key: padded_name(name),
                            interval_end: false,
                        };
                        Expression::Lookup(SetReference::Anonymous(SetDefinition {
                            data_type: data_type::INTERFACE_NAME,
                            width: 16,
                            intervals: false,
                            elements: names.iter().map(element).collect(),
                        }))
                    }
                };
                vec![Expression::Meta(MetaKey::InputName), last]
            }
            Self::FromVrf => vec![
                Expression::Meta(MetaKey::InputKind),
                Expression::Compare(Comparison::Equal, padded_name("vrf")),
            ],
            Self::ToThisMachine => vec![
                Expression::DestinationType,
                // RTN_LOCAL
                Expression::Compare(Comparison::Equal, 2u32.to_ne_bytes().to_vec()),
            ],
            Self::ToOneOf(family, addresses) => {
                let field = Field::Destination(*family);
                let element = |address: &u128| SetElement {
                    key: field.key_octets(*address),
                    interval_end: false,
                };
                let mut list = field.load_masked(u128::MAX >> (128 - field.bits()));
                list.push(Expression::Lookup(SetReference::Anonymous(SetDefinition {
                    data_type: field.data_type(),
                    width: field.key_width(),
                    intervals: false,
                    elements: addresses.iter().map(element).collect(),
                })));
                list
            }
            Self::OneIn(modulus) => vec![
                Expression::Random(*modulus),
                Expression::Compare(Comparison::Equal, 0u32.to_ne_bytes().to_vec()),
            ],
            Self::MarkIs { mask, value } => vec![
                Expression::Meta(MetaKey::Mark),
                Expression::Bitwise {
                    mask: mask.to_ne_bytes().to_vec(),
                    toggle: vec![0; 4],
                },
                Expression::Compare(Comparison::Equal, value.to_ne_bytes().to_vec()),
            ],
            Self::SetMark { mask, value } => vec![
                Expression::Meta(MetaKey::Mark),
                Expression::Bitwise {
                    mask: (!mask).to_ne_bytes().to_vec(),
                    toggle: value.to_ne_bytes().to_vec(),
                },
                Expression::SetMeta(MetaKey::Mark),
            ],
            Self::SetDscp(Family::Ipv4, dscp) => vec![
                Expression::Payload {
                    base: Base::Network,
                    offset: 0,
                    length: 2,
                },
                Expression::Bitwise {
                    mask: vec![0xff, 0x03],
                    toggle: vec![0, dscp << 2],
                },
                Expression::SetPayload {
                    offset: 0,
                    length: 2,
                    checksum_offset: Some(10),
                },
            ],
            Self::SetDscp(Family::Ipv6, dscp) => vec![
                Expression::Payload {
                    base: Base::Network,
                    offset: 0,
                    length: 2,
                },
                Expression::Bitwise {
                    mask: vec![0xf0, 0x3f],
                    toggle: vec![dscp >> 2, dscp << 6],
                },
                Expression::SetPayload {
                    offset: 0,
                    length: 2,
                    checksum_offset: None,
                },
            ],
            Self::Counter(name) => vec![Expression::Object(ObjectKind::Counter, name.clone())],
            Self::Limit(name) => vec![Expression::Object(ObjectKind::Limit, name.clone())],
            Self::In(key, set) => {
                let set = SetReference::Named(set.clone());
                with_key(key, Expression::Lookup(set))
            }
            Self::NotIn(key, set) => with_key(key, Expression::Absent(set.clone())),
            Self::Update(key, set) => with_key(key, Expression::Update(set.clone())),
            Self::GoOnIn(key, map) => with_key(key, Expression::GoOnIn(map.clone())),
            Self::CounterIn(key, map) => {
                with_key(key, Expression::ObjectIn(ObjectKind::Counter, map.clone()))
            }
            Self::OverLimitIn(key, map) => {
                with_key(key, Expression::ObjectIn(ObjectKind::Limit, map.clone()))
            }
            Self::CopyToIn { mask, map } => vec![
                Expression::Meta(MetaKey::Mark),
                Expression::Bitwise {
                    mask: mask.to_ne_bytes().to_vec(),
                    toggle: vec![0; 4],
                },
                Expression::LoadFrom(map.clone()),
                Expression::Duplicate,
            ],
            Self::Log { group, snap_length } => {
                vec![Expression::Log {
                    group: *group,
                    snap_length: *snap_length,
                }]
            }
            Self::Verdict(verdict) => vec![Expression::Verdict(verdict.clone())],
        }
    }
}

/// The instructions that load a key and look it up.
fn with_key(key: &Key, lookup: Expression) -> Vec<Expression> {
    let mut list = key.expressions();
    list.push(lookup);
    list
}

/// A name as the kernel compares it: 16 octets, padded with NUL.
fn padded_name(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(16, 0);
    octets
}

/// True when some of the statements is about a field that only packets of this family have.
pub(super) fn implies_family(statements: &[Statement], family: Family) -> bool {
    statements.iter().any(|statement| match statement {
        Statement::Match(field, _) => field.implies(family),
        Statement::SetDscp(own, _) | Statement::ToOneOf(own, _) => *own == family,
        Statement::In(key, _)
        | Statement::NotIn(key, _)
        | Statement::Update(key, _)
        | Statement::GoOnIn(key, _)
        | Statement::CounterIn(key, _)
        | Statement::OverLimitIn(key, _) => key.fields().any(|field| field.implies(family)),
        _ => false,
    })
}

/// The statements as one line in nft's language; what nft would infer is left out, as it does.
pub(super) fn write_statements(
    statements: &[Statement],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut transport = None;
    let mut separator = "";
    for (index, statement) in statements.iter().enumerate() {
        if matches!(statement, Statement::Family(family) if implies_family(statements, *family)) {
            continue;
        }
        if let Statement::Match(Field::TransportProtocol, Test::Is(protocol)) = statement {
            transport = match protocol {
                6 => Some("tcp"),
                17 => Some("udp"),
                _ => None,
            };
            let next = statements.get(index + 1).and_then(Statement::field);
            if next.is_some_and(Field::implies_transport) {
                continue;
            }
        }
        f.write_str(separator)?;
        separator = " ";
        let Statement::Match(field, test) = statement else {
            write!(f, "{statement}")?;
            continue;
        };
        match (field, transport) {
            (Field::SourcePort, Some(protocol)) => {
                test.write(&format!("{protocol} sport"), *field, f)?;
            }
            (Field::DestinationPort, Some(protocol)) => {
                test.write(&format!("{protocol} dport"), *field, f)?;
            }
            // Without its protocol nft does not know the field.
            (Field::TcpFlags, None) => test.write("@th,104,8", *field, f)?,
            (field, _) => test.write(field.text(), *field, f)?,
        }
    }
    Ok(())
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(family) => write!(f, "meta nfproto {family}"),
            Self::Match(field, test) => test.write(field.text(), *field, f),
            Self::Interface(InterfaceTest::Is(name)) => write!(f, "iifname \"{name}\""),
            Self::Interface(InterfaceTest::IsNot(name)) => write!(f, "iifname != \"{name}\""),
            Self::Interface(InterfaceTest::StartsWith(prefix)) => {
                write!(f, "iifname \"{prefix}*\"")
            }
            Self::Interface(InterfaceTest::In(names)) => {
                write!(f, "iifname {{ \"{}\" }}", names.join("\", \""))
            }
            Self::FromVrf => f.write_str("meta iifkind \"vrf\""),
            Self::ToThisMachine => f.write_str("fib daddr type local"),
            Self::ToOneOf(family, addresses) => {
                let field = Field::Destination(*family);
                write!(f, "{} {{ ", field.text())?;
                for (index, address) in addresses.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    field.write_value(*address, f)?;
                }
                f.write_str(" }")
            }
            Self::OneIn(modulus) => write!(f, "numgen random mod {modulus} 0"),
            Self::MarkIs { mask, value } => write!(f, "meta mark & {mask:#010x} == {value:#010x}"),
            Self::SetMark { mask, value: 0 } => {
                write!(f, "meta mark set meta mark & {:#010x}", !mask)
            }
            Self::SetMark { mask, value } => {
                write!(
                    f,
                    "meta mark set meta mark & {:#010x} | {value:#010x}",
                    !mask
                )
            }
            Self::SetDscp(Family::Ipv4, dscp) => write!(f, "ip dscp set {dscp}"),
            Self::SetDscp(Family::Ipv6, dscp) => write!(f, "ip6 dscp set {dscp}"),
            Self::Counter(name) => write!(f, "counter name \"{name}\""),
            Self::Limit(name) => write!(f, "limit name \"{name}\""),
            Self::In(key, set) => write!(f, "{key} @{set}"),
            Self::NotIn(key, set) => write!(f, "{key} != @{set}"),
            Self::Update(key, set) => write!(f, "update @{set} {{ {key} }}"),
            Self::GoOnIn(key, map) => write!(f, "{key} vmap @{map}"),
            Self::CounterIn(key, map) => write!(f, "counter name {key} map @{map}"),
            Self::OverLimitIn(key, map) => write!(f, "limit name {key} map @{map}"),
            Self::CopyToIn { mask, map } => {
                write!(f, "dup to meta mark & {mask:#010x} map @{map}")
            }
            Self::Log {
                group,
                snap_length: 0,
            } => write!(f, "log group {group}"),
            Self::Log { group, snap_length } => {
                write!(f, "log group {group} snaplen {snap_length}")
            }
            Self::Verdict(verdict) => match verdict {
                Verdict::Accept => f.write_str("accept"),
                Verdict::Drop => f.write_str("drop"),
                Verdict::Return => f.write_str("return"),
                Verdict::Jump(chain) => write!(f, "jump {chain}"),
                Verdict::Goto(chain) => write!(f, "goto {chain}"),
            },
        }
    }
}
