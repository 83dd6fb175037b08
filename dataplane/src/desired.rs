//! What the upper half wants: changes to the set of rules, and the settings that hold for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::guard::Guard;
use crate::rule::{Family, OrderKey, Rule, RuleId};

/// Rules by family, in order.
pub(crate) type Rules = BTreeMap<(Family, OrderKey), Arc<Rule>>;

/// The rules in order.
pub(crate) fn in_order(rules: &[Arc<Rule>]) -> Rules {
    let keyed = |rule: &Arc<Rule>| ((rule.family, rule.order.clone()), rule.clone());
    rules.iter().map(keyed).collect()
}

/// One commit's difference to the set of rules, keyed by family and [`OrderKey`].
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Rules to add, or to put in the place of the rule with the same family and key.
    pub put: Vec<Arc<Rule>>,
    /// Rules to take away. A key that is not installed is ignored.
    pub remove: Vec<(Family, OrderKey)>,
}

impl Changes {
    /// True when the commit would do nothing.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// Makes the changes. A rule that is put under another key than before leaves that one.
    pub(crate) fn apply_to(&self, rules: &mut Rules) {
        for key in &self.remove {
            rules.remove(key);
        }
        let put: BTreeSet<RuleId> = self.put.iter().map(|rule| rule.id).collect();
        rules.retain(|_, rule| !put.contains(&rule.id));
        rules.extend(in_order(&self.put));
    }
}

/// What holds for the whole data plane: where rules apply and what they never touch.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Interfaces whose incoming packets are filtered; see [`InterfacePattern`].
    pub interfaces: Vec<InterfacePattern>,
    /// Traffic that no rule ever touches, besides IPv6 neighbor discovery.
    pub guards: Vec<Guard>,
    /// Where samples go.
    pub sample: Sample,
    /// The bits of the packet mark that the data plane may use while it evaluates a packet: at least seven
    /// contiguous bits. They are zero when the packet leaves the filter. Used only while a rule marks DSCP and
    /// lets evaluation go on.
    pub scratch_mark: u32,
    /// How packets are sent elsewhere.
    pub redirect: Redirects,
    /// No rule is evaluated; all stay where they are, with their counters and limiters, for when this ends.
    pub suspended: bool,
    /// How many sources all rules that limit each source by itself may have together. Holds for rules that come later.
    pub max_sources: u32,
    /// Where the packet filter can, nobody else may change what is ours. Holds from the next start that finds
    /// nothing of an earlier process.
    pub own_table: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interfaces: vec![InterfacePattern::any()],
            guards: Vec::new(),
            sample: Sample::default(),
            scratch_mark: 0x7f00_0000,
            redirect: Redirects::default(),
            suspended: false,
            max_sources: 262_144,
            own_table: false,
        }
    }
}

impl Settings {
    /// All that no rule ever touches.
    pub fn all_guards(&self) -> Vec<Guard> {
        let mut guards = vec![Guard::neighbor_discovery()];
        guards.extend(self.guards.iter().cloned());
        guards
    }
}

/// What the data plane may use to send packets elsewhere. All but `unreachable` holds from the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirects {
    /// Contiguous bits of the packet mark, none of them a scratch bit: one value for each route in use. They stay set
    /// when the packet leaves the filter.
    pub mark: u32,
    /// The priority of the policy rules that look at the mark; the next one is ours, too.
    pub priority: u32,
    /// The routing tables above this number, one for each value of the mark, are ours.
    pub tables: u32,
    /// The protocol number of all our policy rules and routes, by which we know them again.
    pub protocol: u8,
    /// Contiguous bits of the packet mark, none of them one of the others: one value for each address that copies go
    /// to. They are zero when the packet is routed.
    pub copy_mark: u32,
    /// What becomes of packets while their next hop cannot be reached, or their VRF is not there.
    pub unreachable: Unreachable,
}

impl Default for Redirects {
    fn default() -> Self {
        Self {
            mark: 0x00ff_0000,
            priority: 900,
            tables: 52000,
            protocol: 148,
            copy_mark: 0x0000_ff00,
            unreachable: Unreachable::Pass,
        }
    }
}

/// What becomes of packets that cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// They are routed by their destination.
    Pass,
    /// They are discarded.
    Discard,
}

/// A name, or the beginning of a name followed by `*`. A lone `*` means every interface but `lo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// Every interface but `lo`.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Checks the pattern: 1 to 15 octets before an optional final `*`, no space, `/`, control character or other `*`.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || name == "." || name == ".." {
            return Err(format!("{pattern:?} is not an interface name"));
        }
        if name.len() > 15 {
            return Err(format!(
                "{pattern:?} is longer than the 15 octets of an interface name"
            ));
        }
        if let Some(bad) = name
            .chars()
            .find(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '*' | ':'))
        {
            return Err(format!(
                "{pattern:?} contains {bad:?}, which no interface name can"
            ));
        }
        Ok(Self(pattern.into()))
    }

    /// The text as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The literal part and whether anything may follow it.
    pub fn split(&self) -> (&str, bool) {
        match self.0.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (&self.0, false),
        }
    }

    /// True when the interface called `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.split() {
            ("", true) => name != "lo",
            (prefix, true) => name.starts_with(prefix),
            (exact, false) => name == exact,
        }
    }
}

impl InterfacePattern {
    /// The interfaces, but for `lo`, that are in both; `None` when there can be none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let covers = |(beginning, is_open): (&str, bool), (name, _): (&str, bool)| {
            is_open && name.starts_with(beginning)
        };
        match (self.split(), other.split()) {
            (own, theirs) if own == theirs || covers(theirs, own) => Some(self.clone()),
            (own, theirs) if covers(own, theirs) => Some(other.clone()),
            (_, _) => None,
        }
    }
}

/// How sampled packets reach a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// NFLOG group.
    pub group: u16,
    /// Octets of each packet that are copied; 0 copies all.
    pub snap_length: u32,
    /// One in this many matching packets is copied; at least 1.
    pub one_in: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            group: 5,
            snap_length: 128,
            one_in: 1,
        }
    }
}

/// A network interface of the machine, as far as the data plane cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind of virtual link (`bridge`, `vrf`, `vlan`, `veth`); `None` for a physical one.
    pub kind: Option<String>,
    /// Index of the bridge, bond or VRF that it is enslaved to.
    pub master: Option<u32>,
    /// Index of the link it is stacked on (VLAN, macvlan).
    pub lower: Option<u32>,
    /// Its addresses, left-aligned.
    pub addresses: Vec<(Family, u128)>,
    /// Merges received packets (GRO, LRO) before any packet filter sees them.
    pub merges_packets: bool,
}

/// The addresses of this machine, left-aligned.
pub fn local_addresses(links: &[Link]) -> impl Iterator<Item = (Family, u128)> {
    links.iter().flat_map(|link| link.addresses.iter().copied())
}
