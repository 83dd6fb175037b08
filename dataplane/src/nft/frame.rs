//! The frame of the table: base chains that choose packets and hand them to the lists of rules.
//! Pure.
//!
//! Which devices are evaluated in which base chain is for [`super::coverage`] to say.

use std::collections::BTreeSet;

use netlink_packet_core::NLM_F_CREATE;

use super::condition::{Class, conditions};
use super::coverage::{Coverage, Vrf};
use super::expression::Verdict;
use super::field::{Field, Test};
use super::message::{Attributes, Kind, Message, TABLE_FLAGS};
use super::object::{
    Hook, NftRule, create_chain, create_port_protocols, delete_chain, flush_chain,
};
use super::statement::{InterfaceTest, Statement};
use crate::desired::Settings;
use crate::guard::Guard;
use crate::rule::{Family, Match};

/// The base chain of most packets.
const PREROUTING: &str = "prerouting";
/// The base chain of bridge ports.
const INGRESS: &str = "ingress";
/// The chain that lets packets of other interfaces pass.
const INTERFACES: &str = "interfaces";

/// The chain that holds the rules for a family and class. All but later fragments enter that of
/// [`Class::Rest`], which sends TCP and UDP on if they are told apart.
pub(super) fn class_chain(family: Family, class: Class) -> &'static str {
    match (family, class) {
        (Family::Ipv4, Class::Tcp) => "ipv4-tcp",
        (Family::Ipv4, Class::Udp) => "ipv4-udp",
        (Family::Ipv4, Class::Rest) => "ipv4",
        (Family::Ipv4, Class::Later) => "ipv4-later",
        (Family::Ipv6, Class::Tcp) => "ipv6-tcp",
        (Family::Ipv6, Class::Udp) => "ipv6-udp",
        (Family::Ipv6, Class::Rest) => "ipv6",
        (Family::Ipv6, Class::Later) => "ipv6-later",
    }
}

/// The chains that packets enter from here, with what an operator reads beside them.
pub(super) const ENTRIES: [(Family, Class, &str); 4] = [
    (Family::Ipv4, Class::Rest, LEADING),
    (Family::Ipv4, Class::Later, LATER),
    (Family::Ipv6, Class::Rest, LEADING),
    (Family::Ipv6, Class::Later, LATER),
];
/// See [`ENTRIES`].
const LEADING: &str = "whole packets and first fragments";
/// See [`ENTRIES`].
const LATER: &str = "fragments without a transport header";

/// One chain of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameChain {
    /// Its name.
    pub(super) name: &'static str,
    /// Where the kernel calls it; `None` when only other chains do.
    pub(super) hook: Option<Hook>,
    /// Its rules.
    pub(super) rules: Vec<NftRule>,
}

/// The chains of the frame, each after those it refers to; the chains of the classes stand before
/// them.
pub(super) fn frame(settings: &Settings, coverage: &Coverage) -> Vec<FrameChain> {
    let vrf = NftRule::of_frame(
        vec![Statement::FromVrf, Statement::Verdict(Verdict::Accept)],
        "a VRF shows again what its member interface has shown",
    );
    let guards = settings.all_guards();
    let evaluated = |before: Vec<NftRule>, locality| match settings.suspended {
        true => vec![NftRule::of_frame(
            vec![Statement::Verdict(Verdict::Accept)],
            "suspended by the operator: no rule is evaluated",
        )],
        false => before
            .into_iter()
            .chain(dispatch(&guards, locality))
            .collect(),
    };
    let interfaces = interfaces(settings, coverage);
    let (others, chain) = match only_interface(&interfaces) {
        Some(rule) => (rule, None),
        None => (NftRule::jump(INTERFACES.into()), Some(interfaces)),
    };
    let mut chains: Vec<FrameChain> = chain
        .map(|rules| FrameChain {
            name: INTERFACES,
            hook: None,
            rules,
        })
        .into_iter()
        .collect();
    chains.push(FrameChain {
        name: PREROUTING,
        hook: Some(Hook::Prerouting),
        rules: evaluated(vec![vrf, others], Locality::Routed(&coverage.vrfs)),
    });
    if !coverage.ingress.is_empty() {
        chains.push(FrameChain {
            name: INGRESS,
            hook: Some(Hook::Ingress(coverage.ingress.clone())),
            rules: evaluated(Vec::new(), Locality::Told(&coverage.local)),
        });
    }
    chains
}

/// Returns for packets of the configured interfaces and lets all others pass.
fn interfaces(settings: &Settings, coverage: &Coverage) -> Vec<NftRule> {
    let mut rules = Vec::new();
    let mut rule = |test: Option<InterfaceTest>, verdict, comment| {
        let mut statements: Vec<Statement> = test.map(Statement::Interface).into_iter().collect();
        statements.push(Statement::Verdict(verdict));
        rules.push(NftRule::of_frame(statements, comment));
    };
    if !coverage.evaluated_before.is_empty() {
        let test = named(&coverage.evaluated_before);
        rule(
            Some(test),
            Verdict::Accept,
            "evaluated when the bridge port received the packet",
        );
    }
    let patterns = settings.interfaces.iter().map(|pattern| pattern.split());
    let mut exact: Vec<String> = patterns
        .clone()
        .filter(|(_, prefix)| !prefix)
        .map(|(name, _)| name.into())
        .collect();
    exact.sort();
    exact.dedup();
    if !exact.is_empty() {
        rule(Some(named(&exact)), Verdict::Return, "");
    }
    for (prefix, _) in patterns.filter(|(_, prefix)| *prefix) {
        let test = match prefix {
            "" => InterfaceTest::IsNot("lo".into()),
            prefix => InterfaceTest::StartsWith(prefix.into()),
        };
        rule(Some(test), Verdict::Return, "");
    }
    rule(None, Verdict::Accept, "not an interface that is filtered");
    rules
}

/// What [`interfaces`] does, in one rule: for a test that has an opposite, if it is the only one.
fn only_interface(rules: &[NftRule]) -> Option<NftRule> {
    let [returns, accepts] = rules else {
        return None;
    };
    let test = match returns.statements.as_slice() {
        [Statement::Interface(test), _] => test.opposite()?,
        _ => return None,
    };
    let mut rule = accepts.clone();
    rule.statements.insert(0, Statement::Interface(test));
    Some(rule)
}

/// Matches packets that come in by one of these interfaces.
fn named(names: &[String]) -> InterfaceTest {
    match names {
        [name] => InterfaceTest::Is(name.clone()),
        names => InterfaceTest::In(names.to_vec()),
    }
}

/// Where a base chain learns which addresses are this machine's.
#[derive(Clone, Copy)]
enum Locality<'a> {
    /// It asks the routing tables, which know nothing of addresses in VRFs: those it is told.
    Routed(&'a [Vrf]),
    /// Before routing nobody knows: it is told.
    Told(&'a [(Family, u128)]),
}

impl Locality<'_> {
    /// Conditions of each of which follows that a packet of the family is for this machine.
    fn to_this_machine(self, family: Family) -> Vec<Vec<Statement>> {
        match self {
            Self::Told(addresses) => Self::to_one_of(family, addresses)
                .map(|statement| vec![statement])
                .into_iter()
                .collect(),
            Self::Routed(vrfs) => {
                let in_vrf = |vrf: &Vrf| {
                    let to = Self::to_one_of(family, &vrf.addresses)?;
                    Some(vec![Statement::Interface(named(&vrf.members)), to])
                };
                let in_vrfs = vrfs.iter().filter_map(in_vrf);
                std::iter::once(vec![Statement::ToThisMachine])
                    .chain(in_vrfs)
                    .collect()
            }
        }
    }

    /// The condition that a packet of the family is for one of these addresses; `None` when none is of the family.
    fn to_one_of(family: Family, addresses: &[(Family, u128)]) -> Option<Statement> {
        let unused = 128 - Field::Destination(family).bits();
        let addresses: BTreeSet<u128> = addresses
            .iter()
            .filter(|(own, _)| *own == family)
            .map(|(_, address)| address >> unused)
            .collect();
        let mut addresses = addresses.into_iter();
        match (addresses.next(), addresses.len()) {
            (None, _) => None,
            (Some(only), 0) => Some(Statement::Match(Field::Destination(family), Test::Is(only))),
            (Some(first), _) => {
                let all = std::iter::once(first).chain(addresses).collect();
                Some(Statement::ToOneOf(family, all))
            }
        }
    }
}

/// Sends every packet to the list of its family and class, except those that no rule may touch.
///
/// The guards that look at transport headers come after later fragments are gone, in whose payload the kernel
/// would read ports.
fn dispatch(guards: &[Guard], locality: Locality<'_>) -> Vec<NftRule> {
    let goto = |family, class| Statement::Verdict(Verdict::Goto(class_chain(family, class).into()));
    let mut rules = Vec::new();
    // One family after the other: what the first passes by, the second need not.
    for family in Family::ALL {
        let own = guards.iter().filter(|guard| guard.family == family);
        let (of_header, of_any): (Vec<&Guard>, Vec<&Guard>) =
            own.partition(|guard| guard.traffic.needs_transport_header());
        for guard in of_any {
            rules.extend(guard_rules(guard, &guard.traffic, locality));
        }
        for guard in &of_header {
            if let Some(later) = guard.later_fragments() {
                rules.extend(guard_rules(guard, &later, locality));
            }
        }
        let fragments = vec![
            Statement::Family(family),
            later_fragment(family),
            goto(family, Class::Later),
        ];
        rules.push(NftRule::of_frame(fragments, ""));
        for guard in of_header {
            rules.extend(guard_rules(guard, &guard.traffic, locality));
        }
        if family == Family::Ipv6 {
            rules.extend(second_fragment_header());
        }
        let others = vec![Statement::Family(family), goto(family, Class::Rest)];
        rules.push(NftRule::of_frame(others, ""));
    }
    rules
}

/// Sends IPv6 packets with more than one Fragment header (against RFC 8200 §4.1, but receivers reassemble
/// them) to the list for later fragments if another than the first has an offset.
///
/// nft reads the first Fragment header only. In the list for whole packets the kernel would read the
/// beginning of the IPv6 header as ports, and the sender could choose them by the flow label. But one way to
/// load octets of the transport header looks whether there is one, and another does not.
fn second_fragment_header() -> [NftRule; 2] {
    let rule = |field, class, comment| {
        let statements = vec![
            Statement::Family(Family::Ipv6),
            Statement::Match(Field::FragmentHeader, Test::Is(1)),
            Statement::Match(field, Test::Any),
            Statement::Verdict(Verdict::Goto(class_chain(Family::Ipv6, class).into())),
        ];
        NftRule::of_frame(statements, comment)
    };
    [
        rule(Field::UnalignedTransportOctets, Class::Rest, ""),
        rule(
            Field::FirstTransportOctets,
            Class::Later,
            "the offset is in a second fragment header",
        ),
    ]
}

/// Matches fragments without a transport header.
fn later_fragment(family: Family) -> Statement {
    match family {
        Family::Ipv4 => {
            let (mask, value) = (0x1fff, 0);
            Statement::Match(Field::Ipv4Fragment, Test::NotMasked { mask, value })
        }
        Family::Ipv6 => Statement::Match(Field::FragmentOffset, Test::IsNot(0)),
    }
}

/// Lets the part of a guard's traffic pass that is `matches`.
fn guard_rules(guard: &Guard, matches: &Match, locality: Locality<'_>) -> Vec<NftRule> {
    let mut common = Vec::new();
    let is_later = matches.fragment.is_some();
    if is_later {
        common.push(later_fragment(guard.family));
    }
    if guard.on_link {
        common.push(Statement::Match(
            Field::HopLimit(guard.family),
            Test::Is(255),
        ));
    }
    let places = match guard.to_this_machine {
        true => locality.to_this_machine(guard.family),
        false => vec![Vec::new()],
    };
    let unfragmented = Match {
        fragment: None,
        ..matches.clone()
    };
    let comment = match is_later {
        true => format!("never filtered: fragments of {}", guard.purpose),
        false => format!("never filtered: {}", guard.purpose),
    };
    let accept = vec![Statement::Verdict(Verdict::Accept)];
    let rule = |condition: Vec<Statement>, place: &Vec<Statement>| {
        let statements = [condition, common.clone(), place.clone(), accept.clone()].concat();
        NftRule::of_frame(statements, &comment)
    };
    let conditions = conditions(guard.family, &unfragmented).into_iter();
    conditions
        .flat_map(|condition| places.iter().map(move |place| (condition.clone(), place)))
        .map(|(condition, place)| rule(condition, place))
        .collect()
}

/// The messages that create the frame in a table that has none of it.
pub(super) fn create_messages(chains: &[FrameChain], last_set: &mut u32) -> Vec<Message> {
    let mut messages = Vec::new();
    create_port_protocols(last_set, &mut messages);
    for (family, class, comment) in ENTRIES {
        messages.push(create_chain(class_chain(family, class), None, comment));
    }
    for chain in chains {
        messages.push(create_chain(chain.name, chain.hook.as_ref(), ""));
    }
    for chain in chains {
        for rule in &chain.rules {
            rule.create(chain.name, last_set, &mut messages);
        }
    }
    messages
}

/// The messages that replace one frame by another and leave the rules alone.
pub(super) fn replace_messages(
    from: &[FrameChain],
    to: &[FrameChain],
    last_set: &mut u32,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let changed_hook = |chain: &&FrameChain| {
        !to.iter()
            .any(|new| new.name == chain.name && new.hook == chain.hook)
    };
    for chain in from.iter().filter(changed_hook) {
        // The kernel may have taken the chain away with its last device: create what is to be
        // deleted.
        messages.push(create_chain(chain.name, None, ""));
        messages.push(flush_chain(chain.name));
        messages.push(delete_chain(chain.name));
    }
    for chain in to {
        messages.push(create_chain(chain.name, chain.hook.as_ref(), ""));
        messages.push(flush_chain(chain.name));
        for rule in &chain.rules {
            rule.create(chain.name, last_set, &mut messages);
        }
    }
    messages
}

/// The message that creates our table or takes it into possession, as the flags say. Naming them wakes
/// a table that somebody has put to sleep.
pub(super) fn create_table(flags: u32) -> Message {
    let table = Attributes::of_table().u32(TABLE_FLAGS, flags);
    Message::new(Kind::NewTable, NLM_F_CREATE, table)
}

/// The messages that delete our table, whether it exists or not.
pub(super) fn delete_messages() -> Vec<Message> {
    vec![
        Message::new(Kind::NewTable, NLM_F_CREATE, Attributes::of_table()),
        Message::new(Kind::DelTable, 0, Attributes::of_table()),
    ]
}
