//! Rates at both ends of what can be said: lower than a packet a second, and higher than the kernel counts.

use std::time::{Duration, Instant};

use dataplane::packet::Packet;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Passed};

use crate::flows::rules_of;
use crate::network::{Trial, available, settings};

const HOST: &str = "destination 203.0.113.5/32;";
const HOST_V6: &str = "destination 2001:db8::5/128;";
const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 1400";
const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 1400";

/// Packets of one kind, told apart by their identification, or by their source port.
fn packets(text: &str, count: u16) -> Vec<Vec<u8>> {
    let packet = Packet::from_text(text).unwrap();
    let build = |number: u16| {
        let builder = PacketBuilder::of(&packet).unwrap();
        let change = |header: Header| header.identification(number);
        let mut octets = builder.header(change).build();
        if octets[0] >> 4 == 6 {
            octets[40..42].copy_from_slice(&number.to_be_bytes());
        }
        octets
    };
    (0..count).map(build).collect()
}

/// How many packets come through.
fn passed(trial: &mut Trial, packets: &[Vec<u8>]) -> usize {
    let passed = trial.lab.pass(packets).unwrap();
    let passed = passed.iter().filter(|passed| **passed != Passed::Dropped);
    passed.count()
}

#[test]
fn a_low_rate_lets_a_long_packet_pass_now_and_then() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    for (name, matches, text) in [("IPv4", HOST, V4), ("IPv6", HOST_V6, V6)] {
        trial.install(&rules_of(&[(matches, "rate-limit 1000;")]));
        let burst = passed(&mut trial, &packets(text, 100));
        assert!(
            (40..=50).contains(&burst),
            "{name}: {burst} of the first 100"
        );
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(4500) {
            count += passed(&mut trial, &packets(text, 3));
        }
        // One in 1.4 seconds; what the burst left may be nearly enough for one more.
        assert!((3..=4).contains(&count), "{name}: {count} in 4.5 seconds");
    }
}

#[test]
fn rates_beyond_what_the_kernel_counts() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    let rows = [
        ("beyond the kernel", "rate-limit 1e12;", 500),
        ("the greatest float", "rate-limit 3.4e38;", 500),
        ("many packets", "rate-limit 1e12 packets;", 500),
        (
            "just what the kernel counts",
            "rate-limit 18446744000;",
            500,
        ),
        ("infinite", "extended-community 0x800600007f800000;", 500),
        (
            "infinite packets",
            "extended-community 0x800c00007f800000;",
            500,
        ),
        ("subnormal", "rate-limit 9.2557e-41;", 0),
        ("subnormal packets", "rate-limit 9.2557e-41 packets;", 0),
        (
            "the least rate",
            "extended-community 0x8006000000000001;",
            0,
        ),
        ("negative", "extended-community 0x80060000c2c80000;", 0),
        (
            "negative packets",
            "extended-community 0x800c0000bf800000;",
            0,
        ),
        (
            "minus infinite",
            "extended-community 0x80060000ff800000;",
            0,
        ),
        (
            "minus infinite packets",
            "extended-community 0x800c0000ff800000;",
            0,
        ),
        ("minus zero", "extended-community 0x8006000080000000;", 0),
        (
            "minus zero packets",
            "extended-community 0x800c000080000000;",
            0,
        ),
    ];
    for (name, then, expected) in rows {
        for (matches, text) in [(HOST, V4), (HOST_V6, V6)] {
            trial.install(&rules_of(&[(matches, then)]));
            let found = passed(&mut trial, &packets(text, 500));
            assert_eq!(found, expected, "{name}: {text}");
        }
    }
}
