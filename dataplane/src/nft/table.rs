//! Our table: what is in it, how a commit is carried out, and how it is found and put right when
//! somebody else has changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::coverage::Coverage;
use super::field::PORT_PROTOCOLS;
use super::frame::{
    FrameChain, create_messages, create_table, delete_messages, frame, replace_messages,
};
use super::installed::{Installed, KnownObjects};
use super::layout::Layout;
use super::message::{Kind, Message};
use super::monitor::Monitor;
use super::object::ObjectBody;
use super::ownership::{Ownership, probe, table_state};
use super::readback::{self, Contents};
use super::replacement::Replacement;
use super::sources::forget_sources;
use super::statement::ScratchMark;
use super::transport::{Failure, Transport};
use crate::backend::{BackendError, Culprit};
use crate::desired::{Changes, Link, Settings};
use crate::routing::MarksInUse;
use crate::rule::{Rule, RuleId};

/// Anonymous sets of the frame are numbered from here, those of rules from 1.
const FRAME_SETS: u32 = 1 << 31;
/// Messages of a transaction during which nobody listens: the kernel would announce every object.
const MONITORED_MESSAGES: usize = 64;
/// Sources in one message: far below what fits the 64 KiB of an attribute.
const SOURCES_PER_MESSAGE: usize = 1000;
/// How often a transaction is sent again because somebody else was faster.
const ATTEMPTS: usize = 20;

/// The table while we hold it.
pub(super) struct Table {
    pub(super) transport: Transport,
    pub(super) settings: Settings,
    pub(super) links: Vec<Link>,
    pub(super) coverage: Coverage,
    frame: Vec<FrameChain>,
    pub(super) layout: Layout,
    /// The packet marks of all that rules redirect or copy to.
    pub(super) marks: MarksInUse,
    /// The generation of the ruleset after our last transaction, or our last look at the table.
    generation: u32,
    /// Digest of our chains and rules, as the kernel shows them; `None` since rules have changed.
    digest: Option<u64>,
    /// `NFT_TABLE_F_*` of the table.
    flags: u32,
    /// Hears who changes the ruleset; `None` where that cannot be heard, or nobody can change the table.
    monitor: Option<Monitor>,
    /// Somebody else has changed the ruleset since we have looked at the table.
    doubtful: bool,
    /// Times that the table was found changed by others and put right.
    pub(super) repaired: u64,
}

/// The scratch bits of the settings.
fn scratch(settings: &Settings) -> Result<ScratchMark, BackendError> {
    ScratchMark::new(settings.scratch_mark).ok_or_else(|| BackendError::Refused {
        rule: None,
        reason: format!(
            "scratch_mark {:#010x} has no seven contiguous bits",
            settings.scratch_mark
        ),
    })
}

/// Why a rule cannot be there.
fn duplicate(rule: RuleId) -> BackendError {
    BackendError::Refused {
        rule: Some(rule),
        reason: format!("there are two rules called {rule}"),
    }
}

impl Table {
    /// Takes possession in one transaction: the table then holds the frame and these rules, with the
    /// counters and limits that it has for them already, and nothing else.
    pub(super) fn take_over(
        mut transport: Transport,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
        marks: MarksInUse,
    ) -> Result<Self, BackendError> {
        let scratch = scratch(settings)?;
        let coverage = Coverage::of(settings, links);
        let mut ids = BTreeSet::new();
        if let Some(twice) = rules.iter().find(|rule| !ids.insert(rule.id)) {
            return Err(duplicate(twice.id));
        }
        let flags = possess(&mut transport, settings.own_table, rules.is_empty())?;
        let known = KnownObjects {
            marks: marks.clone(),
            ..readback::contents(&mut transport)?.known()
        };
        let mut table = Self {
            transport,
            settings: settings.clone(),
            links: links.to_vec(),
            frame: frame(settings, &coverage),
            coverage,
            layout: Layout::empty(settings.sample, scratch, 1),
            marks,
            generation: 0,
            digest: None,
            flags,
            monitor: None,
            doubtful: false,
            repaired: 0,
        };
        let installed = rules
            .iter()
            .map(|rule| Installed::new(rule.clone(), None, &known));
        table.rebuild(installed.map(Arc::new).collect())?;
        table.listen();
        Ok(table)
    }

    /// True when the kernel refuses changes of the table by others.
    pub(super) fn is_owned(&self) -> bool {
        self.flags != 0
    }

    /// Makes the table hold exactly the frame and these rules, in one transaction that keeps the
    /// counters and limits that are there; others delete what is left of the table as it was, and what others have put
    /// into sets that stay. Where the first does not fit, the rules follow the frame.
    fn rebuild(&mut self, rules: Vec<Arc<Installed>>) -> Result<(), BackendError> {
        let (sample, scratch) = self.layout.settings();
        // On its own: the kernel creates no base chain while it adopts a table or wakes it.
        self.transport.transact(&[create_table(self.flags)], None)?;
        for _ in 0..ATTEMPTS {
            let generation = self.transport.generation()?;
            let contents = readback::contents(&mut self.transport)?;
            let known = contents.known();
            let empty = Layout::empty(sample, scratch, contents.free_number());
            let mut layout = empty.clone();
            let filled = layout.fill(rules.iter().cloned(), &known);
            let mut last_set = FRAME_SETS;
            let mut messages = Replacement::new(&contents, &self.frame, &layout).before();
            messages.extend(create_messages(&self.frame, &mut last_set));
            let frame_only = messages.clone();
            messages.extend(filled);
            match self.transport.transact(&messages, Some(generation)) {
                Ok(generation) => {
                    layout.accept();
                    self.layout = layout;
                    self.generation = generation;
                    self.doubtful = false;
                }
                Err(Failure::Stale) => continue,
                Err(Failure::TooLarge { .. }) if !rules.is_empty() => {
                    self.generation = self.transport.transact(&frame_only, Some(generation))?;
                    self.layout = empty;
                    self.doubtful = false;
                    self.fill_in_parts(&rules, &known)?;
                }
                Err(failure) => return Err(failure.into()),
            }
            self.digest = None;
            let cleaned = self.clean_up(contents);
            let cleaned = cleaned.and_then(|()| self.forget_foreign_sources());
            // What has not been done is done by the next audit.
            self.doubtful |= cleaned.is_err();
            return cleaned;
        }
        Err(Failure::Stale.into())
    }

    /// Deletes what is left of the table as it was.
    fn clean_up(&mut self, mut contents: Contents) -> Result<(), BackendError> {
        for _ in 0..ATTEMPTS {
            let messages = Replacement::new(&contents, &self.frame, &self.layout).after();
            match self.transport.transact(&messages, Some(self.generation)) {
                Ok(generation) => {
                    self.generation = generation;
                    return Ok(());
                }
                Err(Failure::Stale) => {
                    self.generation = self.transport.generation()?;
                    self.doubtful = true;
                    contents = readback::contents(&mut self.transport)?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(Failure::Stale.into())
    }

    /// Adds rules, as many in a transaction as fit.
    fn fill_in_parts(
        &mut self,
        rules: &[Arc<Installed>],
        known: &KnownObjects,
    ) -> Result<(), BackendError> {
        let mut rest = rules;
        let mut count = rest.len();
        while !rest.is_empty() {
            count = count.min(rest.len());
            let messages = self.layout.fill(rest[..count].iter().cloned(), known);
            match self.send(&messages) {
                Ok(()) => rest = &rest[count..],
                Err(Failure::TooLarge { .. }) if count > 1 => count = count.div_ceil(2),
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    /// Carries out what the layout has planned, and makes it final or undoes it.
    fn send(&mut self, messages: &[Message]) -> Result<(), Failure> {
        let outcome = self.transact(messages);
        match outcome {
            Ok(()) => self.layout.accept(),
            Err(_) => self.layout.roll_back(),
        }
        outcome
    }

    /// Carries out messages on top of what we know of the ruleset. When somebody else was faster
    /// they are sent again: whether he touched our table is for [`Self::audit`] to find out.
    fn transact(&mut self, messages: &[Message]) -> Result<(), Failure> {
        let changes_rules = messages.iter().any(|message| {
            !matches!(
                message.kind,
                Kind::NewSetElem | Kind::DelSetElem | Kind::NewObject | Kind::DelObject
            )
        });
        if messages.len() > MONITORED_MESSAGES {
            self.monitor = None;
        }
        let outcome = self.try_transact(messages, changes_rules);
        self.listen();
        outcome
    }

    /// Hears from now on who changes the ruleset, where others can.
    fn listen(&mut self) {
        if self.monitor.is_none() && !self.is_owned() {
            // Without knowing it one can live.
            self.monitor = Monitor::open().ok();
        }
    }

    /// Carries out messages about tables of ours beside this one.
    pub(super) fn transact_beside(&mut self, messages: &[Message]) -> Result<(), Failure> {
        self.try_transact(messages, false)
    }

    /// See [`Self::transact`].
    fn try_transact(&mut self, messages: &[Message], changes_rules: bool) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            match self.transport.transact(messages, Some(self.generation)) {
                Ok(generation) => {
                    self.generation = generation;
                    if changes_rules {
                        self.digest = None;
                    }
                    return Ok(());
                }
                Err(Failure::Stale) => {
                    let generation = self.transport.generation();
                    self.generation = generation.map_err(|e| Failure::Socket(e.to_string()))?;
                    self.doubtful = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Stale)
    }

    /// Carries out all changes, or none.
    pub(super) fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        match self.try_commit(changes)? {
            Ok(()) => Ok(()),
            Err(Failure::TooLarge { .. }) if changes.put.len() + changes.remove.len() > 1 => {
                self.commit_in_parts(changes)
            }
            Err(failure @ Failure::TooLarge { .. }) | Err(failure @ Failure::Socket(_)) => {
                Err(failure.into())
            }
            Err(failure @ Failure::Refused { .. }) if self.is_intact()? => Err(failure.into()),
            // The table is not what we think, or nobody knows whether the changes are in it.
            Err(_) => {
                self.repair()?;
                self.try_commit(changes)?.map_err(BackendError::from)
            }
        }
    }

    /// Tries to carry out all changes with one transaction. Fails at once when they contradict
    /// themselves.
    fn try_commit(&mut self, changes: &Changes) -> Result<Result<(), Failure>, BackendError> {
        let known = KnownObjects {
            marks: self.marks.clone(),
            ..KnownObjects::default()
        };
        match self.layout.change(changes, &known) {
            Ok(messages) => Ok(self.send(&messages)),
            Err(rule) => {
                self.layout.roll_back();
                Err(duplicate(rule))
            }
        }
    }

    /// Carries out changes that do not fit one transaction: what this process may send is limited
    /// outside of the initial user namespace only. When a part fails those before it are undone.
    fn commit_in_parts(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let before: Vec<Arc<Rule>> = self.layout.rules().cloned().collect();
        let halves = {
            let (put, remove) = (changes.put.len() / 2, changes.remove.len() / 2);
            let half = |put: &[Arc<Rule>], remove: &[_]| Changes {
                put: put.to_vec(),
                remove: remove.to_vec(),
            };
            let ((put1, put2), (remove1, remove2)) =
                (changes.put.split_at(put), changes.remove.split_at(remove));
            // Removals first, so that a rule may move.
            [
                half(&[], remove1),
                half(&[], remove2),
                half(put1, &[]),
                half(put2, &[]),
            ]
        };
        for half in halves.iter().filter(|half| !half.is_empty()) {
            if let Err(error) = self.commit(half) {
                let now: Vec<_> = self
                    .layout
                    .rules()
                    .map(|r| (r.family, r.order.clone()))
                    .collect();
                let undo = Changes {
                    put: before,
                    remove: now,
                };
                self.commit(&undo)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Applies new settings or a changed set of interfaces; rules and counters stay.
    pub(super) fn reconfigure(
        &mut self,
        settings: &Settings,
        links: &[Link],
    ) -> Result<(), BackendError> {
        let scratch = scratch(settings)?;
        let coverage = Coverage::of(settings, links);
        let new_frame = frame(settings, &coverage);
        let mut messages = Vec::new();
        if new_frame != self.frame {
            let mut last_set = FRAME_SETS;
            messages = replace_messages(&self.frame, &new_frame, &mut last_set);
        }
        messages.extend(self.layout.change_settings(settings.sample, scratch));
        match self.send(&messages) {
            Ok(()) => self.frame = new_frame,
            Err(failure @ (Failure::TooLarge { .. } | Failure::Socket(_))) => {
                return Err(failure.into());
            }
            Err(_) => {
                // Somebody may have changed the table: make it anew, as it shall be.
                let old = std::mem::replace(&mut self.frame, new_frame);
                let rules = self.layout.installed().cloned().collect();
                let old_layout = self.layout.clone();
                self.layout = Layout::empty(settings.sample, scratch, 1);
                if let Err(error) = self.rebuild(rules) {
                    self.frame = old;
                    self.layout = old_layout;
                    return Err(error);
                }
            }
        }
        self.coverage = coverage;
        self.links = links.to_vec();
        self.settings = settings.clone();
        Ok(())
    }

    /// Looks whether somebody else has changed our table, and puts it right; says who it was. Costs
    /// one question while nobody changes anything.
    pub(super) fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        let others = self.others();
        let generation = self.transport.generation()?;
        if generation == self.generation && !self.doubtful {
            if self.digest.is_none() {
                self.digest = Some(readback::digest(&mut self.transport)?);
                // What was read may be of a later generation.
                if self.transport.generation()? != generation {
                    self.digest = None;
                }
            }
            return Ok(None);
        }
        // The kernel lets nobody change a table that is ours.
        if self.is_owned() || self.is_intact()? {
            self.generation = generation;
            self.doubtful = false;
            return Ok(None);
        }
        self.repair()?;
        Ok(Some(others))
    }

    /// Who else has changed the ruleset since the last call.
    fn others(&mut self) -> Culprit {
        let own = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        let mut names = BTreeSet::new();
        if let Some(monitor) = &mut self.monitor {
            // What cannot be heard is not known.
            let _ = monitor.changes(|change| {
                if change.program != own.trim_end() {
                    names.insert(format!("{} (thread {})", change.program, change.pid));
                }
            });
        }
        match names.is_empty() {
            true => Culprit("somebody".into()),
            false => Culprit(Vec::from_iter(names).join(", ")),
        }
    }

    /// Puts the table right. Counters and limits that are still there go on.
    pub(super) fn repair(&mut self) -> Result<(), BackendError> {
        self.repaired += 1;
        self.monitor = None;
        let outcome = self.rebuild(self.layout.installed().cloned().collect());
        self.listen();
        outcome
    }

    /// Whether the table is what we have made it. Reads all of it.
    fn is_intact(&mut self) -> Result<bool, BackendError> {
        // Without a digest rules have changed a moment ago, and nobody can tell by whom.
        let Some(digest) = self.digest else {
            return Ok(false);
        };
        if readback::digest(&mut self.transport)? != digest {
            return Ok(false);
        }
        let contents = readback::contents(&mut self.transport)?;
        let wanted = self.layout.objects();
        let wanted: BTreeMap<_, _> = wanted
            .map(|(object, _)| (object.name, object.body))
            .collect();
        if contents.known().bodies != wanted || contents.objects.len() != wanted.len() {
            return Ok(false);
        }
        let sets = self.layout.sets();
        let mut names = self.layout.set_names();
        names.insert(PORT_PROTOCOLS.into());
        if names != contents.sets {
            return Ok(false);
        }
        for (set, wanted) in &sets {
            let wanted = wanted.iter().map(|element| {
                let target = element.target.as_ref();
                let target = target.map(|target| target.name().to_string());
                (element.value.octets(), target)
            });
            if readback::elements(&mut self.transport, &set.name)? != wanted.collect() {
                return Ok(false);
            }
        }
        if !self.foreign_sources()?.is_empty() {
            return Ok(false);
        }
        let protocols = [(vec![6], None), (vec![17], None)].into();
        Ok(readback::elements(&mut self.transport, PORT_PROTOCOLS)? == protocols)
    }
}

impl Table {
    /// Deletes elements of tables of sources that no packet has put there. Those that are still there after many
    /// attempts leave the table doubtful.
    fn forget_foreign_sources(&mut self) -> Result<(), BackendError> {
        for _ in 0..ATTEMPTS {
            let foreign = self.foreign_sources()?;
            if foreign.is_empty() {
                return Ok(());
            }
            match self.try_transact(&foreign, false) {
                // One that has expired in the meantime has kept the others from going.
                Ok(()) | Err(Failure::Refused { .. }) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        self.doubtful = true;
        Ok(())
    }

    /// The messages that delete elements of tables of sources that no packet has put there.
    fn foreign_sources(&mut self) -> Result<Vec<Message>, BackendError> {
        let mut messages = Vec::new();
        for (object, _) in self.layout.objects() {
            if let ObjectBody::Sources(table) = object.body {
                let keys = readback::foreign_sources(&mut self.transport, &object.name, &table)?;
                let keys = keys.chunks(SOURCES_PER_MESSAGE);
                messages.extend(keys.map(|keys| forget_sources(&object.name, keys)));
            }
        }
        Ok(messages)
    }
}

/// Finds out with which flags the table is to be created or taken over. One that has to be made anew
/// for that is deleted, but only if nothing of it is to be kept.
fn possess(transport: &mut Transport, own: bool, is_new: bool) -> Result<u32, BackendError> {
    let mut existing = table_state(transport)?;
    let port = transport.port()?;
    if existing.is_some_and(|table| table.is_foreign(port)) {
        return Err(BackendError::Refused {
            rule: None,
            reason: "another process owns the table inet flowacl: is flowacl running twice?".into(),
        });
    }
    if existing.is_some() && is_new {
        transport.transact(&delete_messages(), None)?;
        existing = None;
    }
    let ownership = match own {
        true => probe(transport)?,
        false => Ownership::Unsupported,
    };
    Ok(ownership.table_flags(existing))
}
