//! What the configuration says of the whole packet filter: among it, what no rule ever touches.

use std::net::SocketAddr;

use dataplane::desired::Settings;
use dataplane::guard::Guard;
use dataplane::interval::IntervalSet;
use dataplane::rule::{AddressPattern, Family, Match, RoutingInstance, left_aligned};
use ipnetwork::IpNetwork;

use crate::config::{Config, Neighbor, Protect};
use crate::engine::bindings::Bindings;

/// Protocol numbers of TCP and UDP.
const TCP: u32 = 6;
/// See [`TCP`].
const UDP: u32 = 17;

/// The settings of the packet filter. `suspended`: no rule is evaluated.
pub(crate) fn settings(config: &Config, suspended: bool) -> Settings {
    let sessions = config
        .neighbors
        .iter()
        .flat_map(|neighbor| sessions(neighbor, &config.bgp.listen));
    let protected = config
        .protect
        .iter()
        .enumerate()
        .flat_map(|(index, protect)| protected(protect, index));
    Settings {
        interfaces: config.dataplane.interfaces.clone(),
        guards: sessions.chain(protected).collect(),
        sample: config.dataplane.sample,
        scratch_mark: config.dataplane.scratch_mark,
        redirect: config.dataplane.redirect,
        suspended,
        max_sources: config.dataplane.max_sources,
        own_table: config.dataplane.own_table,
    }
}

/// What names in communities stand for.
pub(crate) fn bindings(config: &Config) -> Bindings {
    // The last one for a route target counts: its [[redirect]], or the first VRF that imports it.
    let imports = config.vrfs.iter().rev().flat_map(|vrf| {
        let targets = vrf.import_route_targets.iter();
        targets.map(|target| (*target, RoutingInstance::Vrf(vrf.name.clone())))
    });
    let redirects = config.redirects.iter();
    let redirects = redirects.map(|redirect| (redirect.route_target, redirect.instance.clone()));
    let sets = config.interface_sets.iter();
    Bindings::new(imports.chain(redirects))
        .with_groups(sets.map(|set| (set.group, set.interfaces.clone())))
}

/// The sessions with a neighbor: to the ports that we listen on, and to the one that we dial.
fn sessions(neighbor: &Neighbor, listen: &[SocketAddr]) -> Vec<Guard> {
    let listen = neighbor.transport.listen.as_deref().unwrap_or(listen);
    let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    ports.extend((!neighbor.passive).then_some(neighbor.port));
    ports.sort_unstable();
    ports.dedup();
    let (family, remote) = pattern(neighbor.remote);
    let purpose = match neighbor.is_dynamic() {
        true => format!("BGP sessions with {}", neighbor.remote),
        false => format!("BGP session with {}", neighbor.remote.ip()),
    };
    let session = |port| Guard::session(family, remote, port, &purpose);
    ports.into_iter().map(session).collect()
}

/// What one `[[protect]]` table asks for: each source with each destination, in each family that both have.
fn protected(protect: &Protect, index: usize) -> Vec<Guard> {
    let purpose = match &protect.description {
        Some(description) => format!("{description} (protect[{index}])"),
        None => format!("protect[{index}]"),
    };
    let ports = |ports: &[u16]| {
        let ports = ports
            .iter()
            .map(|port| (u32::from(*port), u32::from(*port)));
        IntervalSet::from_ranges(ports)
    };
    let of_protocol = |protocol, list: &[u16]| {
        (!list.is_empty()).then(|| Match {
            protocol: Some(IntervalSet::single(protocol)),
            destination_port: Some(ports(list)),
            ..Match::default()
        })
    };
    let mut traffics: Vec<Match> = [
        of_protocol(TCP, &protect.tcp_ports),
        of_protocol(UDP, &protect.udp_ports),
    ]
    .into_iter()
    .flatten()
    .collect();
    if traffics.is_empty() {
        traffics.push(Match::default());
    }
    let mut guards = Vec::new();
    for family in Family::ALL {
        for source in patterns(&protect.sources, family) {
            for destination in patterns(&protect.destinations, family) {
                guards.extend(traffics.iter().map(|traffic| Guard {
                    family,
                    traffic: Match {
                        source,
                        destination,
                        ..traffic.clone()
                    },
                    to_this_machine: protect.destinations.is_empty(),
                    on_link: false,
                    purpose: purpose.as_str().into(),
                }));
            }
        }
    }
    guards
}

/// The prefixes of a family; without any prefix at all: every address.
fn patterns(prefixes: &[IpNetwork], family: Family) -> Vec<Option<AddressPattern>> {
    if prefixes.is_empty() {
        return vec![None];
    }
    let of_family = prefixes
        .iter()
        .map(|prefix| pattern(*prefix))
        .filter(|(own, _)| *own == family);
    of_family
        .map(|(_, pattern)| (pattern.mask() != 0).then_some(pattern))
        .collect()
}

/// A prefix as the packet filter has it.
fn pattern(prefix: IpNetwork) -> (Family, AddressPattern) {
    let (family, address) = left_aligned(prefix.network());
    (family, AddressPattern::new(address, 0, prefix.prefix()))
}

#[cfg(test)]
mod tests {
    use dataplane::rule::Route;

    use super::*;
    use crate::flowspec::action::TrafficFilteringActions;

    #[test]
    fn every_table_becomes_guards() {
        let neighbor = "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"0.0.0.0:179\"]\n\
            [[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 65070\npassive = false\nport = 1790\n";
        let rows = [
            ("the sessions alone", "", 2),
            ("a management network", "sources = [\"192.0.2.0/24\"]", 3),
            (
                "of both families",
                "sources = [\"192.0.2.0/24\", \"2001:db8::/32\"]",
                4,
            ),
            ("a port for everybody", "tcp_ports = [22]", 4),
            (
                "ports of both protocols",
                "tcp_ports = [22, 830]\nudp_ports = [161]",
                6,
            ),
            (
                "sources of both, destinations of one",
                "sources = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndestinations = [\"::/0\"]",
                3,
            ),
        ];
        for (name, protect, guards) in rows {
            let table = if protect.is_empty() {
                ""
            } else {
                "[[protect]]\n"
            };
            let config = Config::parse(&format!("{neighbor}{table}{protect}")).unwrap();
            let settings = settings(&config, false);
            assert_eq!(
                settings.guards.len(),
                guards,
                "{name}: {:?}",
                settings.guards
            );
        }
    }

    #[test]
    fn a_route_target_leads_to_its_redirect_or_to_the_first_vrf_that_imports_it() {
        let vrf = |name: &str, targets: &str| {
            format!("[[vrf]]\nname = \"{name}\"\nimport_route_targets = [{targets}]\n")
        };
        let text = format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n{}{}\
             [[redirect]]\nroute_target = \"65001:3\"\ntable = 300\n",
            vrf("blue", "\"65001:1\", \"192.0.2.1:2\", \"65001:3\""),
            vrf("red", "\"65001:1\", \"[2001:db8::1]:4\""),
        );
        let config = Config::parse(&text).unwrap();
        let vrf = |name: &str| RoutingInstance::Vrf(name.into());
        let rows = [
            ("65001:1", Some(vrf("blue"))),
            ("192.0.2.1:2", Some(vrf("blue"))),
            ("65001:3", Some(RoutingInstance::Table(300))),
            ("[2001:db8::1]:4", Some(vrf("red"))),
            ("65001L:1", None),
        ];
        for (target, instance) in rows {
            let actions = TrafficFilteringActions {
                redirect_route_target: Some(target.parse().unwrap()),
                ..TrafficFilteringActions::default()
            };
            let route = bindings(&config).route(&actions, Family::Ipv4, &mut Vec::new());
            let found = route.ok().flatten();
            let found = found.as_deref().and_then(Route::instance);
            assert_eq!(found, instance.as_ref(), "{target}");
        }
    }
}
