//! Samples as collectors see them: tcpdump and ulogd at the NFLOG group.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataplane::desired::{Sample, Settings};
use dataplane::packet::Packet;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Namespace, UPSTREAM};
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

/// Starts ulogd at a group, to write a line of JSON for each packet into a file; `None` where there is none.
fn ulogd(router: &Namespace, group: u16, directory: &Path) -> Option<Child> {
    let program = "/usr/sbin/ulogd";
    let plugins = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut plugins = plugins.map(|folder| folder.path().join("ulogd"));
    let plugins = plugins.find(|folder| folder.join("ulogd_output_JSON.so").exists());
    let (true, Some(plugins)) = (Path::new(program).exists(), plugins) else {
        assert!(std::env::var_os("CI").is_none(), "no ulogd with JSON");
        eprintln!("skipped: no ulogd with JSON");
        return None;
    };
    let plugins: String = [
        "inppkt_NFLOG",
        "raw2packet_BASE",
        "filter_IFINDEX",
        "filter_IP2STR",
        "output_JSON",
    ]
    .map(|name| format!("plugin=\"{}/ulogd_{name}.so\"\n", plugins.display()))
    .concat();
    let (log, file) = (directory.join("log"), directory.join("samples.json"));
    let configuration = format!(
        "[global]\nlogfile=\"{}\"\n{plugins}\
         stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,json1:JSON\n\
         [log1]\ngroup={group}\n[json1]\nsync=1\nfile=\"{}\"\n",
        log.display(),
        file.display(),
    );
    let path = directory.join("ulogd.conf");
    std::fs::write(&path, configuration).unwrap();
    let child = router.run(move || {
        Command::new(program)
            .arg("--configfile")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    });
    let mut child = child.unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let listens = || {
        let groups = "/proc/thread-self/net/netfilter/nfnetlink_log";
        let groups = router.run(move || std::fs::read_to_string(groups)).unwrap();
        groups
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&group.to_string()))
    };
    while !listens() {
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(
            child.try_wait().unwrap().is_none(),
            "ulogd ended: {}",
            log()
        );
        assert!(Instant::now() < end, "ulogd does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}

#[test]
fn ulogd_names_the_packets_that_are_sampled() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let (group, count) = (7, 20);
    let sample = Sample {
        group,
        snap_length: SNAP,
        one_in: 1,
    };
    let settings = Settings {
        sample,
        ..settings()
    };
    let mut trial = Trial::start(lab, settings, &[]);
    trial.install(&rules_of(&[
        ("destination 203.0.113.5/32;", "mark 46; action sample;"),
        ("destination 203.0.113.6/32;", "discard; action sample;"),
        ("destination 2001:db8::5/128;", "action sample;"),
        ("destination 203.0.113.0/24;", "discard;"),
    ]));
    let directory = tempfile::tempdir().unwrap();
    let Some(mut collector) = ulogd(&trial.lab.router, group, directory.path()) else {
        return;
    };
    let flows = [
        ("192.0.2.1", "203.0.113.5", Fate::Passed(46)),
        ("192.0.2.1", "203.0.113.6", Fate::Dropped),
        ("192.0.2.1", "203.0.113.7", Fate::Dropped),
        ("2001:db8:1::1", "2001:db8::5", Fate::Passed(0)),
        ("2001:db8:1::1", "2001:db8::6", Fate::Passed(0)),
    ];
    let sampled = |destination: &str| destination.ends_with('5') || destination.ends_with(".6");
    let mut expected = Vec::new();
    for (source, destination, fate) in flows {
        let place = |address: &str, port: u16| match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        };
        let build = |port: u16| {
            let (from, to) = (place(source, port), place(destination, 53));
            let packet = Packet::from_text(&format!("udp {from} > {to} len 300")).unwrap();
            PacketBuilder::of(&packet).unwrap().build()
        };
        let packets: Vec<Vec<u8>> = (1000..1000 + count).map(build).collect();
        let outcome = trial.send(&packets);
        assert!(
            outcome.kernel.iter().all(|found| *found == fate),
            "{destination}"
        );
        if sampled(destination) {
            let line = |port: u16| (source.to_owned(), destination.to_owned(), u64::from(port));
            expected.extend((1000..1000 + count).map(line));
        }
    }
    expected.sort();
    let file = directory.path().join("samples.json");
    let read = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    // The kernel hands over what it has once a second.
    let end = Instant::now() + Duration::from_secs(10);
    while read().len() < expected.len() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(Pid::from_raw(collector.id() as i32), Signal::SIGTERM).unwrap();
    collector.wait().unwrap();
    let lines = read();
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    let port = |line: &serde_json::Value| line["src_port"].as_u64().unwrap();
    let mut found: Vec<(String, String, u64)> = lines
        .iter()
        .map(|line| (text(line, "src_ip"), text(line, "dest_ip"), port(line)))
        .collect();
    found.sort();
    assert_eq!(found, expected, "{:?}", lines.first());
    for line in &lines {
        assert_eq!(line["oob.in"], UPSTREAM, "{line}");
        assert_eq!(line["dest_port"], 53, "{line}");
    }
}
