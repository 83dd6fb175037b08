//! From a [`Rule`] to nft rules. Pure.
//!
//! A rule becomes the nft rules of one or more *classes*: TCP, UDP, other protocols, and later
//! fragments. The frame of the table sends later fragments to lists of their own, since the kernel
//! reads whatever stands in their payload as if it were a transport header. The others are told
//! apart by their protocol, because most rules are about one, and packets of another need not meet them.

use std::collections::BTreeSet;

use super::expression::Verdict;
use super::field::{Field, Test};
use super::key::Key;
use super::layout::PortProtocol;
use super::limit::{Bucket, Enforcement};
use super::object::NftRule;
use super::section::Side;
use super::statement::{InterfaceTest, ScratchMark, Statement, implies_family};
use crate::desired::{InterfacePattern, Sample};
use crate::interval::IntervalSet;
use crate::routing::Mark;
use crate::rule::{
    Action, AddressPattern, Family, FragmentKind, FragmentSet, LimitUnit, MaskedValues, Match, Rule,
};

/// The protocol number of TCP.
const TCP: u32 = 6;
/// The protocol number of UDP.
const UDP: u32 = 17;
/// The chain that applies the chosen DSCP at the end of evaluation.
pub(super) const FINISH_CHAIN: &str = "finish";
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

/// What a rule's nft rules depend on besides the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// Where samples go.
    pub(super) sample: Sample,
    /// Set while a marking rule lets evaluation go on: then marks are collected and written at the
    /// end.
    pub(super) collect_marks: Option<ScratchMark>,
}

/// What few rules do to packets that pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RareTail {
    /// What sends packets elsewhere when they are routed.
    pub(super) redirect: Option<Mark>,
    /// What sends a copy elsewhere behind this table.
    pub(super) copy: Option<Mark>,
}

/// How nft rules find the counter and the limits of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Objects {
    /// They are those of one rule.
    Named {
        /// Its counter.
        counter: String,
        /// Its limits, in the order in which they are charged.
        limits: Vec<String>,
        /// What few rules do.
        rare: RareTail,
    },
    /// Maps have them for the keys of many rules.
    Mapped {
        /// What is looked up.
        key: Key,
        /// The map of counters.
        counters: String,
        /// The maps of limits, in the order in which they are charged.
        limits: Vec<String>,
    },
    /// The same for some of the rules, whose counters have counted the packet already.
    Chosen {
        /// What is looked up.
        key: Key,
        /// The set or map that has their keys; `None` for all that are left.
        members: Option<String>,
        /// The maps of limits, in the order in which they are charged.
        limits: Vec<String>,
    },
}

impl Objects {
    /// Counts the packet, or finds the rules by its key, or both.
    fn count(&self) -> Option<Statement> {
        match self {
            Self::Named { counter, .. } => Some(Statement::Counter(counter.clone())),
            Self::Mapped { key, counters, .. } => {
                Some(Statement::CounterIn(key.clone(), counters.clone()))
            }
            Self::Chosen { .. } => self.condition(),
        }
    }

    /// Goes on if the packet is over the limit, for each limit.
    fn over_limits(&self) -> Vec<Statement> {
        match self {
            Self::Named { limits, .. } => limits
                .iter()
                .map(|limit| Statement::OverLimit(limit.clone()))
                .collect(),
            Self::Mapped { key, limits, .. } | Self::Chosen { key, limits, .. } => limits
                .iter()
                .map(|limits| Statement::OverLimitIn(key.clone(), limits.clone()))
                .collect(),
        }
    }

    /// The marks that copy packets and redirect them, each unless an earlier rule has done it.
    fn sends(&self) -> Vec<[Statement; 2]> {
        let Self::Named { rare, .. } = self else {
            return Vec::new();
        };
        let set = |&Mark { mask, value }: &Mark| {
            [
                Statement::MarkIs { mask, value: 0 },
                Statement::SetMark { mask, value },
            ]
        };
        rare.copy.iter().chain(&rare.redirect).map(set).collect()
    }

    /// The condition that there is a rule for the packet's key.
    fn condition(&self) -> Option<Statement> {
        match self {
            Self::Named { .. } => None,
            Self::Mapped { key, counters, .. } => {
                Some(Statement::In(key.clone(), counters.clone()))
            }
            Self::Chosen { key, members, .. } => {
                let members = members.clone()?;
                Some(Statement::In(key.clone(), members))
            }
        }
    }
}

/// The token buckets that a rule needs; `None` when it drops everything.
pub(super) fn buckets(action: &Action) -> Option<Vec<Bucket>> {
    if action.discard {
        return None;
    }
    let mut buckets = Vec::new();
    for limit in &action.limits {
        match Enforcement::of(limit) {
            Enforcement::Bucket(bucket) => buckets.push(bucket),
            Enforcement::Nothing => return None,
            Enforcement::Everything => {}
        }
    }
    Some(buckets)
}

/// True when the rule needs marks to be collected and written at the end of evaluation.
pub(super) fn collects_marks(action: &Action) -> bool {
    action.mark_dscp.is_some() && action.continue_evaluation && buckets(action).is_some()
}

/// The nft rules of `rule` for packets of which something is known. Empty when none of them matches.
pub(super) fn compile(
    rule: &Rule,
    known: Known,
    context: &Context,
    objects: &Objects,
) -> Vec<NftRule> {
    let tails = tails(rule.family, &rule.action, context, objects);
    product(
        rule,
        &Alternatives::of(rule.family, &rule.matches, known).0,
        &tails,
    )
}

/// The same, with what happens to packets that match in a chain of its own: the nft rules that lead there, and those of
/// the chain.
pub(super) fn compile_apart(
    rule: &Rule,
    known: Known,
    context: &Context,
    objects: &Objects,
    chain: &str,
) -> (Vec<NftRule>, Vec<NftRule>) {
    let jump = [vec![Statement::Verdict(Verdict::Jump(chain.into()))]];
    let tails = tails(rule.family, &rule.action, context, objects);
    let conditions = Alternatives::of(rule.family, &rule.matches, known).0;
    let always = [vec![Statement::Family(rule.family)]];
    (
        product(rule, &conditions, &jump),
        product(rule, &always, &tails),
    )
}

/// The nft rules of a rule: each of the tails under each of the conditions.
fn product(rule: &Rule, conditions: &[Vec<Statement>], tails: &[Vec<Statement>]) -> Vec<NftRule> {
    let both = |condition: &Vec<Statement>, tail: &Vec<Statement>| {
        let mut statements: Vec<Statement> = condition.iter().chain(tail).cloned().collect();
        // The list has packets of one family only: said again only where nft could not name a field else.
        if !implies_family(&statements, rule.family) {
            statements.retain(|statement| !matches!(statement, Statement::Family(_)));
        }
        NftRule {
            statements,
            comment: Some(rule.label.to_string().into()),
            rule: Some(rule.id),
        }
    };
    conditions
        .iter()
        .flat_map(|condition| tails.iter().map(move |tail| both(condition, tail)))
        .collect()
}

/// Conditions of which a packet fulfils one, and at most one, if it is in the class of its fragment and matches.
pub(super) fn conditions(family: Family, matches: &Match) -> Vec<Vec<Statement>> {
    Alternatives::of(family, matches, Known::default()).0
}

/// True when some packet of a class matches.
pub(super) fn can_match(rule: &Rule, class: Class) -> bool {
    !Alternatives::of(rule.family, &rule.matches, class.into())
        .0
        .is_empty()
}

/// The nft rules for all rules of a family that are nothing but keys, the same in all of them, and
/// whose actions differ in rates only. `objects` are not those of one rule; `condition` holds for all of them.
pub(super) fn compile_keyed(
    family: Family,
    condition: &[Statement],
    action: &Action,
    context: &Context,
    objects: &Objects,
) -> Vec<NftRule> {
    let rule = |mut tail: Vec<Statement>| {
        // A tail that counts has looked the key up.
        if !matches!(
            tail.first(),
            Some(Statement::CounterIn(..) | Statement::In(..))
        ) {
            tail.splice(0..0, objects.condition());
        }
        NftRule::of_frame([condition.to_vec(), tail].concat(), "")
    };
    tails(family, action, context, objects)
        .into_iter()
        .filter(|tail| !matches!(tail.as_slice(), [Statement::In(..)]))
        .map(rule)
        .collect()
}

/// What happens to a packet that matches: one list for each nft rule that the same condition must
/// stand in.
fn tails(
    family: Family,
    action: &Action,
    context: &Context,
    objects: &Objects,
) -> Vec<Vec<Statement>> {
    let mut tails = Vec::new();
    let mut tail = Vec::new();
    if action.sample {
        let Sample {
            group,
            snap_length,
            one_in,
        } = context.sample;
        let log = Statement::Log { group, snap_length };
        if one_in > 1 {
            tails.push(vec![Statement::OneIn(one_in), log]);
        } else {
            tail.push(log);
        }
    }
    tail.splice(0..0, objects.count());
    if buckets(action).is_none() {
        tail.push(Statement::Verdict(Verdict::Drop));
        tails.push(tail);
        return tails;
    }
    for over_limit in objects.over_limits() {
        tail.push(over_limit);
        tail.push(Statement::Verdict(Verdict::Drop));
        tails.push(std::mem::take(&mut tail));
    }
    for send in objects.sends() {
        if !tail.is_empty() {
            tails.push(std::mem::take(&mut tail));
        }
        tails.push(send.into());
    }
    match (action.mark_dscp, context.collect_marks) {
        (Some(dscp), Some(mark)) => {
            if !tail.is_empty() {
                tails.push(std::mem::take(&mut tail));
            }
            tails.push(vec![
                Statement::MarkIs {
                    mask: mark.chosen(),
                    value: 0,
                },
                Statement::SetMark {
                    mask: mark.mask(),
                    value: mark.value(dscp),
                },
            ]);
        }
        // The rule ends evaluation, so that nothing looks at the packet after the write.
        (Some(dscp), None) => tail.push(Statement::SetDscp(family, dscp)),
        (None, _) => {}
    }
    if !action.continue_evaluation {
        tail.push(Statement::Verdict(match context.collect_marks {
            Some(_) => Verdict::Goto(FINISH_CHAIN.into()),
            None => Verdict::Accept,
        }));
    }
    if !tail.is_empty() {
        tails.push(tail);
    }
    tails
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

/// Says what keeps the rule from being expressed exactly.
pub(super) fn check(rule: &Rule) -> Result<(), String> {
    if let Some(dscp) = rule.action.mark_dscp.filter(|dscp| *dscp > 63) {
        return Err(format!(
            "DSCP {dscp} does not fit the six bits of the field"
        ));
    }
    for limit in &rule.action.limits {
        if !limit.rate_per_sec.is_finite() || limit.rate_per_sec <= 0.0 {
            return Err(format!(
                "a rate of {} cannot be limited to",
                limit.rate_per_sec
            ));
        }
    }
    for unit in [LimitUnit::Bytes, LimitUnit::Packets] {
        if rule
            .action
            .limits
            .iter()
            .filter(|limit| limit.unit == unit)
            .count()
            > 1
        {
            return Err("a rule can have one limit of each unit".into());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
