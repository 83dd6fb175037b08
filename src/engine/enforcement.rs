//! What shall be enforced, what is, and the commits that lead from one to the other.
//!
//! One commit at a time: what changes while one is in flight waits for the next. In a storm of changes it waits a
//! little longer, see [`pace`](super::pace). A commit that the packet filter
//! refuses without naming a rule is cut in half until the rule at fault stands alone; that rule becomes unsupported
//! with the packet filter's words, and the others go in. Rules that the packet filter has no room for wait until a commit
//! takes others away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::BackendError;
use dataplane::desired::Changes;
use dataplane::rule::{Rule, RuleId};

use super::pace::Pace;
use crate::rib::RouteKey;

/// Most changes in one commit: what the packet filter needs to carry it out takes memory for as long.
const COMMIT_MAX: usize = 8192;

/// Shortest and longest pause before a failed commit is tried again.
const RETRY_MIN: Duration = Duration::from_millis(10);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What is wanted for one NLRI.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Nothing: no path, or none that policy accepts.
    Nothing,
    /// A path in force that cannot be enforced exactly, and why.
    Unsupported(Arc<str>),
    /// This rule.
    Rule {
        /// What the packet filter is given.
        rule: Arc<Rule>,
        /// What an operator should know of it.
        notes: Box<[String]>,
    },
    /// A rule that the packet filter has no room for at the moment.
    NoRoom(Box<NoRoom>),
}

/// A rule that waits until others go.
#[derive(Clone, Debug, PartialEq)]
pub struct NoRoom {
    rule: Arc<Rule>,
    notes: Box<[String]>,
    /// What the packet filter says.
    reason: Arc<str>,
}

/// One NLRI's way into the packet filter. Nearly all have arrived, and those are small.
#[derive(Clone, Debug)]
enum Slot {
    /// The packet filter holds the rule that is wanted, and there is nothing to say about it.
    Arrived(Arc<Rule>),
    /// Anything else.
    Open(Box<Open>),
}

/// A slot in full.
#[derive(Clone, Debug)]
struct Open {
    id: RuleId,
    desired: Desired,
    installed: Option<Arc<Rule>>,
}

impl Slot {
    /// Nothing wanted, nothing there.
    fn new(id: RuleId) -> Self {
        Self::Open(Box::new(Open {
            id,
            desired: Desired::Nothing,
            installed: None,
        }))
    }

    fn id(&self) -> RuleId {
        match self {
            Self::Arrived(rule) => rule.id,
            Self::Open(open) => open.id,
        }
    }

    fn wanted(&self) -> Option<&Arc<Rule>> {
        match self {
            Self::Arrived(rule) => Some(rule),
            Self::Open(open) => open.wanted(),
        }
    }

    fn installed(&self) -> Option<&Arc<Rule>> {
        match self {
            Self::Arrived(rule) => Some(rule),
            Self::Open(open) => open.installed.as_ref(),
        }
    }

    /// The slot in full, to be changed; [`Self::close`] follows.
    fn open(&mut self) -> &mut Open {
        if let Self::Arrived(rule) = self {
            *self = Self::Open(Box::new(Open {
                id: rule.id,
                desired: Desired::Rule {
                    rule: rule.clone(),
                    notes: Box::default(),
                },
                installed: Some(rule.clone()),
            }));
        }
        match self {
            Self::Open(open) => open,
            Self::Arrived(_) => unreachable!("it was opened above"),
        }
    }

    /// Keeps no more than is needed. Of two equal rules the one that the packet filter has is enough.
    fn close(&mut self) {
        let Self::Open(open) = self else { return };
        if !open.is_settled() {
            return;
        }
        if let (Desired::Rule { rule, notes }, Some(installed)) =
            (&mut open.desired, &open.installed)
        {
            if notes.is_empty() {
                *self = Self::Arrived(installed.clone());
            } else {
                *rule = installed.clone();
            }
        }
    }

    /// True when the packet filter does what is wanted; what it keeps for a later process may differ.
    fn is_settled(&self) -> bool {
        match self {
            Self::Arrived(_) => true,
            Self::Open(open) => open.is_settled(),
        }
    }

    /// True when nothing is wanted and nothing there.
    fn is_empty(&self) -> bool {
        match self {
            Self::Arrived(_) => false,
            Self::Open(open) => open.installed.is_none() && open.desired == Desired::Nothing,
        }
    }
}

impl Open {
    fn wanted(&self) -> Option<&Arc<Rule>> {
        match &self.desired {
            Desired::Rule { rule, .. } => Some(rule),
            Desired::Nothing | Desired::Unsupported(_) | Desired::NoRoom(_) => None,
        }
    }

    fn is_settled(&self) -> bool {
        match (self.wanted(), &self.installed) {
            (Some(wanted), Some(installed)) => is_same(wanted, installed),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// True when two rules do the same, which those that are one need not be asked.
fn is_same(a: &Arc<Rule>, b: &Arc<Rule>) -> bool {
    Arc::ptr_eq(a, b) || a.enforces_the_same(b)
}

/// How an operator sees one NLRI's enforcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// The packet filter holds exactly the desired rule.
    Installed,
    /// Not yet; the error of the last try, if there was one.
    Pending(Option<String>),
    /// Never, and why.
    Unsupported(Arc<str>),
    /// Not before other rules have gone, and why.
    NoRoom(Arc<str>),
}

/// Desired state, installed state and the commit in flight.
#[derive(Debug)]
pub struct Enforcement {
    slots: BTreeMap<RouteKey, Slot>,
    /// Slots that differ from what is installed, but for those that are in flight and have not changed since.
    unsettled: BTreeSet<RouteKey>,
    /// What the commit under way makes of the slots that it names, in order.
    in_flight: Option<Vec<(RouteKey, Option<Arc<Rule>>)>>,
    /// Slots whose rules wait for room; some may have changed since.
    waiting: BTreeSet<RouteKey>,
    /// Slots that an operator waits for: they go first, storm or not.
    urgent: Vec<RouteKey>,
    last_id: u64,
    /// Most changes in one commit.
    commit_max: usize,
    /// The same while a refusal is being narrowed down.
    narrowed: Option<usize>,
    retry: Option<Retry>,
    pace: Pace,
}

/// A pause after a failure.
#[derive(Debug)]
struct Retry {
    pause: Duration,
    until: Instant,
    error: String,
}

impl Enforcement {
    /// Nothing wanted, nothing there; commits of at most `commit_max` changes.
    pub fn new(commit_max: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            in_flight: None,
            waiting: BTreeSet::new(),
            urgent: Vec::new(),
            last_id: 0,
            commit_max: commit_max.min(COMMIT_MAX),
            narrowed: None,
            retry: None,
            pace: Pace::default(),
        }
    }

    /// The id for the rule at `key`: the one it has, or a new one.
    pub fn rule_id(&mut self, key: &RouteKey) -> RuleId {
        match self.slots.get(key) {
            Some(slot) => slot.id(),
            None => {
                self.last_id += 1;
                RuleId(self.last_id)
            }
        }
    }

    /// Says what is wanted at `key`; `id` comes from [`Self::rule_id`].
    pub fn want(&mut self, key: &RouteKey, id: RuleId, desired: Desired) {
        let slot = self.slots.entry(key.clone());
        slot.or_insert_with(|| Slot::new(id)).open().desired = desired;
        self.settle(key);
    }

    /// Takes over a rule that the packet filter holds already, under the id that it has there.
    pub fn adopt(&mut self, key: RouteKey, rule: Arc<Rule>, notes: Box<[String]>) {
        self.last_id = self.last_id.max(rule.id.0);
        let mut slot = Slot::Open(Box::new(Open {
            id: rule.id,
            installed: Some(rule.clone()),
            desired: Desired::Rule { rule, notes },
        }));
        slot.close();
        self.slots.insert(key, slot);
    }

    /// Files the slot at `key` under settled or unsettled, and forgets it when nothing is left of it.
    fn settle(&mut self, key: &RouteKey) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if !slot.is_settled() {
            self.unsettled.insert(key.clone());
            return;
        }
        slot.close();
        self.unsettled.remove(key);
        let in_flight = self
            .in_flight
            .as_ref()
            .is_some_and(|commit| commit.binary_search_by_key(&key, |(key, _)| key).is_ok());
        if slot.is_empty() && !in_flight {
            self.slots.remove(key);
        }
    }

    /// The next commit, unless one is in flight, nothing changed, or [`Self::next_deadline`] is still to come.
    pub fn next_commit(&mut self, now: Instant) -> Option<Changes> {
        let waiting = self.not_before().is_some_and(|start| now < start);
        if self.unsettled.is_empty() {
            self.urgent.clear();
        }
        if self.in_flight.is_some() || self.unsettled.is_empty() || waiting {
            return None;
        }
        let limit = self.narrowed.unwrap_or(self.commit_max);
        let mut commit = Vec::with_capacity(self.unsettled.len().min(limit));
        let mut changes = Changes::default();
        while commit.len() < limit
            && let Some(key) = self.next_unsettled()
        {
            let slot = &self.slots[&key];
            match (slot.wanted(), slot.installed()) {
                (Some(rule), _) => changes.put.push(rule.clone()),
                (None, Some(rule)) => changes.remove.push((rule.family, rule.order.clone())),
                (None, None) => unreachable!("a slot without rule is settled"),
            }
            let wanted = slot.wanted().cloned();
            commit.push((key, wanted));
        }
        // Found by key when it has ended.
        commit.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        // What does not fit one commit follows at once.
        if self.unsettled.is_empty() {
            self.pace.started(now, commit.len());
        }
        self.in_flight = Some(commit);
        Some(changes)
    }

    /// Takes out what is to be committed next.
    fn next_unsettled(&mut self) -> Option<RouteKey> {
        while let Some(key) = self.urgent.pop() {
            if self.unsettled.remove(&key) {
                return Some(key);
            }
        }
        self.unsettled.pop_first()
    }

    /// Has the slot at `key` committed before all others.
    pub fn hurry(&mut self, key: RouteKey) {
        self.urgent.push(key);
    }

    /// Until when a failure is waited out, or a storm gathered.
    fn not_before(&self) -> Option<Instant> {
        let retry = self.retry.as_ref().map(|retry| retry.until);
        let gathered = self.pace.next_start().filter(|_| self.urgent.is_empty());
        retry.max(gathered)
    }

    /// Takes in how the commit in flight ended.
    pub fn committed(&mut self, now: Instant, result: Result<(), BackendError>) {
        let Some(commit) = self.in_flight.take() else {
            return;
        };
        match result {
            Ok(()) => {
                self.retry = None;
                self.narrowed = self.narrowed.map(|limit| (2 * limit).min(self.commit_max));
                let mut made_room = false;
                for (key, rule) in commit {
                    if let Some(slot) = self.slots.get_mut(&key) {
                        let installed = std::mem::replace(&mut slot.open().installed, rule);
                        made_room |= installed.is_some();
                    }
                    self.settle(&key);
                }
                if made_room {
                    self.try_waiting_again();
                }
                if self.unsettled.is_empty() {
                    self.narrowed = None;
                }
            }
            Err(BackendError::Refused { rule: None, .. }) if commit.len() > 1 => {
                self.narrowed = Some(commit.len() / 2);
                self.settle_all(&commit);
            }
            Err(BackendError::Refused { rule, reason }) => {
                let culprit = commit.iter().find(|(key, wanted)| {
                    wanted.is_some()
                        && (commit.len() == 1 || self.slots.get(key).map(Slot::id) == rule)
                });
                match culprit {
                    Some((key, wanted)) => self.give_up(key, wanted, &reason),
                    None => self.wait(now, reason),
                }
                self.settle_all(&commit);
            }
            Err(BackendError::NoRoom(refused)) => {
                let reasons: BTreeMap<&RuleId, &String> = refused
                    .iter()
                    .map(|(rule, reason)| (rule, reason))
                    .collect();
                let mut none_known = true;
                for (key, wanted) in &commit {
                    let id = self.slots.get(key).map(Slot::id);
                    let reason = id.and_then(|id| reasons.get(&id).copied());
                    if let (Some(reason), Some(wanted)) = (reason, wanted) {
                        none_known = false;
                        self.park(key, wanted, reason);
                    }
                }
                if none_known {
                    self.wait(now, BackendError::NoRoom(refused).to_string());
                }
                self.settle_all(&commit);
            }
            Err(BackendError::Unavailable(reason)) => {
                self.wait(now, reason);
                self.settle_all(&commit);
            }
        }
    }

    fn settle_all(&mut self, commit: &[(RouteKey, Option<Arc<Rule>>)]) {
        for (key, _) in commit {
            self.settle(key);
        }
    }

    /// Marks the rule at `key` as refused by the packet filter, unless something else is wanted by now.
    fn give_up(&mut self, key: &RouteKey, refused: &Option<Arc<Rule>>, reason: &str) {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.wanted() == refused.as_ref()
        {
            slot.open().desired =
                Desired::Unsupported(format!("refused by the packet filter: {reason}").into());
        }
    }

    /// Lets the rule at `key` wait for room, unless something else is wanted by now.
    fn park(&mut self, key: &RouteKey, refused: &Arc<Rule>, reason: &str) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if slot.wanted() != Some(refused) {
            return;
        }
        let open = slot.open();
        if let Desired::Rule { rule, notes } =
            std::mem::replace(&mut open.desired, Desired::Nothing)
        {
            let reason = reason.into();
            open.desired = Desired::NoRoom(Box::new(NoRoom {
                rule,
                notes,
                reason,
            }));
            self.waiting.insert(key.clone());
        }
    }

    /// Wants the rules again that wait for room.
    pub fn try_waiting_again(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(Slot::Open(open)) = self.slots.get_mut(&key) else {
                continue;
            };
            if let Desired::NoRoom(waiting) = &open.desired {
                let NoRoom { rule, notes, .. } = (**waiting).clone();
                open.desired = Desired::Rule { rule, notes };
                self.settle(&key);
            }
        }
    }

    fn wait(&mut self, now: Instant, error: String) {
        let pause = match &self.retry {
            Some(retry) => (retry.pause * 2).min(RETRY_MAX),
            None => RETRY_MIN,
        };
        self.retry = Some(Retry {
            pause,
            until: now + pause,
            error,
        });
    }

    /// When [`Self::next_commit`] may have something without further input.
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = self.in_flight.is_some() || self.unsettled.is_empty();
        self.not_before().filter(|_| !idle)
    }

    /// True when the packet filter holds all that is wanted and nothing else.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty() && self.in_flight.is_none()
    }

    /// How the NLRI at `key` is enforced, and the rule that the packet filter holds for it.
    pub fn state(&self, key: &RouteKey) -> (Enforced, Option<&Arc<Rule>>) {
        let Some(slot) = self.slots.get(key) else {
            return (Enforced::Pending(None), None);
        };
        let enforced = match slot {
            Slot::Arrived(_) => Enforced::Installed,
            Slot::Open(open) => self.state_of(open),
        };
        (enforced, slot.installed())
    }

    fn state_of(&self, slot: &Open) -> Enforced {
        match &slot.desired {
            Desired::Unsupported(reason) => Enforced::Unsupported(reason.clone()),
            Desired::NoRoom(waiting) => Enforced::NoRoom(waiting.reason.clone()),
            Desired::Rule { .. } if slot.is_settled() => Enforced::Installed,
            Desired::Rule { .. } | Desired::Nothing => {
                Enforced::Pending(self.retry.as_ref().map(|retry| retry.error.clone()))
            }
        }
    }

    /// The rule that is wanted at `key`.
    pub fn wanted(&self, key: &RouteKey) -> Option<&Arc<Rule>> {
        self.slots.get(key).and_then(Slot::wanted)
    }

    /// What an operator should know of the rule at `key`.
    pub fn notes(&self, key: &RouteKey) -> &[String] {
        let Some(Slot::Open(open)) = self.slots.get(key) else {
            return &[];
        };
        match &open.desired {
            Desired::Rule { notes, .. } => notes,
            Desired::NoRoom(waiting) => &waiting.notes,
            Desired::Nothing | Desired::Unsupported(_) => &[],
        }
    }

    /// The id of the rule at `key`.
    pub fn id_at(&self, key: &RouteKey) -> Option<RuleId> {
        self.slots.get(key).map(Slot::id)
    }
}
