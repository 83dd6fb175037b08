//! What route targets and groups of interfaces stand for: `[[redirect]]`, `[[vrf]]`, `[[interface_set]]`.

use super::*;

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
