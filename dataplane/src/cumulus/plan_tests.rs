use super::*;
use crate::backend::Unsupported;
use crate::desired::InterfacePattern;
use crate::interval::IntervalSet;
use crate::rule::{Limit, LimitUnit, OrderKey, RareFields, SourceLimit};
use crate::tcam::profile::cumulus;

fn options(profile: &str) -> Options {
    Options::new(cumulus(profile).unwrap())
}

/// Rule `id` for TCP to `ports`, in the order of the ids.
fn rule(id: u64, ports: (u32, u32), action: Action) -> Arc<Rule> {
    let order = OrderKey::from(id.to_be_bytes());
    Arc::new(Rule {
        id: RuleId(id),
        family: Family::Ipv4,
        tier: order.clone(),
        order,
        label: "test".into(),
        matches: Match {
            protocol: Some(IntervalSet::single(6)),
            destination_port: Some(IntervalSet::from_ranges([ports])),
            ..Match::default()
        },
        action,
    })
}

fn discard() -> Action {
    Action {
        discard: true,
        ..Action::default()
    }
}

fn limited() -> Action {
    Action {
        limits: vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 100.0,
        }],
        ..Action::default()
    }
}

/// The lines of one rule on a switch, as text.
fn lines_of(options: &Options, rule: &Arc<Rule>) -> Result<Vec<String>, Unsupported> {
    Capabilities(options.clone()).check(rule)?;
    let plan = Plan::new(
        options,
        &Settings::default(),
        &[],
        std::slice::from_ref(rule),
        |_| false,
    )
    .unwrap();
    assert_eq!(plan.refused, []);
    let lines = plan.rules[0].lines.iter();
    Ok(lines.map(|line| line.text(options.release)).collect())
}

#[test]
fn actions_become_targets_or_are_refused() {
    let five = options("spectrum1");
    let four = options("trident3");
    let start = "-t mangle -A PREROUTING -i swp+ -p tcp --dport 80 -j";
    let line = |target: &str| format!("{start} {target}");
    let police = "POLICE --set-mode pkt --set-rate 100 --set-burst 10";
    let mark = |action: Action| Action {
        mark_dscp: Some(46),
        ..action
    };
    let go_on = |action: Action| Action {
        continue_evaluation: true,
        ..action
    };
    let none_goes_on =
        "action: of all targets only POLICE lets evaluation go on, and it does not mark";
    let pipelines =
        "rate-limit: it polices each of its pipelines, which allows several times the rate";
    let rows = [
        ("discard", &five, discard(), Ok(vec![line("DROP")])),
        ("accept", &five, Action::default(), Ok(vec![line("ACCEPT")])),
        (
            "limit",
            &five,
            limited(),
            Ok(vec![line(police), line("ACCEPT")]),
        ),
        (
            "mark",
            &five,
            mark(Action::default()),
            Ok(vec![line("DSCP --set-dscp 46"), line("ACCEPT")]),
        ),
        (
            "limit and mark",
            &five,
            mark(limited()),
            Ok(vec![
                line(police),
                line("DSCP --set-dscp 46"),
                line("ACCEPT"),
            ]),
        ),
        (
            "limit and go on",
            &five,
            go_on(limited()),
            Ok(vec![line(police)]),
        ),
        ("go on", &five, go_on(Action::default()), Err(none_goes_on)),
        (
            "limit, mark and go on",
            &five,
            go_on(mark(limited())),
            Err(none_goes_on),
        ),
        (
            "sample",
            &five,
            Action {
                sample: true,
                ..discard()
            },
            Err("sample: the switch has no NFLOG"),
        ),
        (
            "limit each source",
            &five,
            Action {
                rare: RareActions {
                    source_limits: vec![SourceLimit {
                        limit: limited().limits[0],
                        prefix_length: 24,
                        max_sources: 4096,
                    }],
                    ..RareActions::default()
                }
                .into(),
                ..limited()
            },
            Err("rate-limit for each source: POLICE has one policer for all packets of an entry"),
        ),
        (
            "mark in release 4",
            &four,
            mark(Action::default()),
            Ok(vec![
                "-A FORWARD -i swp+ -p tcp --dport 80 -j SETQOS --set-dscp 46".to_string(),
                "-A FORWARD -i swp+ -p tcp --dport 80 -j ACCEPT".to_string(),
            ]),
        ),
        (
            "limit on Tomahawk",
            &options("tomahawk"),
            limited(),
            Err(pipelines),
        ),
    ];
    for (name, options, action, expected) in rows {
        let lines = lines_of(options, &rule(1, (80, 80), action)).map_err(|error| error.0);
        assert_eq!(lines, expected.map_err(str::to_string), "{name}");
    }
}

#[test]
fn several_entries_would_be_several_policers() {
    let mut rule = (*rule(1, (80, 80), limited())).clone();
    rule.matches.protocol = None;
    let refusal = Capabilities(options("spectrum1")).check(&rule).unwrap_err();
    let reason = "rate-limit: the match takes 2 entries, and each has a policer of its own, \
                  which allows several times the rate";
    assert_eq!(refusal.0, reason);

    let settings = Settings {
        interfaces: ["swp1", "swp2"]
            .map(|it| InterfacePattern::new(it).unwrap())
            .into(),
        ..Settings::default()
    };
    let rules = [self::rule(1, (80, 80), limited())];
    let plan = Plan::new(&options("spectrum1"), &settings, &[], &rules, |_| false).unwrap();
    let reason = |which: &str| {
        Refusal::Unsupported(format!(
            "rate-limit: each of the 2 {which} has a policer of its own, which allows several times the rate"
        ))
    };
    assert_eq!(
        plan.refused,
        [(RuleId(1), reason("patterns in dataplane.interfaces"))]
    );
    // One interface by itself, of which the settings name two.
    let mut of_set = (*rules[0]).clone();
    let all = InterfacePattern::new("swp*").unwrap();
    of_set.matches.rare.interfaces = Some(vec![all].into());
    assert_eq!(Capabilities(options("spectrum1")).check(&of_set), Ok(()));
    let rules = [Arc::new(of_set)];
    let plan = Plan::new(&options("spectrum1"), &settings, &[], &rules, |_| false).unwrap();
    assert_eq!(plan.refused, [(RuleId(1), reason("interfaces of the set"))]);
}

#[test]
fn a_mark_changes_nothing_that_its_entries_look_at() {
    let mark = Action {
        mark_dscp: Some(46),
        ..Action::default()
    };
    let reason = "mark: it changes the DSCP that the match looks at, and where the switch forwards in software later \
                  entries would have the packet";
    let rows = [
        ("the same", &mark, 46, Ok(2)),
        ("another", &mark, 10, Err(reason.to_owned())),
        ("not written", &Action::default(), 10, Ok(1)),
        (
            "discarded",
            &Action {
                mark_dscp: Some(46),
                ..discard()
            },
            10,
            Ok(1),
        ),
    ];
    for profile in ["spectrum1", "trident3"] {
        for (name, action, dscp, expected) in &rows {
            let mut rule = (*rule(1, (80, 80), (*action).clone())).clone();
            rule.matches.rare.dscp = Some(IntervalSet::single(*dscp));
            let lines = lines_of(&options(profile), &Arc::new(rule));
            let count = lines.map(|lines| lines.len()).map_err(|error| error.0);
            assert_eq!(&count, expected, "{name}");
        }
    }
}

#[test]
fn the_newest_rules_find_no_room() {
    let mut options = options("spectrum1");
    options.max_ipv4_entries = Some(3);
    let rules: Vec<_> = (1..=6).map(|id| rule(id, (80, 80), discard())).collect();
    let plan = |installed: &[u64]| {
        let is_installed = |id: RuleId| installed.contains(&id.0);
        Plan::new(&options, &Settings::default(), &[], &rules, is_installed).unwrap()
    };
    let ids = |plan: &Plan| plan.rules.iter().map(|it| it.rule.id.0).collect::<Vec<_>>();
    let refused = |plan: &Plan| plan.refused.iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    let fresh = plan(&[]);
    assert_eq!(
        (ids(&fresh), refused(&fresh)),
        (vec![1, 2, 3], vec![4, 5, 6])
    );
    let reason = "it takes 1 entries for ipv4, and 0 are left of 3";
    assert_eq!(fresh.refused[0].1, Refusal::NoRoom(reason.into()));
    let later = plan(&[2, 6]);
    assert_eq!(
        (ids(&later), refused(&later)),
        (vec![1, 2, 6], vec![3, 4, 5])
    );
}

#[test]
fn ranges_without_a_checker_become_lists_of_ports() {
    let options = options("spectrum1");
    let wide = (1..=16).map(|id| rule(id, (1000 * id as u32, 1000 * id as u32 + 500), discard()));
    let mut rules: Vec<_> = wide.collect();
    rules.push(rule(17, (100, 119), discard()));
    rules.push(rule(18, (20_000, 30_000), discard()));
    let plan = Plan::new(&options, &Settings::default(), &[], &rules, |_| false).unwrap();
    assert_eq!(plan.checkers.used(), 16);
    let spilled = &plan.rules[16];
    let text: Vec<String> = spilled
        .lines
        .iter()
        .map(|line| line.text(options.release))
        .collect();
    let ports = |range: std::ops::RangeInclusive<u16>| {
        let ports: Vec<String> = range.map(|port| port.to_string()).collect();
        let ports = ports.join(",");
        format!("-t mangle -A PREROUTING -i swp+ -p tcp -m multiport --dports {ports} -j DROP")
    };
    assert_eq!(text, [ports(100..=114), ports(115..=119)]);
    assert_eq!(spilled.cost(), 20);
    let entries: Vec<_> = spilled.lines.iter().flat_map(Line::entries).collect();
    assert_eq!(entries.len(), 20);
    let reason =
        "1 more port ranges than the 16 range checkers have room for, and 10001 entries without";
    assert_eq!(plan.refused, [(RuleId(18), Refusal::NoRoom(reason.into()))]);
}

#[test]
fn guards_come_first_and_to_each_address_of_the_switch() {
    let prefix = |text: &str, length| {
        let (_, bits) = crate::rule::left_aligned(text.parse().unwrap());
        AddressPattern::new(bits, 0, length)
    };
    let settings = Settings {
        guards: vec![
            Guard::session(
                Family::Ipv4,
                prefix("192.0.2.1", 32),
                179,
                "BGP session with 192.0.2.1",
            ),
            Guard::session(
                Family::Ipv6,
                prefix("2001:db8::1", 128),
                179,
                "BGP session with 2001:db8::1",
            ),
        ],
        ..Settings::default()
    };
    let address = |text: &str| crate::rule::left_aligned(text.parse().unwrap());
    let links = [Link {
        addresses: ["192.0.2.2", "127.0.0.1", "2001:db8::2", "::1", "192.0.2.2"]
            .map(address)
            .into(),
        ..Link::default()
    }];
    let ipv4 = rule(1, (179, 179), discard());
    let ipv6 = Arc::new(Rule {
        id: RuleId(2),
        family: Family::Ipv6,
        ..(*ipv4).clone()
    });
    let rules = [ipv4, ipv6];
    let options = options("spectrum1");
    let plan = Plan::new(&options, &settings, &links, &rules, |_| false).unwrap();
    let text = |family| -> Vec<String> {
        plan.lines(family)
            .map(|line| line.text(options.release))
            .collect()
    };
    let start = "-t mangle -A PREROUTING -i swp+";
    let ours = "-s 192.0.2.1/32 -d 192.0.2.2/32";
    assert_eq!(
        text(Family::Ipv4),
        [
            format!("{start} {ours} -p tcp --dport 179 -j ACCEPT"),
            format!("{start} {ours} -p tcp --sport 179 -j ACCEPT"),
            format!("{start} {ours} -f -p tcp -j ACCEPT"),
            format!("{start} -p tcp --dport 179 -j DROP"),
        ]
    );
    let ipv6 = text(Family::Ipv6);
    assert_eq!(
        ipv6[0],
        format!("{start} -p icmpv6 --icmpv6-type 133 -m hl --hl-eq 255 -j ACCEPT")
    );
    assert_eq!(ipv6.len(), 4 + 2 + 1, "{ipv6:#?}");
    let warning = "BGP session with 2001:db8::1: later fragments of ipv6 packets are not spared, \
                   because the switch cannot tell them";
    assert_eq!(plan.warnings, [warning]);
}

#[test]
fn every_test_has_its_option() {
    let entry = |change: &dyn Fn(&mut RareFields)| {
        let mut rare = RareFields::default();
        change(&mut rare);
        let mut rule = (*rule(1, (80, 80), discard())).clone();
        (rule.matches.destination_port, rule.matches.protocol) = (None, None);
        rule.matches.rare = rare.into();
        Arc::new(rule)
    };
    let set = |value| Some(IntervalSet::single(value));
    let flags = |relevant, wanted: u16| {
        crate::rule::MaskedValues::from_predicate(relevant, move |flags| flags == wanted)
    };
    let options = options("spectrum1");
    let rows = [
        (entry(&|r| r.icmp_type = set(8)), "-p icmp --icmp-type 8"),
        (
            entry(&|r| (r.icmp_type, r.icmp_code) = (set(3), set(4))),
            "-p icmp --icmp-type 3/4",
        ),
        (
            entry(&|r| r.tcp_flags = Some(flags(0x12, 0x02))),
            "-p tcp --tcp-flags SYN,ACK SYN",
        ),
        (
            entry(&|r| r.tcp_flags = Some(flags(0x3f, 0))),
            "-p tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE",
        ),
        (entry(&|r| r.dscp = set(46)), "-m dscp --dscp 46"),
    ];
    for (rule, tests) in rows {
        let expected = format!("-t mangle -A PREROUTING -i swp+ {tests} -j DROP");
        assert_eq!(lines_of(&options, &rule).unwrap(), [expected]);
    }
}

#[test]
fn a_rule_of_an_interface_set_has_lines_for_these_interfaces() {
    let patterns = |names: &[&str]| -> Vec<InterfacePattern> {
        let pattern = |name: &&str| InterfacePattern::new(name).unwrap();
        names.iter().map(pattern).collect()
    };
    let of_set = |id: u64, names: &[&str], action| {
        let mut rule = (*rule(id, (80, 80), action)).clone();
        rule.matches.rare.interfaces = Some(patterns(names).into());
        Arc::new(rule)
    };
    let options = options("spectrum1");
    let capabilities = Capabilities(options.clone());
    let settings = Settings {
        interfaces: patterns(&["swp*", "bond1"]),
        ..Settings::default()
    };
    let lines = |rule: &Arc<Rule>| -> Result<Vec<String>, String> {
        capabilities.check(rule).map_err(|why| why.0)?;
        let rules = std::slice::from_ref(rule);
        let plan = Plan::new(&options, &settings, &[], rules, |_| false).unwrap();
        assert_eq!(plan.refused, []);
        assert_eq!(plan.budget.used().ipv4, plan.rules[0].cost());
        let lines = plan.rules[0].lines.iter();
        Ok(lines.map(|line| line.text(options.release)).collect())
    };
    let line = |interface: &str, target: &str| {
        format!("-t mangle -A PREROUTING -i {interface} -p tcp --dport 80 -j {target}")
    };
    let two = of_set(1, &["swp1", "swp2"], discard());
    assert_eq!(capabilities.entries(&two), Some(2));
    let expected = vec![line("swp1", "DROP"), line("swp2", "DROP")];
    assert_eq!(lines(&two), Ok(expected));
    // Nothing of it is filtered.
    assert_eq!(lines(&of_set(1, &["bond7"], discard())), Ok(vec![]));
    let police = "POLICE --set-mode pkt --set-rate 100 --set-burst 10";
    let one = of_set(1, &["swp3", "swp3"], limited());
    assert_eq!(capabilities.entries(&one), Some(2));
    let expected = vec![line("swp3", police), line("swp3", "ACCEPT")];
    assert_eq!(lines(&one), Ok(expected));
    let several = "rate-limit: each of the 2 interfaces of the set has a policer of its own, \
                   which allows several times the rate";
    let refused = [
        (of_set(1, &["swp1", "swp2"], limited()), several),
        (
            of_set(1, &["swp1", "eth0"], discard()),
            "interface-set: eth0: is not an interface of the switch's hardware",
        ),
        (
            of_set(1, &["swp1*"], discard()),
            "interface-set: swp1*: of all wildcards the switch knows swp* and bond*",
        ),
    ];
    for (rule, reason) in refused {
        assert_eq!(lines(&rule), Err(reason.to_string()));
    }
}

#[test]
fn no_rule_is_in_force_without_what_guards_it() {
    let options = options("spectrum1-ip-acl-heavy");
    let ipv4 = rule(1, (80, 80), discard());
    let ipv6 = Arc::new(Rule {
        id: RuleId(2),
        family: Family::Ipv6,
        ..(*ipv4).clone()
    });
    let plan = |rules: &[Arc<Rule>]| {
        Plan::new(&options, &Settings::default(), &[], rules, |_| false).unwrap()
    };
    assert_eq!(
        plan(std::slice::from_ref(&ipv4)).guards,
        [],
        "of IPv6 there is nothing to guard"
    );
    let both = plan(&[ipv4, ipv6]);
    assert_eq!(both.rules.len(), 1);
    let reason = "rules need what is never filtered before them, IPv6 neighbor discovery: \
                  it takes 4 entries for ipv6, and 0 are left of 0";
    assert_eq!(both.refused, [(RuleId(2), Refusal::NoRoom(reason.into()))]);
}
