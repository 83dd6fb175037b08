//! What has gone wrong elsewhere: garbage that reads as a header, reassembly, and bridges.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::{Changes, Link};
use dataplane::packet::Packet;
use flowacl::flowspec::matches::evaluate;
use flowacl::lab::packet::PacketBuilder;
use flowacl::lab::{Lab, UPSTREAM};

use crate::corpus::{Sample, samples};
use crate::flows::{flow, rules, rules_of};
use crate::network::{Fate, Trial, available, settings};

/// Flow Specifications that the garbage of the corpus would match if it were read as a header.
const MATCHES: [&str; 10] = [
    "destination-port =53;",
    "source-port [ =53 =13568 ];",
    "port [ =53 =13568 ];",
    "destination-port !=80;",
    "source-port <=65535;",
    "icmp-type =0; icmp-code =53;",
    "icmp-type !=9;",
    "tcp-flags =syn;",
    "tcp-flags !ack;",
    "port true; packet-length >0;",
];

/// Sends packets against each of these, and holds every packet against the reference evaluator.
fn garbage_is_not_read(trial: &mut Trial, situation: &str, samples: &[Sample]) {
    let packets: Vec<_> = samples.iter().map(|sample| sample.octets.clone()).collect();
    for text in MATCHES {
        let flows = ["ipv4-flow", "ipv6-flow"].map(|family| {
            flow(&format!(
                "flow route {{ family {family}; match {{ {text} }} then {{ discard; }} }}"
            ))
        });
        trial.install(&rules(&flows));
        let outcome = trial.send(&packets);
        for (sample, fate) in samples.iter().zip(&outcome.kernel) {
            let packet = Packet::parse(&sample.octets).unwrap();
            let verdict = evaluate(
                flows.iter().map(|flow| (&flow.nlri, &flow.actions)),
                &packet,
                |_| false,
            );
            let expected = match verdict.dropped {
                true => Fate::Dropped,
                false => Fate::Passed(packet.dscp),
            };
            assert_eq!(*fate, expected, "{situation}, {text}: {}", sample.name);
        }
        assert_eq!(outcome.kernel, outcome.sim, "{situation}, {text}");
        let packets = |counters: &[(_, dataplane::backend::Counter)]| -> Vec<u64> {
            counters
                .iter()
                .map(|(_, counter)| counter.packets)
                .collect()
        };
        let (kernel, sim) = (
            packets(&outcome.kernel_counters),
            packets(&outcome.sim_counters),
        );
        assert_eq!(kernel, sim, "{situation}, {text}");
    }
}

#[test]
fn garbage_is_not_read_as_a_header() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    garbage_is_not_read(
        &mut Trial::start(lab, settings(), &[]),
        "routed",
        &samples(),
    );
}

#[test]
fn bridge_ports_are_filtered_as_routed_ones() {
    let Some(lab) = available(Lab::bridged) else {
        return;
    };
    // A base chain at ingress makes the kernel drop later fragments that begin within an extension header, whatever
    // the chain says: nft_do_chain_inet_ingress wants to know the upper-layer protocol.
    let passes = |sample: &Sample| {
        let packet = Packet::parse(&sample.octets).unwrap();
        packet.protocol.is_some() || !packet.fragment.is_later()
    };
    let samples: Vec<_> = samples().into_iter().filter(passes).collect();
    garbage_is_not_read(
        &mut Trial::start(lab, settings(), &bridge_and_ports()),
        "bridged",
        &samples,
    );
}

/// The links of a router that is a switch.
fn bridge_and_ports() -> [Link; 4] {
    let link = |index, name: &str, kind: &str, master| Link {
        index,
        name: name.into(),
        kind: Some(kind.into()),
        master,
        lower: None,
        addresses: Vec::new(),
        merges_packets: false,
    };
    [
        link(1, "bridge", "bridge", None),
        link(2, UPSTREAM, "veth", Some(1)),
        link(3, "customer", "veth", Some(1)),
        link(4, "fence", "veth", Some(1)),
    ]
}

#[test]
fn redirects_and_copies_at_bridge_ports_are_refused() {
    let Some(lab) = available(Lab::bridged) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &bridge_and_ports());
    const HOST: &str = "destination 203.0.113.5/32;";
    let rows = [
        (HOST, "redirect 10.9.1.2;", "redirect"),
        (HOST, "copy 10.9.1.2;", "copy"),
        (
            "destination 2001:db8::5/128;",
            "redirect fd00:9:1::2;",
            "redirect",
        ),
    ];
    for (matches, then, verb) in rows {
        let changes = Changes {
            put: rules_of(&[(matches, then)]),
            remove: Vec::new(),
        };
        let Err(BackendError::Refused { rule, reason }) = trial.kernel.commit(&changes) else {
            panic!("{then}: not refused");
        };
        assert_eq!(rule, Some(changes.put[0].id), "{then}");
        let why = format!("{verb}: {UPSTREAM} is a port of a bridge");
        assert!(reason.starts_with(&why), "{then}: {reason}");
    }
    // The port is filtered all the same.
    trial.install(&rules_of(&[(HOST, "discard;")]));
    let build = |host| {
        let text = format!("udp 192.0.2.1:9 > 203.0.113.{host}:53 len 100");
        let packet = Packet::from_text(&text).unwrap();
        PacketBuilder::of(&packet).unwrap().build()
    };
    let outcome = trial.send(&[build(5), build(6)]);
    assert_eq!(outcome.kernel, [Fate::Dropped, Fate::Passed(0)]);
}

#[test]
fn fragments_are_seen_before_connection_tracking_reassembles_them() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    let tracked = trial.lab.router.run(|| {
        let script = "table inet other { chain c { type filter hook postrouting priority 0; ct state invalid counter; }; }";
        Command::new("nft").arg(script).stderr(Stdio::null()).status()
    });
    match tracked {
        Ok(status) => assert!(status.success(), "nft cannot add a rule with conntrack"),
        Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: nft is not installed");
            return;
        }
        Err(error) => panic!("{error}"),
    }
    // What is not dropped disappears in reassembly, so that only counters tell.
    let samples = samples();
    let packets: Vec<_> = samples.iter().map(|sample| sample.octets.clone()).collect();
    let flows = ["ipv4-flow", "ipv6-flow"].map(|family| {
        let matches = "fragment [ is-fragment first-fragment ];";
        flow(&format!(
            "flow route {{ family {family}; match {{ {matches} }} then {{ discard; }} }}"
        ))
    });
    trial.install(&rules(&flows));
    let outcome = trial.send(&packets);
    assert_eq!(outcome.kernel_counters, outcome.sim_counters);
    for counter in outcome.kernel_counters {
        assert!(counter.1.packets > 10, "{counter:?}");
    }
}
