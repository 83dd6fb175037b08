//! What the kernel's routing needs for each route in use. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::marks::{Mark, Marks};
use crate::desired::{Redirects, Unreachable};
use crate::rule::{Family, Route};

/// What a policy rule of ours does with packets that have its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Routes them by this table, and goes on if that has no route.
    Lookup(u32),
    /// Discards them.
    Discard,
}

/// One policy rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PolicyRule {
    /// Which packets.
    pub(super) family: Family,
    /// Its place among all policy rules of the machine.
    pub(super) priority: u32,
    /// The mark of these packets.
    pub(super) mark: Mark,
    /// What it does.
    pub(super) verdict: Verdict,
}

/// One of the neighbors that a default route of ours leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    /// Neighbor that gets the packets.
    pub(super) gateway: IpAddr,
    /// Index of the link that it is on.
    pub(super) link: u32,
}

/// Everything of ours in the kernel's routing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// Policy rules.
    pub(super) rules: BTreeSet<PolicyRule>,
    /// The default routes of our tables.
    pub(super) defaults: BTreeMap<(Family, u32), BTreeSet<Hop>>,
}

/// How a route can be followed at the moment; `Err`: why it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By this table.
    Table(u32),
    /// By neighbors.
    Hops {
        /// Those that are there, at least one.
        used: BTreeSet<Hop>,
        /// Why others are not used, in the operator's words.
        left_out: Vec<String>,
    },
}

/// The family of an address.
pub(super) fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// The family of next hops, which is that of the packets.
fn family_of_all(addresses: &BTreeSet<IpAddr>) -> Family {
    addresses.first().copied().map_or(Family::Ipv4, family_of)
}

/// The table of ours for a number.
pub(super) fn own_table(settings: &Redirects, number: u32) -> u32 {
    settings.tables.saturating_add(number)
}

/// What is needed for the route of this number. `way`: how it can be followed, if it can. `instance`: the table of the
/// instance that its next hop is looked for in, if that is there: packets that may pass do so by this table.
pub(super) fn entries(
    settings: &Redirects,
    marks: &Marks,
    number: u32,
    route: &Route,
    way: Option<&Way>,
    instance: Option<u32>,
) -> Entries {
    let mut entries = Entries::default();
    let table = own_table(settings, number);
    let fallback = match settings.unreachable {
        Unreachable::Discard => Some(Verdict::Discard),
        Unreachable::Pass => instance.map(Verdict::Lookup),
    };
    let by_instance = |table| [Some(Verdict::Lookup(table)), Some(Verdict::Discard)];
    let (families, verdicts) = match (route, way, fallback) {
        (Route::NextHops(addresses, _), Some(Way::Hops { used, .. }), fallback) => {
            let family = family_of_all(addresses);
            entries.defaults.insert((family, table), used.clone());
            // The route goes by itself with its link: what is behind it shall be there already.
            (vec![family], [Some(Verdict::Lookup(table)), fallback])
        }
        (Route::NextHops(addresses, _), _, Some(Verdict::Lookup(instance))) => {
            (vec![family_of_all(addresses)], by_instance(instance))
        }
        (Route::NextHops(addresses, _), _, fallback) => {
            let lookup = Verdict::Lookup(table);
            (vec![family_of_all(addresses)], [Some(lookup), fallback])
        }
        (Route::Instance(_), Some(Way::Table(table)), _) => {
            (Family::ALL.to_vec(), by_instance(*table))
        }
        (Route::Instance(_), Some(Way::Hops { .. }) | None, fallback) => {
            (Family::ALL.to_vec(), [None, fallback])
        }
    };
    for family in families {
        for (offset, verdict) in (0..).zip(verdicts) {
            entries.rules.extend(verdict.map(|verdict| PolicyRule {
                family,
                priority: settings.priority.saturating_add(offset),
                mark: marks.mark(number),
                verdict,
            }));
        }
    }
    entries
}

impl Entries {
    /// Adds others.
    pub(super) fn extend(&mut self, others: Entries) {
        self.rules.extend(others.rules);
        self.defaults.extend(others.defaults);
    }

    /// Those of one number.
    pub(super) fn of(&self, settings: &Redirects, marks: &Marks, number: u32) -> Entries {
        let table = own_table(settings, number);
        let defaults = self.defaults.iter();
        Entries {
            rules: self
                .rules
                .iter()
                .filter(|rule| marks.number_of(rule.mark) == Some(number))
                .copied()
                .collect(),
            defaults: defaults
                .filter(|((_, own), _)| *own == table)
                .map(|(key, hops)| (*key, hops.clone()))
                .collect(),
        }
    }

    /// True when there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.defaults.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RoutingInstance;

    /// Families, verdicts and default routes that a route needs.
    fn needed(
        unreachable: Unreachable,
        route: &Route,
        way: Option<&Way>,
    ) -> (Vec<(Family, u32, Verdict)>, usize) {
        let instance = matches!(route, Route::NextHops(_, Some(_))).then_some(100);
        let settings = Redirects {
            unreachable,
            ..Redirects::default()
        };
        let marks = Marks::new(settings.mark);
        let entries = entries(&settings, &marks, 3, route, way, instance);
        let is_third = |rule: &PolicyRule| rule.mark.value == 0x0003_0000;
        assert!(entries.rules.iter().all(is_third));
        assert_eq!(entries.of(&settings, &marks, 3), entries);
        assert!(entries.of(&settings, &marks, 4).is_empty());
        let rules = entries.rules.iter();
        let rules = rules.map(|rule| (rule.family, rule.priority, rule.verdict));
        (rules.collect(), entries.defaults.len())
    }

    #[test]
    fn every_route_has_what_it_needs() {
        use Family::{Ipv4, Ipv6};
        use Unreachable::{Discard, Pass};
        let gateway = IpAddr::from([192, 0, 2, 9]);
        let hop = Way::Hops {
            used: [Hop { gateway, link: 2 }].into(),
            left_out: Vec::new(),
        };
        let table = Way::Table(100);
        let vrf = RoutingInstance::Vrf("scrub".into());
        let next_hop = Route::NextHops([gateway].into(), None);
        let next_hop_in_vrf = Route::NextHops([gateway].into(), Some(vrf.clone()));
        let vrf = Route::Instance(vrf);
        let lookup = |table| Verdict::Lookup(table);
        let both = |first: Option<Verdict>, second: Option<Verdict>| {
            let of = |family| {
                let rule = move |(priority, verdict)| (family, priority, verdict);
                let first = first.map(|verdict| (900, verdict));
                let second = second.map(|verdict| (901, verdict));
                first.into_iter().chain(second).map(rule)
            };
            of(Ipv4).chain(of(Ipv6)).collect::<Vec<_>>()
        };
        let in_table = both(Some(lookup(100)), Some(Verdict::Discard));
        let rows = [
            (
                "a table",
                Pass,
                &Route::Instance(RoutingInstance::Table(100)),
                Some(&table),
                in_table.clone(),
                0,
            ),
            ("a VRF", Discard, &vrf, Some(&table), in_table, 0),
            ("no such VRF, pass", Pass, &vrf, None, vec![], 0),
            (
                "no such VRF, discard",
                Discard,
                &vrf,
                None,
                both(None, Some(Verdict::Discard)),
                0,
            ),
            (
                "a next hop",
                Pass,
                &next_hop,
                Some(&hop),
                vec![(Ipv4, 900, lookup(52003))],
                1,
            ),
            (
                "a next hop in a VRF",
                Pass,
                &next_hop_in_vrf,
                Some(&hop),
                vec![(Ipv4, 900, lookup(52003)), (Ipv4, 901, lookup(100))],
                1,
            ),
            (
                "a next hop in a VRF, discard beside",
                Discard,
                &next_hop_in_vrf,
                Some(&hop),
                vec![(Ipv4, 900, lookup(52003)), (Ipv4, 901, Verdict::Discard)],
                1,
            ),
            (
                "unreachable in a VRF, pass",
                Pass,
                &next_hop_in_vrf,
                None,
                vec![(Ipv4, 900, lookup(100)), (Ipv4, 901, Verdict::Discard)],
                0,
            ),
            (
                "a next hop, discard beside",
                Discard,
                &next_hop,
                Some(&hop),
                vec![(Ipv4, 900, lookup(52003)), (Ipv4, 901, Verdict::Discard)],
                1,
            ),
            (
                "unreachable, pass",
                Pass,
                &next_hop,
                None,
                vec![(Ipv4, 900, lookup(52003))],
                0,
            ),
            (
                "unreachable, discard",
                Discard,
                &next_hop,
                None,
                vec![(Ipv4, 900, lookup(52003)), (Ipv4, 901, Verdict::Discard)],
                0,
            ),
        ];
        for (name, unreachable, route, way, rules, defaults) in rows {
            assert_eq!(needed(unreachable, route, way), (rules, defaults), "{name}");
        }
    }
}
