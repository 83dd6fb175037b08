//! The same rules as one chain with one rule after the other, as a list of rules is usually kept.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::Arc;

use dataplane::interval::IntervalSet;
use dataplane::rule::{AddressPattern, Family, FragmentKind, LimitUnit, Match, Rule};
use flowacl::lab::Lab;

/// Loads the list into the router of a network where there is none.
pub fn load(lab: &Lab, rules: &[Arc<Rule>]) {
    let mut text = String::from(
        "table inet linear {\nchain prerouting {\ntype filter hook prerouting priority -450;\n",
    );
    for rule in rules {
        text += &line(rule);
    }
    text += "}\n}\n";
    lab.router.run(move || {
        let child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn();
        let mut child = child.expect("nft is installed");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        stdin.write_all(text.as_bytes()).expect("nft reads");
        drop(stdin);
        assert!(
            child.wait().expect("nft ends").success(),
            "nft refuses the list"
        );
    });
}

/// One rule as operators write it.
fn line(rule: &Rule) -> String {
    let mut text = components(rule.family, &rule.matches);
    for limit in &rule.action.limits {
        let unit = match limit.unit {
            LimitUnit::Bytes => " bytes/second",
            LimitUnit::Packets => "/second",
        };
        let _ = write!(text, "limit rate over {:.0}{unit} ", limit.rate_per_sec);
    }
    text + "counter drop\n"
}

/// What the rule looks at; only components that the benches use.
fn components(family: Family, matches: &Match) -> String {
    let ip = match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    };
    let mut text = String::new();
    let mut add = |field: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{field} {value} ");
    };
    if matches.destination.is_none() && matches.source.is_none() {
        add("meta nfproto", family.to_string());
    }
    for (field, pattern) in [("daddr", matches.destination), ("saddr", matches.source)] {
        if let Some(pattern) = pattern {
            add(&format!("{ip} {field}"), prefix(family, pattern));
        }
    }
    for (field, set) in [
        ("meta l4proto", &matches.protocol),
        ("th dport", &matches.destination_port),
        ("th sport", &matches.source_port),
    ] {
        if let Some(set) = set {
            add(field, ranges(set, 0));
        }
    }
    if let Some(set) = &matches.rare.packet_length {
        match family {
            Family::Ipv4 => add("ip length", ranges(set, 0)),
            Family::Ipv6 => add("ip6 length", ranges(set, 40)),
        }
    }
    if let Some(flags) = &matches.rare.tcp_flags {
        let values: Vec<String> = flags.values().iter().map(ToString::to_string).collect();
        add(
            &format!("tcp flags & {}", flags.mask() & 0xff),
            format!("{{ {} }}", values.join(", ")),
        );
    }
    if let Some(fragment) = matches.fragment {
        let first = fragment.contains(FragmentKind::First, false);
        let later = fragment.contains(FragmentKind::Middle, false);
        // More fragments, offset, or one of the two.
        let (ipv4, ipv6) = match (first, later) {
            (true, true) => ("0x3fff != 0", "exthdr frag exists"),
            (true, false) => ("0x3fff == 0x2000", "frag more-fragments 1 frag frag-off 0"),
            (false, true | false) => ("0x1fff != 0", "frag frag-off != 0"),
        };
        match family {
            Family::Ipv4 => add("ip frag-off &", ipv4.into()),
            Family::Ipv6 => add(ipv6, String::new()),
        }
    }
    text
}

/// An address with its prefix length.
fn prefix(family: Family, pattern: AddressPattern) -> String {
    let length = pattern.mask().count_ones();
    match family {
        Family::Ipv4 => format!(
            "{}/{length}",
            Ipv4Addr::from((pattern.value() >> 96) as u32)
        ),
        Family::Ipv6 => format!("{}/{length}", Ipv6Addr::from(pattern.value())),
    }
}

/// A set of numbers, each less by `base`.
fn ranges(set: &IntervalSet, base: u32) -> String {
    let range = |(first, last): &(u32, u32)| {
        let (first, last) = (first.saturating_sub(base), last.saturating_sub(base));
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    match set.ranges() {
        [one] => range(one),
        several => format!(
            "{{ {} }}",
            several.iter().map(range).collect::<Vec<_>>().join(", ")
        ),
    }
}
