//! Units: rules of one tier that do the same kind of thing, in one map. Pure.
//!
//! Rules of one tier never match the same packet, so that no order among them matters: the packet's
//! key finds the one that matches, however many there are.

use super::compile::{Class, Context, Objects, buckets, compile_keyed};
use super::expression::ObjectKind;
use super::installed::Installed;
use super::key::{Key, KeyValue};
use super::object::{Element, NamedSet, NftRule, Target, Values};
use super::section::{Section, Side, source_level};
use crate::rule::{Action, Family, LimitUnit, OrderKey};

/// What a rule does, but for its rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    discard: bool,
    limits: Vec<LimitUnit>,
    mark_dscp: Option<u8>,
    sample: bool,
    continue_evaluation: bool,
}

impl Kind {
    /// The kind of an action.
    fn of(action: &Action) -> Self {
        let sample = action.sample;
        match buckets(action) {
            None => Self {
                discard: true,
                limits: Vec::new(),
                mark_dscp: None,
                sample,
                continue_evaluation: false,
            },
            Some(buckets) => Self {
                discard: false,
                limits: buckets.iter().map(|bucket| bucket.measures).collect(),
                mark_dscp: action.mark_dscp,
                sample,
                continue_evaluation: action.continue_evaluation,
            },
        }
    }

    /// An action of this kind, without its rates.
    fn action(&self) -> Action {
        Action {
            discard: self.discard,
            limits: Vec::new(),
            mark_dscp: self.mark_dscp,
            sample: self.sample,
            continue_evaluation: self.continue_evaluation,
        }
    }

    /// One word for it.
    fn word(&self) -> &'static str {
        if self.discard {
            "discard"
        } else if !self.limits.is_empty() {
            "limit"
        } else if self.mark_dscp.is_some() {
            "mark"
        } else if self.continue_evaluation {
            "count"
        } else {
            "accept"
        }
    }
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
    /// What is looked up.
    key: Key,
    /// What the rules do.
    kind: Kind,
}

/// A rule's place in a unit.
#[derive(Clone, Debug)]
pub(super) struct UnitPlace {
    /// The unit.
    pub(super) unit: UnitKey,
    /// What the rule's packets have there.
    value: KeyValue,
}

impl UnitPlace {
    /// The place of a rule in a section; `None` when its match is more than a key.
    pub(super) fn of(section: Section, installed: &Installed) -> Option<Self> {
        let value = installed.key_value()?;
        let rule = &installed.rule;
        let unit = UnitKey {
            family: rule.family,
            section,
            tier: rule.tier.clone(),
            key: value.key.clone(),
            kind: Kind::of(&rule.action),
        };
        Some(Self { unit, value })
    }

    /// The rule's elements: one for each of [`Unit::maps`].
    pub(super) fn elements(&self, installed: &Installed) -> Vec<Element> {
        let objects = std::iter::once(installed.counter()).chain(installed.limits());
        let element = |object| Element {
            value: self.value.clone(),
            target: Some(Target::Object(object)),
            comment: Some(installed.rule.label.clone()),
            rule: Some(installed.rule.id),
        };
        objects.map(element).collect()
    }
}

/// A unit that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Makes the names of its maps unique.
    pub(super) id: u64,
    /// Rules in it; never 0.
    pub(super) rules: usize,
}

impl Unit {
    /// Its maps: of counters, then of limits in the order in which they are charged.
    pub(super) fn maps(&self, unit: &UnitKey) -> Vec<NamedSet> {
        let name = format!("{}-{}-{}", unit.family, self.id, unit.kind.word());
        let limits = unit.kind.limits.iter().map(|limit| {
            let name = match limit {
                LimitUnit::Bytes => format!("{name}-bytes"),
                LimitUnit::Packets => format!("{name}-packets"),
            };
            (name, ObjectKind::Limit)
        });
        let counters = (name.clone(), ObjectKind::Counter);
        std::iter::once(counters)
            .chain(limits)
            .map(|(name, objects)| NamedSet {
                name,
                key: unit.key.clone(),
                values: Some(Values::Objects(objects)),
            })
            .collect()
    }

    /// Its nft rules.
    pub(super) fn compile(&self, unit: &UnitKey, context: &Context) -> Vec<NftRule> {
        let mut maps = self.maps(unit).into_iter().map(|map| map.name);
        let objects = Objects::Mapped {
            key: unit.key.clone(),
            counters: maps.next().expect("the first map has the counters"),
            limits: maps.collect(),
        };
        compile_keyed(
            unit.family,
            &unit.key,
            &unit.kind.action(),
            context,
            &objects,
        )
    }
}

impl UnitKey {
    /// The least key of a section.
    pub(super) fn least(family: Family, section: Section) -> Self {
        Self {
            family,
            section,
            tier: OrderKey::default(),
            key: Key::default(),
            kind: Kind::default(),
        }
    }

    /// True when its prefixes are longer than the nodes of its section.
    pub(super) fn is_longer(&self) -> bool {
        let address = self.section.side().field(self.family);
        self.key.prefix_length(address) > self.section.node_length(self.family)
    }

    /// The level by which its sources are looked up together with the node.
    pub(super) fn source_level(&self) -> Option<u8> {
        if self.section.side() != Side::To || self.is_longer() {
            return None;
        }
        let length = self.key.prefix_length(Side::From.field(self.family))?;
        source_level(self.family, length)
    }

    /// Whether any packet of a class can match.
    pub(super) fn is_in(&self, class: Class) -> bool {
        class == Class::Leading || !self.key.needs_transport_header()
    }
}
