//! What each release of SONiC allows in CONFIG_DB: a table of facts, held against the YANG models where they are there, and what
//! flowacl writes, held against both.

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::Settings;
use dataplane::rule::Rule;
use dataplane::sonic::{Mode, Options, Sonic};
use dataplane::tcam::profile::Release;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::flows::{flow, random_flow};
use crate::scene::{links, rule, settings};
use crate::yang::Models;

/// The releases in the order of the columns below.
const RELEASES: [Release; 9] = [
    Release::R202205,
    Release::R202305,
    Release::R202311,
    Release::R202405,
    Release::R202411,
    Release::R202505,
    Release::R202511,
    Release::R202605,
    Release::Master,
];

/// A fact: documents with this field and a value of this kind are allowed (`+`) or not (`-`) in each of the releases.
#[derive(Debug)]
struct Fact {
    field: &'static str,
    kind: &'static str,
    /// An example; the rest of the document is right.
    value: &'static str,
    releases: &'static str,
}

/// What each release allows in CONFIG_DB: field, kind of value, example, and a column for each release.
///
/// Every field and value that flowacl writes falls under one of them. The models of 202205 mean ports up to 65535, too, but
/// their pattern for ranges says something else.
const FACTS: &str = "
PRIORITY            0-999999        0               +++++++++
PRIORITY            1000000-        1000000         ---------
PACKET_ACTION       DROP            DROP            +++++++++
PACKET_ACTION       FORWARD         FORWARD         +++++++++
PACKET_ACTION       COPY            COPY            ---------
IP_TYPE             IPv4ANY         IPv4ANY         +++++++++
IP_TYPE             IPV4ANY         IPV4ANY         -++++++++
IP_TYPE             IPv6ANY         IPv6ANY         +++++++++
IP_TYPE             IPV6ANY         IPV6ANY         -++++++++
SRC_IP              prefix          10.0.0.0/8      +++++++++
SRC_IP              address         10.0.0.1        ---------
DST_IP              prefix          203.0.113.5/32  +++++++++
SRC_IPV6            prefix          2001:db8::/32   +++++++++
DST_IPV6            prefix          ::/1            +++++++++
IP_PROTOCOL         0-0             0               ---------
IP_PROTOCOL         1-143           143             +++++++++
IP_PROTOCOL         144-            144             ---------
NEXT_HEADER         0-              6               ---------
L4_SRC_PORT         0-              0               +++++++++
L4_DST_PORT         0-              65535           +++++++++
L4_SRC_PORT_RANGE   from-0          0-1023          +--------
L4_SRC_PORT_RANGE   from-1          1-65299         +++++++++
L4_SRC_PORT_RANGE   to-65300        1024-65535      -++++++++
L4_DST_PORT_RANGE   from-0          0-1             +--------
L4_DST_PORT_RANGE   from-1          1024-2000       +++++++++
L4_DST_PORT_RANGE   to-65300        1-65399         -++++++++
TCP_FLAGS           hexadecimal     0x02/0x12       +++++++++
TCP_FLAGS           decimal         2/18            ---------
ICMP_TYPE           0-0             0               -++++++++
ICMP_TYPE           1-44            44              +++++++++
ICMP_TYPE           45-             45              -++++++++
ICMP_CODE           0-0             0               -++++++++
ICMP_CODE           1-16            16              +++++++++
ICMP_CODE           17-             17              -++++++++
ICMPV6_TYPE         0-0             0               -++++++++
ICMPV6_TYPE         1-44            1               +++++++++
ICMPV6_TYPE         45-             135             -++++++++
ICMPV6_CODE         0-0             0               -++++++++
ICMPV6_CODE         1-16            1               +++++++++
ICMPV6_CODE         17-             255             -++++++++
DSCP                0-              46              +++++++++
POLICER_ACTION      any             police          ---------
REDIRECT_ACTION     any             Ethernet4       ---------
DSCP_ACTION         any             46              ---------
";

/// All facts.
fn facts() -> impl Iterator<Item = Fact> {
    FACTS.trim().lines().map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("there are four words in a line");
        Fact {
            field: word(),
            kind: word(),
            value: word(),
            releases: word(),
        }
    })
}

/// True when a fact is about a value.
fn is_about(fact: &Fact, value: &str) -> bool {
    let range = || {
        let (first, last) = value.split_once('-').unwrap();
        (number(first), number(last))
    };
    match fact.kind {
        "any" => true,
        "prefix" => value.contains('/'),
        "address" => !value.contains('/'),
        "hexadecimal" => value.starts_with("0x"),
        "decimal" => !value.starts_with("0x"),
        "from-0" => range().0 == 0 && range().1 < 65_300,
        "from-1" => range().0 > 0 && range().1 < 65_300,
        "to-65300" => range().1 >= 65_300,
        kind => match kind.split_once('-') {
            Some((first, last)) => {
                let last = if last.is_empty() {
                    u32::MAX
                } else {
                    number(last)
                };
                (number(first)..=last).contains(&number(value))
            }
            None => kind == value,
        },
    }
}

/// A value as a number.
fn number(text: &str) -> u32 {
    text.parse().unwrap()
}

/// True when a fact allows it in a release.
fn allows(fact: &Fact, release: Release) -> bool {
    let column = RELEASES.iter().position(|other| *other == release).unwrap();
    fact.releases.as_bytes()[column] == b'+'
}

/// What is chosen for one release and CONFIG_DB.
fn options(release: Release) -> Options {
    Options {
        mode: Mode::ConfigDb,
        release,
        ..Options::default()
    }
}

/// The documents for these rules.
fn documents(release: Release, settings: &Settings, rules: &[Arc<Rule>]) -> Value {
    let text = Sonic::new(options(release)).render(settings, rules);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A document with one field changed. Beside it stands what it needs.
fn example(release: Release, fact: &Fact) -> Value {
    let mut config = documents(release, &Settings::default(), &[]);
    let ipv6 = fact.field.contains("V6") || ["IPv6ANY", "IPV6ANY"].contains(&fact.value);
    let table = if ipv6 { "FLOWACL_V6" } else { "FLOWACL_V4" };
    let mut fields = json!({"PRIORITY": "5", "PACKET_ACTION": "DROP"});
    if fact.field == "IP_TYPE" {
        let (address, prefix) = match ipv6 {
            true => ("DST_IPV6", "2001:db8::/32"),
            false => ("DST_IP", "203.0.113.0/24"),
        };
        fields[address] = prefix.into();
    }
    fields[fact.field] = fact.value.into();
    config["ACL_RULE"] = json!({ format!("{table}|R1_1"): fields });
    config
}

#[test]
fn facts_are_those_of_the_models() {
    let Some(models) = Models::find() else { return };
    for fact in facts() {
        assert!(is_about(&fact, fact.value), "{fact:?}");
        for release in RELEASES {
            let result = models.validate(release, &example(release, &fact));
            let expected = allows(&fact, release);
            assert_eq!(
                result.is_ok(),
                expected,
                "{fact:?} in {release}: {result:?}"
            );
        }
    }
}

/// Rules of random flows that a release can take, and how many it cannot.
fn random_rules(release: Release, random: &mut StdRng) -> (Vec<Arc<Rule>>, usize) {
    let capability = Sonic::new(options(release)).capability();
    let mut rules: std::collections::BTreeMap<_, Arc<Rule>> = std::collections::BTreeMap::new();
    let mut refused = 0;
    for id in 0..150 {
        let rule = rule(&random_flow(random), id);
        match capability.check(&rule) {
            Ok(()) => drop(rules.insert((rule.family, rule.order.clone()), rule)),
            Err(_) => refused += 1,
        }
    }
    (rules.into_values().collect(), refused)
}

#[test]
fn every_document_is_allowed_in_its_release() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let models = Models::find();
    for release in RELEASES {
        let mut random = StdRng::seed_from_u64(seed);
        let (rules, refused) = random_rules(release, &mut random);
        assert!(rules.len() > 40, "{release}: {refused} refused");
        let config = documents(release, &settings(), &rules);
        let written = config["ACL_RULE"].as_object().unwrap();
        assert!(written.len() >= rules.len() / 2, "{}", written.len());
        for (key, fields) in written {
            for (field, value) in fields.as_object().unwrap() {
                let value = value.as_str().unwrap();
                let mut known = facts().filter(|fact| fact.field == field && is_about(fact, value));
                let fact = known
                    .next()
                    .unwrap_or_else(|| panic!("{field} {value}: no fact"));
                assert!(allows(&fact, release), "{release}: {key} {field} {value}");
            }
        }
        if let Some(models) = &models {
            let result = models.validate(release, &config);
            assert_eq!(result, Ok(()), "{release}");
        }
    }
}

#[test]
fn what_a_release_cannot_say_is_unsupported() {
    // In CONFIG_DB of each release; then in APPL_DB of all.
    let rows = [
        (
            "destination 203.0.113.5/32; protocol udp; source-port =123",
            "discard",
            "+++++++++",
            true,
            "",
        ),
        (
            "destination 203.0.113.5/32",
            "accept",
            "+++++++++",
            true,
            "",
        ),
        (
            "destination 2001:db8::/32; protocol tcp",
            "discard",
            "-++++++++",
            true,
            "ipv6",
        ),
        ("protocol =0", "discard", "---------", true, "protocol"),
        ("protocol =200", "discard", "---------", true, "protocol"),
        ("port <1024", "discard", "+++++++++", true, ""),
        (
            "protocol icmp; icmp-type echo-reply",
            "discard",
            "-++++++++",
            true,
            "icmp-type",
        ),
        (
            "protocol icmp; icmp-type =99",
            "discard",
            "-++++++++",
            true,
            "icmp-type",
        ),
        (
            "protocol tcp; tcp-flags ece",
            "discard",
            "---------",
            false,
            "tcp-flags",
        ),
        (
            "protocol tcp; tcp-flags syn",
            "discard",
            "+++++++++",
            true,
            "",
        ),
        (
            "fragment is-fragment",
            "discard",
            "---------",
            false,
            "fragment",
        ),
        (
            "packet-length >1000",
            "discard",
            "---------",
            false,
            "packet-length",
        ),
        (
            "destination 2001:db8::/32; flow-label =7",
            "discard",
            "---------",
            false,
            "flow-label",
        ),
        ("dscp =46", "discard", "+++++++++", true, ""),
        (
            "protocol udp",
            "rate-limit 9600",
            "---------",
            false,
            "traffic-rate",
        ),
        (
            "protocol udp",
            "mark 46",
            "---------",
            false,
            "traffic-marking",
        ),
        (
            "protocol udp",
            "action sample-terminal",
            "---------",
            false,
            "traffic-action",
        ),
        (
            "protocol udp",
            "discard; action sample",
            "---------",
            false,
            "traffic-action",
        ),
    ];
    for (matches, then, releases, in_appl_db, component) in rows {
        let rule = rule(
            &flow(&format!("match {{ {matches}; }} then {{ {then}; }}")),
            1,
        );
        let check = |options: Options, expected: bool| {
            let release = options.release;
            let result = Sonic::new(options).capability().check(&rule);
            let name = format!("{matches} -> {then} in {release}: {result:?}");
            assert_eq!(result.is_ok(), expected, "{name}");
            if let Err(reason) = result {
                assert!(reason.to_string().starts_with(component), "{name}");
            }
        };
        for (column, release) in RELEASES.into_iter().enumerate() {
            check(options(release), releases.as_bytes()[column] == b'+');
            let appl_db = Options {
                mode: Mode::ApplDb,
                ..options(release)
            };
            check(appl_db, in_appl_db);
        }
    }
}

#[test]
fn what_is_shown_beforehand() {
    let flows = [
        "match { destination 203.0.113.5/32; protocol udp; source-port =123; } then { discard; }",
        "match { source 2001:db8::/32; protocol tcp; destination-port <1024; tcp-flags syn; } then { accept; }",
    ];
    let rules: Vec<Arc<Rule>> = flows
        .iter()
        .zip(1..)
        .map(|(text, id)| rule(&flow(text), id))
        .collect();
    assert_eq!(links().len(), 1);
    let config = documents(Release::R202305, &Settings::default(), &rules);
    assert_eq!(
        config["ACL_TABLE"]["FLOWACL_V4"],
        json!({
            "policy_desc": "BGP FlowSpec, written by flowacl", "type": "FLOWACL_CONFIG_V4", "stage": "ingress",
            "ports": [],
        })
    );
    assert_eq!(
        config["ACL_TABLE_TYPE"]["FLOWACL_CONFIG_V6"],
        json!({
            "MATCHES": [
                "IP_TYPE", "SRC_IPV6", "DST_IPV6", "IP_PROTOCOL", "L4_SRC_PORT", "L4_DST_PORT",
                "L4_SRC_PORT_RANGE", "L4_DST_PORT_RANGE", "TCP_FLAGS", "ICMPV6_TYPE", "ICMPV6_CODE", "DSCP",
            ],
            "ACTIONS": ["PACKET_ACTION", "COUNTER"],
            "BIND_POINTS": ["PORT", "PORTCHANNEL"],
        })
    );
    let mut shown: Vec<Value> = config["ACL_RULE"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| !key.contains("GUARD"))
        .map(|(_, fields)| fields.clone())
        .collect();
    for fields in &mut shown {
        let priority = fields.as_object_mut().unwrap().remove("PRIORITY").unwrap();
        assert!(number(priority.as_str().unwrap()) < 10_000);
    }
    let ipv6 = |port: &str, value: &str| {
        json!({
            "PACKET_ACTION": "FORWARD", "IP_TYPE": "IPV6ANY", "SRC_IPV6": "2001:db8::/32", "IP_PROTOCOL": "6",
            port: value, "TCP_FLAGS": "0x02/0x02",
        })
    };
    let expected = [
        json!({
            "PACKET_ACTION": "DROP", "IP_TYPE": "IPV4ANY", "DST_IP": "203.0.113.5/32", "IP_PROTOCOL": "17",
            "L4_SRC_PORT": "123",
        }),
        ipv6("L4_DST_PORT", "0"),
        ipv6("L4_DST_PORT_RANGE", "1-1023"),
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:?}");
    for expected in expected {
        assert!(shown.contains(&expected), "{expected} is not in {shown:?}");
    }
}
