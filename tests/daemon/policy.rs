//! Import policy, from the configuration to the session and the metrics.

use super::scale::{rule, scale};
use super::*;
use crate::waiting::eventually;
use flowacl::wire::nlri::Nlri;

/// A neighbor that floods, and one that does not.
const TWO: &str = "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\n\
                   [neighbor.import]\nallow_match_all = true\n\
                   [[neighbor]]\naddress = \"127.0.0.1\"\nremote_as = 65070\n";

/// All octets until the daemon closes the connection.
fn read_to_the_end(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}

#[test]
fn too_many_routes_close_the_session_for_a_while() {
    let daemon = Daemon::start(&format!(
        "{TWO}[neighbor.import]\nmax_routes = 10\non_max_routes = \"close\"\n\
         max_routes_restart_secs = 3\n"
    ));
    let _other = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);

    let mut controller = RawController::connect(daemon.port);
    let routes: Vec<Nlri> = (0..11).map(rule).collect();
    controller.send(&routes, 1, false);
    let closed = Instant::now();
    let octets = read_to_the_end(controller.0);
    // RFC 4486 §4: Cease, maximum number of prefixes reached.
    assert!(octets.ends_with(&[0, 21, 3, 6, 1]), "{octets:02x?}");
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let neighbor = daemon.neighbor("127.0.0.1").unwrap();
    let error = neighbor["last_error"].as_str().unwrap();
    assert!(
        error.starts_with("closed for 3 s: over max_routes = 10"),
        "{error}"
    );
    let log = daemon.log();
    assert_eq!(log.matches("near max_routes").count(), 1, "{log}");

    // Nobody is let in before.
    let early = RawController::connect(daemon.port);
    let octets = read_to_the_end(early.0);
    assert!(
        closed.elapsed() < Duration::from_secs(3),
        "too slow to tell"
    );
    let kind = octets.get(18);
    assert_ne!(kind, Some(&1), "an OPEN, although the session stays down");
    let mut controller = eventually("the session comes up again", || {
        let controller = RawController::connect(daemon.port);
        std::thread::sleep(Duration::from_millis(100));
        let neighbor = daemon.neighbor("127.0.0.1").unwrap();
        match neighbor["state"] == "Established" {
            true => Ok(controller),
            false => Err(neighbor.to_string()),
        }
    });
    assert!(closed.elapsed() >= Duration::from_secs(3));
    controller.send(&routes[..10], 1, false);
    eventually("all are in force", || {
        let summary = daemon.show("summary");
        match summary["installed"] == 11 {
            true => Ok(()),
            false => Err(summary.to_string()),
        }
    });
}

/// With `FLOWACL_TEST_ROUTES=1000000`: a flood of a million.
#[test]
fn a_flood_of_what_policy_refuses_is_bounded_and_disturbs_nobody() {
    let announced = scale("FLOWACL_TEST_ROUTES", 100_000);
    let limit = announced / 100;
    let shown = limit + 1_000;
    let keys = [
        ("max-routes", String::new(), limit, 1_000),
        (
            "destination",
            "destinations = [\"203.0.113.0/24\"]\n".into(),
            0,
            shown,
        ),
        ("action", "actions = [\"mark\"]\n".to_owned(), 0, shown),
    ];
    for (kind, keys, installed, rejected) in keys {
        let daemon = Daemon::start(&format!(
            "{TWO}[neighbor.import]\nmax_routes = {limit}\n{keys}"
        ));
        let _other = daemon.announce("127.0.0.2", &[FLOW]);
        daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
        let mut controller = RawController::connect(daemon.port);
        for start in (0..announced).step_by(10_000) {
            let routes: Vec<Nlri> = (start..announced.min(start + 10_000)).map(rule).collect();
            controller.send(&routes, 200, false);
        }
        eventually("all have been counted", || {
            let summary = &daemon.show("summary");
            let counted = summary["installed"] == installed + 1
                && summary["refusals"][kind] == rejected
                && summary["not_kept"] == announced - installed - rejected;
            match counted {
                true => Ok(()),
                false => Err(format!("{kind}: {summary}")),
            }
        });
        let rss = daemon.rss_kib();
        println!("{announced} routes refused for {kind}: {rss} KiB");
        assert!(
            rss <= 20 * 1024 + 2 * u64::from(installed + rejected),
            "{kind}: {rss} KiB"
        );
        let explained = daemon.explain("udp 198.51.100.7:123 > 203.0.113.5:4444 len 468");
        assert_eq!(explained["verdict"], "discard", "{kind}");
        for address in ["127.0.0.1", "127.0.0.2"] {
            assert_eq!(daemon.neighbor(address).unwrap()["ups"], 1, "{kind}");
        }
    }
}

#[test]
fn a_rule_that_matches_everything_needs_to_be_allowed() {
    let everything = "flow route { match { destination 0.0.0.0/0; } then { discard; } }";
    let daemon = Daemon::start(TWO);
    let _other = daemon.announce("127.0.0.1", &[everything]);
    daemon.has_rules(&[("020100", "127.0.0.1", "rejected")]);
    let _one = daemon.announce("127.0.0.2", &[everything]);
    daemon.has_rules(&[
        ("020100", "127.0.0.2", "installed"),
        ("020100", "127.0.0.1", "rejected"),
    ]);
}
