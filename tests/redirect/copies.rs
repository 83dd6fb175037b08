//! Copies: the packet goes on, and another one like it goes to the next hop that the rule names.

use dataplane::backend::Backend;
use dataplane::desired::{Redirects, Settings, Unreachable};
use dataplane::rule::{Rule, RuleId};
use std::sync::Arc;

use crate::scene::{Scene, ip, rules, settings, start};
use crate::waiting::eventually;

const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100 dscp 5";
const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100 dscp 5";
const HOST: &str = "destination 203.0.113.5/32;";
const NET: &str = "destination 203.0.113.0/24;";
const HOST_V6: &str = "destination 2001:db8::5/128;";
/// Packets in each trial.
const COUNT: u16 = 20;
/// All of them.
const ALL: usize = COUNT as usize;

/// Settings with one free octet for copies beside the other marks.
fn unowned() -> Settings {
    Settings {
        own_table: false,
        ..settings(Unreachable::Pass)
    }
}

#[test]
fn packets_go_on_and_copies_go_where_the_rules_say() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    type Rules = &'static [(&'static str, &'static str)];
    let rows: &[(&str, Rules, &str, usize, [usize; 2])] = &[
        ("a copy", &[(HOST, "copy 10.9.1.2;")], V4, ALL, [ALL, 0]),
        (
            "in IPv6",
            &[(HOST_V6, "copy fd00:9:2::2;")],
            V6,
            ALL,
            [0, ALL],
        ),
        (
            "a list of ports",
            &[(
                "destination 203.0.113.5/32; port >50&<60;",
                "copy 10.9.2.2;",
            )],
            V4,
            ALL,
            [0, ALL],
        ),
        (
            "a copy and a redirect",
            &[(HOST, "copy 10.9.1.2; redirect 10.9.2.2;")],
            V4,
            0,
            [ALL, ALL],
        ),
        (
            "a copy and a redirect by a table, in IPv6",
            &[(HOST_V6, "copy fd00:9:1::2; redirect 70000:101;")],
            V6,
            0,
            [ALL, ALL],
        ),
        (
            "with a mark",
            &[(HOST, "copy 10.9.1.2; mark 46;")],
            V4,
            ALL,
            [ALL, 0],
        ),
        (
            "a copy, then accept",
            &[(HOST, "copy 10.9.1.2; action terminal;"), (NET, "accept;")],
            V4,
            ALL,
            [ALL, 0],
        ),
        (
            "a copy, then a redirect",
            &[
                (HOST, "copy 10.9.1.2; action terminal;"),
                (NET, "redirect 10.9.2.2;"),
            ],
            V4,
            0,
            [ALL, ALL],
        ),
        (
            "the first copy wins",
            &[
                (HOST, "copy 10.9.1.2; action terminal;"),
                (NET, "copy 10.9.2.2;"),
            ],
            V4,
            ALL,
            [ALL, 0],
        ),
        (
            "a mark and a copy, collected",
            &[
                (HOST, "mark 46; copy 10.9.1.2; action terminal;"),
                (NET, "mark 10;"),
            ],
            V4,
            ALL,
            [ALL, 0],
        ),
        (
            "what is dropped later is not copied",
            &[(HOST, "copy 10.9.1.2; action terminal;"), (NET, "discard;")],
            V4,
            0,
            [0, 0],
        ),
        (
            "nor is what is over a limit",
            &[(HOST, "copy 10.9.1.2; rate-limit 1e-30;")],
            V4,
            0,
            [0, 0],
        ),
        (
            "a discard discards",
            &[(HOST, "copy 10.9.1.2; rate-limit 0;")],
            V4,
            0,
            [0, 0],
        ),
        (
            "accept before a copy",
            &[(HOST, "accept;"), (NET, "copy 10.9.1.2;")],
            V4,
            ALL,
            [0, 0],
        ),
    ];
    for (name, flows, packet, arrived, copies) in rows {
        scene
            .install(&rules(1, flows))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = scene.spread(packet, COUNT, *copies);
        assert_eq!(found, (*arrived, *copies), "{name}");
    }
    scene.install(&[]).unwrap();
    assert_eq!(scene.tables(), ["table inet flowacl"], "after a withdraw");
    assert_eq!(scene.spread(V4, COUNT, [1, 1]), (ALL, [0, 0]));
}

/// Copies in both families.
fn copying() -> Vec<Arc<Rule>> {
    rules(
        1,
        &[
            (HOST, "copy 10.9.1.2;"),
            ("destination 203.0.113.6/32;", "copy 10.9.2.2;"),
            (HOST_V6, "copy fd00:9:2::2;"),
        ],
    )
}

/// Our tables while rules copy packets of both families.
const TABLES: [&str; 3] = [
    "table inet flowacl",
    "table ip flowacl",
    "table ip6 flowacl",
];

#[test]
fn a_later_process_goes_on_and_a_stop_leaves_nothing() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.nft("add table ip others");
    scene.install(&copying()).unwrap();
    let tables = |scene: &Scene| {
        let mut tables = scene.tables();
        tables.sort();
        tables
    };
    let of_others = ["table ip others"];
    let mut all: Vec<&str> = TABLES.iter().chain(&of_others).copied().collect();
    all.sort();
    assert_eq!(tables(&scene), all);
    let map = scene.nft("list map ip flowacl copies");

    drop(std::mem::take(&mut scene.kernel));
    let next = start(&scene.lab, settings(Unreachable::Pass), copying());
    scene.kernel = next.unwrap();
    assert_eq!(scene.nft("list map ip flowacl copies"), map);
    assert_eq!(scene.spread(V4, COUNT, [ALL, 0]), (ALL, [ALL, 0]));
    assert_eq!(scene.spread(V6, COUNT, [0, ALL]), (ALL, [0, ALL]));

    scene.kernel.stop().unwrap();
    assert_eq!(scene.tables(), of_others);
    // One that wants nothing of what another left leaves nothing.
    let left = start(&scene.lab, settings(Unreachable::Pass), copying());
    drop(left.unwrap());
    assert_eq!(tables(&scene), all);
    let next = start(&scene.lab, settings(Unreachable::Pass), Vec::new());
    scene.kernel = next.unwrap();
    assert_eq!(tables(&scene), ["table inet flowacl", "table ip others"]);
}

#[test]
fn what_others_change_is_put_right() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.kernel.stop().unwrap();
    scene.kernel = start(&scene.lab, unowned(), copying()).unwrap();
    for change in [
        "delete table ip flowacl",
        "flush chain ip flowacl prerouting",
        "flush map ip flowacl copies",
        "flush ruleset",
    ] {
        scene.nft(change);
        let before = scene.spread(V4, COUNT, [1, 1]);
        assert_eq!(before, (ALL, [0, 0]), "{change}");
        scene.kernel.audit().unwrap();
        let after = scene.spread(V4, COUNT, [ALL, 0]);
        assert_eq!(after, (ALL, [ALL, 0]), "{change}");
    }
}

#[test]
fn a_next_hop_that_is_not_there_is_told_of() {
    let Some(mut scene) = Scene::new(Unreachable::Discard) else {
        return;
    };
    let flows = [(HOST, "copy 10.9.1.2;")];
    scene.install(&rules(7, &flows)).unwrap();
    ip(&scene.lab.router, "route add unreachable 10.9.1.2/32");
    eventually("the rule is impaired", || {
        scene.kernel.audit().unwrap();
        let impaired = scene.kernel.impaired();
        let expected = "not copied: there is no route to 10.9.1.2; packets go on without a copy";
        match impaired == [(RuleId(7), expected.into())] {
            true => Ok(()),
            false => Err(format!("{impaired:?}")),
        }
    });
    // Whatever becomes of redirected packets, those that are copied go on.
    assert_eq!(scene.spread(V4, COUNT, [0, 0]), (ALL, [0, 0]));
}

#[test]
fn addresses_beyond_the_bits_of_the_mark_are_refused() {
    let Some(mut scene) = Scene::new(Unreachable::Pass) else {
        return;
    };
    scene.kernel.stop().unwrap();
    let narrow = Settings {
        redirect: Redirects {
            copy_mark: 0x100,
            ..Redirects::default()
        },
        ..settings(Unreachable::Pass)
    };
    scene.kernel = start(&scene.lab, narrow, Vec::new()).unwrap();
    let error = scene.install(&copying()).unwrap_err().to_string();
    assert_eq!(
        error,
        "copy to 10.9.2.2: all 1 values of copy_mark are in use"
    );
    assert_eq!(
        scene.tables(),
        ["table inet flowacl"],
        "nothing of it remains"
    );
    scene.install(&copying()[..1]).unwrap();
    assert_eq!(scene.spread(V4, COUNT, [ALL, 0]), (ALL, [ALL, 0]));
}
