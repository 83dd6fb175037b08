//! Which Traffic Filtering Actions are allowed, and how low and how high rates may be.

use std::fmt;
use std::str::FromStr;

use crate::flowspec::action::{Rate, TrafficFilteringActions};

/// A kind of Traffic Filtering Action, as an operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// None of the others: matching packets pass, whatever later rules say.
    Accept,
    /// A rate of 0.
    Discard,
    /// A rate in octets or in packets.
    RateLimit,
    /// traffic-marking.
    Mark,
    /// To a route target, to an address, or in a form that no RFC defines.
    Redirect,
    /// A copy to an address.
    Copy,
    /// traffic-action, S bit.
    Sample,
    /// traffic-action, T bit: later rules are evaluated too.
    Continue,
}

impl ActionKind {
    /// All kinds.
    const ALL: [ActionKind; 8] = [
        ActionKind::Accept,
        ActionKind::Discard,
        ActionKind::RateLimit,
        ActionKind::Mark,
        ActionKind::Redirect,
        ActionKind::Copy,
        ActionKind::Sample,
        ActionKind::Continue,
    ];

    /// The name in the configuration.
    const fn name(self) -> &'static str {
        match self {
            ActionKind::Accept => "accept",
            ActionKind::Discard => "discard",
            ActionKind::RateLimit => "rate-limit",
            ActionKind::Mark => "mark",
            ActionKind::Redirect => "redirect",
            ActionKind::Copy => "copy",
            ActionKind::Sample => "sample",
            ActionKind::Continue => "continue",
        }
    }

    /// True when `actions` ask for one of this kind.
    fn is_in(self, actions: &TrafficFilteringActions) -> bool {
        let limits = actions.rate_bytes_per_sec.is_some()
            || actions.rate_packets_per_sec.is_some()
            || !actions.rates_per_source.is_empty();
        let legacy = |copy| {
            actions
                .legacy_redirect
                .is_some_and(|legacy| legacy.copy == copy)
        };
        match self {
            ActionKind::Accept => Self::ALL
                .into_iter()
                .all(|kind| kind == ActionKind::Accept || !kind.is_in(actions)),
            ActionKind::Discard => actions.is_discard(),
            ActionKind::RateLimit => limits && !actions.is_discard(),
            ActionKind::Mark => actions.mark_dscp.is_some(),
            ActionKind::Redirect => {
                actions.redirect_route_target.is_some()
                    || !actions.redirect_next_hops.is_empty()
                    || legacy(false)
            }
            ActionKind::Copy => actions.copy_to.is_some() || legacy(true),
            ActionKind::Sample => actions.sample,
            ActionKind::Continue => actions.continue_evaluation,
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ActionKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{name:?} is not one of {names}")
        })
    }
}

/// Why an action is not allowed, or `None`.
pub(super) fn action_refusal(
    allowed: &[ActionKind],
    actions: &TrafficFilteringActions,
) -> Option<String> {
    let mut kinds = ActionKind::ALL.into_iter();
    let refused = kinds.find(|kind| kind.is_in(actions) && !allowed.contains(kind))?;
    let names: Vec<&str> = allowed.iter().map(|kind| kind.name()).collect();
    Some(format!(
        "action {refused} is not one of import.actions = [{}]",
        names.join(", ")
    ))
}

/// How low and how high rates of one unit may be. A rate is never changed: one outside is refused with its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateBounds {
    /// The lowest, in units a second.
    pub min: Option<u64>,
    /// The highest, in units a second.
    pub max: Option<u64>,
}

impl RateBounds {
    /// Why the rate is refused, or `None`. `unit` as in "bytes".
    pub(super) fn refusal(self, rate: f32, unit: &str) -> Option<String> {
        // Exact up to 2^53, and rates have 24 bits.
        let bound = |bound: u64| bound as f64;
        let rate_text = Rate(rate);
        if let Some(min) = self.min.filter(|min| f64::from(rate) < bound(*min)) {
            return Some(format!(
                "rate {rate_text} {unit}/s is below import.min_rate_{unit}_per_sec = {min}"
            ));
        }
        let max = self.max.filter(|max| f64::from(rate) > bound(*max))?;
        Some(format!(
            "rate {rate_text} {unit}/s is above import.max_rate_{unit}_per_sec = {max}"
        ))
    }
}
