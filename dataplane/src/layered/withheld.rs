//! Rules that are not offered to the hardware, although it may be able to say them: it has refused them, or failed. Pure.

use std::collections::BTreeMap;

use super::ids;
use crate::backend::BackendError;
use crate::desired::Rules;
use crate::rule::RuleId;

/// Most turns that are passed over while the hardware does not answer.
const PAUSE_MAX: u32 = 64;

/// How many rules that were refused are offered again at a time.
pub(super) const RELEASED: usize = 32;

/// What the hardware is not asked, and when it is asked again.
#[derive(Debug)]
pub struct Withheld {
    /// Rules that it refused by name, and why; until some of its rules go.
    refused: BTreeMap<RuleId, String>,
    /// Some of its rules have gone: of those that it refused the ones from this id on are offered again, until it is full.
    again_from: Option<RuleId>,
    /// How many of those at a time.
    released: usize,
    /// There are rules that it was not offered and has not refused.
    some_wait: bool,
    /// It has failed with new rules for a reason that names none of them.
    trouble: Option<Trouble>,
}

/// A failure that may be that of any of several rules, or none.
#[derive(Debug)]
struct Trouble {
    /// What the hardware said.
    reason: String,
    /// How many rules it is offered next.
    batch: usize,
    /// Turns that are passed over before that.
    pause: u32,
    /// As many as that after the next failure.
    next_pause: u32,
}

/// What an error of the hardware has taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Nothing that helps.
    Nothing,
    /// Which rules it refuses.
    Refusals,
    /// That it is to be offered less, or later.
    Failure,
}

impl Default for Withheld {
    fn default() -> Self {
        Self::new(RELEASED)
    }
}

impl Withheld {
    /// Nothing is withheld yet. Of what will be refused so many rules are offered again at a time.
    pub fn new(released: usize) -> Self {
        Self {
            refused: BTreeMap::new(),
            again_from: None,
            released,
            some_wait: false,
            trouble: None,
        }
    }

    /// Why a rule is withheld by its name.
    pub fn refusal(&self, rule: RuleId) -> Option<String> {
        self.refused.get(&rule).cloned()
    }

    /// Why a rule waits that nobody has refused.
    pub fn delay(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!(
                "the hardware has failed and is asked again: {}",
                trouble.reason
            ),
            None => "it waits while the hardware is given others, some at a time".into(),
        }
    }

    /// What the hardware said when it failed, while rules wait for it.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.reason.as_str())
    }

    /// How many more rules an ordinary commit may offer: after a failure none.
    pub fn budget(&self) -> usize {
        match self.trouble {
            None => usize::MAX,
            Some(_) => 0,
        }
    }

    /// Rules of the hardware have gone: there may be room for those that it refused, the oldest of which are offered now.
    pub fn rules_have_gone(&mut self) {
        self.may_have_room();
        self.release();
    }

    /// There may be room for those that the hardware refused, which are offered from the next turn on.
    pub fn may_have_room(&mut self) {
        self.again_from = Some(RuleId(0));
    }

    /// Has the next of those that were refused wait instead.
    fn release(&mut self) {
        let Some(first) = self.again_from else { return };
        let ids = self.refused.range(first..).map(|(id, _)| *id);
        let released: Vec<RuleId> = ids.take(self.released).collect();
        for id in &released {
            self.refused.remove(id);
            self.some_wait = true;
        }
        // Each once: what is refused again for another reason than room does not keep the others from their turn.
        self.again_from = released.last().map(|last| RuleId(last.0.saturating_add(1)));
    }

    /// Whether some rules still wait, now that the hardware has what it was offered.
    pub fn waits(&mut self, some_wait: bool) {
        self.some_wait = some_wait;
    }

    /// A turn: how many of the rules that wait are offered now, if any.
    pub fn next_offer(&mut self) -> Option<usize> {
        let Some(trouble) = &mut self.trouble else {
            self.release();
            return self.some_wait.then_some(usize::MAX);
        };
        match trouble.pause.checked_sub(1) {
            Some(left) => {
                trouble.pause = left;
                None
            }
            None => Some(trouble.batch),
        }
    }

    /// The hardware has taken what it was offered; `rest`: some rules still wait.
    pub fn taken(&mut self, rest: bool) {
        self.trouble = self.trouble.take().filter(|_| rest);
        if let Some(trouble) = &mut self.trouble {
            trouble.batch = trouble.batch.saturating_mul(2).max(1);
            (trouble.pause, trouble.next_pause) = (0, 1);
        }
    }

    /// Learns from an error which of the rules that the hardware was to have are withheld from now on. `fresh`: those
    /// among them that are new to it.
    pub fn learn(&mut self, error: &BackendError, offered: &Rules, fresh: &[RuleId]) -> Lesson {
        let named = match error {
            BackendError::NoRoom(rules) => rules.clone(),
            BackendError::Refused {
                rule: Some(rule),
                reason,
            } => vec![(*rule, reason.clone())],
            // The only new one is at fault.
            BackendError::Refused { rule: None, reason } if fresh.len() == 1 => {
                vec![(fresh[0], reason.clone())]
            }
            BackendError::Refused { rule: None, reason } => {
                return self.fails(reason, fresh.len() / 2, 0);
            }
            BackendError::Unavailable(reason) => {
                let pause = self
                    .trouble
                    .as_ref()
                    .map_or(1, |trouble| trouble.next_pause);
                return match fresh.is_empty() {
                    true => Lesson::Nothing,
                    false => self.fails(reason, usize::MAX, pause),
                };
            }
        };
        let before = self.refused.len();
        let offered = ids(offered);
        let named = named.into_iter().filter(|(id, _)| offered.contains(id));
        self.refused.extend(named);
        if self.refused.len() == before {
            return Lesson::Nothing;
        }
        if matches!(error, BackendError::NoRoom(_)) {
            self.again_from = None;
        }
        Lesson::Refusals
    }

    /// Notes a failure with several new rules; nothing is learnt when there was none to offer less of.
    fn fails(&mut self, reason: &str, batch: usize, pause: u32) -> Lesson {
        if batch == 0 {
            return Lesson::Nothing;
        }
        self.trouble = Some(Trouble {
            reason: reason.into(),
            batch,
            pause,
            next_pause: (2 * pause).clamp(1, PAUSE_MAX),
        });
        Lesson::Failure
    }

    /// Forgets rules that are gone.
    pub fn retain(&mut self, rules: &Rules) {
        if !self.refused.is_empty() {
            let there = ids(rules);
            self.refused.retain(|id, _| there.contains(id));
        }
    }
}
