//! The chains that lead packets to units and lists. Pure.

use super::chunk::section_chain;
use super::compile::{Class, FINISH_CHAIN};
use super::expression::Verdict;
use super::frame::{CLASS_CHAINS, class_chain};
use super::layout::{Guard, Layout, listed_map};
use super::object::NftRule;
use super::section::Section;
use super::statement::Statement;
use super::unit::{Unit, UnitKey};
use crate::rule::Family;

/// A chain's name and its rules.
pub(super) type Chain = (String, Vec<NftRule>);

impl Layout {
    /// All chains between the frame and the chunks, each after those that it refers to.
    pub(super) fn structure(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        let finish = self.finish_rules();
        if !finish.is_empty() {
            chains.push((FINISH_CHAIN.into(), finish));
        }
        for (family, class) in CLASS_CHAINS {
            let mut rules = Vec::new();
            for section in Section::all() {
                self.section(family, section, class, &mut rules, &mut chains);
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

    /// Appends what a section adds to the chain of its class, and the chains that it needs.
    fn section(
        &self,
        family: Family,
        section: Section,
        class: Class,
        rules: &mut Vec<NftRule>,
        chains: &mut Vec<Chain>,
    ) {
        let name = section_chain(family, section, class);
        let has_lists = self.has_lists(family, section, class);
        let Some(to_lists) = listed_map(family, section, class, self.first_number()) else {
            // The units stand in the list.
            return rules.extend(has_lists.then(|| NftRule::jump(name)));
        };
        let units = self.units_of(family, section);
        let units: Vec<_> = units.filter(|(unit, _)| unit.is_in(class)).collect();
        let mut own = Vec::new();
        if has_lists {
            // What is listed for a node comes with its units, in order: the packet does not return.
            let statements = vec![
                Statement::Family(family),
                Statement::GoOnIn(to_lists.key, to_lists.name),
            ];
            own.push(NftRule::of_frame(statements, ""));
        }
        own.extend(self.grouped(&units, &name, chains));
        // One lookup needs no other lookup before it, unless a list is to return from here.
        if own.len() > 1 || has_lists {
            let jump = Verdict::Jump(name.clone());
            rules.extend(guarded(Guard::Node, family, section, jump));
            chains.push((name, own));
        } else {
            rules.extend(own);
        }
    }

    /// The nft rules of units, in order; of neighbours that one guard can spare a packet, behind it in
    /// a chain of their own, whose name begins with `prefix`.
    fn grouped(
        &self,
        units: &[(&UnitKey, &Unit)],
        prefix: &str,
        chains: &mut Vec<Chain>,
    ) -> Vec<NftRule> {
        let context = self.context();
        let guard = |unit: &UnitKey| match unit.is_longer() {
            true => Some(Guard::Longer),
            false => unit.source_level().map(Guard::Pair),
        };
        let mut rules = Vec::new();
        for group in units.chunk_by(|(a, _), (b, _)| guard(a) == guard(b)) {
            let own = group
                .iter()
                .flat_map(|(key, unit)| unit.compile(key, &context));
            let (first, state) = group[0];
            match guard(first).filter(|_| group.len() > 1) {
                Some(guard) => {
                    let chain = format!("{prefix}-group-{}", state.id);
                    chains.push((chain.clone(), own.collect()));
                    let jump = Verdict::Jump(chain);
                    rules.extend(guarded(guard, first.family, first.section, jump));
                }
                None => rules.extend(own),
            }
        }
        rules
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

/// The rule that goes on to a chain for nodes that are in a guard; `None` when the section has no
/// nodes.
fn guarded(guard: Guard, family: Family, section: Section, verdict: Verdict) -> Option<NftRule> {
    let set = guard.set(family, section)?;
    let statements = vec![
        Statement::Family(family),
        Statement::In(set.key, set.name),
        Statement::Verdict(verdict),
    ];
    Some(NftRule::of_frame(statements, ""))
}
