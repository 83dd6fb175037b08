//! Every rule of the configuration file, by example.

mod bindings;
mod neighbors;

use super::*;
use crate::flowspec::action::RouteTarget;
use ::dataplane::desired::Unreachable;
use ::dataplane::rule::RoutingInstance;

/// A file that is right, to be extended with what a test is about.
const BASE: &str = "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n";

/// The errors of `text`, one `line:column key: reason` each.
fn errors(text: &str) -> Vec<String> {
    let errors = Config::parse(text).expect_err(text).errors;
    errors
        .into_iter()
        .map(|error| {
            let (line, column) = error.place.expect("parsed text has places");
            format!("{line}:{column} {}: {}", error.key, error.reason)
        })
        .collect()
}

#[test]
fn examples_load() {
    for (name, neighbors) in [("lab", 1), ("router", 2), ("switch", 3)] {
        let path = format!("{}/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let config = Config::load(Path::new(&path)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.neighbors.len(), neighbors, "{name}");
    }
}

#[test]
fn defaults() {
    let text = format!("{BASE}[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 65070\n");
    let config = Config::parse(&text).unwrap();
    assert_eq!(
        config.bgp.listen,
        ["0.0.0.0:179".parse().unwrap(), "[::]:179".parse().unwrap()]
    );
    assert_eq!(
        config.neighbors,
        [Neighbor {
            remote: "192.0.2.1/32".parse().unwrap(),
            remote_as: 65070,
            passive: true,
            port: 179,
            families: vec![
                crate::wire::iana::FlowFamily::Ipv4Flow,
                crate::wire::iana::FlowFamily::Ipv6Flow
            ],
            unicast: Vec::new(),
            add_path: true,
            hold_time_secs: 90,
            description: None,
            connect_retry: std::time::Duration::from_secs(10),
            local_address: None,
            graceful_restart: true,
            graceful_restart_max: std::time::Duration::from_secs(180),
            long_lived_stale: std::time::Duration::ZERO,
            hold_rules: std::time::Duration::ZERO,
            transport: Transport {
                distance: Distance::AtMost(1),
                ..Transport::default()
            },
            import: crate::engine::policy::ImportPolicy::default(),
        }]
    );
    assert_eq!(config.dataplane, Dataplane::default());
    assert_eq!(config.dataplane.backend, BackendKind::Nftables);
    assert_eq!(
        config.control.socket,
        Path::new("/run/flowacl/flowacl.sock")
    );
    assert_eq!(config.metrics, None);
}

#[test]
fn every_error_of_a_file_at_once() {
    let text = "\
[bgp]
local_as = 0
router_id = \"0.0.0.0\"
listn = []

[[neighbor]]
address = \"192.0.2.1\"
remote_as = \"65070\"
passive = false
families = [\"ipv4-flow\", \"ipv4-multicast\"]
hold_time_secs = 2
[neighbor.import]
destinations = [\"203.0.113.7/24\"]
max_route = 1

[[neighbor]]
address = \"192.0.2.1\"
remote_as = 65070

[dataplane]
backend = \"iptables\"
interfaces = [\"swp*\", \"much-too-long-a-name\"]

[logging]
";
    assert_eq!(
        errors(text),
        [
            "2:12 bgp.local_as: 0 is not in the range 1 to 4294967295",
            "3:13 bgp.router_id: 0.0.0.0 is not a BGP identifier (RFC 6286)",
            "4:1 bgp.listn: unknown key; did you mean listen?",
            "8:13 neighbor[0].remote_as: must be an integer, not a string",
            "10:26 neighbor[0].families[1]: \"ipv4-multicast\" is not one of ipv4-flow, ipv6-flow, \
             ipv4-flow-vpn, ipv6-flow-vpn, ipv4-unicast, ipv6-unicast",
            "11:18 neighbor[0].hold_time_secs: 2 is neither 0 nor at least 3 (RFC 4271 section \
             4.2)",
            "13:17 neighbor[0].import.destinations[0]: 203.0.113.7/24 has bits set beyond its \
             length; did you mean 203.0.113.0/24?",
            "14:1 neighbor[0].import.max_route: unknown key; did you mean max_routes?",
            "17:11 neighbor[1].address: 192.0.2.1 is configured twice",
            "21:11 dataplane.backend: \"iptables\" is not a backend; there are nftables, cumulus, \
             sonic, sim",
            "22:23 dataplane.interfaces[1]: \"much-too-long-a-name\" is longer than the 15 octets \
             of an interface name",
            "24:2 logging: unknown key; known here: bgp, control, dataplane, import, interface_set, metrics, \
             neighbor, protect, redirect, vrf",
        ]
    );
}

#[test]
fn bad_bgp() {
    let rows = [
        ("no table", "", "1:1 bgp: is missing"),
        (
            "not a table",
            "bgp = 1",
            "1:7 bgp: must be a table, as in [bgp], not an integer",
        ),
        (
            "AS_TRANS",
            "[bgp]\nlocal_as = 23456\nrouter_id = \"1.1.1.1\"",
            "2:12 bgp.local_as: 23456 is AS_TRANS, which nobody can be (RFC 6793)",
        ),
        (
            "negative",
            "[bgp]\nlocal_as = -1\nrouter_id = \"1.1.1.1\"",
            "2:12 bgp.local_as: -1 is not in the range 1 to 4294967295",
        ),
        (
            "no router id",
            "[bgp]\nlocal_as = 1",
            "1:1 bgp.router_id: is missing",
        ),
        (
            "router id of IPv6",
            "[bgp]\nlocal_as = 1\nrouter_id = \"::1\"",
            "3:13 bgp.router_id: \"::1\" is not a router id, as in \"192.0.2.1\"",
        ),
        (
            "listen without port",
            "[bgp]\nlocal_as = 1\nrouter_id = \"1.1.1.1\"\nlisten = [\"0.0.0.0\"]",
            "4:11 bgp.listen[0]: \"0.0.0.0\" is not an address with a port, as in \
             \"0.0.0.0:179\" or \"[::]:179\"",
        ),
        (
            "listen twice",
            "[bgp]\nlocal_as = 1\nrouter_id = \"1.1.1.1\"\nlisten = [\"[::]:1\", \"[::]:1\"]",
            "4:21 bgp.listen[1]: stands here twice",
        ),
    ];
    for (name, text, error) in rows {
        assert_eq!(errors(text), [error], "{name}");
    }
}

#[test]
fn bad_dataplane_control_and_metrics() {
    let rows = [
        (
            "unknown backend",
            "[dataplane]\nbackend = \"iptables\"".to_owned(),
            "5:11 dataplane.backend: \"iptables\" is not a backend; there are nftables, cumulus, sonic, sim",
        ),
        (
            "a release of SONiC that tells nothing",
            "[dataplane.sonic]\nrelease = \"202111\"".into(),
            "5:11 dataplane.sonic.release: 202111 does not say whether the switch took a rule; 202205 \
             does",
        ),
        (
            "no room for priorities",
            "[dataplane.sonic]\npriority_min = 100\npriority_max = 101".into(),
            "6:16 dataplane.sonic.priority_max: 101 leaves no room above priority_min, which is 100",
        ),
        (
            "no such database",
            "[dataplane.sonic]\nmode = \"state_db\"".into(),
            "5:8 dataplane.sonic.mode: \"state_db\" is neither \"appl_db\" nor \"config_db\"",
        ),
        (
            "no interfaces",
            "[dataplane]\ninterfaces = []".into(),
            "5:14 dataplane.interfaces: is empty: no packet would ever be filtered; \"*\" is all \
             but lo",
        ),
        (
            "scratch mark with a gap",
            "[dataplane]\nscratch_mark = 0x7f000001".into(),
            "5:16 dataplane.scratch_mark: 0x7f000001 is not a run of at least seven bits, as \
             0x7f000000 is",
        ),
        (
            "scratch mark of six bits",
            "[dataplane]\nscratch_mark = 0x3f".into(),
            "5:16 dataplane.scratch_mark: 0x3f is not a run of at least seven bits, as \
             0x7f000000 is",
        ),
        (
            "scratch mark of none",
            "[dataplane]\nscratch_mark = 0".into(),
            "5:16 dataplane.scratch_mark: 0x0 is not a run of at least seven bits, as \
             0x7f000000 is",
        ),
        (
            "restart",
            "[dataplane]\nrestart_secs = 70000".into(),
            "5:16 dataplane.restart_secs: 70000 is not in the range 0 to 65535",
        ),
        (
            "on stop",
            "[dataplane]\non_stop = \"leave\"".into(),
            "5:11 dataplane.on_stop: \"leave\" is neither \"remove\" nor \"keep\"",
        ),
        (
            "sampling none",
            "[dataplane]\nsample_one_in = 0".into(),
            "5:17 dataplane.sample_one_in: 0 is not in the range 1 to 4294967295",
        ),
        (
            "sources without end",
            "[dataplane]\nmax_sources = 4294967296".into(),
            "5:15 dataplane.max_sources: 4294967296 is not in the range 0 to 4294967295",
        ),
        (
            "socket path",
            format!("[control]\nsocket = \"/{}\"", "x".repeat(107)),
            "5:10 control.socket: is longer than the 107 octets of a socket's path",
        ),
        (
            "metrics",
            "[metrics]".into(),
            "4:1 metrics.listen: is missing",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(errors(&format!("{BASE}{lines}\n")), [error], "{name}");
    }
}

#[test]
fn scratch_marks() {
    for mark in ["0x7f", "0x7f000000", "0xff000000", "0xffff", "127"] {
        let text = format!("{BASE}[dataplane]\nscratch_mark = {mark}\n");
        assert!(Config::parse(&text).is_ok(), "{mark}");
    }
}

#[test]
fn text_that_is_not_toml() {
    let found = errors(&format!(
        "{BASE}lisen = []\nlisten = [\"0.0.0.0:179\"\n[metrics]\nlisten = 5\n"
    ));
    assert_eq!(
        found,
        [
            "4:1 bgp.lisen: unknown key; did you mean listen?",
            "6:1 : not TOML from here on: missing comma between array elements, expected `,`",
        ]
    );
    let found = errors(&format!("{BASE}local_as = 1\n[metrics]\nlisten = 5\n"));
    assert_eq!(
        found,
        [
            "4:1 : duplicate key",
            "6:10 metrics.listen: must be a string, not an integer"
        ]
    );
}

#[test]
fn errors_name_the_file() {
    let path = Path::new("/nonexistent/flowacl.toml");
    let message = Config::load(path).unwrap_err().to_string();
    assert!(
        message.starts_with("/nonexistent/flowacl.toml: cannot read the configuration: "),
        "{message}"
    );
}

#[test]
fn what_is_protected() {
    let text = |tables: &str| format!("{BASE}{tables}");
    let config = Config::parse(&text(
        "[[protect]]\nsources = [\"192.0.2.0/24\"]\ntcp_ports = [22]\ndescription = \"ssh\"\n\
         [[protect]]\nudp_ports = [3784, 3785]\n",
    ))
    .unwrap();
    assert_eq!(config.protect.len(), 2);
    assert_eq!(config.protect[0].tcp_ports, [22]);
    assert_eq!(config.protect[1].sources, []);
    let rows = [
        ("nothing", "", "names nothing to protect"),
        (
            "no port",
            "tcp_ports = []",
            "leave the key out for any port",
        ),
        (
            "port 0",
            "tcp_ports = [0]",
            "0 is not in the range 1 to 65535",
        ),
        ("twice", "udp_ports = [53, 53]", "stands here twice"),
        (
            "two families",
            "sources = [\"192.0.2.0/24\"]\ndestinations = [\"2001:db8::/32\"]",
            "of one family",
        ),
    ];
    for (name, lines, wanted) in rows {
        let errors = errors(&text(&format!("[[protect]]\n{lines}\n")));
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(errors[0].contains(wanted), "{name}: {errors:?}");
    }
}
