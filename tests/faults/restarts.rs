//! A daemon ends and another one starts: what was dropped stays so, nothing is there twice, and counters go on.

use std::thread;

use flowacl::flowspec::text::Flow;
use flowacl::lab::Passed;
use flowacl::lab::packet::{Header, PacketBuilder};
use serde_json::Value;

use crate::controller::{Controller, flow};
use crate::program::ask;
use crate::router::Router;
use crate::waiting::eventually;

/// Packets from one look at the daemon to the next.
const PROBES: u16 = 5;

/// Discards what is sent to a host.
fn discard(host: u8) -> Flow {
    flow(
        &format!("destination 203.0.113.{host}/32; protocol =udp;"),
        "discard;",
    )
}

/// A packet to a host; the source port tells those apart that are sent together.
fn packet(host: u8, source_port: u16) -> Vec<u8> {
    PacketBuilder::new(Header::between(
        "198.51.100.7",
        &format!("203.0.113.{host}"),
    ))
    .udp(source_port, 53, b"probe")
    .build()
}

/// The router, and the packets that it had to drop all the time.
struct Bench {
    router: Router,
    probes: u64,
}

impl Bench {
    /// Sends packets to host 5, which nothing may let through.
    fn probe(&mut self, when: &str) {
        let packets: Vec<_> = (0..PROBES).map(|port| packet(5, port)).collect();
        for fate in self.router.pass(&packets) {
            assert_eq!(
                fate,
                Passed::Dropped,
                "{when}: after {} packets",
                self.probes
            );
            self.probes += 1;
        }
    }

    /// Probes until the daemon gives the answer that is waited for.
    fn probe_until(
        &mut self,
        when: &'static str,
        question: &'static str,
        expected: impl Fn(&Value) -> bool + Send + 'static,
    ) {
        let socket = self.router.socket();
        let waiting = thread::spawn(move || {
            eventually(when, || {
                let answer = ask(&socket, question)?;
                match expected(&answer) {
                    true => Ok(()),
                    false => Err(answer.to_string()),
                }
            })
        });
        while !waiting.is_finished() {
            self.probe(when);
        }
        if waiting.join().is_err() {
            panic!("{when}\n{}", self.router.log());
        }
        self.probe(when);
    }

    /// A controller that has announced these flows, all of which are installed in the end.
    fn controller(&mut self, flows: &[Flow]) -> Controller {
        let mut controller = self.router.namespace().run(Controller::connect).unwrap();
        controller.announce(flows).unwrap();
        controller.end_of_rib().unwrap();
        let number = flows.len();
        eventually("all are installed", || {
            match states(&self.router.show("rules")?) {
                states if states == vec!["installed"; number] => Ok(()),
                states => Err(format!("{states:?}")),
            }
        });
        controller
    }

    /// What the rule for host 5 has counted.
    fn counted(&self) -> u64 {
        let rules = self.router.show("rules").unwrap();
        let rules = rules["rules"].as_array().unwrap();
        let mut of_host = rules.iter().filter(|rule| {
            let flow = rule["flow"].as_str().unwrap();
            flow.contains("203.0.113.5/32")
        });
        let counted = of_host.next().unwrap()["packets"].as_u64().unwrap();
        assert_eq!(of_host.next(), None);
        counted
    }

    /// Hosts to which packets do not come through.
    fn dropped(&mut self) -> Vec<u8> {
        let hosts = [5, 6, 7, 8];
        let fates = self.router.pass(&hosts.map(|host| packet(host, 1000)));
        self.probes += 1;
        let fates = hosts.into_iter().zip(fates);
        let dropped = fates.filter(|(_, fate)| *fate == Passed::Dropped);
        dropped.map(|(host, _)| host).collect()
    }
}

/// States of the routes in `show rules`.
fn states(rules: &Value) -> Vec<String> {
    let rules = rules["rules"].as_array().into_iter().flatten();
    rules
        .map(|rule| rule["state"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Starts a daemon with rules for hosts 5, 6 and 7, ends it as told, starts another, and resends some.
fn restart(more: &str, end: fn(&mut Router)) {
    let Some(router) = Router::start(true) else {
        return;
    };
    let mut bench = Bench { router, probes: 0 };
    if !more.is_empty() {
        bench
            .router
            .configure("[dataplane]\n", &format!("[dataplane]\n{more}"));
        bench.router.stop_daemon();
        bench.router.start_daemon();
        eventually("the daemon answers", || bench.router.show("summary"));
    }
    let controller = bench.controller(&[discard(5), discard(6), discard(7)]);
    bench.probe("before");
    assert_eq!(bench.dropped(), [5, 6, 7]);
    let table = bench.router.table().unwrap();

    end(&mut bench.router);
    drop(controller);
    bench.probe("without a daemon");
    assert_eq!(bench.router.table().unwrap(), table);
    bench.router.start_daemon();
    bench.probe_until("while the daemon starts", "rules", |rules| {
        states(rules) == ["stale"; 3]
    });
    assert_eq!(bench.dropped(), [5, 6, 7]);
    assert_eq!(bench.counted(), bench.probes);
    assert_eq!(
        bench.router.table().unwrap(),
        table,
        "nothing is there twice"
    );
    let rules = bench.router.show("rules").unwrap();
    let reason = rules["rules"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("kept from before the restart until 127.0.0.1 has resent its routes"),
        "{reason}"
    );

    let mut controller = bench.router.namespace().run(Controller::connect).unwrap();
    controller.announce(&[discard(5), discard(6)]).unwrap();
    bench.probe_until("while it is resent", "rules", |rules| {
        states(rules) == ["installed", "installed", "stale"]
    });
    controller.announce(&[discard(8)]).unwrap();
    controller.end_of_rib().unwrap();
    bench.probe_until("after the sweep", "rules", |rules| {
        states(rules) == ["installed"; 3]
    });
    assert_eq!(bench.dropped(), [5, 6, 8]);
    assert_eq!(bench.counted(), bench.probes);
}

#[test]
fn killed_and_started_again_without_a_gap() {
    restart("", Router::kill_daemon);
}

#[test]
fn stopped_with_its_rules_left_and_started_again_without_a_gap() {
    restart("on_stop = \"keep\"\n", Router::stop_daemon);
}

#[test]
fn rules_of_nobody_are_not_kept_for_longer_than_told() {
    let Some(router) = Router::start(true) else {
        return;
    };
    let mut bench = Bench { router, probes: 0 };
    let keeping = |secs| format!("[dataplane]\nrestart_secs = {secs}\n");
    for (before, after) in [
        ("[dataplane]\n".into(), keeping(1)),
        (keeping(1), keeping(0)),
    ] {
        let controller = bench.controller(&[discard(5)]);
        assert_eq!(bench.dropped(), [5]);
        bench.router.kill_daemon();
        drop(controller);
        bench.router.configure(&before, &after);
        bench.router.start_daemon();
        eventually("the rule is gone", || {
            match states(&bench.router.show("rules")?) {
                states if states.is_empty() => Ok(()),
                states => Err(format!("{states:?}")),
            }
        });
        assert!(bench.dropped().is_empty(), "{after}");
    }
}
