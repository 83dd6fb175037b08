//! The messages of one commit, in an order that the kernel accepts. Pure.
//!
//! What is referred to is created before what refers to it, and deleted after.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::chunk::{Chunk, ListKey, chain_names, chains};
use super::compile::Context;
use super::message::Message;
use super::object::{
    Element, NamedObject, NamedSet, NftRule, add_elements, create_chain, delete_chain,
    delete_elements, delete_set, flush_chain,
};
use crate::rule::Rule;

/// The messages of one commit, by what they do.
#[derive(Debug)]
pub(super) struct Plan {
    new_sets: Vec<Message>,
    new_objects: Vec<Message>,
    new_chains: Vec<Message>,
    /// Elements of one set that go, and those that come.
    elements: Vec<(String, Vec<Element>, Vec<Element>)>,
    new_rules: Vec<Message>,
    gone_chains: Vec<String>,
    gone_sets: BTreeSet<String>,
    gone_objects: Vec<Message>,
    /// Number of the last set.
    last_set: u32,
}

impl Plan {
    /// Nothing to do. Sets are numbered from here.
    pub(super) fn new(last_set: u32) -> Self {
        Self {
            new_sets: Vec::new(),
            new_objects: Vec::new(),
            new_chains: Vec::new(),
            elements: Vec::new(),
            new_rules: Vec::new(),
            gone_chains: Vec::new(),
            gone_sets: BTreeSet::new(),
            gone_objects: Vec::new(),
            last_set,
        }
    }

    /// Creates a set.
    pub(super) fn create_set(&mut self, set: NamedSet) {
        self.last_set += 1;
        self.new_sets.push(set.create(self.last_set));
    }

    /// Deletes a set and its elements.
    pub(super) fn delete_set(&mut self, set: &str) {
        self.gone_sets.insert(set.into());
    }

    /// Creates an object of a rule. Numbered as sets are: it may be one.
    pub(super) fn create_object(&mut self, object: &NamedObject, rule: &Rule) {
        self.last_set += 1;
        self.new_objects.push(object.create(rule, self.last_set));
    }

    /// Deletes an object.
    pub(super) fn delete_object(&mut self, object: &NamedObject) {
        self.gone_objects.push(object.delete());
    }

    /// Exchanges an element of a set. Elements of one set are given one after the other.
    pub(super) fn change_element(
        &mut self,
        set: &str,
        before: Option<&Element>,
        after: Option<&Element>,
    ) {
        if before == after {
            return;
        }
        if self.elements.last().is_none_or(|(last, ..)| last != set) {
            self.elements.push((set.into(), Vec::new(), Vec::new()));
        }
        if let Some((_, gone, new)) = self.elements.last_mut() {
            gone.extend(before.cloned());
            new.extend(after.cloned());
        }
    }

    /// Gives a chain other rules.
    pub(super) fn change_chain(&mut self, name: &str, is_new: bool, rules: Vec<NftRule>) {
        if is_new {
            self.new_chains.push(create_chain(name, None, ""));
        } else {
            self.new_rules.push(flush_chain(name));
        }
        for rule in rules {
            rule.create(name, &mut self.last_set, &mut self.new_rules);
        }
    }

    /// Deletes a chain and its rules.
    pub(super) fn delete_chain(&mut self, name: &str) {
        self.gone_chains.push(name.into());
    }

    /// Makes the chunks of a list what they shall be.
    pub(super) fn change_chunks(
        &mut self,
        list: &ListKey,
        old: &[Arc<Chunk>],
        new: &[Arc<Chunk>],
        rewrite_all: bool,
        context: &Context,
    ) {
        let known = if rewrite_all { &[] } else { old };
        let before: BTreeSet<String> = chain_names(old, list).into_iter().collect();
        let after: BTreeSet<String> = chain_names(new, list).into_iter().collect();
        for chain in chains(new, known, list, context) {
            let is_new = !before.contains(&chain.name);
            self.change_chain(&chain.name, is_new, chain.rules);
        }
        for gone in before.difference(&after) {
            self.delete_chain(gone);
        }
    }

    /// All messages, and the number of the last set.
    pub(super) fn into_messages(self) -> (Vec<Message>, u32) {
        let mut messages = self.new_sets;
        messages.extend(self.new_objects);
        messages.extend(self.new_chains);
        for (set, gone, new) in &self.elements {
            delete_elements(set, gone, &mut messages);
            add_elements(set, new, &mut messages);
        }
        messages.extend(self.new_rules);
        messages.extend(self.gone_chains.iter().map(|chain| flush_chain(chain)));
        // Rules refer to sets, and maps to chains.
        messages.extend(self.gone_sets.iter().map(|set| delete_set(set)));
        messages.extend(self.gone_chains.iter().map(|chain| delete_chain(chain)));
        messages.extend(self.gone_objects);
        (messages, self.last_set)
    }
}
