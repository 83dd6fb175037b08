//! Controllers that come and go without manners leave nothing behind.
//!
//! `FLOWACL_FLAP_SECS=600` sets for how long, `FLOWACL_FLAP_SEED` what they do.

use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::scale::scale;
use super::visitor::{Visitor, Watched, graceful, open_of, opening};
use super::*;
use crate::waiting::eventually;

/// Controllers that flap at once.
const CONTROLLERS: u8 = 6;
/// By how much the daemon may grow meanwhile, in KiB.
const GROWTH_KIB: u64 = 8 * 1024;
/// Rules that overlap: 10/8, 10.0/16, 10.0.0/24, 10.0.0.1, and UDP to each.
const RULES: [&str; 8] = [
    "0301080a",
    "0401100a00",
    "0501180a0000",
    "0601200a000001",
    "0601080a038111",
    "0701100a00038111",
    "0801180a0000038111",
    "0901200a000001038111",
];

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Rst,
    HalfAMessage,
    Shutdown,
    HardReset,
    OtherError,
    Silence,
}

/// All ends.
const ENDS: [End; 7] = [
    End::Fin,
    End::Rst,
    End::HalfAMessage,
    End::Shutdown,
    End::HardReset,
    End::OtherError,
    End::Silence,
];

/// A NOTIFICATION.
fn notification(code: u8, subcode: u8) -> Vec<u8> {
    let notification = flowacl::wire::error::Notification {
        code,
        subcode,
        data: Vec::new(),
    };
    Message::Notification(notification).encode()
}

/// One session of a controller, from its beginning to its bad end.
fn session(port: u16, from: Ipv4Addr, random: &mut StdRng) -> std::io::Result<Option<Visitor>> {
    let mut open = open_of(65070, &[FlowFamily::Ipv4Flow]);
    open.hold_time_secs = 3;
    if random.random_bool(0.3) {
        open.capabilities.push(graceful(1));
    }
    let mut visitor = Visitor::open(port, from, &open)?;
    for _ in 0..random.random_range(1..6) {
        let rule = RULES.choose(random).unwrap();
        match random.random_bool(0.8) {
            true => visitor.say(&announcement(rule))?,
            false => visitor.say(&withdrawal(rule))?,
        }
    }
    // How long a session lasts is up to it.
    std::thread::sleep(Duration::from_millis(random.random_range(0..100)));
    match ENDS.choose(random).unwrap() {
        End::Fin => {}
        End::Rst => visitor.reset(),
        End::HalfAMessage => {
            visitor.say(&announcement(RULES[0])[..30])?;
            visitor.reset();
        }
        End::Shutdown => visitor.say(&notification(6, 2))?,
        End::HardReset => visitor.say(&notification(6, 9))?,
        End::OtherError => visitor.say(&notification(3, 1))?,
        // Most of them would keep their address busy for the hold time.
        End::Silence if random.random_bool(0.2) => return Ok(Some(visitor)),
        End::Silence => {}
    }
    Ok(None)
}

/// Sessions of one controller; returns how many there were.
fn flap(port: u16, from: Ipv4Addr, seed: u64, end: Instant) -> u32 {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut sessions = 0;
    let mut silent = None;
    while Instant::now() < end {
        // What is closed while it speaks is over, too.
        if let Ok(Some(visitor)) = session(port, from, random) {
            silent = Some(visitor);
        }
        sessions += 1;
        if silent.as_mut().is_some_and(|visitor| !visitor.is_open()) {
            silent = None;
        }
    }
    // Even the last one that is silent is not there for ever.
    if let Some(mut visitor) = silent {
        visitor.farewell();
    }
    sessions
}

/// Has all controllers flap for so long.
fn all_flap(watched: &Watched, seed: u64, duration: Duration) -> u32 {
    let port = watched.daemon.port;
    let end = Instant::now() + duration;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONTROLLERS)
            .map(|number| {
                let from = Ipv4Addr::new(127, 6, 0, 1 + number);
                scope.spawn(move || flap(port, from, seed + u64::from(number), end))
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            watched.neighbors();
            std::thread::sleep(Duration::from_millis(100));
        }
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

#[test]
fn flapping_controllers_leave_nothing_behind() {
    let seed = u64::from(scale("FLOWACL_FLAP_SEED", rand::random()));
    println!("FLOWACL_FLAP_SEED={seed}");
    let secs = scale("FLOWACL_FLAP_SECS", 10);
    let watched = Watched::start("[[neighbor]]\naddress = \"127.6.0.0/16\"\nremote_as = 65070\n");
    let files = watched.open_files();
    // The first sessions make room that all others use.
    all_flap(&watched, seed.wrapping_add(1_000), Duration::from_secs(1));
    watched.is_alone();
    let before = watched.daemon.rss_kib();
    let sessions = all_flap(&watched, seed, Duration::from_secs(secs.into()));
    watched.is_alone();
    watched.has_open_files(files);
    let after = watched.daemon.rss_kib();
    println!("{sessions} sessions in {secs} s: {before} KiB before, {after} KiB after");
    assert!(sessions > 10 * secs, "{sessions} sessions");
    assert!(
        after <= before + GROWTH_KIB,
        "{before} KiB, then {after} KiB"
    );
    let summary = watched.daemon.show("summary");
    assert_eq!(summary["received"], 1, "{summary}");
    assert_eq!(summary["settled"], true, "{summary}");
    assert!(watched.put() > 10, "rules came and went");
}

#[test]
fn rules_of_a_controller_that_is_gone_for_good_stay_as_long_as_it_asked() {
    let watched = Watched::start("[[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65070\n");
    let mut open = open_of(65070, &[FlowFamily::Ipv4Flow]);
    open.capabilities.push(graceful(2));
    let address = Ipv4Addr::new(127, 0, 0, 3);
    let mut visitor = Visitor::dial(watched.daemon.port, address).unwrap();
    visitor
        .say(&[opening(&open), announcement(OTHER_NLRI)].concat())
        .unwrap();
    let installed = |number: usize, stale: usize| {
        eventually("the rule's state", || match watched.neighbor(address) {
            Some(status) if (status.routes.installed, status.routes.stale) == (number, stale) => {
                Ok(())
            }
            status => Err(format!("{status:?}")),
        });
    };
    installed(1, 0);
    let start = Instant::now();
    visitor.reset();
    installed(0, 1);
    installed(0, 0);
    let took = start.elapsed();
    let asked = Duration::from_secs(2);
    assert!(
        asked <= took && took <= asked + Duration::from_secs(1),
        "removed after {took:?}"
    );
    watched.is_alone();
}
