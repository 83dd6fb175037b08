//! Every action, and how several rules work together.

use std::thread::sleep;
use std::time::{Duration, Instant};

use dataplane::packet::Packet;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Passed};

use crate::flows::rules_of;
use crate::network::{Fate, Trial, available, settings};

/// A packet with an identification and ECN bits, which no action may change.
fn packet(text: &str, number: u16) -> Vec<u8> {
    let packet = Packet::from_text(text).unwrap();
    let builder = PacketBuilder::of(&packet).unwrap();
    let change = |header: Header| header.identification(number).ecn((number % 4) as u8);
    builder.header(change).build()
}

#[test]
fn actions_do_what_they_say() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    const TO_53: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100 dscp 5";
    const TO_80: &str = "tcp 192.0.2.1:9 > 203.0.113.5:80 len 100 dscp 5";
    const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100 dscp 5 label 5";
    const HOST: &str = "destination 203.0.113.5/32;";
    const NET: &str = "destination 203.0.113.0/24;";
    const V6_HOST: &str = "destination 2001:db8::5/128;";
    type Rules = &'static [(&'static str, &'static str)];
    let rows: &[(&str, Rules, &str, Fate)] = &[
        ("no rule", &[], TO_53, Fate::Passed(5)),
        ("discard", &[(HOST, "discard;")], TO_53, Fate::Dropped),
        ("accept", &[(HOST, "accept;")], TO_53, Fate::Passed(5)),
        (
            "a rate for each source, and a mark",
            &[
                (HOST, "rate-limit 1000 per-source /24; mark 10;"),
                (NET, "mark 11;"),
            ],
            TO_53,
            Fate::Passed(10),
        ),
        (
            "the same, and go on",
            &[
                (
                    HOST,
                    "rate-limit 1000 per-source /24; mark 10; action terminal;",
                ),
                (NET, "mark 11;"),
            ],
            TO_53,
            Fate::Passed(10),
        ),
        (
            "a rate for each source of IPv6, then discard",
            &[
                (
                    V6_HOST,
                    "rate-limit 9 packets per-source /64; action terminal;",
                ),
                ("destination 2001:db8::/64;", "discard;"),
            ],
            V6,
            Fate::Dropped,
        ),
        (
            "a rate of zero for each source",
            &[(HOST, "rate-limit 0 per-source /32; rate-limit 1000;")],
            TO_53,
            Fate::Dropped,
        ),
        (
            "accept before a discard",
            &[(HOST, "accept;"), (NET, "discard;")],
            TO_53,
            Fate::Passed(5),
        ),
        (
            "sample and continue, then discard",
            &[(HOST, "action sample-terminal;"), (NET, "discard;")],
            TO_53,
            Fate::Dropped,
        ),
        (
            "continue, then discard",
            &[(HOST, "action terminal;"), (NET, "discard;")],
            TO_53,
            Fate::Dropped,
        ),
        (
            "sample decides",
            &[(HOST, "action sample;"), (NET, "discard;")],
            TO_53,
            Fate::Passed(5),
        ),
        ("mark", &[(HOST, "mark 46;")], TO_53, Fate::Passed(46)),
        ("mark with 0", &[(HOST, "mark 0;")], TO_53, Fate::Passed(0)),
        (
            "mark in IPv6",
            &[(V6_HOST, "mark 63;")],
            V6,
            Fate::Passed(63),
        ),
        (
            "mark and continue, then accept",
            &[(HOST, "mark 46; action terminal;"), (NET, "accept;")],
            TO_53,
            Fate::Passed(46),
        ),
        (
            "the first mark wins",
            &[(HOST, "mark 46; action terminal;"), (NET, "mark 10;")],
            TO_53,
            Fate::Passed(46),
        ),
        (
            "a mark before a discard",
            &[(HOST, "mark 46; action terminal;"), (NET, "discard;")],
            TO_53,
            Fate::Dropped,
        ),
        (
            "a mark does not change what later rules match",
            &[
                (HOST, "mark 46; action terminal;"),
                ("destination 203.0.113.0/24; dscp =46;", "discard;"),
            ],
            TO_53,
            Fate::Passed(46),
        ),
        (
            "a later rule matches the DSCP that arrived",
            &[
                (HOST, "mark 46; action terminal;"),
                ("destination 203.0.113.0/24; dscp =5;", "discard;"),
            ],
            TO_53,
            Fate::Dropped,
        ),
        (
            "mark at the end of the list",
            &[
                (HOST, "mark 46; action terminal;"),
                ("destination 203.0.113.0/24; protocol =udp;", "discard;"),
            ],
            TO_80,
            Fate::Passed(46),
        ),
        (
            "rate 0 discards",
            &[(HOST, "rate-limit 0;")],
            TO_53,
            Fate::Dropped,
        ),
        (
            "a rate that is never reached",
            &[(HOST, "rate-limit 1000000;")],
            TO_53,
            Fate::Passed(5),
        ),
    ];
    for (name, flows, text, expected) in rows {
        trial.install(&rules_of(flows));
        let packets: Vec<_> = (0..8).map(|number| packet_of(text, number)).collect();
        let outcome = trial.send(&packets);
        assert_eq!(outcome.sim, vec![*expected; 8], "sim, {name}");
        assert_eq!(outcome.kernel, vec![*expected; 8], "kernel, {name}");
        assert_eq!(outcome.kernel_counters, outcome.sim_counters, "{name}");
    }
}

/// Packets that differ in both families.
fn packet_of(text: &str, number: u16) -> Vec<u8> {
    let mut octets = packet(text, number);
    if octets[0] >> 4 == 6 {
        octets[7] -= number as u8;
    }
    octets
}

/// How long a rate is measured.
fn trial_time() -> Duration {
    let secs = std::env::var("FLOWACL_RATE_SECS").ok();
    Duration::from_secs(secs.map_or(1, |secs| secs.parse().expect("a number of seconds")))
}

/// Offers far more than the limit for a while, once the bucket is empty; returns what passed in a second.
fn passed_per_sec(trial: &mut Trial, packets: &[Vec<u8>]) -> f64 {
    let arrived = |trial: &mut Trial| {
        let passed = trial.lab.pass(packets).unwrap();
        passed
            .iter()
            .filter(|passed| **passed != Passed::Dropped)
            .count()
    };
    let whole = Instant::now();
    while arrived(trial) == packets.len() {
        assert!(
            whole.elapsed() < Duration::from_secs(10),
            "nothing is limited"
        );
    }
    let (start, mut count) = (Instant::now(), 0);
    let elapsed = loop {
        count += arrived(trial);
        let elapsed = start.elapsed();
        if elapsed > trial_time() {
            break elapsed;
        }
        // The pace of the traffic: the bucket must not fill up.
        sleep(Duration::from_millis(5));
    };
    count as f64 / elapsed.as_secs_f64()
}

#[test]
fn limits_hold_in_the_long_run() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    let both_ports = [
        "udp 192.0.2.1:53 > 203.0.113.5:9 len 1000",
        "udp 192.0.2.1:9 > 203.0.113.5:53 len 1000",
    ];
    let rows = [
        (
            "octets",
            "destination 203.0.113.5/32;",
            "rate-limit 200000;",
            200.0,
        ),
        (
            "packets",
            "destination 203.0.113.5/32;",
            "rate-limit 300 packets;",
            300.0,
        ),
        (
            "octets, in IPv6",
            "destination 2001:db8::5/128;",
            "rate-limit 200000;",
            200.0,
        ),
        (
            "packets, in IPv6",
            "destination 2001:db8::5/128;",
            "rate-limit 300 packets;",
            300.0,
        ),
        (
            "packets, a fraction",
            "destination 203.0.113.5/32;",
            "rate-limit 250.5 packets;",
            250.5,
        ),
        (
            "octets, a fraction",
            "destination 203.0.113.5/32;",
            "rate-limit 150000.75;",
            150.000_75,
        ),
        (
            "one limiter for both alternatives",
            "port =53;",
            "rate-limit 200000;",
            200.0,
        ),
    ];
    for (name, matches, then, expected) in rows {
        trial.install(&rules_of(&[(matches, then)]));
        let text = |number: u16| match matches.contains("2001:db8") {
            // IPv6 packets have no identification.
            true => format!("udp [2001:db8::1]:{number} > [2001:db8::5]:53 len 1000"),
            false => both_ports[usize::from(number) % 2].to_owned(),
        };
        let packets: Vec<_> = (0..100)
            .map(|number| packet(&text(number), number))
            .collect();
        // A busy machine may not offer enough, never too much may pass.
        let mut too_low = Vec::new();
        loop {
            let measured = passed_per_sec(&mut trial, &packets);
            let error = measured / expected - 1.0;
            assert!(error < 0.02, "{name}: {measured} packets a second passed");
            if error > -0.02 {
                break;
            }
            too_low.push(measured);
            assert!(
                too_low.len() < 10,
                "{name}: {too_low:?} packets a second passed"
            );
        }
    }
}
