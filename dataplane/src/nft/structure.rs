//! The chains that lead packets to units and lists. Pure.

use super::chunk::{ListKey, index};
use super::compile::{Class, FINISH_CHAIN};
use super::expression::Verdict;
use super::frame::{CLASS_CHAINS, class_chain};
use super::layout::{Guard, Layout};
use super::object::NftRule;
use super::section::Section;
use super::statement::Statement;
use super::unit::{Unit, UnitKey};
use crate::rule::Family;

/// A chain's name and its rules.
type Chain = (String, Vec<NftRule>);

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
        let list = ListKey {
            family,
            section,
            class,
        };
        let chunks = self.chunks(&list);
        if !chunks.is_empty() {
            chains.extend(index(chunks, &list));
        }
        let guarded = |guard: Guard, verdict: Verdict| {
            let set = guard.set(family, section)?;
            let statements = vec![
                Statement::Family(family),
                Statement::In(set.key, set.name),
                Statement::Verdict(verdict),
            ];
            Some(NftRule::of_frame(statements, ""))
        };
        let name = format!("{}-{}", class_chain(family, class), section.name(family));
        // Without nodes the units stand in the list.
        if section.node_length(family).is_none() {
            if !chunks.is_empty() {
                let jump = Statement::Verdict(Verdict::Jump(name));
                rules.push(NftRule::of_frame(vec![jump], ""));
            }
            return;
        }
        let units = self
            .units_of(family, section)
            .filter(|(unit, _)| unit.is_in(class));
        let (longer, shortest): (Vec<_>, Vec<_>) = units.partition(|(unit, _)| unit.is_longer());
        let context = self.context();
        let compile = |units: &[(&UnitKey, &Unit)]| -> Vec<NftRule> {
            let of_unit = |(key, unit): &(&UnitKey, &Unit)| unit.compile(key, &context);
            units.iter().flat_map(of_unit).collect()
        };
        let mut own = Vec::new();
        if longer.len() > 1 {
            let chain = format!("{name}-longer");
            own.extend(guarded(Guard::Longer, Verdict::Jump(chain.clone())));
            chains.push((chain, compile(&longer)));
        } else {
            own.extend(compile(&longer));
        }
        own.extend(compile(&shortest));
        // One lookup needs no other lookup before it.
        if own.is_empty() && !chunks.is_empty() {
            rules.extend(guarded(Guard::Listed, Verdict::Jump(list.root())));
        } else if own.len() > 1 || !chunks.is_empty() {
            if !chunks.is_empty() {
                let to_list = guarded(Guard::Listed, Verdict::Goto(list.root()));
                own.splice(0..0, to_list);
            }
            rules.extend(guarded(Guard::Node, Verdict::Jump(name.clone())));
            chains.push((name, own));
        } else {
            rules.extend(own);
        }
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
