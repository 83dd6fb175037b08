//! How connections are made: signed, from near only, bound to an interface, at other places.

use std::time::{Duration, Instant};

use crate::controllers::{bird, frr};
use crate::network::{CONTROLLER, Network, ROUTER};
use crate::router::Router;
use crate::{Dialer, HOLD_TIME};

/// One way to make connections, on both sides.
struct Row {
    name: &'static str,
    /// In the words of BIRD.
    bird: &'static str,
    /// Ours.
    router: &'static str,
    dialer: Dialer,
    /// What comes of it.
    outcome: Outcome,
}

/// Whether there is a session.
enum Outcome {
    /// There is.
    Up,
    /// There never is, and this is a part of what `show neighbors` says.
    Down(&'static str),
    /// There may be one that soon ends, and these are parts of what may be said.
    NotForLong(&'static [&'static str]),
}

const ROWS: &[Row] = &[
    Row {
        name: "signed, accepted",
        bird: "password \"rosebud\";",
        router: "md5_password = \"rosebud\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Up,
    },
    Row {
        name: "signed, dialed",
        bird: "password \"rosebud\";",
        router: "md5_password = \"rosebud\"",
        dialer: Dialer::Router,
        outcome: Outcome::Up,
    },
    Row {
        name: "another password, dialed",
        bird: "password \"rosebud\";",
        router: "md5_password = \"rosebush\"",
        dialer: Dialer::Router,
        outcome: Outcome::Down("has the neighbor the same MD5 password?"),
    },
    Row {
        name: "another password, accepted",
        bird: "password \"rosebud\";",
        router: "md5_password = \"rosebush\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Down("has the neighbor the same MD5 password?"),
    },
    Row {
        name: "not signed, accepted",
        bird: "",
        router: "md5_password = \"rosebud\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Down("has the neighbor the same MD5 password?"),
    },
    Row {
        name: "signed, and no password here",
        bird: "password \"rosebud\";",
        router: "",
        dialer: Dialer::Controller,
        outcome: Outcome::Down("There is no MD5 password for it here"),
    },
    Row {
        name: "signed by everybody of a prefix",
        bird: "password \"rosebud\";",
        router: "md5_password = \"rosebud\"\n[[neighbor]]\naddress = \"192.0.2.0/24\"\n\
                 remote_as = 65070\nmd5_password = \"another\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Up,
    },
    Row {
        name: "near, accepted",
        bird: "ttl security yes;",
        router: "ttl_security = 1",
        dialer: Dialer::Controller,
        outcome: Outcome::Up,
    },
    Row {
        name: "near, dialed",
        bird: "ttl security yes;",
        router: "ttl_security = 1",
        dialer: Dialer::Router,
        outcome: Outcome::Up,
    },
    Row {
        // BIRD takes what has arrived before it looks at TTLs: a session may come up, and does not last.
        name: "TTL security there, and none here",
        bird: "ttl security yes;",
        router: "",
        dialer: Dialer::Router,
        outcome: Outcome::NotForLong(&["does it ask for TTL security", "hold timer expired"]),
    },
    Row {
        name: "seems far, accepted: a direct neighbor of BIRD sends with TTL 1",
        bird: "",
        router: "ttl_security = 1",
        dialer: Dialer::Controller,
        outcome: Outcome::Down("arrive with TTL 1, and ttl_security asks for 255"),
    },
    Row {
        // Either TCP gives up first or the session does.
        name: "seems far, dialed",
        bird: "",
        router: "ttl_security = 1",
        dialer: Dialer::Router,
        outcome: Outcome::Down(""),
    },
    Row {
        name: "one hop is enough on the link",
        bird: "",
        router: "multihop = 1",
        dialer: Dialer::Both,
        outcome: Outcome::Up,
    },
    Row {
        name: "bound to the link, accepted",
        bird: "",
        router: "interface = \"to-controller\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Up,
    },
    Row {
        name: "bound to the link, dialed",
        bird: "",
        router: "interface = \"to-controller\"",
        dialer: Dialer::Router,
        outcome: Outcome::Up,
    },
    Row {
        name: "bound to another interface, accepted",
        bird: "",
        router: "interface = \"lo\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Down(""),
    },
    Row {
        name: "bound to another interface, dialed",
        bird: "",
        router: "interface = \"lo\"",
        dialer: Dialer::Router,
        outcome: Outcome::Down("no answer"),
    },
    Row {
        name: "at a place of its own, signed",
        bird: "neighbor port 1790; password \"rosebud\";",
        router: "listen = [\"192.0.2.2:1790\"]\nmd5_password = \"rosebud\"",
        dialer: Dialer::Controller,
        outcome: Outcome::Up,
    },
    Row {
        name: "at the place of the others",
        bird: "",
        router: "listen = [\"192.0.2.2:1790\"]",
        dialer: Dialer::Controller,
        outcome: Outcome::Down("may not connect to 192.0.2.2:179"),
    },
    Row {
        name: "from another address of ours",
        bird: "",
        router: "local_address = \"192.0.2.2\"",
        dialer: Dialer::Router,
        outcome: Outcome::Up,
    },
];

#[test]
fn bird_connects_as_configured() {
    for row in ROWS {
        let Some(network) = Network::new(bird::PROGRAMS) else {
            return;
        };
        let _bird = bird::Bird::start_connecting(&network, row.dialer, row.bird);
        let router = Router::start_with(&network, row.dialer, row.router);
        println!("{}", row.name);
        match row.outcome {
            Outcome::Up => router.established(),
            Outcome::Down(wanted) => router.stays_down(wanted),
            Outcome::NotForLong(wanted) => router.is_down(wanted),
        }
    }
}

#[test]
fn frr_connects_as_configured() {
    let rows = [
        ("signed", "password rosebud", "md5_password = \"rosebud\""),
        ("near", "ttl-security hops 1", "ttl_security = 1"),
        ("far", "ebgp-multihop 3", "multihop = 3"),
    ];
    for (name, words, router) in rows {
        for dialer in [Dialer::Controller, Dialer::Router] {
            let Some(network) = Network::new(frr::PROGRAMS) else {
                return;
            };
            let _frr = frr::Frr::start_with(&network, dialer, words);
            let router = Router::start_with(&network, dialer, router);
            router.established();
            println!("{name}, {dialer:?}: {CONTROLLER} and {ROUTER} have a session");
        }
    }
}

#[test]
fn a_cut_link_ends_the_session_within_the_hold_time() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let _bird = bird::Bird::start_connecting(&network, Dialer::Controller, "");
    let router = Router::start(&network, Dialer::Controller);
    router.established();
    let cut = Instant::now();
    network.set_link("down");
    router.lost();
    let took = cut.elapsed();
    assert!(took <= HOLD_TIME + Duration::from_secs(1), "{took:?}");
}
