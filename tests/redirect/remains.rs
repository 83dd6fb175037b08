//! What is in the router's routing while rules redirect, and that nothing of it remains.

use dataplane::backend::Backend;
use dataplane::desired::{Redirects, Unreachable};
use dataplane::rule::Rule;
use std::sync::Arc;

use crate::scene::{Fate, Scene, ip, rules, settings, start};

const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100";

/// Policy rules and routes of all tables.
fn everything(scene: &Scene) -> String {
    let show = [
        "-4 rule show",
        "-6 rule show",
        "-4 route show table all",
        "-6 route show table all",
    ];
    // Routes that only tell of neighbors come and go.
    let text: String = show
        .iter()
        .map(|arguments| ip(&scene.lab.router, arguments))
        .collect();
    let lines = text
        .lines()
        .filter(|line| !line.contains("multicast") && !line.contains("fe80"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Redirects of every kind.
fn redirecting() -> Vec<Arc<Rule>> {
    rules(
        1,
        &[
            ("destination 203.0.113.5/32;", "redirect 10.9.2.2;"),
            ("destination 203.0.113.6/32;", "redirect 65001:100;"),
            ("destination 203.0.113.7/32;", "redirect 10.9.2.2;"),
            ("destination 2001:db8::5/128;", "redirect fd00:9:1::2;"),
            ("destination 2001:db8::6/128;", "redirect 65001:7;"),
        ],
    )
}

#[test]
fn nothing_remains_and_nothing_of_others_is_touched() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    ip(
        &scene.lab.router,
        "rule add pref 899 fwmark 0x10000/0xff0000 lookup 77",
    );
    ip(
        &scene.lab.router,
        "route add 198.18.0.0/15 via 10.9.1.2 table 52001",
    );
    let before = everything(&scene);
    assert_eq!(scene.entries(), [""; 0]);
    scene.install(&redirecting()).unwrap();
    assert_eq!(scene.send(V4, true), Fate::Scrubber(2, 0));
    let entries = scene.entries().join("\n");
    // 2 routes, and for each of them and each family that it is for a lookup and a discard.
    assert_eq!(entries.matches("default via").count(), 2, "{entries}");
    assert_eq!(entries.matches("lookup").count(), 2 + 2, "{entries}");
    assert_eq!(entries.matches("blackhole").count(), 2 + 2 + 2, "{entries}");
    assert!(
        !entries.contains("52001"),
        "somebody else uses that table: {entries}"
    );
    assert_ne!(everything(&scene), before);

    scene.install(&[]).unwrap();
    assert_eq!(everything(&scene), before, "after a withdraw");
    scene.install(&redirecting()).unwrap();
    scene.kernel.stop().unwrap();
    assert_eq!(everything(&scene), before, "after a stop");
}

#[test]
fn a_later_process_goes_on_with_the_same_marks() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    let before = everything(&scene);
    scene.install(&redirecting()).unwrap();
    let (routing, table) = (scene.entries(), tables(&scene));
    // The first process is killed; the next one takes over.
    drop(std::mem::take(&mut scene.kernel));
    assert_eq!(scene.entries(), routing);
    let next = start(&scene.lab, settings(Unreachable::Pass), redirecting());
    scene.kernel = next.unwrap();
    assert_eq!(scene.entries(), routing);
    assert_eq!(tables(&scene), table);
    assert_eq!(scene.send(V4, true), Fate::Scrubber(2, 0));
    // One that wants nothing of it leaves nothing.
    drop(std::mem::take(&mut scene.kernel));
    drop(start(&scene.lab, settings(Unreachable::Pass), Vec::new()).unwrap());
    assert_eq!(everything(&scene), before);
}

#[test]
fn marks_priorities_tables_and_protocol_are_those_of_the_configuration() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    scene.kernel.stop().unwrap();
    // Not ours, although it has the number that is ours by default.
    for family in ["-4", "-6"] {
        let others =
            format!("{family} rule add pref 900 fwmark 0x10000/0xff0000 lookup 77 proto 148");
        ip(&scene.lab.router, &others);
    }
    let before = everything(&scene);
    let mut other = settings(Unreachable::Discard);
    other.redirect = Redirects {
        mark: 0x00f0_0000,
        priority: 2000,
        tables: 70_000,
        protocol: 200,
        ..other.redirect
    };
    scene.kernel = start(&scene.lab, other, Vec::new()).unwrap();
    scene.install(&redirecting()[..2]).unwrap();
    assert_eq!(scene.send(V4, true), Fate::Scrubber(2, 0));
    let now = everything(&scene);
    let ours: Vec<&str> = now
        .lines()
        .filter(|line| line.contains("proto 200"))
        .collect();
    let mut words: Vec<String> = ours
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    words.sort();
    assert_eq!(
        words,
        [
            "2000: from all fwmark 0x100000/0xf00000 lookup 70001 proto 200",
            "2000: from all fwmark 0x200000/0xf00000 lookup 100 proto 200",
            "2000: from all fwmark 0x200000/0xf00000 lookup 100 proto 200",
            "2001: from all fwmark 0x100000/0xf00000 blackhole proto 200",
            "2001: from all fwmark 0x200000/0xf00000 blackhole proto 200",
            "2001: from all fwmark 0x200000/0xf00000 blackhole proto 200",
            "default via 10.9.2.2 dev scrub2 table 70001 proto 200 onlink",
        ]
    );
    scene.install(&[]).unwrap();
    assert_eq!(everything(&scene), before);
}

/// The marks that the packet filter sets.
fn tables(scene: &Scene) -> Vec<String> {
    let output = scene.lab.router.run(|| {
        std::process::Command::new("nft")
            .args(["list", "table", "inet", "flowacl"])
            .output()
    });
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.contains("mark set"))
        .map(String::from)
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_others_take_away_comes_back() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.install(&redirecting()).unwrap();
    let entries = scene.entries();
    ip(&scene.lab.router, "rule del pref 900");
    ip(&scene.lab.router, "-4 route flush proto 148 table all");
    assert_ne!(scene.entries(), entries);
    scene.kernel.audit().unwrap();
    let mut again = scene.entries();
    let mut before = entries;
    again.sort();
    before.sort();
    assert_eq!(again, before);
    assert_eq!(scene.send(V4, true), Fate::Scrubber(2, 0));
}
