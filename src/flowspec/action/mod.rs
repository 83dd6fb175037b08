//! Traffic Filtering Actions (RFC 8955 §7, RFC 8956 §6): what the extended communities of a route
//! ask for.

mod communities;
mod terms;

use std::fmt;
use std::net::IpAddr;

use dataplane::rule::{Limit, LimitUnit};

pub use communities::ActionError;
pub use terms::{
    InterfaceGroup, InterfaceSet, LegacyRedirect, LegacyTarget, RatePerSource, RouteTarget,
    SOURCES_STEP,
};

/// So many addresses may share the packets of a rule that redirects.
pub const MAX_NEXT_HOPS: usize = 16;

/// All that the communities of one route ask for, interference resolved (RFC 8955 §7.7).
///
/// Of several rates of one unit the lowest wins, and so it is with rates for sources of one prefix length; of several marks,
/// route targets and addresses to copy to the first in the attribute. Several addresses to redirect to share the packets. Of
/// several traffic-actions every bit that one of them sets counts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TrafficFilteringActions {
    /// traffic-rate-bytes, 0x8006: octets a second. 0 discards; infinity is no limit and is not
    /// kept.
    pub rate_bytes_per_sec: Option<f32>,
    /// traffic-rate-packets, 0x800c.
    pub rate_packets_per_sec: Option<f32>,
    /// traffic-action, 0x8007, T bit set: later rules are evaluated too. (The RFC's name "terminal"
    /// reads backwards.)
    pub continue_evaluation: bool,
    /// traffic-action, 0x8007, S bit.
    pub sample: bool,
    /// traffic-marking, 0x8009: DSCP, 0 to 63.
    pub mark_dscp: Option<u8>,
    /// rt-redirect, 0x8008, 0x8108, 0x8208 and rt-redirect-ipv6, 0x000d.
    pub redirect_route_target: Option<RouteTarget>,
    /// Redirect to IP, 0x010c and 0x000c, the copy bit clear: addresses that share the packets, each once and in the order
    /// received, at most [`MAX_NEXT_HOPS`].
    pub redirect_next_hops: Vec<IpAddr>,
    /// Redirect to IP, the copy bit set: packets go on, and a copy goes there.
    pub copy_to: Option<IpAddr>,
    /// Redirect in a form that no RFC defines, 0x0800 or 0x800b.
    pub legacy_redirect: Option<LegacyRedirect>,
    /// Rates for each source by itself, 0x8306 and 0x830c: one of each unit and prefix length, in the order received.
    pub rates_per_source: Vec<RatePerSource>,
    /// Interface-set, 0x0702 and 0x4702: the rule applies only to the union of these.
    pub interface_sets: Vec<InterfaceSet>,
    /// Actions that were recognised but have no effect, or lost to another: text for the operator.
    pub notes: Vec<String>,
}

impl TrafficFilteringActions {
    /// Takes groups of interfaces out that another AS must not have sent (RFC 4360 §6).
    ///
    /// Fails when none is left: without any the rule would apply to all interfaces.
    pub fn discard_non_transitive(&mut self) -> Result<(), InterfaceSet> {
        let (kept, discarded): (Vec<_>, Vec<_>) = self
            .interface_sets
            .drain(..)
            .partition(|set| set.transitive);
        if let (true, Some(first)) = (kept.is_empty(), discarded.first()) {
            return Err(*first);
        }
        self.interface_sets = kept;
        self.notes.extend(discarded.iter().map(|set| {
            format!("interface-set {set} has no effect: it came from another AS, which it must not")
        }));
        Ok(())
    }

    /// True when some rate is 0: no packet that matches gets through.
    pub fn is_discard(&self) -> bool {
        let mut of_sources = self.rates_per_source.iter();
        self.rate_bytes_per_sec == Some(0.0)
            || self.rate_packets_per_sec == Some(0.0)
            || of_sources.any(|rate| rate.rate_per_sec == 0.0)
    }

    /// True when packets that get through are sent elsewhere than to their destination.
    pub fn redirects(&self) -> bool {
        self.redirect_route_target.is_some()
            || !self.redirect_next_hops.is_empty()
            || self.legacy_redirect.is_some_and(|legacy| !legacy.copy)
    }

    /// The limiters that all packets share to get through: none when all is discarded.
    pub fn limits(&self) -> Vec<Limit> {
        if self.is_discard() {
            return Vec::new();
        }
        let limit = |unit, rate: f32| Limit {
            unit,
            rate_per_sec: f64::from(rate),
        };
        let bytes = self
            .rate_bytes_per_sec
            .map(|rate| limit(LimitUnit::Bytes, rate));
        let packets = self
            .rate_packets_per_sec
            .map(|rate| limit(LimitUnit::Packets, rate));
        bytes.into_iter().chain(packets).collect()
    }

    /// The actions in words, in the order in which they take effect; `accept` when there is none.
    pub fn describe(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.is_discard() {
            words.push("discard".to_string());
        } else {
            words.extend(self.rates_per_source.iter().map(RatePerSource::to_string));
            if let Some(rate) = self.rate_bytes_per_sec {
                words.push(format!("rate-limit {} bytes/s", Rate(rate)));
            }
            if let Some(rate) = self.rate_packets_per_sec {
                words.push(format!("rate-limit {} packets/s", Rate(rate)));
            }
        }
        if let Some(dscp) = self.mark_dscp {
            words.push(format!("mark {dscp}"));
        }
        if let Some(target) = self.redirect_route_target {
            words.push(format!("redirect {target}"));
        }
        let next_hops = self.redirect_next_hops.iter();
        words.extend(next_hops.map(|address| format!("redirect-to-ip {address}")));
        if let Some(address) = self.copy_to {
            words.push(format!("copy-to-ip {address}"));
        }
        if let Some(legacy) = self.legacy_redirect {
            words.push(legacy.to_string());
        }
        words.extend(
            self.interface_sets
                .iter()
                .map(|set| format!("interface-set {set}")),
        );
        if self.sample {
            words.push("sample".to_string());
        }
        if self.continue_evaluation {
            words.push("continue".to_string());
        }
        if words.is_empty() {
            words.push("accept".to_string());
        }
        words
    }
}

/// A rate as people write it: `1000`, `0.5`, `9.3e-41`; reads back to the same number.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub f32);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0 == 0.0 || (1e-3..1e15).contains(&self.0.abs());
        if plain {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

#[cfg(test)]
mod tests;
