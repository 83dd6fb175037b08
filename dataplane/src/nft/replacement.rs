//! How what is in the table gives way to another layout without letting a packet through. Pure.
//!
//! A packet that is on its way through the old rules at the moment of the commit goes on there: they
//! must find what they refer to. Rules do, and so do sets without values; but the elements of a map that is deleted
//! are gone at that moment. And a packet that has passed a new base chain before the commit and comes to an
//! old one after it meets no rule in either. So base chains stay, and maps are deleted by a second transaction
//! when no rule refers to them any more. Sets that packets change are no part of a layout: they stay as counters do.

use std::collections::{BTreeMap, BTreeSet};

use super::field::PORT_PROTOCOLS;
use super::frame::{ENTRIES, FrameChain, class_chain};
use super::layout::Layout;
use super::message::Message;
use super::object::{ObjectBody, delete_chain, delete_object, delete_set, flush_chain};
use super::readback::{ChainKind, Contents, FoundObject};

/// What is there, and what shall be.
pub(super) struct Replacement<'c> {
    contents: &'c Contents,
    chains: BTreeMap<String, ChainKind>,
    sets: BTreeSet<String>,
    objects: BTreeMap<String, ObjectBody>,
    /// Something that shall be there has the name of something else, as no layout of ours leaves it.
    conflict: bool,
}

impl<'c> Replacement<'c> {
    /// Compares what is there with a frame and a layout.
    pub(super) fn new(contents: &'c Contents, frame: &[FrameChain], layout: &Layout) -> Self {
        let classes = ENTRIES.map(|(family, class, _)| class_chain(family, class).to_owned());
        let regular = layout.chain_names().into_iter().chain(classes);
        let of_frame = frame.iter();
        let of_frame = of_frame.map(|c| (c.name.to_owned(), ChainKind::of(c.hook.as_ref())));
        let mut sets = layout.set_names();
        sets.insert(PORT_PROTOCOLS.into());
        let objects = layout.objects();
        let mut replacement = Self {
            contents,
            chains: regular
                .map(|name| (name, ChainKind::Regular))
                .chain(of_frame)
                .collect(),
            sets,
            objects: objects
                .map(|(object, _)| (object.name, object.body))
                .collect(),
            conflict: false,
        };
        let differs = |(name, kind): (&String, &ChainKind)| {
            replacement
                .chains
                .get(name)
                .is_some_and(|wanted| wanted != kind)
        };
        let has_other_body = |(name, (_, body)): (&String, &FoundObject)| {
            replacement
                .objects
                .get(name)
                .is_some_and(|wanted| Some(*wanted) != *body)
        };
        replacement.conflict =
            contents.chains.iter().any(differs) || contents.objects.iter().any(has_other_body);
        replacement
    }

    /// The messages before those that create the new layout.
    pub(super) fn before(&self) -> Vec<Message> {
        let chains = self.contents.chains.keys();
        let mut messages: Vec<Message> = chains.map(|chain| flush_chain(chain)).collect();
        if self.conflict {
            messages.extend(self.delete(|_| true));
        } else {
            let sets = self.contents.sets.intersection(&self.sets);
            messages.extend(sets.map(|set| delete_set(set)));
        }
        messages
    }

    /// The messages that delete the rest, after the new layout has been created.
    pub(super) fn after(&self) -> Vec<Message> {
        if self.conflict {
            return Vec::new();
        }
        self.delete(|set| !self.sets.contains(set))
    }

    /// Deletes sets, and chains and objects that shall not be there.
    fn delete(&self, set_goes: impl Fn(&String) -> bool) -> Vec<Message> {
        let sets = self.contents.sets.iter().filter(|set| set_goes(set));
        // Maps refer to chains and objects.
        let mut messages: Vec<Message> = sets.map(|set| delete_set(set)).collect();
        let chains = self.contents.chains.iter();
        let gone = chains.filter(|(name, kind)| self.chains.get(*name) != Some(*kind));
        messages.extend(gone.clone().map(|(name, _)| flush_chain(name)));
        messages.extend(gone.map(|(name, _)| delete_chain(name)));
        for (name, (kind, body)) in &self.contents.objects {
            if body.is_none() || self.objects.get(name) != body.as_ref() {
                messages.push(delete_object(name, *kind));
            }
        }
        messages
    }
}
