//! What a packet must be for a rule to match, as nft statements. Pure.
//!
//! A rule is about packets of one or more *classes*: TCP, UDP, other protocols, and later
//! fragments. The frame of the table sends later fragments to lists of their own, since the kernel
//! reads whatever stands in their payload as if it were a transport header. The others are told
//! apart by their protocol, because most rules are about one, and packets of another need not meet them.

use std::collections::BTreeSet;

use super::field::{Field, Test};
use super::layout::PortProtocol;
use super::section::Side;
use super::statement::{InterfaceTest, Statement};
use crate::desired::InterfacePattern;
use crate::interval::IntervalSet;
use crate::rule::{AddressPattern, Family, FragmentKind, FragmentSet, MaskedValues, Match, Rule};

/// The protocol number of TCP.
const TCP: u32 = 6;
/// The protocol number of UDP.
const UDP: u32 = 17;
/// All TCP flags. nft lists "not equal" of all of them as two conditions, which says something
/// else.
const TCP_FLAGS: u128 = 0xfff;
/// IPv6 header length, which payload lengths leave out.
const IPV6_HEADER_LEN: u32 = 40;
/// Protocol numbers at which the walk of IPv6 headers goes on or ends without an upper layer:
/// Hop-by-Hop, Routing, Fragment, ESP, AH, Destination Options.
const NO_UPPER_LAYER: [(u32, u32); 6] = [(0, 0), (43, 43), (44, 44), (50, 50), (51, 51), (60, 60)];

/// Packets that are evaluated by the same list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Whole packets and first fragments of TCP.
    Tcp,
    /// The same of UDP.
    Udp,
    /// The same of all other protocols.
    Rest,
    /// Fragments with an offset, which have no transport header.
    Later,
}

impl Class {
    /// All classes.
    pub(super) const ALL: [Class; 4] = [Class::Tcp, Class::Udp, Class::Rest, Class::Later];

    /// The protocol of its packets, if that is one.
    pub(super) fn protocol(self) -> Option<PortProtocol> {
        match self {
            Class::Tcp => Some(PortProtocol::Tcp),
            Class::Udp => Some(PortProtocol::Udp),
            Class::Rest | Class::Later => None,
        }
    }
}

/// What is known of packets before a rule looks at them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Their class; `None` for whole packets and first fragments of any protocol.
    pub(super) class: Option<Class>,
    /// Their address on this side is what the rule wants.
    pub(super) address: Option<Side>,
}

impl Known {
    /// True when the packets are later fragments.
    fn is_later(self) -> bool {
        self.class == Some(Class::Later)
    }
}

impl From<Class> for Known {
    fn from(class: Class) -> Self {
        Self {
            class: Some(class),
            address: None,
        }
    }
}

/// Conditions of which a packet fulfils one, and at most one, if it is in the class of its fragment and matches.
pub(super) fn conditions(family: Family, matches: &Match) -> Vec<Vec<Statement>> {
    alternatives(family, matches, Known::default())
}

/// The same for packets of which something is known. None when none of them matches.
pub(super) fn alternatives(family: Family, matches: &Match, known: Known) -> Vec<Vec<Statement>> {
    Alternatives::of(family, matches, known).0
}

/// True when some packet of a class matches.
pub(super) fn can_match(rule: &Rule, class: Class) -> bool {
    !Alternatives::of(rule.family, &rule.matches, class.into())
        .0
        .is_empty()
}

/// Conditions of which a packet fulfils at most one: the rule matches if it fulfils one of them.
struct Alternatives(Vec<Vec<Statement>>);

impl Alternatives {
    /// The conditions that say the same as `matches` about packets of which something is known.
    fn of(family: Family, matches: &Match, known: Known) -> Self {
        let protocols = protocols(family, matches);
        let may_match = match known.class {
            None => true,
            Some(Class::Tcp) => protocols.contains(TCP),
            Some(Class::Udp) => protocols.contains(UDP),
            Some(Class::Rest) => !protocols.difference(&with_ports()).is_empty(),
            Some(Class::Later) => !matches.needs_transport_header(),
        };
        if !may_match {
            return Self(Vec::new());
        }
        let mut all = Self(vec![vec![Statement::Family(family)]]);
        for side in Side::ALL {
            let pattern = side.pattern(matches).copied();
            all.address(
                side.field(family),
                pattern.filter(|_| known.address != Some(side)),
            );
        }
        all.protocol(family, matches, protocols, known.class);
        all.ports(matches);
        all.field(Field::IcmpType(family), matches.rare.icmp_type.as_ref());
        all.field(Field::IcmpCode(family), matches.rare.icmp_code.as_ref());
        if let Some(flags) = &matches.rare.tcp_flags {
            all.tcp_flags(flags);
        }
        if let Some(length) = &matches.rare.packet_length {
            all.packet_length(family, length);
        }
        if let Some(dscp) = matches.rare.dscp.as_ref().filter(|set| !set.is_full(63)) {
            all.field(Field::Dscp(family), Some(dscp));
        }
        if let Some(fragment) = matches.fragment {
            all.fragment(family, fragment, known.is_later());
        }
        if let Some(patterns) = &matches.rare.interfaces {
            all.and_one_of(&came_in_by(patterns));
        }
        if let Some(label) = &matches.rare.flow_label {
            match family {
                Family::Ipv4 => all.nothing(),
                Family::Ipv6 if label.is_full(0x0f_ffff) => {}
                Family::Ipv6 => all.field(Field::FlowLabel, Some(label)),
            }
        }
        all
    }

    /// No packet matches.
    fn nothing(&mut self) {
        self.0.clear();
    }

    /// Adds a condition to all alternatives.
    fn and(&mut self, statement: Statement) {
        for condition in &mut self.0 {
            condition.push(statement.clone());
        }
    }

    /// Splits every alternative: `branches` exclude each other.
    fn and_one_of(&mut self, branches: &[Vec<Statement>]) {
        let both = |condition: &Vec<Statement>, branch: &Vec<Statement>| {
            condition.iter().chain(branch).cloned().collect()
        };
        let product = self
            .0
            .iter()
            .flat_map(|condition| branches.iter().map(move |b| both(condition, b)));
        self.0 = product.collect();
    }

    /// The field must exist and be in the set.
    fn field(&mut self, field: Field, set: Option<&IntervalSet>) {
        let Some(set) = set else { return };
        match membership(field, set) {
            Some(statement) => self.and(statement),
            None => self.nothing(),
        }
    }

    /// Bits of an address.
    fn address(&mut self, field: Field, pattern: Option<AddressPattern>) {
        let Some(pattern) = pattern else { return };
        let unused = 128 - field.bits();
        let (mask, value) = (pattern.mask() >> unused, pattern.value() >> unused);
        if value << unused != pattern.value() {
            // Behind an IPv4 address there are only zeros.
            return self.nothing();
        }
        if mask.count_ones() == field.bits() {
            self.and(Statement::Match(field, Test::Is(value)));
        } else if mask != 0 {
            self.and(Statement::Match(field, Test::Masked { mask, value }));
        }
    }

    /// The protocol, one of `allowed`, and that the header exists that later tests read.
    fn protocol(
        &mut self,
        family: Family,
        matches: &Match,
        allowed: IntervalSet,
        class: Option<Class>,
    ) {
        match class {
            Some(Class::Tcp | Class::Udp) => return,
            Some(Class::Rest) if allowed.union(&with_ports()).is_full(255) => return,
            Some(Class::Rest | Class::Later) | None => {}
        }
        let in_ipv4_header = family == Family::Ipv4 && !matches.needs_transport_header();
        if allowed == with_ports() && !in_ipv4_header {
            self.and(Statement::Match(Field::TransportProtocol, Test::HasPorts));
        } else if !in_ipv4_header
            && (matches.protocol.is_some() || matches.needs_transport_header())
        {
            self.field(Field::TransportProtocol, Some(&allowed));
        } else if in_ipv4_header && matches.protocol.is_some() && !allowed.is_full(255) {
            self.field(Field::Ipv4Protocol, Some(&allowed));
        }
    }

    /// Ports. "Either port" becomes two conditions that exclude each other, so that no packet is
    /// counted twice.
    fn ports(&mut self, matches: &Match) {
        let (source, destination) = (
            matches.source_port.as_ref(),
            matches.destination_port.as_ref(),
        );
        let Some(either) = &matches.rare.port else {
            self.field(Field::SourcePort, source);
            self.field(Field::DestinationPort, destination);
            return;
        };
        let all = IntervalSet::full(0xffff);
        let sources = source.unwrap_or(&all);
        let in_source = (sources.intersection(either), destination.cloned());
        let in_destination = (
            sources.difference(either).intersection(&all),
            Some(destination.unwrap_or(&all).intersection(either)),
        );
        let mut branches = Vec::new();
        for (source, destination) in [in_source, in_destination] {
            let Some(mut branch) = membership(Field::SourcePort, &source).map(|test| vec![test])
            else {
                continue;
            };
            if let Some(destination) = destination {
                match membership(Field::DestinationPort, &destination) {
                    Some(test) => branch.push(test),
                    None => continue,
                }
            }
            branches.push(branch);
        }
        self.and_one_of(&branches);
    }

    /// TCP flags, read raw: nft 1.0.6 miscompiles and cannot list sets of its own `tcp flags`.
    fn tcp_flags(&mut self, flags: &MaskedValues) {
        let field = if flags.mask() == 0 || flags.mask() > 0xff || flags.values().len() > 1 {
            Field::TcpOffsetAndFlags
        } else {
            Field::TcpFlags
        };
        self.masked(field, flags);
    }

    /// The field, masked, must be one of the values.
    fn masked(&mut self, field: Field, wanted: &MaskedValues) {
        let mask = u128::from(wanted.mask());
        let all_but_one = (1usize << wanted.mask().count_ones()) - 1;
        match wanted.values() {
            [] => self.nothing(),
            [_] if mask == 0 => self.and(Statement::Match(field, Test::Any)),
            [value] => {
                let value = u128::from(*value);
                self.and(Statement::Match(field, Test::Masked { mask, value }));
            }
            values if values.len() == all_but_one && mask != TCP_FLAGS => {
                let missing = MaskedValues::from_predicate(wanted.mask(), |v| !wanted.contains(v));
                let value = missing.values().first().copied().map_or(0, u128::from);
                self.and(Statement::Match(field, Test::NotMasked { mask, value }));
            }
            values => self.and(Statement::Match(field, Test::for_masked(mask, values))),
        }
    }

    /// Length of the whole packet. IPv6 counts without its header, and an IPv6 jumbogram (payload
    /// length 0, first header Hop-by-Hop) has no length that could match.
    fn packet_length(&mut self, family: Family, length: &IntervalSet) {
        if family == Family::Ipv4 {
            if !length.is_full(0xffff) {
                self.field(Field::Ipv4Length, Some(length));
            }
            return;
        }
        let shifted = length
            .ranges()
            .iter()
            .filter(|(_, last)| *last >= IPV6_HEADER_LEN)
            .map(|(first, last)| {
                (
                    first.saturating_sub(IPV6_HEADER_LEN),
                    last - IPV6_HEADER_LEN,
                )
            });
        let payload = IntervalSet::from_ranges(shifted).intersection(&IntervalSet::full(0xffff));
        let mut branches = Vec::new();
        let beyond_zero = payload.difference(&IntervalSet::single(0));
        branches.extend(membership(Field::Ipv6PayloadLength, &beyond_zero).map(|test| vec![test]));
        if payload.contains(0) {
            branches.push(vec![
                Statement::Match(Field::Ipv6PayloadLength, Test::Is(0)),
                Statement::Match(Field::Ipv6NextHeader, Test::IsNot(0)),
            ]);
        }
        self.and_one_of(&branches);
    }

    /// Kinds of fragments: of later ones, or of all others.
    fn fragment(&mut self, family: Family, fragment: FragmentSet, later: bool) {
        let kind = |more: bool| match (later, more) {
            (false, false) => FragmentKind::Whole,
            (false, true) => FragmentKind::First,
            (true, true) => FragmentKind::Middle,
            (true, false) => FragmentKind::Last,
        };
        if family == Family::Ipv4 {
            let (more, dont) = (0x2000, 0x4000);
            let wanted = MaskedValues::from_predicate(more | dont, |bits| {
                fragment.contains(kind(bits & more != 0), bits & dont != 0)
            });
            if wanted.mask() != 0 || wanted.values().is_empty() {
                self.masked(Field::Ipv4Fragment, &wanted);
            }
            return;
        }
        let more_is = |more: u128| Statement::Match(Field::MoreFragments, Test::Is(more));
        let (last, more) = (
            fragment.contains(kind(false), false),
            fragment.contains(kind(true), false),
        );
        match (last, more, later) {
            (true, true, _) => {}
            (false, false, _) => self.nothing(),
            (false, true, _) => self.and(more_is(1)),
            (true, false, true) => self.and(more_is(0)),
            (true, false, false) => self.and_one_of(&[
                vec![Statement::Match(Field::FragmentHeader, Test::Is(0))],
                vec![more_is(0)],
            ]),
        }
    }
}

/// Conditions that exclude each other: one of them holds for a packet that has come in by one of the interfaces.
fn came_in_by(patterns: &[InterfacePattern]) -> Vec<Vec<Statement>> {
    let is_covered = |name: &str, prefix: &str| match prefix {
        "" => name != "lo",
        prefix => name.starts_with(prefix),
    };
    let (mut exact, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
    for pattern in patterns {
        match pattern.split() {
            (name, false) => exact.insert(name),
            (prefix, true) => prefixes.insert(prefix),
        };
    }
    // Those that another pattern includes are not said again.
    exact.retain(|name| !prefixes.iter().any(|prefix| is_covered(name, prefix)));
    let all = prefixes.clone();
    let mut named = all.iter().filter(|prefix| !prefix.is_empty());
    if all.contains("") && named.any(|prefix| "lo".starts_with(prefix)) {
        exact.insert("lo");
    }
    prefixes.retain(|name| {
        let mut others = all.iter().filter(|prefix| *prefix != name);
        !others.any(|prefix| name.starts_with(prefix))
    });
    let mut tests = Vec::new();
    match Vec::from_iter(exact).as_slice() {
        [] => {}
        [only] => tests.push(InterfaceTest::Is((*only).into())),
        names => {
            let names = names.iter().map(|name| (*name).into());
            tests.push(InterfaceTest::In(names.collect()));
        }
    }
    tests.extend(prefixes.into_iter().map(|prefix| match prefix {
        "" => InterfaceTest::IsNot("lo".into()),
        prefix => InterfaceTest::StartsWith(prefix.into()),
    }));
    let condition = |test| vec![Statement::Interface(test)];
    tests.into_iter().map(condition).collect()
}

/// The protocols of packets that can match: those that the match wants, and that have the fields that it looks at.
fn protocols(family: Family, matches: &Match) -> IntervalSet {
    let mut allowed = matches.protocol.clone().unwrap_or(IntervalSet::full(255));
    allowed = allowed.intersection(&IntervalSet::full(255));
    if family == Family::Ipv6 {
        allowed = allowed.difference(&IntervalSet::from_ranges(NO_UPPER_LAYER));
    }
    let ports = with_ports();
    let icmp = IntervalSet::single(match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 58,
    });
    let needs = [
        (matches.rare.port.is_some(), &ports),
        (matches.source_port.is_some(), &ports),
        (matches.destination_port.is_some(), &ports),
        (matches.rare.icmp_type.is_some(), &icmp),
        (matches.rare.icmp_code.is_some(), &icmp),
        (matches.rare.tcp_flags.is_some(), &IntervalSet::single(TCP)),
    ];
    for (_, protocols) in needs.iter().filter(|(needed, _)| *needed) {
        allowed = allowed.intersection(protocols);
    }
    allowed
}

/// The protocols that have ports.
fn with_ports() -> IntervalSet {
    IntervalSet::from_ranges([(TCP, TCP), (UDP, UDP)])
}

/// The statement that a field exists and is in the set; `None` when the set is empty.
fn membership(field: Field, set: &IntervalSet) -> Option<Statement> {
    let maximum = u32::try_from((1u64 << field.bits()) - 1).ok()?;
    let set = set.intersection(&IntervalSet::full(maximum));
    if set.is_empty() {
        None
    } else if set.is_full(maximum) {
        Some(Statement::Match(field, Test::Any))
    } else {
        Some(Statement::Match(field, Test::for_set(&set)))
    }
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
