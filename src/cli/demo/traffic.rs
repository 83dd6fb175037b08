//! What the demo sends, and what is to become of it.

use anyhow::Context;
use dataplane::packet::Packet;

use crate::lab::packet::{ACK, Header, PacketBuilder, protocol};
use crate::lab::{Lab, Passed};

/// Whom the attack is aimed at.
const VICTIM: &str = "203.0.113.5";
/// DSCP that the controller asks for: AF21.
pub(super) const MARK: u8 = 18;

/// One kind of packets.
pub(super) struct Kind {
    /// What it is, for the table.
    pub(super) name: &'static str,
    /// Packets in a round.
    pub(super) count: u16,
    /// What becomes of it under the rules.
    pub(super) under_rules: Treatment,
    /// Makes a packet whose header says who sends it.
    build: fn(PacketBuilder, u16) -> PacketBuilder,
}

/// What a filter does with packets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Nothing.
    Untouched,
    /// None arrives.
    Dropped,
    /// All arrive, marked.
    Marked,
}

/// An attack by reflection, in the middle of traffic that looks like it.
pub(super) const KINDS: [Kind; 5] = [
    Kind {
        name: "NTP reflection, 468 octets",
        count: 2000,
        under_rules: Treatment::Dropped,
        build: |packet, index| packet.udp(123, 1024 + index, &[0x2a; 440]),
    },
    Kind {
        name: "UDP fragments of the attack",
        count: 500,
        under_rules: Treatment::Dropped,
        build: |packet, _| {
            packet
                .protocol(protocol::UDP, &[0; 64])
                .fragment(185, false)
        },
    },
    Kind {
        name: "NTP answers, 76 octets",
        count: 100,
        under_rules: Treatment::Untouched,
        build: |packet, _| packet.udp(123, 123, &[0x24; 48]),
    },
    Kind {
        name: "DNS answers",
        count: 100,
        under_rules: Treatment::Untouched,
        build: |packet, index| packet.udp(53, 1024 + index, &[0x81; 120]),
    },
    Kind {
        name: "HTTPS",
        count: 300,
        under_rules: Treatment::Marked,
        build: |packet, index| packet.tcp(1024 + index, 443, ACK, &[0x17; 500]),
    },
];

/// What was counted of one kind in one round.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    /// Packets sent.
    pub(super) sent: u64,
    /// Octets of IP packets sent.
    pub(super) sent_octets: u64,
    /// Packets that arrived.
    pub(super) arrived: u64,
    /// Packets that arrived with DSCP [`MARK`].
    pub(super) marked: u64,
}

/// Sends one round of all kinds and counts at the victim.
pub(super) fn send(lab: &mut Lab) -> anyhow::Result<[Count; KINDS.len()]> {
    let mut packets = Vec::new();
    let mut kinds = Vec::new();
    for (kind, Kind { count, build, .. }) in KINDS.iter().enumerate() {
        for index in 0..*count {
            let source = format!("192.0.2.{}", 1 + index % 250);
            let header = Header::between(&source, VICTIM).identification(packets.len() as u16);
            packets.push(build(PacketBuilder::new(header), index).build());
            kinds.push(kind);
        }
    }
    let mut counts = [Count::default(); KINDS.len()];
    let passed = lab.pass(&packets)?;
    for ((packet, passed), kind) in packets.iter().zip(passed).zip(kinds) {
        let count = &mut counts[kind];
        count.sent += 1;
        count.sent_octets += packet.len() as u64;
        if let Passed::Arrived(octets) = passed {
            let packet = Packet::parse(&octets).context("what arrived is no IP packet")?;
            count.arrived += 1;
            count.marked += u64::from(packet.dscp == MARK);
        }
    }
    Ok(counts)
}
