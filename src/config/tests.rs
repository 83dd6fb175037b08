//! Every rule of the configuration file, by example.

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

/// The errors of `BASE` with a neighbor with these lines; line 6 is the first of them.
fn neighbor_errors(lines: &str) -> Vec<String> {
    errors(&format!("{BASE}\n[[neighbor]]\n{lines}\n"))
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
fn longest_prefix_decides() {
    let config = Config::parse(&format!(
        "{BASE}\
         [[neighbor]]\naddress = \"10.0.0.0/8\"\nremote_as = 1\n\
         [[neighbor]]\naddress = \"10.1.1.1\"\nremote_as = 2\n\
         [[neighbor]]\naddress = \"10.1.0.0/16\"\nremote_as = 3\n"
    ))
    .unwrap();
    let rows = [
        ("host", "10.1.1.1", Some(2)),
        ("long prefix", "10.1.1.2", Some(3)),
        ("short prefix", "10.2.1.1", Some(1)),
        ("stranger", "11.0.0.1", None),
        ("stranger of the other family", "2001:db8::1", None),
    ];
    for (name, address, remote_as) in rows {
        let found = config.neighbor_for(address.parse().unwrap());
        assert_eq!(
            found.map(|neighbor| neighbor.remote_as),
            remote_as,
            "{name}"
        );
    }
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
fn bad_neighbor() {
    let v4 = "address = \"192.0.2.1\"\nremote_as = 1\n";
    let rows = [
        (
            "no address",
            "remote_as = 1".to_owned(),
            "5:1 neighbor[0].address: is missing",
        ),
        (
            "unspecified",
            "address = \"0.0.0.0\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: 0.0.0.0 is not an address that a neighbor can have",
        ),
        (
            "link-local",
            "address = \"fe80::1\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: fe80::1 is a link-local address, which says nothing \
             without `interface`",
        ),
        (
            "name",
            "address = \"rr1.example\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: \"rr1.example\" is neither an address nor a prefix",
        ),
        (
            "active with a prefix",
            "address = \"192.0.2.0/24\"\nremote_as = 1\npassive = false".into(),
            "8:11 neighbor[0].passive: 192.0.2.0/24 is a prefix: flowacl cannot dial it, only \
             be dialed",
        ),
        (
            "no families",
            format!("{v4}families = []"),
            "8:12 neighbor[0].families: is empty: the session would carry no routes",
        ),
        (
            "family twice",
            format!("{v4}families = [\"ipv4-flow\", \"ipv4-flow\"]"),
            "8:26 neighbor[0].families[1]: stands here twice",
        ),
        (
            "wrong type in a list",
            format!("{v4}families = [4]"),
            "8:13 neighbor[0].families[0]: must be a string, not an integer",
        ),
        (
            "port",
            format!("{v4}port = 65536"),
            "8:8 neighbor[0].port: 65536 is not in the range 1 to 65535",
        ),
        (
            "hold time",
            format!("{v4}hold_time_secs = 1"),
            "8:18 neighbor[0].hold_time_secs: 1 is neither 0 nor at least 3 (RFC 4271 section \
             4.2)",
        ),
        (
            "local address of another family",
            format!("{v4}local_address = \"::1\""),
            "8:17 neighbor[0].local_address: ::1 and the neighbor's address 192.0.2.1 are of \
             different families",
        ),
        (
            "empty password",
            format!("{v4}md5_password = \"\""),
            "8:16 neighbor[0].md5_password: the password is empty",
        ),
        (
            "long password",
            format!("{v4}md5_password = \"{}\"", "x".repeat(81)),
            "8:16 neighbor[0].md5_password: the password has 81 octets; TCP takes 80",
        ),
        (
            "password file with a relative path",
            format!("{v4}md5_password_file = \"secret\""),
            "8:21 neighbor[0].md5_password_file: secret is not an absolute path",
        ),
        (
            "no password file",
            format!("{v4}md5_password_file = \"/nonexistent/secret\""),
            "8:21 neighbor[0].md5_password_file: cannot read /nonexistent/secret: No such file \
             or directory (os error 2)",
        ),
        (
            "near and far",
            format!("{v4}ttl_security = 1\nmultihop = 2"),
            "9:12 neighbor[0].multihop: ttl_security says already how far away the neighbor \
             may be (RFC 5082)",
        ),
        (
            "hops",
            format!("{v4}ttl_security = 255"),
            "8:16 neighbor[0].ttl_security: 255 is not in the range 1 to 254",
        ),
        (
            "a prefix's password that the kernel would demand",
            format!(
                "{v4}[[neighbor]]\naddress = \"192.0.2.0/24\"\nremote_as = 1\nmd5_password = \"a\""
            ),
            "6:11 neighbor[0].address: lies in 192.0.2.0/24, whose MD5 password the kernel would demand \
             here, too: give it a password of its own",
        ),
        (
            "several interfaces",
            format!("{v4}interface = \"swp*\""),
            "8:13 neighbor[0].interface: \"swp*\" is not the name of one interface",
        ),
        (
            "nowhere to connect to",
            format!("{v4}listen = []"),
            "8:10 neighbor[0].listen: is empty: the neighbor could not connect",
        ),
        (
            "passive as text",
            format!("{v4}passive = \"no\""),
            "8:11 neighbor[0].passive: must be true or false, not a string",
        ),
        (
            "import is no table",
            format!("{v4}import = []"),
            "8:10 neighbor[0].import: must be a table, as in [import], not an array",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(neighbor_errors(&lines), [error], "{name}");
    }
}

#[test]
fn a_passive_neighbor_needs_a_listener() {
    let rows = [
        (
            "none",
            "listen = []",
            "the neighbor is passive, but bgp.listen is empty: nobody would ever connect",
        ),
        (
            "other family",
            "listen = [\"[::1]:179\"]",
            "the neighbor is passive, but no address to listen on is IPv4: it could not connect",
        ),
    ];
    for (name, listen, reason) in rows {
        let text = format!("{BASE}{listen}\n[[neighbor]]\naddress = \"1.2.3.4\"\nremote_as = 1\n");
        assert_eq!(
            errors(&text),
            [format!("6:11 neighbor[0].address: {reason}")],
            "{name}"
        );
        let active = format!("{text}passive = false\n");
        assert!(
            Config::parse(&active).is_ok(),
            "{name}: an active neighbor needs none"
        );
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
fn redirects() {
    let text = "[[redirect]]\nroute_target = \"65001:100\"\nvrf = \"scrub\"\n\
        [[redirect]]\nroute_target = \"[2001:db8::1]:7\"\ntable = 200\n\
        [dataplane]\nscratch_mark = 0xffff0000\nredirect_mark = 0xff00\nredirect_tables = 1000\n\
        redirect_unreachable = \"discard\"\n";
    let config = Config::parse(&format!("{BASE}{text}")).unwrap();
    let expected = [
        (
            RouteTarget::TwoOctetAs(65001, 100),
            RoutingInstance::Vrf("scrub".into()),
        ),
        (
            RouteTarget::Ipv6("2001:db8::1".parse().unwrap(), 7),
            RoutingInstance::Table(200),
        ),
    ]
    .map(|(route_target, instance)| Redirect {
        route_target,
        instance,
    });
    assert_eq!(config.redirects, expected);
    let means = config.dataplane.redirect;
    assert_eq!(
        (means.mark, means.tables, means.priority),
        (0xff00, 1000, 900)
    );
    assert_eq!(means.unreachable, Unreachable::Discard);
}

#[test]
fn vrfs() {
    let text =
        "[[vrf]]\nname = \"scrub\"\nimport_route_targets = [\"65001:100\", \"192.0.2.1:7\"]\n";
    let config = Config::parse(&format!("{BASE}{text}")).unwrap();
    let [vrf] = &config.vrfs[..] else {
        panic!("{:?}", config.vrfs);
    };
    let targets = vrf.import_route_targets.iter();
    assert_eq!(&*vrf.name, "scrub");
    assert_eq!(
        Vec::from_iter(targets.map(RouteTarget::to_string)),
        ["65001:100", "192.0.2.1:7"]
    );
    let rows = [
        (
            "twice",
            format!("{text}{text}"),
            "8:8 vrf[1].name: scrub has a [[vrf]] already",
        ),
        (
            "a route target twice",
            text.replace("192.0.2.1:7", "65001:100"),
            "6:38 vrf[0].import_route_targets[1]: stands here twice",
        ),
        (
            "no route target",
            text.replace("[\"65001:100\", \"192.0.2.1:7\"]", "[]"),
            "6:24 vrf[0].import_route_targets: is empty: no packet would be redirected to the VRF",
        ),
        (
            "a pattern",
            text.replace("scrub", "vrf*"),
            "5:8 vrf[0].name: \"vrf*\" is a pattern, not the name of a VRF",
        ),
        (
            "a table",
            format!("{text}table = 100\n"),
            "7:1 vrf[0].table: unknown key; known here: import_route_targets, name",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(errors(&format!("{BASE}{lines}")), [error], "{name}");
    }
}

#[test]
fn interface_sets() {
    let text = "[[interface_set]]\ngroup = \"65001:7\"\ninterfaces = [\"eth0\", \"swp*\"]\n";
    let config = Config::parse(&format!("{BASE}{text}")).unwrap();
    let [set] = &config.interface_sets[..] else {
        panic!("{:?}", config.interface_sets);
    };
    let names = set.interfaces.iter().map(|pattern| pattern.as_str());
    assert_eq!(set.group.to_string(), "65001:7");
    assert_eq!(Vec::from_iter(names), ["eth0", "swp*"]);
    let rows = [
        (
            "twice",
            format!("{text}{text}"),
            "8:9 interface_set[1].group: 65001:7 has an [[interface_set]] already",
        ),
        (
            "a group of 15 bits",
            text.replace(":7", ":16384"),
            "5:9 interface_set[0].group: \"65001:16384\" is not an AS and a group below 16384, \
             such as 65001:10",
        ),
        (
            "no interface",
            text.replace("[\"eth0\", \"swp*\"]", "[]"),
            "6:14 interface_set[0].interfaces: is empty: rules for the group would apply nowhere",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(errors(&format!("{BASE}{lines}")), [error], "{name}");
    }
}

#[test]
fn bad_redirects() {
    let redirect = |lines: &str| format!("[[redirect]]\nroute_target = \"65001:100\"\n{lines}");
    let rows = [
        (
            "nowhere",
            redirect(""),
            "4:1 redirect[0]: wants either table or vrf",
        ),
        (
            "both",
            redirect("table = 1\nvrf = \"a\""),
            "4:1 redirect[0]: wants either table or vrf",
        ),
        (
            "twice",
            redirect(&format!("table = 1\n{}", redirect("table = 2"))),
            "8:16 redirect[1].route_target: 65001:100 has a [[redirect]] already",
        ),
        (
            "no route target",
            "[[redirect]]\nroute_target = \"65001\"\ntable = 1".into(),
            "5:16 redirect[0].route_target: \"65001\" is no route target such as 65001:100, \
             192.0.2.1:100, 70000:100, 100L:5 or [2001:db8::1]:100",
        ),
        (
            "a pattern",
            redirect("vrf = \"vrf*\""),
            "6:7 redirect[0].vrf: \"vrf*\" is a pattern, not the name of a VRF",
        ),
        (
            "a mark with holes",
            "[dataplane]\nredirect_mark = 0x5".into(),
            "5:17 dataplane.redirect_mark: 0x5 is not a run of at most 16 bits, as 0xff0000 is",
        ),
        (
            "scratch bits",
            "[dataplane]\nredirect_mark = 0x03000000".into(),
            "5:17 dataplane.redirect_mark: 0x3000000 is in scratch_mark, too",
        ),
        (
            "the tables of the system",
            "[dataplane]\nredirect_tables = 254".into(),
            "5:19 dataplane.redirect_tables: the tables up to 255 belong to the system",
        ),
        (
            "behind the main table",
            "[dataplane]\nredirect_priority = 32766".into(),
            "5:21 dataplane.redirect_priority: 32766 is not in the range 1 to 32764",
        ),
        (
            "what happens",
            "[dataplane]\nredirect_unreachable = \"drop\"".into(),
            "5:24 dataplane.redirect_unreachable: \"drop\" is neither \"pass\" nor \"discard\"",
        ),
        (
            "bits of both",
            "[dataplane]\nredirect_mark = 0xff00\ncopy_mark = 0x1ff".into(),
            "6:13 dataplane.copy_mark: 0x100 is in redirect_mark, too",
        ),
        (
            "nothing left",
            "[dataplane]\nscratch_mark = 0x7ffff000\nredirect_mark = 0xfff".into(),
            "4:1 dataplane: scratch_mark and redirect_mark leave no octet for copy_mark",
        ),
        (
            "scratch bits by default",
            "[dataplane]\nscratch_mark = 0xffffffff".into(),
            "4:1 dataplane: scratch_mark has bits of redirect_mark, which is 0x00ff0000",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(errors(&format!("{BASE}{lines}\n")), [error], "{name}");
    }
}

#[test]
fn restarts() {
    let rows = [
        ("", 120, OnStop::Remove),
        (
            "restart_secs = 0\non_stop = \"remove\"\n",
            0,
            OnStop::Remove,
        ),
        (
            "restart_secs = 300\non_stop = \"keep\"\n",
            300,
            OnStop::Keep,
        ),
    ];
    for (lines, secs, on_stop) in rows {
        let config = Config::parse(&format!("{BASE}[dataplane]\n{lines}")).unwrap();
        assert_eq!(config.dataplane.restart.as_secs(), secs, "{lines}");
        assert_eq!(config.dataplane.on_stop, on_stop, "{lines}");
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

#[test]
fn a_password_comes_from_a_file_that_is_not_for_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("md5");
    let text = format!(
        "{BASE}[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 1\nmd5_password_file = {path:?}\n"
    );
    let rows = [
        ("a line", "rosebud\n", 0o640, Ok("rosebud")),
        ("no line", "rosebud", 0o600, Ok("rosebud")),
        (
            "lines of another system",
            "rose bud\r\nmore",
            0o600,
            Ok("rose bud"),
        ),
        ("nothing", "\n", 0o600, Err("the password is empty")),
        (
            "for everybody",
            "rosebud\n",
            0o644,
            Err("everybody may use"),
        ),
    ];
    for (name, content, mode, wanted) in rows {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match (Config::parse(&text), wanted) {
            (Ok(config), Ok(password)) => {
                let md5 = config.neighbors[0].transport.md5.as_ref().unwrap();
                assert_eq!(md5.octets(), password.as_bytes(), "{name}");
                assert!(!format!("{config:?}").contains(password), "{name}: shown");
            }
            (Err(errors), Err(reason)) => {
                assert!(errors.to_string().contains(reason), "{name}: {errors}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[test]
fn how_far_a_neighbor_may_be() {
    let rows = [
        ("another AS", 65070, "", Distance::AtMost(1)),
        ("our AS", 65140, "", Distance::Any),
        ("some hops", 65070, "multihop = 5", Distance::AtMost(5)),
        (
            "some hops in our AS",
            65140,
            "multihop = 5",
            Distance::AtMost(5),
        ),
        (
            "on the link, proven",
            65070,
            "ttl_security = 1",
            Distance::Secured(1),
        ),
    ];
    for (name, remote_as, line, distance) in rows {
        let text = format!(
            "{BASE}[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = {remote_as}\n{line}\n\
             [[neighbor]]\naddress = \"192.0.2.0/24\"\nremote_as = 1\n"
        );
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.neighbors[0].transport.distance, distance, "{name}");
    }
}
