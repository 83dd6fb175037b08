//! Another configuration while sessions are up: what changes is what changed.

use std::fs;

use flowacl::io::control::client;
use flowacl::io::report::DiffReport;
use flowacl::wire::nlri::Nlri;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::scale::{rule, scale};
use super::*;
use crate::waiting::eventually;

/// Two neighbors, each with lines of its own.
fn two_neighbors(second: &str, third: &str) -> String {
    format!(
        "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\n{second}\
         [[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65070\n{third}"
    )
}

#[test]
fn the_difference_is_printed_and_carried_out() {
    let daemon = Daemon::start(&two_neighbors("", "hold_time_secs = 30\n"));
    let _second = daemon.announce("127.0.0.2", &[FLOW]);
    let _third = daemon.announce("127.0.0.3", &[OTHER_FLOW]);
    let both = [
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.3", "installed"),
    ];
    daemon.has_rules(&both);

    let import = "[neighbor.import]\ndestinations = [\"198.51.100.0/24\"]\n";
    let neighbors = two_neighbors(import, "hold_time_secs = 60\ndescription = \"third\"\n");
    let text = configuration(daemon.port, &daemon.directory, &neighbors);
    let file = daemon.path("flowacl.toml");
    let expected = [
        "+ neighbor[127.0.0.2].import.destinations = [\"198.51.100.0/24\"]",
        "+ neighbor[127.0.0.3].description = \"third\"",
        "~ neighbor[127.0.0.3].hold_time_secs = 30 -> 60",
        "neighbor 127.0.0.2: keeps its session, its routes are judged anew",
        "neighbor 127.0.0.3: its session ends and begins anew",
    ];

    // Only asked, of another file and of the daemon's own.
    let candidate = daemon.path("candidate.toml");
    fs::write(&candidate, &text).unwrap();
    let said = daemon.order(&["check", "--diff", "--config", candidate.to_str().unwrap()]);
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), expected);
    assert_eq!(
        daemon.order(&["reload", "--dry-run"]),
        "nothing has changed\n"
    );
    fs::write(&file, &text).unwrap();
    let said = daemon.order(&["reload", "--dry-run"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    daemon.has_rules(&both);

    let said = daemon.order(&["reload"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    for line in expected {
        daemon.logged(line);
    }
    daemon.has_rules(&[(NLRI, "127.0.0.2", "rejected")]);
    assert_eq!(daemon.neighbor("127.0.0.2").unwrap()["ups"], 1);
    let third = daemon.neighbor("127.0.0.3").unwrap();
    assert_eq!(third["description"], "third");
    assert_eq!(daemon.order(&["reload"]), "nothing has changed\n");
}

#[test]
fn a_refused_configuration_is_refused_with_every_reason() {
    let daemon = Daemon::start(ANYBODY);
    let text = configuration(daemon.port, &daemon.directory, ANYBODY);
    let rows = [
        (
            "what is wrong",
            text.replace("65070", "0").replace("\"sim\"", "\"simm\""),
            [":6:11: dataplane.backend", ":12:13: neighbor[0].remote_as"],
        ),
        (
            "what needs a restart",
            text.replace("65140", "65141")
                .replace("192.0.2.2", "192.0.2.3"),
            [
                "line 2: bgp.local_as cannot be changed",
                "line 3: bgp.router_id cannot be changed",
            ],
        ),
    ];
    for (name, text, wanted) in rows {
        fs::write(daemon.path("flowacl.toml"), text).unwrap();
        for command in [&["reload", "--dry-run"][..], &["reload"]] {
            let (succeeded, said) = daemon.try_order(command);
            assert!(!succeeded, "{name}: {said}");
            for words in wanted {
                assert!(said.contains(words), "{name}: {words}: {said}");
            }
            assert!(
                said.contains("the old configuration stays in force"),
                "{name}: {said}"
            );
        }
    }
    fs::write(daemon.path("flowacl.toml"), &text).unwrap();
    assert_eq!(daemon.order(&["reload"]), "nothing has changed\n");
}

/// One slip of the keyboard.
fn mutate(random: &mut StdRng, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let at = random.random_range(0..lines.len());
    match random.random_range(0..5) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[random.random_range(0..lines.len())].clone()),
        2 => {
            let other = random.random_range(0..lines.len());
            lines.swap(at, other);
        }
        _ => {
            let mut line: Vec<char> = lines[at].chars().collect();
            let place = random.random_range(0..=line.len());
            let slip = *['"', '[', ']', '=', '.', '#', '0', '7', 'x', ' ']
                .choose(random)
                .unwrap();
            match line.get_mut(place) {
                Some(found) if random.random_bool(0.5) => *found = slip,
                Some(_) | None => line.insert(place, slip),
            }
            lines[at] = line.into_iter().collect();
        }
    }
    lines.join("\n")
}

#[test]
fn no_slip_disturbs_a_neighbor_that_stays_as_it_is() {
    // Its last table has all keys that a line of the other one could add to it.
    let steady = "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\n\
        [neighbor.import]\nmax_routes = 10\n";
    let other = "[[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65071\nhold_time_secs = 30\n\
        families = [\"ipv4-flow\"]\n[neighbor.import]\nmax_routes = 10\n\
        [[protect]]\nsources = [\"192.0.2.0/24\"]\ntcp_ports = [22]\n";
    let daemon = Daemon::start(&format!("{steady}{other}"));
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let base = configuration(daemon.port, &daemon.directory, steady);
    let random = &mut StdRng::seed_from_u64(4271);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let socket = daemon.path("flowacl.sock");
    let reload = |text: &str| -> DiffReport {
        fs::write(daemon.path("flowacl.toml"), text).unwrap();
        runtime
            .block_on(client::post(&socket, "/v1/reload", &()))
            .unwrap()
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..scale("FLOWACL_TEST_RELOADS", 1_000) {
        let mut text = other.to_owned();
        for _ in 0..random.random_range(1..3) {
            text = mutate(random, &text);
        }
        match reload(&format!("{base}{text}\n")).errors.as_slice() {
            [] => taken += 1,
            _ => refused += 1,
        }
    }
    assert!(
        taken > 10 && refused > 100,
        "{taken} taken, {refused} refused"
    );
    assert_eq!(
        reload(&format!("{base}{other}")).errors,
        Vec::<String>::new()
    );
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let neighbor = daemon.neighbor("127.0.0.2").unwrap();
    assert_eq!(neighbor["ups"], 1, "{neighbor}\n{}", daemon.log());
    assert_eq!(neighbor["state"], "Established");
}

#[test]
fn another_policy_for_ten_thousand_rules_takes_a_moment() {
    const RULES: u32 = 10_000;
    let daemon = Daemon::start(ANYBODY);
    let mut controller = RawController::connect(daemon.port);
    let routes: Vec<Nlri> = (0..RULES).map(rule).collect();
    controller.send(&routes, 200, false);
    let installed = |daemon: &Daemon| daemon.show("summary")["installed"].as_u64().unwrap();
    eventually("all are installed", || match installed(&daemon) {
        10_000 => Ok(()),
        other => Err(other.to_string()),
    });
    let import = "[neighbor.import]\ndestinations = [\"10.0.0.0/19\"]\n";
    let text = configuration(
        daemon.port,
        &daemon.directory,
        &format!("{ANYBODY}{import}"),
    );
    fs::write(daemon.path("flowacl.toml"), text).unwrap();
    let start = Instant::now();
    daemon.order(&["reload"]);
    eventually("a part of them is", || match daemon.show("summary") {
        summary if summary["installed"] == 8_192 && summary["settled"] == true => Ok(()),
        summary => Err(summary.to_string()),
    });
    let took = start.elapsed();
    // A debug build on a busy machine; a release build takes a tenth.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(daemon.neighbor("127.0.0.1").unwrap()["ups"], 1);
}
