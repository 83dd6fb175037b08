//! The chains that lead packets to units and lists. Pure.
//!
//! Most packets match no rule, and what they look up decides what a packet costs. So TCP and UDP are told apart from the
//! rest first. Before the near sections stands a lookup of the wider prefix that they all lie in, before the inner ones
//! of sources one more, then one of the source, if rules for that prefix are about it, and one of each port among those
//! that any unit there has: what is left is a *walk* through the sections with the units that may still match.

use super::chunk::Scope;
use super::compile::FINISH_CHAIN;
use super::condition::Class;
use super::expression::Verdict;
use super::field::{Field, Test};
use super::frame::class_chain;
use super::layout::{Guard, Layout, listed_map};
use super::object::{NamedSet, NftRule};
use super::section::{Section, Side};
use super::statement::{Statement, implies_family};
use super::unit::{Feature, Unit, UnitKey};
use crate::rule::Family;

/// A chain's name and its rules.
pub(super) type Chain = (String, Vec<NftRule>);

/// Lookups in a section that are worth another one before them that tells whether the packet has a node there.
const WORTH_A_GUARD: usize = 3;
/// Units that are worth it to look first for what they have in common.
const WORTH_A_TEST: usize = 2;

/// The classes of packets that may have a transport header.
const LEADING: [Class; 3] = [Class::Tcp, Class::Udp, Class::Rest];

/// Packets that go through sections together.
#[derive(Clone, Debug)]
struct Walk {
    family: Family,
    class: Class,
    /// How the names of its chains begin.
    name: String,
    /// What the packets may have that units look up.
    features: Vec<Feature>,
}

impl Walk {
    /// All packets of a class on their way through a group of sections.
    fn all(family: Family, class: Class, head: Section) -> Self {
        let class_name = class_chain(family, class);
        Self {
            family,
            class,
            name: match head.is_near() {
                true => format!("{class_name}-{}", head.side().name()),
                false => format!("{class_name}-{}-walk", head.name(family)),
            },
            features: Feature::ALL.into(),
        }
    }

    /// Those of them that have a feature more, under a name that says so.
    fn with(&self, feature: Feature) -> Self {
        let suffix = match feature {
            Feature::Source => "from",
            Feature::DestinationPort => "dport",
            Feature::SourcePort => "sport",
        };
        let mut features = self.features.clone();
        features.push(feature);
        Self {
            name: format!("{}-{suffix}", self.name),
            features,
            ..self.clone()
        }
    }

    /// Those of them that have a source that rules are about, whatever else.
    fn with_source(&self) -> Self {
        Self {
            features: Feature::ALL.into(),
            ..self.with(Feature::Source)
        }
    }

    /// Whether any of the packets can match.
    fn may_match(&self, unit: &UnitKey) -> bool {
        let lacks = |feature| unit.has(feature) && !self.features.contains(&feature);
        unit.is_in(self.class) && !Feature::ALL.into_iter().any(lacks)
    }
}

/// The rule of a list that goes to the chain of a unit, for packets of a class that may match.
pub(super) fn jump_to_unit(unit: &UnitKey, class: Class, chain: &str) -> NftRule {
    let mut statements = unit.condition(class);
    if !implies_family(&statements, unit.family) {
        statements.remove(0);
    }
    if let Some(protocol) = class.protocol() {
        for (_, guard) in Guard::of_ports(&unit.key, protocol) {
            statements.extend(guard.set(unit.family, unit.section.head()).map(is_in));
        }
    }
    statements.push(Statement::Verdict(Verdict::Jump(chain.into())));
    NftRule::of_frame(statements, "")
}

/// A rule after which the next one has its turn.
fn coming_back(mut rule: NftRule) -> NftRule {
    if let Some(Statement::Verdict(verdict)) = rule.statements.last_mut()
        && let Verdict::Goto(chain) = verdict
    {
        *verdict = Verdict::Jump(std::mem::take(chain));
    }
    rule
}

/// Statements in a chain that only packets of the family enter: says so where nft names fields of the family only then.
fn within(family: Family, mut statements: Vec<Statement>) -> Vec<Statement> {
    if implies_family(&statements, family) {
        statements.insert(0, Statement::Family(family));
    }
    statements
}

/// The statement that a set has the packet's key.
fn is_in(set: NamedSet) -> Statement {
    Statement::In(set.key, set.name)
}

/// The rules that send TCP and UDP to chains of their own.
fn to_protocols(family: Family) -> Vec<NftRule> {
    let rule = |class: Class| {
        let protocol = class.protocol()?.number();
        let statements = vec![
            Statement::Match(Field::TransportProtocol, Test::Is(protocol.into())),
            Statement::Verdict(Verdict::Goto(class_chain(family, class).into())),
        ];
        Some(NftRule::of_frame(statements, ""))
    };
    Class::ALL.into_iter().filter_map(rule).collect()
}

impl Layout {
    /// All chains between the frame and the chunks, each after those that it refers to.
    pub(super) fn structure(&self) -> Vec<Chain> {
        let mut chains = self.unit_chains();
        chains.extend(self.class_chains());
        chains
    }

    /// The chain that ends evaluation, and those of units.
    pub(super) fn unit_chains(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        let finish = self.finish_rules();
        if !finish.is_empty() {
            chains.push((FINISH_CHAIN.into(), finish));
        }
        let context = self.context();
        for family in Family::ALL {
            for section in Side::ALL.into_iter().flat_map(Section::of_side) {
                let is_listed = Class::ALL
                    .iter()
                    .any(|class| self.has_lists(family, section, *class));
                for (key, unit) in self.units_of(family, section) {
                    let condition = [Statement::Family(family)];
                    let in_force = |set| self.sized(set).name;
                    let (rules, matched) = unit.compile(key, &condition, &context, &in_force);
                    chains.extend(matched);
                    chains.extend(is_listed.then(|| (unit.chain(key), rules)));
                }
            }
        }
        chains
    }

    /// The chains of the classes, and those that they need.
    pub(super) fn class_chains(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for family in Family::ALL {
            let splits = self.tells_protocols_apart(family);
            let near = self.only_group(family).filter(|_| splits);
            for class in Class::ALL {
                if class.protocol().is_some() && !splits {
                    continue;
                }
                let name = class_chain(family, class);
                let mut rules = Vec::new();
                if class.protocol().is_none()
                    && let Some(mark) = self.context().collect_marks
                {
                    let clear = Statement::SetMark {
                        mask: mark.mask(),
                        value: 0,
                    };
                    rules.push(NftRule::of_frame(vec![clear], "no DSCP chosen yet"));
                }
                let mut own = Vec::new();
                if class == Class::Rest && splits {
                    own.extend(to_protocols(family));
                }
                match near.filter(|_| class != Class::Later) {
                    // One lookup for all of them tells that a packet need not be told apart.
                    Some(head) => own.extend(self.group(family, class, head, &mut chains).1),
                    None => self.groups(family, class, &mut own, &mut chains),
                }
                if let (Some(head), Class::Rest) = (near, class) {
                    let behind = format!("{name}-{}", head.side().name());
                    rules.extend(self.guarded(Guard::Near, family, head, behind.clone()));
                    chains.push((behind, own));
                } else {
                    rules.extend(own);
                }
                if self.context().collect_marks.is_some() {
                    let goto = Statement::Verdict(Verdict::Goto(FINISH_CHAIN.into()));
                    rules.push(NftRule::of_frame(vec![goto], ""));
                }
                chains.push((name.into(), rules));
            }
        }
        chains
    }

    /// Appends what all groups of sections add to the chain of a class, and the chains that they need.
    fn groups(
        &self,
        family: Family,
        class: Class,
        rules: &mut Vec<NftRule>,
        chains: &mut Vec<Chain>,
    ) {
        for head in Side::ALL.into_iter().flat_map(Section::groups) {
            let (name, own) = self.group(family, class, head, chains);
            match own.as_slice() {
                [] => {}
                // One lookup needs no other before it.
                [only] => rules.push(coming_back(only.clone())),
                [_, _, ..] => {
                    match head.is_near() {
                        true => {
                            rules.extend(self.guarded(Guard::Near, family, head, name.clone()));
                        }
                        false => rules.push(NftRule::jump(name.clone())),
                    }
                    chains.push((name, own));
                }
            }
        }
    }

    /// The near sections of a side, if whole packets and first fragments meet no others, and no marks are written
    /// afterwards.
    fn only_group(&self, family: Family) -> Option<Section> {
        let has_rules = |head: &Section| {
            head.group().any(|section| {
                let is_listed = |class: &Class| self.has_lists(family, section, *class);
                self.units_of(family, section).next().is_some() || LEADING.iter().any(is_listed)
            })
        };
        let mut heads = Side::ALL.into_iter().flat_map(Section::groups);
        let only = heads.find(has_rules)?;
        let is_only = !heads.any(|head| has_rules(&head)) && self.context().collect_marks.is_none();
        Some(only).filter(|head| is_only && head.is_near())
    }

    /// True when there are rules that only packets of some protocols can match. Without a unit of them and without a
    /// list, the chain of the rest does for all.
    fn tells_protocols_apart(&self, family: Family) -> bool {
        Side::ALL
            .into_iter()
            .flat_map(Section::of_side)
            .any(|section| {
                let mut units = self.units_of(family, section);
                let is_listed = |class| self.has_lists(family, section, class);
                units.any(|(unit, _)| unit.is_of_ports()) || LEADING.into_iter().any(is_listed)
            })
    }

    /// What a group of sections adds to the chain of a class: the name for a chain of its rules, and the rules. Appends the
    /// chains that they need.
    fn group(
        &self,
        family: Family,
        class: Class,
        head: Section,
        chains: &mut Vec<Chain>,
    ) -> (String, Vec<NftRule>) {
        let all = Walk::all(family, class, head);
        let units = self.units_of_walk(&all, head);
        let is_worth_it = |feature: &Feature| {
            let of_feature = units.iter().filter(|unit| unit.has(*feature)).count();
            of_feature >= WORTH_A_TEST && Guard::of_feature(*feature, class).is_some()
        };
        let (tests, features): (Vec<Feature>, Vec<Feature>) =
            Feature::ALL.into_iter().partition(is_worth_it);
        let untested = Walk { features, ..all };
        let rules = self.tested(&untested, &tests, head, chains);
        (untested.name, rules)
    }

    /// The units of a group of sections that packets of a walk may match.
    fn units_of_walk(&self, walk: &Walk, head: Section) -> Vec<&UnitKey> {
        head.group()
            .flat_map(|section| self.units_of(walk.family, section))
            .map(|(unit, _)| unit)
            .filter(|unit| walk.may_match(unit))
            .collect()
    }

    /// The nft rules of a walk through a group of sections: packets that pass one of the tests leave it for a walk of
    /// their own, with the tests behind that one.
    fn tested(
        &self,
        walk: &Walk,
        tests: &[Feature],
        head: Section,
        chains: &mut Vec<Chain>,
    ) -> Vec<NftRule> {
        let mut rules = Vec::new();
        for (index, feature) in tests.iter().enumerate() {
            // Few have such a source: no more tests for their sake.
            let (next, others) = match feature {
                Feature::Source => (walk.with_source(), &[][..]),
                Feature::DestinationPort | Feature::SourcePort => {
                    (walk.with(*feature), &tests[index + 1..])
                }
            };
            let behind = self.tested(&next, others, head, chains);
            let guard = Guard::of_feature(*feature, walk.class);
            let Some(set) = guard.and_then(|guard| guard.set(walk.family, head)) else {
                continue;
            };
            let verdict = Statement::Verdict(Verdict::Goto(next.name.clone()));
            let statements = within(walk.family, vec![is_in(self.sized(set)), verdict]);
            rules.push(NftRule::of_frame(statements, ""));
            chains.push((next.name, behind));
        }
        let (inner, outer): (Vec<Section>, Vec<Section>) =
            head.group().partition(|section| section.inner().is_some());
        let mut own = Vec::new();
        for section in &inner {
            self.section(walk, *section, &mut own, chains);
        }
        match inner.last().filter(|_| own.len() >= WORTH_A_GUARD) {
            Some(last) => {
                let name = format!("{}-inner", walk.name);
                rules.extend(self.guarded(Guard::Inner, walk.family, *last, name.clone()));
                chains.push((name, own));
            }
            None => rules.extend(own),
        }
        for section in outer {
            self.section(walk, section, &mut rules, chains);
        }
        rules
    }

    /// Appends what a section adds to a walk, and the chains that it needs.
    fn section(
        &self,
        walk: &Walk,
        section: Section,
        rules: &mut Vec<NftRule>,
        chains: &mut Vec<Chain>,
    ) {
        let (family, class) = (walk.family, walk.class);
        let units = self.units_of(family, section);
        let units: Vec<_> = units.filter(|(unit, _)| walk.may_match(unit)).collect();
        let scope = match units.is_empty() {
            true => Scope::Bare,
            false => Scope::Full,
        };
        let Some(to_lists) = listed_map(family, section, class, scope, self.first_number()) else {
            // The units stand in the list.
            let list = self.root_of_section(family, section, class, scope);
            return rules.extend(list.map(NftRule::jump));
        };
        let mut own = Vec::new();
        let has_lists = self.has_set(&to_lists);
        if has_lists {
            let map = self.sized(to_lists);
            let statements = vec![
                Statement::Family(family),
                Statement::GoOnIn(map.key, map.name),
            ];
            own.push(NftRule::of_frame(statements, ""));
        }
        if scope == Scope::Bare {
            return rules.extend(own);
        }
        let length = section.node_length(family).unwrap_or(0);
        let name = format!("{}-{length}", walk.name);
        own.extend(self.grouped(walk, &units, &name, chains));
        // One lookup needs no other lookup before it. What is listed for a node comes with its units, in order: packets do
        // not come back here from a list, but from here.
        if own.len() >= WORTH_A_GUARD {
            rules.extend(self.guarded(Guard::Node, family, section, name.clone()));
            chains.push((name, own));
        } else if has_lists {
            rules.push(NftRule::jump(name.clone()));
            chains.push((name, own));
        } else {
            rules.extend(own);
        }
    }

    /// The nft rules of units, in order; of neighbours that one guard can spare a packet, behind it in
    /// a chain of their own, whose name begins with `prefix`.
    fn grouped(
        &self,
        walk: &Walk,
        units: &[(&UnitKey, &Unit)],
        prefix: &str,
        chains: &mut Vec<Chain>,
    ) -> Vec<NftRule> {
        let guard = |unit: &UnitKey| match (unit.is_longer(), unit.is_narrow()) {
            (true, _) => Some(Guard::Longer),
            (false, true) => Some(Guard::Narrow),
            (false, false) => None,
        };
        let mut rules = Vec::new();
        for group in units.chunk_by(|(a, _), (b, _)| guard(a) == guard(b)) {
            let lookups = group
                .iter()
                .flat_map(|(key, unit)| self.look_up(walk, key, unit))
                .collect();
            rules.extend(self.behind(guard(group[0].0), group, lookups, prefix, chains));
        }
        rules
    }

    /// The nft rules of a group of units, behind a guard if that spares packets a lookup.
    fn behind(
        &self,
        guard: Option<Guard>,
        group: &[(&UnitKey, &Unit)],
        rules: Vec<NftRule>,
        prefix: &str,
        chains: &mut Vec<Chain>,
    ) -> Vec<NftRule> {
        let Some(guard) = guard.filter(|_| group.len() > 1) else {
            return rules;
        };
        let (first, state) = group[0];
        let name = format!("{prefix}-group-{}", state.id);
        chains.push((name.clone(), rules));
        let jump = self.guarded(guard, first.family, first.section, name);
        jump.into_iter().collect()
    }

    /// The nft rules of a unit for packets of a walk.
    fn look_up(&self, walk: &Walk, key: &UnitKey, unit: &Unit) -> Vec<NftRule> {
        let condition = key.condition(walk.class);
        let in_force = |set| self.sized(set).name;
        unit.compile(key, &condition, &self.context(), &in_force).0
    }

    /// The rule that jumps to a chain for nodes that are in a guard; `None` when the section has no
    /// nodes.
    fn guarded(
        &self,
        guard: Guard,
        family: Family,
        section: Section,
        chain: String,
    ) -> Option<NftRule> {
        let set = self.sized(guard.set(family, section)?);
        let verdict = Statement::Verdict(Verdict::Jump(chain));
        Some(NftRule::of_frame(
            within(family, vec![is_in(set), verdict]),
            "",
        ))
    }

    /// What the chain holds that writes the chosen DSCP. Empty when no rule needs it.
    fn finish_rules(&self) -> Vec<NftRule> {
        let Some(mark) = self.context().collect_marks else {
            return Vec::new();
        };
        let apply = |&(family, dscp): &(Family, u8)| {
            let statements = vec![
                Statement::Family(family),
                Statement::MarkIs {
                    mask: mark.mask(),
                    value: mark.value(dscp),
                },
                Statement::SetDscp(family, dscp),
            ];
            NftRule::of_frame(statements, "")
        };
        let mut rules: Vec<NftRule> = self.collected_marks().map(apply).collect();
        rules.push(NftRule::of_frame(
            vec![
                Statement::SetMark {
                    mask: mark.mask(),
                    value: 0,
                },
                Statement::Verdict(Verdict::Accept),
            ],
            "",
        ));
        rules
    }
}
