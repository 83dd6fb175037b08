//! A table that is taken over, or made anew, while packets arrive as fast as they can: none may come through that the
//! rules do not let pass, and buckets stay as they are.

use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use dataplane::backend::Backend;
use dataplane::desired::{Changes, InterfacePattern, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::{Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::text::Flow;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, UPSTREAM};

use crate::available::available;
use crate::controller::flow;
use crate::waiting::eventually;

/// Packets of one round.
const PACKETS: usize = 10_000;
/// Times that the table is taken over.
const TAKEOVERS: usize = 100;

/// Counts what comes through. Interfaces would count the router's own packets, too.
const WATCH: &str = "add table ip watch; \
    add chain ip watch out { type filter hook postrouting priority 0 ; } ; \
    add rule ip watch out ip daddr 203.0.113.5 counter";

/// Runs `nft` on the router and returns what it prints.
fn nft<'a>(lab: &Lab, words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(str::to_owned).collect();
    let output = lab
        .router
        .run(move || Command::new("nft").args(words).output());
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rules of every layout: in maps, in the list of a node, and in that of all packets; each discards UDP to one port, but
/// for what buckets hold.
fn rules() -> Vec<Arc<Rule>> {
    let flows: Vec<Flow> = [
        ("destination 203.0.113.5/32; protocol =udp; destination-port =1;", "discard;"),
        ("destination 203.0.113.5/32; protocol =udp; destination-port >=2&<=3;", "discard;"),
        ("destination 203.0.113.0/24; source 198.51.100.0/24; protocol =udp; destination-port =4;", "discard;"),
        ("protocol =udp; destination-port =5;", "discard;"),
        ("destination 203.0.113.9/32; protocol =udp;", "rate-limit 9600;"),
        // A packet a day; five at first.
        ("destination 203.0.113.5/32; protocol =udp; destination-port =6;", "rate-limit 1e-5 packets per-source /24;"),
    ]
    .map(|(components, then)| flow(components, then))
    .into();
    let rule = |(number, flow): (usize, &Flow)| {
        let id = RuleId(number as u64 + 1);
        Arc::new(
            lower(
                &flow.nlri,
                &Arc::new(flow.actions.clone()),
                id,
                &Bindings::default(),
            )
            .unwrap()
            .rule,
        )
    };
    flows.iter().enumerate().map(rule).collect()
}

/// Installs the rules, and goes on in a thread of its own to take the table over again and again.
fn take_over_again_and_again() -> JoinHandle<()> {
    let settings = Settings {
        interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
        own_table: true,
        ..Settings::default()
    };
    let mut kernel = Nftables::new();
    kernel.start(&settings, &[]).unwrap();
    let rules = rules();
    let changes = Changes {
        put: rules.clone(),
        remove: Vec::new(),
    };
    kernel.commit(&changes).unwrap();
    thread::spawn(move || {
        for _ in 0..TAKEOVERS {
            drop(std::mem::take(&mut kernel));
            // What another test starts may hold the socket for a moment.
            eventually("the table is taken over", || {
                let resumed = kernel.resume(&settings, &[], &rules);
                resumed.map_err(|error| error.to_string())
            });
        }
    })
}

#[test]
fn no_packet_comes_through_while_a_table_is_taken_over() {
    let Some(mut lab) = available(Lab::routed) else {
        return;
    };
    nft(&lab, WATCH.split_whitespace());
    let taking_over = lab.router.run(take_over_again_and_again);
    let packets: Vec<Vec<u8>> = (1..=6)
        .map(|port| {
            PacketBuilder::new(Header::between("198.51.100.7", "203.0.113.5"))
                .udp(4000, port, b"probe")
                .build()
        })
        .collect();
    while !taking_over.is_finished() {
        lab.flood(&packets, PACKETS).unwrap();
    }
    taking_over.join().unwrap();
    let watch = nft(&lab, "list table ip watch".split_whitespace());
    assert!(
        watch.contains("counter packets 5 "),
        "others than the five of one source came through:\n{watch}"
    );
}
