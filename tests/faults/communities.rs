//! Communities as other implementations may send them: several of a kind, such that contradict each other, unknown ones,
//! and values that are no number. What `show rules` says, where real packets go, and that nothing remains.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::packet::Packet;
use flowacl::flowspec::text::Flow;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Namespace, Passed, Tap};
use flowacl::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};
use serde_json::Value;

use crate::controller::{Controller, flow};
use crate::router::Router;
use crate::waiting::eventually;

/// How long a packet may take to a scrubber before it counts as dropped.
const ON_ITS_WAY: Duration = Duration::from_millis(30);

/// Where route targets and groups lead.
const BINDINGS: &str = "\n[[redirect]]\nroute_target = \"65001:100\"\ntable = 100\n\
    [[redirect]]\nroute_target = \"[2001:db8::1]:101\"\ntable = 101\n\
    [[vrf]]\nname = \"blue\"\nimport_route_targets = [\"65001:100\", \"65001:102\"]\n\
    [[interface_set]]\ngroup = \"65001:7\"\ninterfaces = [\"upstream\"]\n[control]";

/// A family: what its rules match, and what of the texts below is different in it.
struct Family {
    host: &'static str,
    net: &'static str,
    source: &'static str,
    destination: &'static str,
    /// Stand in the place of `TO1`, `TO2`, `TO3`, `COPY1` and `COPY2` in communities: redirect to an address of the first
    /// scrubber, of the second, and to one that table 100 reaches by the second, all others by the first. `OLD` is before the standard.
    communities: [(&'static str, &'static str); 7],
    /// Stand in the place of `<1>`, `<2>` and `<3>` in words.
    addresses: [&'static str; 3],
}

const FAMILIES: [Family; 2] = [
    Family {
        host: "destination 203.0.113.5/32;",
        net: "destination 203.0.113.0/24;",
        source: "192.0.2.1",
        destination: "203.0.113.5",
        communities: [
            ("TO1", "010c 0a090102 0000"),
            ("TO2", "010c 0a090202 0000"),
            ("TO3", "010c c6336407 0000"),
            ("COPY1", "010c 0a090102 0001"),
            ("COPY2", "010c 0a090202 0001"),
            ("OLD TO2", "0800 0a090202 0000"),
            ("OLD COPY2", "0800 0a090202 0001"),
        ],
        addresses: ["10.9.1.2", "10.9.2.2", "198.51.100.7"],
    },
    Family {
        host: "destination 2001:db8::5/128;",
        net: "destination 2001:db8::/64;",
        source: "[2001:db8:1::1]",
        destination: "[2001:db8::5]",
        communities: [
            ("TO1", "000c fd000009000100000000000000000002 0000"),
            ("TO2", "000c fd000009000200000000000000000002 0000"),
            ("TO3", "000c 20010db800ff00000000000000000007 0000"),
            ("COPY1", "000c fd000009000100000000000000000002 0001"),
            ("COPY2", "000c fd000009000200000000000000000002 0001"),
            ("OLD TO2", "0800 fd000009000200000000000000000002 0000"),
            ("OLD COPY2", "0800 fd000009000200000000000000000002 0001"),
        ],
        addresses: ["fd00:9:1::2", "fd00:9:2::2", "2001:db8:ff::7"],
    },
];

/// What a route with some communities comes to.
struct Row {
    name: &'static str,
    communities: &'static [&'static str],
    /// As `show rules` prints them.
    actions: &'static str,
    /// The notes of an installed rule, or `STATE: REASON`.
    told: &'static str,
    /// Where packets of DSCP 5 go, and with which DSCP, while a later rule discards what it gets.
    places: &'static str,
}

/// A row.
const fn row(
    name: &'static str,
    communities: &'static [&'static str],
    actions: &'static str,
    told: &'static str,
    places: &'static str,
) -> Row {
    Row {
        name,
        communities,
        actions,
        told,
        places,
    }
}

/// The router with its daemon and a controller, and the scrubbers.
struct Bench {
    router: Router,
    controller: Controller,
    taps: [Tap; 2],
    /// Nobody looks at them, but packets need somewhere to go.
    _scrubbers: [Namespace; 2],
    number: u16,
    /// What is there without any rule.
    empty: String,
}

impl Bench {
    /// Builds it, with more in the configuration; `None` where that is not possible.
    fn start(import: &str) -> Option<Self> {
        let mut router = Router::start(true)?;
        router.configure("[control]", &format!("{import}{BINDINGS}"));
        let scrubbers = [("scrub1", 1), ("scrub2", 2)].map(|(name, number)| {
            let address = |host| [10, 9, number, host].into();
            let scrubber = router.attach(name, address(1), address(2), 24);
            let own = format!("addr add fd00:9:{number}::1/64 dev {name} nodad");
            ip(router.namespace(), &own);
            let remote = format!("addr add fd00:9:{number}::2/64 dev router nodad");
            ip(&scrubber, &remote);
            scrubber
        });
        for route in [
            "default via 10.9.1.2 table 100",
            "default via fd00:9:1::2 table 100",
            "default via 10.9.2.2 table 101",
            "default via fd00:9:2::2 table 101",
            "198.51.100.0/24 via 10.9.1.2",
            "2001:db8:ff::/64 via fd00:9:1::2",
            "198.51.100.0/24 via 10.9.2.2 table 100",
            "2001:db8:ff::/64 via fd00:9:2::2 table 100",
        ] {
            ip(router.namespace(), &format!("route add {route}"));
        }
        router.stop_daemon();
        router.start_daemon();
        eventually("the daemon answers", || router.show("summary"));
        let taps = scrubbers
            .each_ref()
            .map(|scrubber| Tap::open(scrubber, "router").unwrap());
        let controller = router.namespace().run(Controller::connect).unwrap();
        let mut bench = Self {
            router,
            controller,
            taps,
            _scrubbers: scrubbers,
            number: 0,
            empty: String::new(),
        };
        bench.empty = bench.remains().unwrap();
        Some(bench)
    }

    /// All of the daemon's in the kernel: its tables, its policy rules, and its routes.
    fn remains(&self) -> Result<String, String> {
        let mut text = self.router.nft("list tables")?;
        for block in self.router.table()? {
            text += &block;
        }
        for family in ["-4", "-6"] {
            text += &ip(self.router.namespace(), &format!("{family} rule show"));
            let routes = format!("{family} route show table all proto 148");
            text += &ip(self.router.namespace(), &routes);
        }
        Ok(text)
    }

    /// The route for a host, as `show rules --json` tells of it; null when there is none.
    fn route(&self, family: &Family) -> Result<Value, String> {
        let report = self.router.show("rules")?;
        let rules = report["rules"].as_array().into_iter().flatten();
        let mut rules = rules.filter(|rule| {
            let flow = rule["flow"].as_str();
            flow.is_some_and(|flow| flow.contains(family.host))
        });
        Ok(rules.next().cloned().unwrap_or_default())
    }

    /// Sends a packet and says where it and its copies have gone: `victim 5, scrub2 5`.
    fn places(&mut self, family: &Family) -> String {
        self.number += 1;
        let number = self.number;
        let (source, destination) = (family.source, family.destination);
        let text = format!("udp {source}:{number} > {destination}:53 len 100 dscp 5");
        let builder = PacketBuilder::of(&Packet::from_text(&text).unwrap()).unwrap();
        let change = |header: Header| header.identification(number);
        let sent = builder.header(change).build();
        let dscp = |octets: &[u8]| Packet::parse(octets).unwrap().dscp;
        let mut places = Vec::new();
        if let [Passed::Arrived(octets)] = &self.router.pass(std::slice::from_ref(&sent))[..] {
            places.push(format!("victim {}", dscp(octets)));
        }
        let end = Instant::now() + ON_ITS_WAY;
        while Instant::now() < end {
            for (tap, scrubber) in self.taps.iter_mut().zip(1..) {
                while let Ok(Some(octets)) = tap.receive() {
                    let packet = Packet::parse(octets).unwrap();
                    if packet.source_port == Some(number) && packet.destination_port == Some(53) {
                        places.push(format!("scrub{scrubber} {}", dscp(octets)));
                    }
                }
            }
        }
        match places.is_empty() {
            true => "nowhere".into(),
            false => places.join(", "),
        }
    }

    /// Announces routes with the communities of a row, looks what comes of them, and withdraws them. `next_hop`: their next
    /// hop is the first scrubber, else they have none.
    fn try_row(&mut self, row: &Row, next_hop: bool) {
        let flows: Vec<Flow> = FAMILIES
            .iter()
            .map(|family| {
                let texts = row.communities.iter().map(|text| {
                    let same = family.communities.iter().find(|(name, _)| name == text);
                    same.map_or(*text, |(_, community)| *community)
                });
                with_communities(family.host, texts)
            })
            .collect();
        let behind = FAMILIES.map(|family| flow(family.net, "discard;"));
        for (family, flow) in FAMILIES.iter().zip(&flows) {
            let octets = match family.addresses[0].parse().unwrap() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let next_hop = if next_hop { octets } else { Vec::new() };
            let flow = std::slice::from_ref(flow);
            self.controller.announce_by(flow, next_hop).unwrap();
        }
        for flow in &behind {
            let flow = std::slice::from_ref(flow);
            self.controller.announce(flow).unwrap();
        }
        for family in &FAMILIES {
            let text = |text: &str| {
                let marks = ["<1>", "<2>", "<3>"].into_iter().zip(family.addresses);
                marks.fold(text.to_owned(), |text, (mark, address)| {
                    text.replace(mark, address)
                })
            };
            let (actions, told) = (text(row.actions), text(row.told));
            let what = format!("{}, {}", row.name, family.host);
            eventually(&what, || {
                let route = self.route(family)?;
                let found = (words(&route["actions"]), tale(&route));
                match found == (actions.clone(), told.clone()) {
                    true => Ok(()),
                    false => Err(format!("{found:?} instead of {actions:?}, {told:?}")),
                }
            });
            eventually(&what, || {
                let found = self.places(family);
                match row.places.split(" or ").any(|places| found == places) {
                    true => Ok(()),
                    false => Err(format!("{found}, not {}", row.places)),
                }
            });
        }
        self.controller.withdraw(&flows).unwrap();
        self.controller.withdraw(&behind).unwrap();
        self.wait_until_nothing_remains(row.name);
    }

    /// Waits until all is as it was without rules.
    fn wait_until_nothing_remains(&self, what: &str) {
        eventually(&format!("{what}, withdrawn"), || {
            let report = self.router.show("rules")?;
            if report["rules"]
                .as_array()
                .is_none_or(|rules| !rules.is_empty())
            {
                return Err(report.to_string());
            }
            let now = self.remains()?;
            match now == self.empty {
                true => Ok(()),
                false => Err(now),
            }
        });
    }
}

/// A route that accepts, with other communities in the place of its own.
fn with_communities<'a>(matches: &str, texts: impl Iterator<Item = &'a str>) -> Flow {
    let mut flow = flow(matches, "accept;");
    for text in texts {
        match hex::decode(text.replace(' ', "")).unwrap() {
            octets if octets.len() == 8 => flow
                .extended_communities
                .push(ExtendedCommunity(octets.try_into().unwrap())),
            octets => flow
                .ipv6_extended_communities
                .push(Ipv6ExtendedCommunity(octets.try_into().unwrap())),
        }
    }
    flow
}

/// The notes of an installed rule, else its state and why.
fn tale(route: &Value) -> String {
    let state = route["state"].as_str().unwrap_or("missing");
    match state {
        "installed" => words(&route["notes"]),
        _ => format!("{state}: {}", route["reason"].as_str().unwrap_or_default()),
    }
}

/// The texts of an array.
fn words(array: &Value) -> String {
    let words = array.as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    words.join(", ")
}

/// Runs `ip` in a namespace and returns what it prints.
fn ip(namespace: &Namespace, arguments: &str) -> String {
    let list: Vec<String> = arguments.split_whitespace().map(String::from).collect();
    let output = namespace.run(move || Command::new("ip").args(list).output());
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    // A table that has never had a route is not there.
    let missing = error.contains("FIB table does not exist");
    assert!(
        output.status.success() || missing,
        "ip {arguments}: {error}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// RFC 8955 §7.7, and what of it is left to the implementation.
const INTERFERENCE: &[Row] = &[
    row("none", &[], "accept", "", "victim 5"),
    row(
        "the lower of two rates",
        &["8006 0000 4e6e6b28", "8006 0000 00010203"],
        "rate-limit 9.2557e-41 bytes/s",
        "traffic-rate-bytes 1000000000 has no effect: the lower 9.2557e-41 applies",
        "nowhere",
    ),
    row(
        "… in packets, in the other order",
        &["800c 0000 00010203", "800c 0000 4e6e6b28"],
        "rate-limit 9.2557e-41 packets/s",
        "traffic-rate-packets 1000000000 has no effect: the lower 9.2557e-41 applies",
        "nowhere",
    ),
    row(
        "both units, both wide",
        &["8006 0000 4e6e6b28", "800c 0000 4e6e6b28"],
        "rate-limit 1000000000 bytes/s, rate-limit 1000000000 packets/s",
        "",
        "victim 5",
    ),
    row(
        "both units, the packets narrow",
        &["8006 0000 4e6e6b28", "800c 0000 00010203"],
        "rate-limit 1000000000 bytes/s, rate-limit 9.2557e-41 packets/s",
        "",
        "nowhere",
    ),
    row(
        "for each source and for all, both wide",
        &["8006 0000 4e6e6b28", "8306 0018 4e6e6b28"],
        "rate-limit 1000000000 bytes/s for each source /24 of 4096, rate-limit 1000000000 bytes/s",
        "",
        "victim 5",
    ),
    row(
        "… that of each source narrow",
        &["8006 0000 4e6e6b28", "830c 0018 00010203"],
        "rate-limit 9.2557e-41 packets/s for each source /24 of 4096, rate-limit 1000000000 bytes/s",
        "",
        "nowhere",
    ),
    row(
        "the lower of two for each source",
        &["8306 0018 4e6e6b28", "8306 0318 00010203"],
        "rate-limit 9.2557e-41 bytes/s for each source /24 of 16384",
        "rate-limit 1000000000 bytes/s for each source /24 of 4096 has no effect: \
         rate-limit 9.2557e-41 bytes/s for each source /24 of 16384 applies",
        "nowhere",
    ),
    row(
        "for each host and for each network",
        &["8306 0020 4e6e6b28", "8306 0018 4e6e6b28"],
        "rate-limit 1000000000 bytes/s for each source /32 of 4096, \
         rate-limit 1000000000 bytes/s for each source /24 of 4096",
        "",
        "victim 5",
    ),
    row(
        "for each source, a mark and a copy",
        &["8306 0018 4e6e6b28", "8009 0000 0000000a", "COPY2"],
        "rate-limit 1000000000 bytes/s for each source /24 of 4096, mark 10, copy-to-ip <2>",
        "",
        "victim 10, scrub2 10",
    ),
    row(
        "both units, one of them zero",
        &["8006 0000 4e6e6b28", "800c fde8 00000000"],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "the same mark twice",
        &["8009 0000 0000002e", "8009 0000 0000002e"],
        "mark 46",
        "",
        "victim 46",
    ),
    row(
        "the first of two marks",
        &["8009 0000 0000000a", "8009 0000 0000002e"],
        "mark 10",
        "traffic-marking 46 has no effect: the earlier 10 applies",
        "victim 10",
    ),
    row(
        "a mark with bits beyond the DSCP",
        &["8009 ffff ffffffee"],
        "mark 46",
        "",
        "victim 46",
    ),
    row(
        "a mark and a redirect",
        &["8009 0000 0000002e", "8008 fde9 00000064"],
        "mark 46, redirect 65001:100",
        "",
        "scrub1 46",
    ),
    row(
        "the first of two route targets",
        &["8008 fde9 00000064", "8208 0000fde9 0064"],
        "redirect 65001:100",
        "rt-redirect 65001L:100 has no effect: the earlier 65001:100 applies",
        "scrub1 5",
    ),
    row(
        "a route target of each attribute",
        &[
            "000d 20010db8000000000000000000000001 0065",
            "8008 fde9 00000064",
        ],
        "redirect 65001:100",
        "rt-redirect [2001:db8::1]:101 has no effect: the earlier 65001:100 applies",
        "scrub1 5",
    ),
    row(
        "one of attribute 25 alone",
        &["000d 20010db8000000000000000000000001 0065"],
        "redirect [2001:db8::1]:101",
        "",
        "scrub2 5",
    ),
    row(
        "one of two addresses",
        &["TO2", "TO1"],
        "redirect-to-ip <2>, redirect-to-ip <1>",
        "",
        "scrub1 5 or scrub2 5",
    ),
    row(
        "the first of two addresses to copy to",
        &["COPY2", "COPY1"],
        "copy-to-ip <2>",
        "copy-to-ip <1> has no effect: the earlier <2> applies",
        "victim 5, scrub2 5",
    ),
    row("an address", &["TO3"], "redirect-to-ip <3>", "", "scrub1 5"),
    row(
        "an address of the route target's table",
        &["TO3", "8008 fde9 00000064"],
        "redirect 65001:100, redirect-to-ip <3>",
        "",
        "scrub2 5",
    ),
    row(
        "a redirect, a copy and a mark",
        &["TO1", "COPY2", "8009 0000 0000000a"],
        "mark 10, redirect-to-ip <1>, copy-to-ip <2>",
        "",
        "scrub1 10, scrub2 10",
    ),
    row(
        "a copy",
        &["COPY2"],
        "copy-to-ip <2>",
        "",
        "victim 5, scrub2 5",
    ),
    row(
        "discard and all else",
        &[
            "8008 fde9 00000064",
            "TO2",
            "8009 0000 0000002e",
            "8006 0000 00000000",
        ],
        "discard, mark 46, redirect 65001:100, redirect-to-ip <2>",
        "redirect 65001:100 has no effect: the route discards, \
         redirect-to-ip <2> has no effect: the route discards",
        "nowhere",
    ),
    row(
        "a redirect under a rate that lets nothing pass",
        &["8008 fde9 00000064", "800c 0000 00010203"],
        "rate-limit 9.2557e-41 packets/s, redirect 65001:100",
        "",
        "nowhere",
    ),
    row(
        "a route target that nothing names",
        &["8008 fde9 00000009", "8009 0000 0000002e"],
        "mark 46, redirect 65001:9",
        "unsupported: redirect 65001:9: no [[redirect]] or [[vrf]] names this route target",
        "nowhere",
    ),
    row(
        "a route target of a VRF that is not there",
        &["8008 fde9 00000066"],
        "redirect 65001:102",
        "not redirected: there is no VRF blue; packets are routed by their destination",
        "victim 5",
    ),
    row(
        "sample decides",
        &["8007 0000 00000002"],
        "sample",
        "",
        "victim 5",
    ),
    row(
        "the bits of two traffic-actions",
        &["8007 0000 00000001", "8007 0000 00000002"],
        "sample, continue",
        "",
        "nowhere",
    ),
    row(
        "a mark, a redirect and the T bit: what is behind discards",
        &[
            "8009 0000 0000002e",
            "8008 fde9 00000064",
            "8007 0000 00000003",
        ],
        "mark 46, redirect 65001:100, sample, continue",
        "",
        "nowhere",
    ),
    row(
        "bits of traffic-action that nobody has defined",
        &["8007 ffff fffffffc"],
        "accept",
        "",
        "victim 5",
    ),
];

/// Communities that ask for nothing, or must not come from another AS.
const UNKNOWN: &[Row] = &[
    row(
        "unknown types",
        &[
            "9903 0001 0001000c",
            "0002 0064 0000000c",
            "ffff 000000000000",
        ],
        "accept",
        "",
        "victim 5",
    ),
    row(
        "unknown ones beside a mark",
        &[
            "9903 0001 0001000c",
            "8009 0000 0000002e",
            "80ff 000000000000",
        ],
        "mark 46",
        "",
        "victim 46",
    ),
    row(
        "unknown ones of attribute 25 beside a discard",
        &[
            "8006 0000 00000000",
            "00ff 20010db8000000000000000000000001 0065",
        ],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "actions with the bit for what is not transitive",
        &[
            "c006 0000 00000000",
            "c007 0000 00000001",
            "c008 fde9 00000064",
            "c009 0000 0000002e",
            "410c 0a090102 0000",
        ],
        "accept",
        "",
        "victim 5",
    ),
    row(
        "a group that must not leave its AS, alone",
        &["4702 0000fde9 4007", "8009 0000 0000002e"],
        "mark 46",
        "rejected: interface-set non-transitive:input:65001:7 came from another AS, which it must not",
        "nowhere",
    ),
    row(
        "… beside one that may",
        &[
            "4702 0000fde9 4008",
            "0702 0000fde9 4007",
            "8009 0000 0000002e",
        ],
        "mark 46, interface-set transitive:input:65001:7",
        "interface-set non-transitive:input:65001:8 has no effect: it came from another AS, which it must not",
        "victim 46",
    ),
    row(
        "a legacy redirect that nobody has allowed",
        &["0800 00000000 0000"],
        "redirect in the form 0x0800",
        "unsupported: redirect in the form 0x0800 is not followed: \
         that takes import.legacy_redirects and a next hop",
        "nowhere",
    ),
];

/// Rates that are not what a rate should be.
const ODD_RATES: &[Row] = &[
    row("-100", &["8006 0000 c2c80000"], "discard", "", "nowhere"),
    row(
        "-100 packets",
        &["800c 0000 c2c80000"],
        "discard",
        "",
        "nowhere",
    ),
    row("-0", &["8006 0000 80000000"], "discard", "", "nowhere"),
    row(
        "-0 packets",
        &["800c 0000 80000000"],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "-infinite",
        &["8006 0000 ff800000"],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "-infinite packets",
        &["800c 0000 ff800000"],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "the negative number next to zero",
        &["8006 0000 80000001"],
        "discard",
        "",
        "nowhere",
    ),
    row(
        "infinite",
        &["8006 0000 7f800000"],
        "accept",
        "traffic-rate-bytes is infinite: no limit",
        "victim 5",
    ),
    row(
        "infinite packets, and some octets",
        &["800c 0000 7f800000", "8006 0000 00010203"],
        "rate-limit 9.2557e-41 bytes/s",
        "traffic-rate-packets is infinite: no limit",
        "nowhere",
    ),
    row(
        "the least above zero",
        &["8006 0000 00000001"],
        "rate-limit 1e-45 bytes/s",
        "",
        "nowhere",
    ),
    row(
        "the greatest subnormal, packets",
        &["800c 0000 007fffff"],
        "rate-limit 1.1754942e-38 packets/s",
        "",
        "nowhere",
    ),
    row(
        "the least normal",
        &["8006 0000 00800000"],
        "rate-limit 1.1754944e-38 bytes/s",
        "",
        "nowhere",
    ),
    row(
        "the greatest",
        &["8006 0000 7f7fffff"],
        "rate-limit 3.4028235e38 bytes/s",
        "",
        "victim 5",
    ),
];

/// Forms from before the standard. The next hop of these routes is the first scrubber.
const LEGACY: &[Row] = &[
    row(
        "draft-simpson: the next hop of the route",
        &["0800 00000000 0000"],
        "redirect-to-ip <1>",
        "redirect in the form 0x0800 leads to <1>",
        "scrub1 5",
    ),
    row(
        "Junos: the next hop of the route",
        &["800b 00000000 0000", "8009 0000 0000002e"],
        "mark 46, redirect-to-ip <1>",
        "redirect in the form 0x800b leads to <1>",
        "scrub1 46",
    ),
    row(
        "an address in the community",
        &["OLD TO2"],
        "redirect-to-ip <2>",
        "redirect in the form 0x0800 leads to <2>",
        "scrub2 5",
    ),
    row(
        "a copy",
        &["OLD COPY2"],
        "copy-to-ip <2>",
        "copy in the form 0x0800 leads to <2>",
        "victim 5, scrub2 5",
    ),
    row(
        "a route target under the code of an old draft",
        &["800b 20010db8000000000000000000000001 0065"],
        "redirect [2001:db8::1]:101",
        "",
        "scrub2 5",
    ),
    row(
        "beside a standard one",
        &["0800 00000000 0000", "TO2"],
        "redirect-to-ip <2>",
        "redirect in the form 0x0800 leads to <1>, \
         redirect-to-ip <1> has no effect: the standard <2> applies",
        "scrub2 5",
    ),
];

/// The next hop of a route that has none.
const LEGACY_TO_NOWHERE: Row = row(
    "no next hop",
    &["0800 00000000 0000"],
    "redirect in the form 0x0800",
    "unsupported: redirect in the form 0x0800 is not followed: \
     that takes import.legacy_redirects and a next hop",
    "nowhere",
);

#[test]
fn communities_that_interfere_come_to_what_is_documented() {
    let Some(mut bench) = Bench::start("") else {
        return;
    };
    for row in INTERFERENCE.iter().chain(UNKNOWN).chain(ODD_RATES) {
        bench.try_row(row, false);
    }
    bench.a_rate_that_is_no_number_withdraws_the_route();
}

#[test]
fn legacy_redirects_are_followed_where_that_is_allowed() {
    let Some(mut bench) = Bench::start("[import]\nlegacy_redirects = true\n") else {
        return;
    };
    for row in LEGACY {
        bench.try_row(row, true);
    }
    bench.try_row(&LEGACY_TO_NOWHERE, false);
}

impl Bench {
    /// RFC 8955 §10: such a route is malformed, so that what was announced for the same flow before is withdrawn (RFC
    /// 7606). The session stays.
    fn a_rate_that_is_no_number_withdraws_the_route(&mut self) {
        for nan in [
            "8006 0000 7fc00000",
            "8006 0000 ffffffff",
            "800c 0000 7f800001",
            "800c 0000 ffc00000",
            "8306 0018 7fc00000",
        ] {
            for family in &FAMILIES {
                for (communities, expected) in [
                    (&["8006 0000 00000000"][..], "nowhere"),
                    (&["8009 0000 0000002e", nan][..], "victim 5"),
                ] {
                    let flow = with_communities(family.host, communities.iter().copied());
                    self.controller.announce(&[flow]).unwrap();
                    eventually(nan, || match self.places(family) {
                        found if found == expected => Ok(()),
                        found => Err(format!("{}: {found}, not {expected}", family.host)),
                    });
                }
                assert_eq!(self.route(family).unwrap(), Value::Null, "{nan}");
            }
        }
        let neighbors = self.router.show("neighbors").unwrap();
        assert_eq!(neighbors["neighbors"][0]["state"], "Established");
        let log = self.router.log();
        assert!(log.contains("traffic-rate that is not a number"), "{log}");
        self.wait_until_nothing_remains("no numbers");
    }
}
