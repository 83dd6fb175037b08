//! Which devices are evaluated where, so that every packet is evaluated once. Pure.
//!
//! What arrives by a bridge's port is evaluated when the port receives it, since bridged packets
//! never reach prerouting; everything else in prerouting. Links on top of such ports are left out
//! there.

use std::collections::BTreeSet;

use crate::desired::{Link, Settings, local_addresses};
use crate::rule::Family;

/// Which devices are evaluated where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Bridge ports, evaluated as they receive.
    pub(super) ingress: Vec<String>,
    /// Links that see packets of those ports again, left out in prerouting.
    pub(super) evaluated_before: Vec<String>,
    /// Links evaluated in prerouting.
    pub(super) prerouting: Vec<String>,
    /// Addresses of this machine, left-aligned.
    pub(super) local: Vec<(Family, u128)>,
    /// VRFs that packets come into.
    pub(super) vrfs: Vec<Vrf>,
    /// What an operator should know.
    pub(super) warnings: Vec<String>,
}

/// A VRF: its addresses are this machine's only for what comes in there, and the main routing tables know none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vrf {
    /// Its interfaces.
    pub(super) members: Vec<String>,
    /// Its own addresses and theirs, left-aligned.
    pub(super) addresses: Vec<(Family, u128)>,
}

impl Vrf {
    /// All that have interfaces.
    fn all(links: &[Link]) -> Vec<Self> {
        let vrfs = links
            .iter()
            .filter(|link| link.kind.as_deref() == Some("vrf"));
        let of_vrf = |vrf: &Link| {
            let index = vrf.index;
            let members = links.iter().filter(move |link| link.master == Some(index));
            let names: Vec<String> = members.clone().map(|link| link.name.clone()).collect();
            let all = members.chain([vrf]).cloned().collect::<Vec<_>>();
            (!names.is_empty()).then(|| Self {
                members: names,
                addresses: local_addresses(&all).collect(),
            })
        };
        vrfs.filter_map(of_vrf).collect()
    }
}

impl Coverage {
    /// Finds out from the links of the machine what the interface patterns mean.
    pub(super) fn of(settings: &Settings, links: &[Link]) -> Self {
        let wanted = |link: &Link| {
            settings
                .interfaces
                .iter()
                .any(|pattern| pattern.matches(&link.name))
        };
        let by_index = |index: u32| links.iter().find(|link| link.index == index);
        let kind = |link: &Link, kind: &str| link.kind.as_deref() == Some(kind);
        let bridge_of = |link: &Link| {
            link.master
                .and_then(by_index)
                .filter(|master| kind(master, "bridge"))
        };
        let is_ingress =
            |link: &Link| bridge_of(link).is_some_and(|bridge| wanted(link) || wanted(bridge));
        let mut coverage = Self {
            local: local_addresses(links).collect(),
            vrfs: Vrf::all(links),
            ..Self::default()
        };
        let ingress: BTreeSet<&str> = links
            .iter()
            .filter(|link| is_ingress(link))
            .map(|link| link.name.as_str())
            .collect();

        // A link sees only packets evaluated before if what it stands on is evaluated at ingress,
        // or is a bridge all of whose ports are.
        let complete = |bridge: &Link| {
            let mut ports = links
                .iter()
                .filter(|link| link.master == Some(bridge.index))
                .peekable();
            ports.peek().is_some() && ports.all(is_ingress)
        };
        let evaluated_before = |link: &Link| {
            let mut link = link;
            // A stack deeper than the number of links would be a loop.
            for _ in 0..links.len() {
                if is_ingress(link) || kind(link, "bridge") && complete(link) {
                    return true;
                }
                match link.lower.and_then(by_index) {
                    Some(lower) => link = lower,
                    None => return false,
                }
            }
            false
        };
        for link in links
            .iter()
            .filter(|link| wanted(link) && link.name != "lo")
        {
            if ingress.contains(link.name.as_str()) {
                continue;
            }
            if evaluated_before(link) {
                coverage.evaluated_before.push(link.name.clone());
                continue;
            }
            coverage.prerouting.push(link.name.clone());
            if let Some(master) = link.master.and_then(by_index)
                && (kind(master, "bond") || kind(master, "team"))
                && !wanted(master)
            {
                coverage.warnings.push(format!(
                    "{} is a member of {}, which no interface pattern matches: its packets are not \
                     filtered; add {} to dataplane.interfaces",
                    link.name, master.name, master.name
                ));
            }
            if kind(link, "vrf") {
                let members = links
                    .iter()
                    .filter(|member| member.master == Some(link.index));
                for member in members.filter(|member| !wanted(member)) {
                    coverage.warnings.push(format!(
                        "packets that VRF {} gets by {} are not filtered: \
                         name {} in dataplane.interfaces",
                        link.name, member.name, member.name
                    ));
                }
            }
        }
        for pattern in &settings.interfaces {
            let found = links.iter().any(|link| pattern.matches(&link.name));
            if !found && pattern.split() != ("", true) {
                coverage
                    .warnings
                    .push(format!("no interface matches {}", pattern.as_str()));
            }
        }
        coverage.ingress = ingress.into_iter().map(String::from).collect();
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::InterfacePattern;

    /// Names of links.
    type Names = &'static [&'static str];

    /// A link: index, name, kind, master, lower.
    type Row = (u32, &'static str, &'static str, u32, u32);

    const SWITCH: [Row; 9] = [
        (1, "lo", "", 0, 0),
        (2, "eth0", "", 0, 0),
        (3, "swp1", "", 10, 0),
        (4, "swp2", "", 10, 0),
        (5, "swp1.7", "vlan", 0, 3),
        (10, "br0", "bridge", 0, 0),
        (11, "br0.10", "vlan", 0, 10),
        (20, "bond0", "bond", 0, 0),
        (21, "eth1", "", 20, 0),
    ];

    fn coverage(patterns: &[&str], rows: &[Row]) -> Coverage {
        let interfaces = patterns
            .iter()
            .map(|text| InterfacePattern::new(text).unwrap())
            .collect();
        let settings = Settings {
            interfaces,
            ..Settings::default()
        };
        let links: Vec<Link> = rows
            .iter()
            .map(|&(index, name, kind, master, lower)| Link {
                index,
                name: name.into(),
                kind: (!kind.is_empty()).then(|| kind.into()),
                master: (master > 0).then_some(master),
                lower: (lower > 0).then_some(lower),
                addresses: Vec::new(),
                merges_packets: false,
            })
            .collect();
        Coverage::of(&settings, &links)
    }

    #[test]
    fn every_packet_is_evaluated_in_one_place() {
        let both: Names = &["swp1", "swp2"];
        let rows: [(&str, Names, Names, Names, Names); 6] = [
            (
                "all interfaces",
                &["*"],
                both,
                &["swp1.7", "br0", "br0.10"],
                &["eth0", "bond0", "eth1"],
            ),
            ("the bridge", &["br0"], both, &["br0"], &[]),
            (
                "all ports",
                &["swp1", "swp2", "br0.10"],
                both,
                &["br0.10"],
                &[],
            ),
            // Packets of the other port reach the VLAN without having been evaluated.
            ("one port", &["swp1", "br0.10"], &["swp1"], &[], &["br0.10"]),
            ("only a VLAN", &["br0.10"], &[], &[], &["br0.10"]),
            ("no such link", &["tun*"], &[], &[], &[]),
        ];
        for (name, patterns, ingress, before, prerouting) in rows {
            let coverage = coverage(patterns, &SWITCH);
            assert_eq!(coverage.ingress, ingress, "{name}");
            assert_eq!(coverage.evaluated_before, before, "{name}");
            assert_eq!(coverage.prerouting, prerouting, "{name}");
        }
    }

    #[test]
    fn a_vrf_has_its_own_addresses_and_those_of_its_interfaces() {
        let link = |index, name: &str, kind: &str, master, address| Link {
            index,
            name: name.into(),
            kind: (!kind.is_empty()).then(|| kind.into()),
            master,
            addresses: vec![(Family::Ipv4, address)],
            ..Link::default()
        };
        let links = [
            link(1, "eth0", "", None, 1),
            link(2, "red", "vrf", None, 2),
            link(3, "eth1", "", Some(2), 3),
            link(4, "eth2", "", Some(2), 4),
            link(5, "blue", "vrf", None, 5),
            link(6, "eth3", "", Some(7), 6),
            link(7, "br0", "bridge", Some(2), 7),
        ];
        let vrfs = Coverage::of(&Settings::default(), &links).vrfs;
        let [red] = &vrfs[..] else {
            panic!("a VRF without interfaces has no packets: {vrfs:?}")
        };
        assert_eq!(red.members, ["eth1", "eth2", "br0"]);
        let addresses: Vec<u128> = red.addresses.iter().map(|(_, address)| *address).collect();
        assert_eq!(addresses, [3, 4, 7, 2]);
    }

    #[test]
    fn operators_are_warned_of_patterns_that_filter_nothing() {
        let vrf = [(1, "red", "vrf", 0, 0), (2, "eth7", "", 1, 0)];
        let rows: [(&str, Names, &[Row], Names); 5] = [
            ("everything", &["*"], &SWITCH, &[]),
            (
                "no such link",
                &["tun*", "eth0"],
                &SWITCH,
                &["no interface matches tun*"],
            ),
            (
                "bond member",
                &["eth1"],
                &SWITCH,
                &["eth1 is a member of bond0"],
            ),
            ("bond with member", &["eth1", "bond0"], &SWITCH, &[]),
            (
                "VRF",
                &["red"],
                &vrf,
                &["packets that VRF red gets by eth7"],
            ),
        ];
        for (name, patterns, links, expected) in rows {
            let warnings = coverage(patterns, links).warnings;
            assert_eq!(warnings.len(), expected.len(), "{name}: {warnings:?}");
            for (warning, expected) in warnings.iter().zip(expected) {
                assert!(warning.starts_with(expected), "{name}: {warning}");
            }
        }
    }
}
