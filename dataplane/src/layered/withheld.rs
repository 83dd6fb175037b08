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
#[derive(Debug, Default)]
pub struct Withheld {
    /// Rules that it refused by name, and why; until some of its rules go.
    refused: BTreeMap<RuleId, String>,
    /// Some of its rules have gone, and it has refused none by name since.
    may_have_room: bool,
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

impl Withheld {
    /// Why a rule is withheld by its name.
    pub fn refusal(&self, rule: RuleId) -> Option<String> {
        self.refused.get(&rule).cloned()
    }

    /// Why a rule waits that nobody has refused.
    pub fn delay(&self) -> String {
        let reason = self.trouble.as_ref().map(|trouble| trouble.reason.as_str());
        format!(
            "the hardware has failed and is asked again: {}",
            reason.unwrap_or("not known why")
        )
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

    /// Rules of the hardware have gone: there may be room for the oldest of those that it refused.
    pub fn rules_have_gone(&mut self) {
        for _ in 0..RELEASED {
            self.refused.pop_first();
        }
        self.may_have_room = !self.refused.is_empty();
    }

    /// A turn: how many of the rules that wait are offered now, if any.
    pub fn next_offer(&mut self) -> Option<usize> {
        let Some(trouble) = &mut self.trouble else {
            if self.may_have_room {
                self.rules_have_gone();
                return Some(usize::MAX);
            }
            return None;
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
    /// among them that are new to it. False when it says nothing that helps.
    pub fn learn(&mut self, error: &BackendError, offered: &Rules, fresh: &[RuleId]) -> bool {
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
                return !fresh.is_empty() && self.fails(reason, usize::MAX, pause);
            }
        };
        let before = self.refused.len();
        let offered = ids(offered);
        let named = named.into_iter().filter(|(id, _)| offered.contains(id));
        self.refused.extend(named);
        let has_learnt = self.refused.len() > before;
        self.may_have_room &= !has_learnt;
        has_learnt
    }

    /// Notes a failure with several new rules; false when there was none to offer less of.
    fn fails(&mut self, reason: &str, batch: usize, pause: u32) -> bool {
        if batch == 0 {
            return false;
        }
        self.trouble = Some(Trouble {
            reason: reason.into(),
            batch,
            pause,
            next_pause: (2 * pause).clamp(1, PAUSE_MAX),
        });
        true
    }

    /// Forgets rules that are gone.
    pub fn retain(&mut self, rules: &Rules) {
        if !self.refused.is_empty() {
            let there = ids(rules);
            self.refused.retain(|id, _| there.contains(id));
            self.may_have_room &= !self.refused.is_empty();
        }
    }
}
