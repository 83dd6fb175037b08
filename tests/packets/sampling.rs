//! Samples as a collector sees them: tcpdump at the NFLOG group.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataplane::desired::{Sample, Settings};
use dataplane::packet::Packet;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::flows::rules_of;
use crate::network::{Fate, Trial, available, settings};

/// Octets of a packet that are sampled.
const SNAP: u32 = 64;
/// Octets before the attributes: family, version and group.
const NFLOG_HEADER: usize = 4;
/// The attribute with the packet.
const NFULA_PAYLOAD: u16 = 9;
/// The link type of NFLOG in a capture file.
const LINKTYPE_NFLOG: u32 = 239;

/// Starts tcpdump at a group; `None` where there is none.
fn tcpdump(router: &Namespace, group: u16, file: &Path) -> Option<Child> {
    let (interface, file) = (format!("nflog:{group}"), file.to_owned());
    let child = router.run(move || {
        Command::new("tcpdump")
            .args(["-U", "-Z", "root", "-i", &interface, "-w"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
    });
    let mut child = match child {
        Ok(child) => child,
        Err(error) if std::env::var_os("CI").is_some() => panic!("tcpdump: {error}"),
        Err(error) => {
            eprintln!("skipped: tcpdump: {error}");
            return None;
        }
    };
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.contains("listening on"))
        .collect();
    assert!(
        child.try_wait().unwrap().is_none(),
        "tcpdump ended: {said:?}"
    );
    Some(child)
}

/// The packets in a capture file, as far as it is written.
fn captured(file: &Path) -> Vec<Vec<u8>> {
    let octets = std::fs::read(file).unwrap_or_default();
    let number = |at: usize| Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?));
    let mut packets = Vec::new();
    let Some(link) = number(20) else {
        return packets;
    };
    assert_eq!(link & 0xffff, LINKTYPE_NFLOG);
    let mut at = 24;
    while let Some(length) = number(at + 8) {
        let Some(record) = octets.get(at + 16..at + 16 + length as usize) else {
            break;
        };
        packets.extend(payload(record));
        at += 16 + length as usize;
    }
    packets
}

/// The packet in what NFLOG says of it.
fn payload(record: &[u8]) -> Option<Vec<u8>> {
    let mut rest = record.get(NFLOG_HEADER..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        if kind == NFULA_PAYLOAD {
            return Some(value.to_vec());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[test]
fn tcpdump_reads_samples_at_the_rate_and_length_of_the_configuration() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let (group, one_in, count) = (5, 10, 2000);
    let sample = Sample {
        group,
        snap_length: SNAP,
        one_in,
    };
    let mut trial = Trial::start(
        lab,
        Settings {
            sample,
            ..settings()
        },
        &[],
    );
    trial.install(&rules_of(&[
        ("destination 203.0.113.5/32;", "action sample;"),
        ("destination 203.0.113.6/32;", "discard; action sample;"),
    ]));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("samples.pcap");
    let Some(mut collector) = tcpdump(&trial.lab.router, group, &file) else {
        return;
    };
    let mut sent = Vec::new();
    for (host, fate) in [(5, Fate::Passed(0)), (6, Fate::Dropped)] {
        let text = format!("udp 192.0.2.1:9 > 203.0.113.{host}:53 len 300");
        let packet = Packet::from_text(&text).unwrap();
        let build = |number| {
            let builder = PacketBuilder::of(&packet).unwrap();
            builder
                .header(|header: Header| header.identification(number))
                .build()
        };
        let packets: Vec<Vec<u8>> = (0..count).map(build).collect();
        assert!(
            trial
                .send(&packets)
                .kernel
                .iter()
                .all(|found| *found == fate)
        );
        sent.extend(packets);
    }
    // Of 4,000 about 400, with a standard deviation of 19.
    let expected = 240..=560;
    let end = Instant::now() + Duration::from_secs(10);
    let mut found = captured(&file).len();
    // The kernel hands over what it has once a second.
    loop {
        std::thread::sleep(Duration::from_millis(1200));
        let before = std::mem::replace(&mut found, captured(&file).len());
        if (found == before && found > 0) || Instant::now() > end {
            break;
        }
    }
    kill(Pid::from_raw(collector.id() as i32), Signal::SIGINT).unwrap();
    collector.wait().unwrap();
    let samples = captured(&file);
    assert!(
        expected.contains(&samples.len()),
        "{} samples of 4000",
        samples.len()
    );
    for sample in &samples {
        assert_eq!(sample.len(), SNAP as usize);
        assert!(
            sent.iter().any(|packet| packet.starts_with(sample)),
            "{sample:02x?}"
        );
    }
}
