//! Units: rules of one tier whose match is the same key, in one map. Pure.
//!
//! Rules of one tier never match the same packet, so that no order among them matters: the packet's
//! key finds the one that matches, however many there are, and whatever they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::{Context, Objects, buckets, compile_keyed};
use super::condition::Class;
use super::expression::{ObjectKind, Verdict};
use super::field::{Field, Test};
use super::installed::Installed;
use super::key::{Key, KeyValue};
use super::layout::PortProtocol;
use super::object::{Element, NamedSet, NftRule, Target, Values};
use super::section::{Section, Side, narrow_length};
use super::statement::Statement;
use super::structure::Chain;
use crate::rule::{Action, Family, LimitUnit, OrderKey, Rare};

/// What a rule does, but for its rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    discard: bool,
    limits: Vec<LimitUnit>,
    mark_dscp: Option<u8>,
    continue_evaluation: bool,
    logged: bool,
}

impl Kind {
    /// The kind of an action.
    pub(super) fn of(action: &Action) -> Self {
        let logged = action.sample;
        match buckets(action) {
            None => Self {
                discard: true,
                logged,
                ..Self::default()
            },
            Some(buckets) => Self {
                discard: false,
                limits: buckets.iter().map(|bucket| bucket.measures).collect(),
                mark_dscp: action.mark_dscp,
                continue_evaluation: action.continue_evaluation,
                logged,
            },
        }
    }

    /// An action of this kind, without its rates.
    fn action(&self) -> Action {
        Action {
            discard: self.discard,
            limits: Vec::new(),
            mark_dscp: self.mark_dscp,
            rare: Rare::default(),
            sample: self.logged,
            continue_evaluation: self.continue_evaluation,
        }
    }

    /// True when rules of the kind only drop packets: those that are of no other kind.
    fn is_plain(&self) -> bool {
        self.discard && !self.logged
    }

    /// Words for it, in the names of sets and maps.
    fn words(&self) -> String {
        let mut words = match (self.discard, self.limits.as_slice()) {
            (true, _) => String::from("discard"),
            (false, []) => String::from("accept"),
            (false, [unit]) => unit.name().into(),
            (false, _) => String::from("limits"),
        };
        if let Some(dscp) = self.mark_dscp {
            words += &format!("-mark-{dscp}");
        }
        if self.continue_evaluation {
            words += "-continue";
        }
        if self.logged {
            words += "-sample";
        }
        words
    }
}

/// What packets are told apart by before they meet units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    /// A source that rules for the destination are about.
    Source,
    /// A destination port that some unit has.
    DestinationPort,
    /// A source port that some unit has.
    SourcePort,
}

impl Feature {
    /// All of them, in the order in which they are looked up.
    pub(super) const ALL: [Feature; 3] = [
        Feature::Source,
        Feature::DestinationPort,
        Feature::SourcePort,
    ];
}

/// What tells units apart, in the order in which packets meet them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnitKey {
    /// Which packets.
    pub(super) family: Family,
    /// Where it is evaluated.
    pub(super) section: Section,
    /// The rules' tier.
    pub(super) tier: OrderKey,
    /// The protocol, as far as it is no field of the key.
    pub(super) protocol: Option<u8>,
    /// What is looked up.
    pub(super) key: Key,
}

/// A rule's place in a unit.
#[derive(Clone, Debug)]
pub(super) struct UnitPlace {
    /// The unit.
    pub(super) unit: UnitKey,
    /// What the rule does there.
    pub(super) kind: Kind,
    /// What the rule's packets have there.
    value: KeyValue,
}

impl UnitPlace {
    /// The place of a rule in a section; `None` when its match is more than a key, or its action more than a kind.
    pub(super) fn of(section: Section, installed: &Installed) -> Option<Self> {
        if installed.wants_a_list() {
            return None;
        }
        let value = installed.key_value()?;
        let rule = &installed.rule;
        let unit = UnitKey {
            family: rule.family,
            section,
            tier: rule.tier.clone(),
            protocol: value.protocol,
            key: value.key.clone(),
        };
        let kind = Kind::of(&rule.action);
        Some(Self { unit, kind, value })
    }

    /// The rule's elements in the unit with this id, each with its set or map.
    pub(super) fn elements(&self, id: u64, installed: &Installed) -> Vec<(NamedSet, Element)> {
        let rule = &installed.rule;
        let element = |target, comment| Element {
            value: self.value.clone(),
            target,
            comment,
            rule: Some(rule.id),
        };
        let counter = Target::Object(installed.counter());
        let counter = element(Some(counter), Some(rule.label.clone()));
        let mut elements = vec![(self.unit.counters(id), counter)];
        let limits = installed.limits().into_iter();
        let limits = limits.map(|limit| element(Some(Target::Object(limit)), None));
        elements.extend(self.unit.limits(id, &self.kind).into_iter().zip(limits));
        let members = self.unit.members(id, &self.kind);
        elements.extend(members.map(|set| (set, element(None, None))));
        elements
    }
}

/// A unit that is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Makes the names of its maps unique.
    pub(super) id: u64,
    /// Rules in it by what they do; none are 0.
    pub(super) kinds: Arc<BTreeMap<Kind, usize>>,
}

impl Unit {
    /// Counts a rule that comes or goes.
    pub(super) fn count(&mut self, kind: &Kind, comes: bool) {
        let kinds = Arc::make_mut(&mut self.kinds);
        let before = kinds.get(kind).copied().unwrap_or(0);
        match if comes { before + 1 } else { before - 1 } {
            0 => drop(kinds.remove(kind)),
            after => drop(kinds.insert(kind.clone(), after)),
        }
    }

    /// The chain of its nft rules, for those that jump there.
    pub(super) fn chain(&self, unit: &UnitKey) -> String {
        format!("{}-{}", unit.family, self.id)
    }

    /// Its nft rules; when its rules do several kinds of things also the chain for those that match. `in_force`
    /// gives the sets and maps the names that they have in the table.
    pub(super) fn compile(
        &self,
        unit: &UnitKey,
        condition: &[Statement],
        context: &Context,
        in_force: &impl Fn(NamedSet) -> String,
    ) -> (Vec<NftRule>, Option<Chain>) {
        let counters = in_force(unit.counters(self.id));
        let limits = |kind: &Kind| {
            let limits = unit.limits(self.id, kind).into_iter();
            limits.map(in_force).collect()
        };
        let compile = |condition: &[Statement], kind: &Kind, objects| {
            compile_keyed(unit.family, condition, &kind.action(), context, &objects)
        };
        if self.kinds.len() == 1
            && let Some(kind) = self.kinds.keys().next()
        {
            let objects = Objects::Mapped {
                key: unit.key.clone(),
                counters,
                limits: limits(kind),
            };
            return (compile(condition, kind, objects), None);
        }
        let name = format!("{}-matched", self.chain(unit));
        let mut chain = Vec::new();
        let family = [Statement::Family(unit.family)];
        let kinds = self.kinds.keys();
        let (plain, others): (Vec<_>, Vec<_>) = kinds.partition(|kind| kind.is_plain());
        for kind in others.into_iter().chain(plain) {
            let limits: Vec<String> = limits(kind);
            let members = unit.members(self.id, kind).map(in_force);
            let members = members.or_else(|| limits.first().cloned());
            let objects = Objects::Chosen {
                key: unit.key.clone(),
                members: members.clone(),
                limits,
            };
            chain.extend(compile(&family, kind, objects));
            if let Some(members) = members.filter(|_| kind.continue_evaluation) {
                let found = Statement::In(unit.key.clone(), members);
                let back = Statement::Verdict(Verdict::Return);
                let statements = vec![family[0].clone(), found, back];
                chain.push(NftRule::of_frame(statements, ""));
            }
        }
        let mut rule = condition.to_vec();
        rule.push(Statement::CounterIn(unit.key.clone(), counters));
        rule.push(Statement::Verdict(Verdict::Jump(name.clone())));
        (vec![NftRule::of_frame(rule, "")], Some((name, chain)))
    }
}

impl UnitKey {
    /// The least key of a section.
    pub(super) fn least(family: Family, section: Section) -> Self {
        Self {
            family,
            section,
            tier: OrderKey::default(),
            protocol: None,
            key: Key::default(),
        }
    }

    /// What its packets are in a class, besides what is looked up.
    pub(super) fn condition(&self, class: Class) -> Vec<Statement> {
        let mut condition = vec![Statement::Family(self.family)];
        if class.protocol().is_none() {
            condition.extend(self.protocol_condition());
        }
        condition
    }

    /// The protocol that its packets have.
    fn protocol_condition(&self) -> Option<Statement> {
        let needs_header = self.key.needs_transport_header();
        match self.protocol {
            Some(protocol) => {
                let field = match self.family {
                    Family::Ipv4 if !needs_header => Field::Ipv4Protocol,
                    Family::Ipv4 | Family::Ipv6 => Field::TransportProtocol,
                };
                Some(Statement::Match(field, Test::Is(protocol.into())))
            }
            None => {
                needs_header.then_some(Statement::Match(Field::TransportProtocol, Test::HasPorts))
            }
        }
    }

    /// The map of counters of the unit with this id.
    fn counters(&self, id: u64) -> NamedSet {
        self.set(id, "counters", Some(Values::Objects(ObjectKind::Counter)))
    }

    /// The maps of limits of a kind, in the order in which they are charged.
    fn limits(&self, id: u64, kind: &Kind) -> Vec<NamedSet> {
        let map = |limit: &LimitUnit| {
            let words = kind.words();
            let words = match (kind.limits.len(), limit) {
                (1, _) => words,
                (_, unit) => format!("{words}-by-{}", unit.name()),
            };
            self.set(id, &words, Some(Values::Objects(ObjectKind::Limit)))
        };
        kind.limits.iter().map(map).collect()
    }

    /// The set of keys of rules of a kind; `None` when a map has them, or they are what is left.
    fn members(&self, id: u64, kind: &Kind) -> Option<NamedSet> {
        let is_known = kind.is_plain() || !kind.limits.is_empty();
        (!is_known).then(|| self.set(id, &kind.words(), None))
    }

    fn set(&self, id: u64, words: &str, values: Option<Values>) -> NamedSet {
        NamedSet {
            name: format!("{}-{id}-{words}", self.family),
            key: self.key.clone(),
            values,
            size: None,
        }
    }

    /// True when its prefixes are longer than the nodes of its section.
    pub(super) fn is_longer(&self) -> bool {
        let address = self.section.side().field(self.family);
        self.key.prefix_length(address) > self.section.node_length(self.family)
    }

    /// True when its sources are narrow, and looked up together with a node.
    pub(super) fn is_narrow(&self) -> bool {
        let length = self.key.prefix_length(Side::From.field(self.family));
        self.section.side() == Side::To
            && !self.is_longer()
            && length.is_some_and(|length| length >= narrow_length(self.family))
    }

    /// Whether any packet of a class can match.
    pub(super) fn is_in(&self, class: Class) -> bool {
        match class {
            Class::Tcp => PortProtocol::of(self.protocol).contains(&PortProtocol::Tcp),
            Class::Udp => PortProtocol::of(self.protocol).contains(&PortProtocol::Udp),
            Class::Rest => !self.is_of_ports(),
            Class::Later => !self.key.needs_transport_header(),
        }
    }

    /// True when only packets of a protocol with ports match.
    pub(super) fn is_of_ports(&self) -> bool {
        self.key.needs_transport_header() || PortProtocol::of(self.protocol).len() == 1
    }

    /// True when packets are told apart by what it looks up: by ports, or near ones by source and destination together.
    pub(super) fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::DestinationPort => self.key.has(Field::DestinationPort),
            Feature::SourcePort => self.key.has(Field::SourcePort),
            Feature::Source => {
                self.section.is_near()
                    && self.section.side() == Side::To
                    && self.key.has(Side::From.field(self.family))
            }
        }
    }
}
