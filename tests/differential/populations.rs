//! Populations of Flow Specifications: what controllers announce under attack, and what is made to overlap.
//!
//! A packet filter that looks rules up instead of trying them one by one has to group them: by shape, by prefix length,
//! by destination, by what they do. A population has few victims, few templates and few kinds of actions, so that such
//! groups become large and meet each other; relatives of earlier routes differ from them in one detail.

use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::nlri::{BitmaskType, Component, Nlri, NumericOp, NumericType, PrefixPattern};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};

use crate::kinds::Kind;
use crate::lists::{contain, equal, say_otherwise, widen, width_of};
use crate::specifications::{
    self, IPV4_ADDRESSES, IPV6_ADDRESSES, PORTS, PROTOCOLS, Route, bitmasks, number, numbers,
};

/// First octets of IPv4 addresses. However their bits are mixed, the result can be forwarded.
const IPV4_FIRST_OCTETS: [u128; 4] = [8, 10, 198, 203];
/// First groups of IPv6 addresses, chosen alike.
const IPV6_FIRST_GROUPS: [u128; 2] = [0x2001, 0x2400];
/// Announced routes of which relatives are made.
const REMEMBERED: usize = 256;

/// How a Flow Specification comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Any components with any operators.
    Wild,
    /// A victim's address or network, one protocol and single ports.
    Attack,
    /// Sources of mixed lengths, with a destination or without.
    Sources,
    /// A template's operators under one of few destinations.
    Template,
    /// A prefix of any length of one address.
    Nested,
    /// Either port against each port.
    Ports,
    /// What later fragments can match, and what they cannot.
    Fragments,
    /// An earlier route with one detail changed.
    Relative,
}

impl Style {
    /// All styles.
    const ALL: [Self; 8] = [
        Self::Wild,
        Self::Attack,
        Self::Sources,
        Self::Template,
        Self::Nested,
        Self::Ports,
        Self::Fragments,
        Self::Relative,
    ];
}

/// Where the routes of one case come from.
pub struct Population {
    /// Styles, the frequent ones several times.
    styles: Vec<Style>,
    /// Share of IPv6.
    ipv6: f64,
    /// Hosts that are attacked, by family.
    victims: [Vec<u128>; 2],
    /// Hosts that attack, by family.
    attackers: [Vec<u128>; 2],
    /// Components other than prefixes, by family.
    templates: [Vec<Vec<Component>>; 2],
    /// Ports that occur often.
    ports: Vec<u16>,
    /// Kinds of actions, the frequent ones several times.
    kinds: Vec<Kind>,
    /// Some of the routes so far.
    remembered: Vec<Nlri>,
}

impl Population {
    /// Chooses what the routes have in common.
    pub fn new(random: &mut StdRng) -> Self {
        let mut styles = Vec::new();
        for style in Style::ALL {
            let weight = *[0, 1, 1, 2, 4, 8].choose(random).unwrap_or(&1);
            styles.extend(std::iter::repeat_n(style, weight));
        }
        if styles.is_empty() {
            styles.extend(Style::ALL);
        }
        let networks = random.random_range(1..=4);
        let hosts = *[1, 2, 8, 64, 256].choose(random).unwrap_or(&8);
        let templates = random.random_range(1..=20);
        let mut population = Self {
            styles,
            ipv6: *[0.0, 0.3, 0.5, 1.0].choose(random).unwrap_or(&0.5),
            victims: [false, true].map(|ipv6| addresses(random, ipv6, networks, hosts)),
            attackers: [false, true].map(|ipv6| addresses(random, ipv6, 8, 64)),
            templates: [Vec::new(), Vec::new()],
            ports: PORTS.to_vec(),
            kinds: Vec::new(),
            remembered: Vec::new(),
        };
        for _ in 0..*[0, 4, 100].choose(random).unwrap_or(&4) {
            population.ports.push(random.random());
        }
        for ipv6 in [false, true] {
            for _ in 0..templates {
                let mut components = specifications::components(random, ipv6);
                components.retain(|component| component.code() > 2);
                components.truncate(3);
                population.templates[usize::from(ipv6)].push(components);
            }
        }
        let all = [Kind::ALL.to_vec(), vec![Kind::Discard; 30]].concat();
        for _ in 0..random.random_range(1..=12) {
            population.kinds.extend(all.choose(random));
        }
        population
    }

    /// A route of either family.
    pub fn route(&mut self, random: &mut StdRng) -> Route {
        loop {
            let style = *self.styles.choose(random).unwrap_or(&Style::Wild);
            let relative = match style {
                Style::Relative => self.remembered.choose(random).cloned(),
                _ => None,
            };
            let ipv6 = relative.as_ref().map_or_else(
                || random.random_bool(self.ipv6),
                |nlri| nlri.family().is_ipv6(),
            );
            let mut components = match relative {
                Some(nlri) => self.relative(random, &nlri),
                None => self.components(random, style, ipv6),
            };
            components.sort_by_key(Component::code);
            components.dedup_by_key(|component| component.code());
            let family = match ipv6 {
                true => FlowFamily::Ipv6Flow,
                false => FlowFamily::Ipv4Flow,
            };
            // A change may have made it longer than possible, or left nothing.
            let Ok(nlri) = Nlri::new(family, None, &components) else {
                continue;
            };
            match self.remembered.len() < REMEMBERED {
                true => self.remembered.push(nlri.clone()),
                false => {
                    self.remembered[random.random_range(0..REMEMBERED)] = nlri.clone();
                }
            }
            return Route {
                nlri,
                actions: self.actions(random),
            };
        }
    }

    /// Actions as they occur in this population.
    pub fn actions(&self, random: &mut StdRng) -> TrafficFilteringActions {
        match self.kinds.choose(random) {
            Some(kind) if !random.random_bool(0.1) => kind.actions(random),
            _ => specifications::actions(random),
        }
    }

    /// Components for a style.
    fn components(&self, random: &mut StdRng, style: Style, ipv6: bool) -> Vec<Component> {
        let template = |random: &mut StdRng| {
            let templates = &self.templates[usize::from(ipv6)];
            templates.choose(random).cloned().unwrap_or_default()
        };
        let mut components = Vec::new();
        match style {
            Style::Wild | Style::Relative => return specifications::components(random, ipv6),
            Style::Attack => {
                components.extend(self.destination(random, ipv6));
                components.push(protocol(random, ipv6));
                components.extend(self.single_ports(random));
            }
            Style::Sources => {
                components.push(Component::SourcePrefix(self.source(random, ipv6)));
                if random.random_bool(0.5) {
                    components.extend(self.destination(random, ipv6));
                }
                if random.random_bool(0.4) {
                    components.push(protocol(random, ipv6));
                    components.extend(self.single_ports(random));
                }
            }
            Style::Template => {
                components.extend(self.destination(random, ipv6));
                if random.random_bool(0.2) {
                    components.push(Component::SourcePrefix(self.source(random, ipv6)));
                }
                components.extend(template(random));
                if random.random_bool(0.5) {
                    self.draw_values(random, &mut components);
                }
            }
            Style::Nested => {
                let host = self.victims[usize::from(ipv6)][0];
                let prefix = prefix_of(random, host, ipv6, None);
                if random.random_bool(0.7) {
                    components.push(Component::DestinationPrefix(prefix));
                    if random.random_bool(0.3) {
                        components.push(Component::SourcePrefix(self.source(random, ipv6)));
                    }
                } else {
                    components.push(Component::SourcePrefix(prefix));
                }
                match random.random_range(0..4) {
                    0 => components.extend(template(random)),
                    1 => components.push(protocol(random, ipv6)),
                    2 => components.extend(self.single_ports(random)),
                    _ => {}
                }
            }
            Style::Ports => {
                if random.random_bool(0.8) {
                    components.extend(self.destination(random, ipv6));
                }
                if random.random_bool(0.5) {
                    components.push(protocol(random, ipv6));
                }
                for kind in PORT_KINDS {
                    if random.random_bool(0.5) {
                        components.push(Component::Numeric(kind, self.port_list(random)));
                    }
                }
            }
            Style::Fragments => {
                if random.random_bool(0.8) {
                    components.extend(self.destination(random, ipv6));
                }
                if random.random_bool(0.5) {
                    components.push(protocol(random, ipv6));
                }
                if random.random_bool(0.3) {
                    components.extend(self.single_ports(random));
                }
                if random.random_bool(0.8) {
                    let states = bitmasks(random, 12, ipv6);
                    components.push(Component::Bitmask(BitmaskType::Fragment, states));
                }
            }
        }
        components
    }

    /// An earlier route with one detail changed, seldom with several.
    fn relative(&self, random: &mut StdRng, nlri: &Nlri) -> Vec<Component> {
        let ipv6 = nlri.family().is_ipv6();
        let mut components = nlri.components();
        let changes = *[1, 1, 1, 2, 3].choose(random).unwrap_or(&1);
        for _ in 0..changes {
            match random.random_range(0..6) {
                0 if components.len() > 1 => {
                    components.remove(random.random_range(0..components.len()));
                }
                1 => {
                    let style = *Style::ALL.choose(random).unwrap_or(&Style::Wild);
                    let added = self.components(random, style, ipv6);
                    components.extend(added.choose(random).cloned());
                }
                _ => {
                    components.shuffle(random);
                    if let Some(component) = components.first_mut() {
                        self.change(random, component, ipv6);
                    }
                }
            }
        }
        components
    }

    /// Changes one component a little.
    fn change(&self, random: &mut StdRng, component: &mut Component, ipv6: bool) {
        match component {
            Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) => {
                let within = match random.random_bool(0.8) {
                    true => prefix.bits,
                    false => self.any_host(random, ipv6),
                };
                // What the prefix leaves open is taken from a host.
                let host = within | self.any_host(random, ipv6) & !mask(*prefix);
                *prefix = prefix_of(random, host, ipv6, None);
            }
            Component::Numeric(kind, ops) => match random.random_range(0..6) {
                0 if PORT_KINDS.contains(kind) => {
                    *kind = *PORT_KINDS.choose(random).unwrap_or(kind);
                }
                0 | 1 => widen(random, ops),
                2 => say_otherwise(ops),
                3 => {
                    let op = ops.choose_mut(random).expect("no list is empty");
                    op.value = number(random, *kind);
                    op.width = width_of(op.value);
                }
                4 => ops.push(equal(number(random, *kind))),
                _ => *ops = contain(random, ops),
            },
            Component::Bitmask(kind, ops) => {
                let code = match kind {
                    BitmaskType::TcpFlags => 9,
                    BitmaskType::Fragment => 12,
                };
                let op = ops.choose_mut(random).expect("no list is empty");
                match random.random_range(0..4) {
                    0 => op.not = !op.not,
                    1 => op.all = !op.all,
                    2 => op.width = 2,
                    _ => ops.extend(bitmasks(random, code, ipv6)),
                }
            }
        }
    }

    /// A victim or its network; `None` for any destination, which is rare: such a rule concerns every packet.
    fn destination(&self, random: &mut StdRng, ipv6: bool) -> Option<Component> {
        let host = *self.victims[usize::from(ipv6)].choose(random)?;
        let lengths: &[u8] = match ipv6 {
            true => &[128, 128, 128, 128, 64, 64, 48, 32, 16, 0],
            false => &[32, 32, 32, 32, 24, 24, 16, 8, 31, 0],
        };
        let length = *lengths.choose(random)?;
        match length {
            0 => None,
            _ => Some(Component::DestinationPrefix(prefix_of(
                random,
                host,
                ipv6,
                Some(length),
            ))),
        }
    }

    /// The network of an attacker.
    fn source(&self, random: &mut StdRng, ipv6: bool) -> PrefixPattern {
        let host = self.attackers[usize::from(ipv6)].choose(random);
        let lengths: &[u8] = match ipv6 {
            true => &[128, 64, 56, 48, 40, 33, 32, 20],
            false => &[32, 31, 28, 24, 22, 20, 16, 12, 8, 1],
        };
        let length = lengths.choose(random).copied();
        prefix_of(random, host.copied().unwrap_or(0), ipv6, length)
    }

    /// Somebody.
    fn any_host(&self, random: &mut StdRng, ipv6: bool) -> u128 {
        let hosts = match random.random_bool(0.5) {
            true => &self.victims,
            false => &self.attackers,
        };
        let hosts = &hosts[usize::from(ipv6)];
        hosts.choose(random).copied().unwrap_or(0)
    }

    /// Ports that are compared with one number.
    fn single_ports(&self, random: &mut StdRng) -> Vec<Component> {
        let kinds: &[NumericType] = match random.random_range(0..7) {
            0..2 => &[NumericType::DestinationPort],
            2..4 => &[NumericType::SourcePort],
            4 => &[NumericType::Port],
            5 => &[NumericType::DestinationPort, NumericType::SourcePort],
            _ => &[],
        };
        let mut components = Vec::new();
        for kind in kinds {
            let port = self.ports.choose(random).copied().unwrap_or(53);
            let mut ops = vec![equal(u64::from(port))];
            if random.random_bool(0.1) {
                widen(random, &mut ops);
            }
            components.push(Component::Numeric(*kind, ops));
        }
        components
    }

    /// One port, a few, a range, or a range within another.
    fn port_list(&self, random: &mut StdRng) -> Vec<NumericOp> {
        let port = |random: &mut StdRng| self.ports.choose(random).copied().map_or(53, u64::from);
        let one = vec![equal(port(random))];
        match random.random_range(0..5) {
            0..2 => one,
            2 => vec![equal(port(random)), equal(port(random))],
            3 => contain(random, &one),
            _ => numbers(random, NumericType::Port),
        }
    }

    /// Gives lists of one `=value` a new value: many rules of one shape.
    fn draw_values(&self, random: &mut StdRng, components: &mut [Component]) {
        for component in components {
            if let Component::Numeric(kind, ops) = component
                && let [op] = ops.as_mut_slice()
                && op.equal
                && !op.less
                && !op.greater
            {
                op.value = match PORT_KINDS.contains(kind) {
                    true => self.ports.choose(random).copied().map_or(53, u64::from),
                    false => number(random, *kind),
                };
                op.width = width_of(op.value);
            }
        }
    }
}

/// The components about ports.
const PORT_KINDS: [NumericType; 3] = [
    NumericType::Port,
    NumericType::DestinationPort,
    NumericType::SourcePort,
];

/// Hosts in a few networks, and the well-known ones.
fn addresses(random: &mut StdRng, ipv6: bool, networks: usize, hosts: usize) -> Vec<u128> {
    let mut addresses = Vec::new();
    for _ in 0..networks {
        let (first, shift) = match ipv6 {
            true => (IPV6_FIRST_GROUPS.choose(random), 112),
            false => (IPV4_FIRST_OCTETS.choose(random), 120),
        };
        let first = first.copied().unwrap_or(8) << shift;
        // IPv4: the network has 24 bits; IPv6: 64.
        let (network, host_bits, unused) = match ipv6 {
            true => (random.random::<u128>() >> 16 & !0 << 64, 16, 0),
            false => (random.random::<u128>() >> 8 & !0 << 104, 8, 96),
        };
        for _ in 0..hosts.div_ceil(networks) {
            let host = random.random::<u128>() & ((1 << host_bits) - 1);
            addresses.push(first | network | host << unused);
        }
    }
    match ipv6 {
        true => addresses.extend(IPV6_ADDRESSES),
        false => addresses.extend(IPV4_ADDRESSES),
    }
    addresses
}

/// A prefix that holds the address; any length when none is given.
fn prefix_of(random: &mut StdRng, address: u128, ipv6: bool, length: Option<u8>) -> PrefixPattern {
    let longest = if ipv6 { 128 } else { 32 };
    let length = length.unwrap_or_else(|| random.random_range(0..=longest));
    let offset = match ipv6 && length > 0 && random.random_bool(0.15) {
        true => random.random_range(0..length),
        false => 0,
    };
    let mut prefix = PrefixPattern {
        length,
        offset,
        bits: 0,
    };
    prefix.bits = address & mask(prefix);
    prefix
}

/// The bits that a prefix compares.
pub fn mask(prefix: PrefixPattern) -> u128 {
    let keep = |bits: u8| !u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
    keep(prefix.length) & !keep(prefix.offset)
}

/// One protocol.
fn protocol(random: &mut StdRng, ipv6: bool) -> Component {
    let icmp = if ipv6 { 58 } else { 1 };
    let number = match random.random_range(0..8) {
        0..3 => 17,
        3..6 => 6,
        6 => icmp,
        _ => PROTOCOLS.choose(random).copied().unwrap_or(47),
    };
    let mut ops = vec![equal(u64::from(number))];
    if random.random_bool(0.05) {
        widen(random, &mut ops);
    }
    Component::Numeric(NumericType::Protocol, ops)
}
