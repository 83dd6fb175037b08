//! The chains that lead packets to units and lists. Pure.
//!
//! Most packets match no rule, and what they look up decides what a packet costs. So before the near sections stand
//! a lookup of the wider prefix that they all lie in, one comparison of the protocol, and one lookup of each port
//! among those that any unit there has: what is left is a *walk* through the sections with the
//! units that may still match.

use super::chunk::section_chain;
use super::compile::{Class, FINISH_CHAIN};
use super::expression::Verdict;
use super::field::{Field, Test};
use super::frame::{CLASS_CHAINS, class_chain};
use super::layout::{Guard, Layout, PortProtocol, listed_map};
use super::object::{NamedSet, NftRule};
use super::section::{Section, Side, WIDEST_SOURCE};
use super::statement::{Statement, implies_family};
use super::unit::{Unit, UnitKey};
use crate::rule::Family;

/// A chain's name and its rules.
pub(super) type Chain = (String, Vec<NftRule>);

/// Lookups in a section that are worth another one before them that tells whether the packet has a node there.
const WORTH_A_GUARD: usize = 3;
/// Units that are worth it to tell protocols and ports apart first.
const WORTH_A_SPLIT: usize = 2;

/// Packets that go through near sections together.
#[derive(Clone, Debug)]
struct Walk {
    family: Family,
    class: Class,
    /// How the names of its chains begin.
    name: String,
    protocol: WalkProtocol,
    /// Whether units look their destination port up for any packet.
    has_destination_port: bool,
    /// The same for their source port.
    has_source_port: bool,
}

/// What is known of the protocol of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WalkProtocol {
    /// Nothing.
    Any,
    /// It has been compared.
    Is(PortProtocol),
    /// It has no ports.
    Other,
}

impl Walk {
    /// All packets of a class.
    fn all(family: Family, class: Class, name: String) -> Self {
        Self {
            family,
            class,
            name,
            protocol: WalkProtocol::Any,
            has_destination_port: true,
            has_source_port: true,
        }
    }

    /// Those of them that have these ports, under a name that says so.
    fn with_ports(&self, has_destination_port: bool, has_source_port: bool) -> Self {
        let suffix = match (has_destination_port, has_source_port) {
            (false, false) => "",
            (true, false) => "-dport",
            (false, true) => "-sport",
            (true, true) => "-ports",
        };
        Self {
            name: format!("{}{suffix}", self.name),
            has_destination_port,
            has_source_port,
            ..self.clone()
        }
    }

    /// Whether any of the packets can match.
    fn may_match(&self, unit: &UnitKey) -> bool {
        let protocol = match self.protocol {
            WalkProtocol::Any => true,
            WalkProtocol::Is(protocol) => PortProtocol::of(unit.protocol).contains(&protocol),
            WalkProtocol::Other => !splits(unit),
        };
        let has = |field, known: bool| known || !unit.key.has(field);
        protocol
            && unit.is_in(self.class)
            && has(Field::DestinationPort, self.has_destination_port)
            && has(Field::SourcePort, self.has_source_port)
    }
}

/// True when only packets of a protocol with ports match.
fn splits(unit: &UnitKey) -> bool {
    unit.key.needs_transport_header() || PortProtocol::of(unit.protocol).len() == 1
}

/// The rule of a list that goes to the chain of a unit, for packets that may match.
pub(super) fn jump_to_unit(unit: &UnitKey, chain: &str) -> NftRule {
    let mut statements = unit.condition();
    if !implies_family(&statements, unit.family) {
        statements.remove(0);
    }
    if let [protocol] = PortProtocol::of(unit.protocol)
        && unit.section.is_near()
    {
        for (_, guard) in Guard::of_ports(&unit.key, *protocol) {
            statements.extend(guard.set(unit.family, unit.section).map(is_in));
        }
    }
    statements.push(Statement::Verdict(Verdict::Jump(chain.into())));
    NftRule::of_frame(statements, "")
}

/// The statement that a set has the packet's key.
fn is_in(set: NamedSet) -> Statement {
    Statement::In(set.key, set.name)
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
        for (family, class) in CLASS_CHAINS {
            let mut rules = Vec::new();
            for side in Side::ALL {
                self.near(family, class, side, &mut rules, &mut chains);
                let far = Section::of_side(side).filter(|section| !section.is_near());
                let name = format!("{}-{}", class_chain(family, class), side.name());
                let walk = Walk::all(family, class, name);
                for section in far {
                    self.section(&walk, section, &mut rules, &mut chains);
                }
            }
            if let Some(mark) = self.context().collect_marks {
                let clear = Statement::SetMark {
                    mask: mark.mask(),
                    value: 0,
                };
                rules.insert(0, NftRule::of_frame(vec![clear], "no DSCP chosen yet"));
                let goto = Statement::Verdict(Verdict::Goto(FINISH_CHAIN.into()));
                rules.push(NftRule::of_frame(vec![goto], ""));
            }
            chains.push((class_chain(family, class).into(), rules));
        }
        chains
    }

    /// Appends what the near sections of a side add to the chain of a class, and the chains that they need.
    fn near(
        &self,
        family: Family,
        class: Class,
        side: Side,
        rules: &mut Vec<NftRule>,
        chains: &mut Vec<Chain>,
    ) {
        let name = format!("{}-{}", class_chain(family, class), side.name());
        let all = Walk::all(family, class, name.clone());
        let units = self.near_units(&all, side);
        let mut own = Vec::new();
        let mut rest = all.clone();
        if units.iter().filter(|unit| splits(unit)).count() >= WORTH_A_SPLIT {
            for protocol in PortProtocol::ALL {
                let walk = Walk {
                    name: format!("{name}-{protocol}"),
                    protocol: WalkProtocol::Is(protocol),
                    ..all.clone()
                };
                if units
                    .iter()
                    .any(|unit| splits(unit) && walk.may_match(unit))
                {
                    let is_it = Test::Is(protocol.number().into());
                    own.push(NftRule::of_frame(
                        vec![
                            Statement::Match(Field::TransportProtocol, is_it),
                            Statement::Verdict(Verdict::Goto(walk.name.clone())),
                        ],
                        "",
                    ));
                    self.by_ports(&walk, protocol, side, chains);
                }
            }
            rest.protocol = WalkProtocol::Other;
        }
        self.walk(&rest, side, &mut own, chains);
        // Packets of a protocol are to return from here.
        if own.len() > 1 || rest.protocol == WalkProtocol::Other {
            rules.extend(self.guarded(Guard::Near, family, side.near(), name.clone()));
            chains.push((name, own));
        } else {
            rules.extend(own);
        }
    }

    /// The near units of a side that packets of a walk may match.
    fn near_units(&self, walk: &Walk, side: Side) -> Vec<&UnitKey> {
        let near = Section::of_side(side).filter(|section| section.is_near());
        near.flat_map(|section| self.units_of(walk.family, section))
            .map(|(unit, _)| unit)
            .filter(|unit| walk.may_match(unit))
            .collect()
    }

    /// Appends the chains for packets of a protocol, by whether any unit there has their ports.
    fn by_ports(&self, walk: &Walk, protocol: PortProtocol, side: Side, chains: &mut Vec<Chain>) {
        let units = self.near_units(walk, side);
        let look_up = |field, guard: Guard| {
            let set = guard.set(walk.family, side.near());
            set.filter(|_| units.iter().any(|unit| unit.key.has(field)))
        };
        let destination_ports = look_up(Field::DestinationPort, Guard::DestinationPort(protocol));
        let source_ports = look_up(Field::SourcePort, Guard::SourcePort(protocol));
        let goes_on = |ports: Option<&NamedSet>, walk: &Walk| {
            let goto = Statement::Verdict(Verdict::Goto(walk.name.clone()));
            ports.map(|set| NftRule::of_frame(vec![is_in(set.clone()), goto], ""))
        };
        for (destination, source) in [(true, true), (true, false), (false, true), (false, false)] {
            if destination && destination_ports.is_none() || source && source_ports.is_none() {
                continue;
            }
            let own_walk = walk.with_ports(destination, source);
            let mut rules = Vec::new();
            if !destination {
                let next = walk.with_ports(true, source);
                // Who has the source port has been asked for the other already.
                let ports = destination_ports.as_ref().filter(|_| !source);
                rules.extend(goes_on(ports, &next));
            }
            if !source {
                let next = walk.with_ports(destination, true);
                rules.extend(goes_on(source_ports.as_ref(), &next));
            }
            self.walk(&own_walk, side, &mut rules, chains);
            chains.push((own_walk.name, rules));
        }
    }

    /// Appends what the near sections of a side add to a walk, and the chains that they need.
    fn walk(&self, walk: &Walk, side: Side, rules: &mut Vec<NftRule>, chains: &mut Vec<Chain>) {
        for section in Section::of_side(side).filter(|section| section.is_near()) {
            self.section(walk, section, rules, chains);
        }
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
        let has_lists = self.has_lists(family, section, class);
        let Some(to_lists) = listed_map(family, section, class, self.first_number()) else {
            // The units stand in the list.
            let name = section_chain(family, section, class);
            return rules.extend(has_lists.then(|| NftRule::jump(name)));
        };
        let length = section.node_length(family).unwrap_or(0);
        let name = format!("{}-{length}", walk.name);
        let units = self.units_of(family, section);
        let units: Vec<_> = units.filter(|(unit, _)| walk.may_match(unit)).collect();
        let mut own = Vec::new();
        if has_lists {
            // What is listed for a node comes with its units, in order: the packet does not return.
            let map = self.sized(to_lists);
            let statements = vec![
                Statement::Family(family),
                Statement::GoOnIn(map.key, map.name),
            ];
            own.push(NftRule::of_frame(statements, ""));
        }
        own.extend(self.grouped(walk, &units, &name, chains));
        // One lookup needs no other lookup before it; a list is to return from here.
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
        let guard = |unit: &UnitKey| match unit.is_longer() {
            true => Some(Guard::Longer),
            false => unit.source_level().map(|_| Guard::Pair(WIDEST_SOURCE)),
        };
        let narrower = |unit: &UnitKey| {
            let level = unit.source_level().filter(|level| *level != WIDEST_SOURCE);
            level.map(Guard::Pair)
        };
        let mut rules = Vec::new();
        for group in units.chunk_by(|(a, _), (b, _)| guard(a) == guard(b)) {
            let mut own = Vec::new();
            for part in group.chunk_by(|(a, _), (b, _)| narrower(a) == narrower(b)) {
                let lookups = part
                    .iter()
                    .flat_map(|(key, unit)| self.look_up(walk, key, unit));
                let guard = narrower(part[0].0).filter(|_| part.len() < group.len());
                own.extend(self.behind(guard, part, lookups.collect(), prefix, chains));
            }
            rules.extend(self.behind(guard(group[0].0), group, own, prefix, chains));
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
        let kind = match guard {
            Guard::Pair(level) if level != WIDEST_SOURCE => "narrow",
            _ => "group",
        };
        let name = format!("{prefix}-{kind}-{}", state.id);
        chains.push((name.clone(), rules));
        let jump = self.guarded(guard, first.family, first.section, name);
        jump.into_iter().collect()
    }

    /// The nft rules of a unit for packets of a walk.
    fn look_up(&self, walk: &Walk, key: &UnitKey, unit: &Unit) -> Vec<NftRule> {
        let condition = match walk.protocol {
            WalkProtocol::Is(_) => vec![Statement::Family(walk.family)],
            WalkProtocol::Any | WalkProtocol::Other => key.condition(),
        };
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
        let statements = vec![
            Statement::Family(family),
            is_in(set),
            Statement::Verdict(Verdict::Jump(chain)),
        ];
        Some(NftRule::of_frame(statements, ""))
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
