//! Many connections at once: strangers, silent ones, and one neighbor's.
//!
//! `FLOWACL_LONG=1` runs the long forms: 10,000 strangers, 1,000 connections of one neighbor.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use flowacl::wire::capability::Capability;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::Message;
use flowacl::wire::open::Open;
use socket2::{Domain, Socket, Type};

use super::{Daemon, FLOW, NLRI, OTHER_NLRI, announcement};
use crate::waiting::eventually;

/// How long the command line may wait for its answer, whatever happens.
const ANSWER: Duration = Duration::from_secs(1);

/// The neighbor that is well-behaved.
const CONTROLLER: &str = "127.0.0.2";

/// One of two numbers, by the form of the test.
fn short_or_long(short: usize, long: usize) -> usize {
    match std::env::var_os("FLOWACL_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// A neighbor with its own address, and one for each of a prefix.
fn neighbors() -> String {
    format!(
        "[[neighbor]]\naddress = \"{CONTROLLER}\"\nremote_as = 65070\n\
         [[neighbor]]\naddress = \"127.1.0.0/16\"\nremote_as = 65070\n"
    )
}

/// Connects from one of this machine's addresses.
fn connect(daemon: &Daemon, from: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port));
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// A number of a line of the daemon's `/proc` file.
fn proc_number(daemon: &Daemon, file: &str, key: &str) -> u64 {
    let path = format!("/proc/{}/{file}", daemon.program.id());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Asks three times; the fastest answer must be in time, since the others may have waited for the machine.
fn answers_in_time(daemon: &Daemon) {
    let ask = |_| {
        let start = Instant::now();
        daemon.show("summary");
        start.elapsed()
    };
    let fastest = (0..3).map(ask).min().unwrap();
    assert!(fastest < ANSWER, "{fastest:?}");
}

/// The well-behaved neighbor has come up once, and its rule is there.
fn controller_is_up(daemon: &Daemon) {
    daemon.has_rules(&[(NLRI, CONTROLLER, "installed")]);
    let neighbor = daemon.neighbor(CONTROLLER).unwrap();
    assert_eq!(neighbor["state"], "Established", "{neighbor}");
    assert_eq!(neighbor["ups"], 1, "{neighbor}");
}

#[test]
fn a_crowd_at_the_door_keeps_nobody_from_working() {
    let daemon = Daemon::start(&neighbors());
    let _controller = daemon.announce(CONTROLLER, &[FLOW]);
    daemon.has_rules(&[(NLRI, CONTROLLER, "installed")]);
    let before = proc_number(&daemon, "status", "VmRSS:");

    // Neighbors that say half a message, and then nothing.
    let mut half = vec![0xff; 16];
    half.extend([0, 60]);
    let mut silent: Vec<TcpStream> = (0..200)
        .map(|number| connect(&daemon, Ipv4Addr::new(127, 1, 0, number)))
        .collect();
    for stream in &mut silent {
        stream.write_all(&half).unwrap();
    }
    eventually("all are there", || {
        let neighbors = daemon.show("summary")["neighbors"].clone();
        match neighbors == 201 {
            true => Ok(()),
            false => Err(neighbors.to_string()),
        }
    });
    answers_in_time(&daemon);
    let kibibytes = proc_number(&daemon, "status", "VmRSS:").saturating_sub(before);
    assert!(kibibytes < 16 * 1024, "{kibibytes} KiB for 200 connections");

    // Strangers, while only few more files can be open.
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.program.id()))
        .unwrap()
        .count();
    let limit = format!("--nofile={}", open + 6);
    let pid = daemon.program.id().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(status.unwrap().success());
    let mut left = short_or_long(300, 10_000);
    while left > 0 {
        let batch = left.min(300);
        let mut strangers: Vec<TcpStream> = (0..batch)
            .map(|_| connect(&daemon, Ipv4Addr::LOCALHOST))
            .collect();
        answers_in_time(&daemon);
        for stranger in &mut strangers {
            // A reset is as good as an end.
            let _ = stranger.read_to_end(&mut Vec::new());
        }
        left -= batch;
    }
    controller_is_up(&daemon);

    // Room again: the next neighbor gets through.
    drop(silent);
    eventually("an OPEN", || {
        let mut late = connect(&daemon, Ipv4Addr::new(127, 1, 1, 1));
        let mut octets = [0; 19];
        late.read_exact(&mut octets)
            .map_err(|error| error.to_string())?;
        match octets[18] {
            1 => Ok(()),
            other => Err(format!("a message of type {other}")),
        }
    });
    controller_is_up(&daemon);
}

#[test]
fn many_connections_of_one_neighbor_make_one_session() {
    let daemon = Daemon::start(&neighbors());
    let open = Open {
        asn: 65070,
        hold_time_secs: 90,
        router_id: "192.0.2.1".parse().unwrap(),
        capabilities: vec![
            Capability::MultiProtocol(FlowFamily::Ipv4Flow.afi_safi()),
            Capability::FourOctetAs(65070),
        ],
    };
    // Each announces the rule, too, as soon as it may.
    let words = [
        Message::Open(open).encode(),
        Message::Keepalive.encode(),
        announcement(NLRI),
    ]
    .concat();
    let number = short_or_long(300, 1_000);
    let mut streams: Vec<TcpStream> = (0..number)
        .map(|_| connect(&daemon, CONTROLLER.parse().unwrap()))
        .collect();
    for stream in &mut streams {
        // Those that have lost may be closed already.
        let _ = stream.write_all(&words);
        stream.set_nonblocking(true).unwrap();
    }
    eventually("one connection is left", || {
        streams.retain_mut(|stream| {
            let mut octets = [0; 4096];
            loop {
                match stream.read(&mut octets) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
        let neighbor = daemon.neighbor(CONTROLLER).unwrap();
        match streams.len() == 1 && neighbor["state"] == "Established" {
            true => Ok(()),
            false => Err(format!("{} left: {neighbor}", streams.len())),
        }
    });
    controller_is_up(&daemon);
    // The log sums commits up: when it has the second rule, it has all before.
    let winner = &mut streams[0];
    winner.set_nonblocking(false).unwrap();
    winner.write_all(&announcement(OTHER_NLRI)).unwrap();
    daemon.has_rules(&[
        (NLRI, CONTROLLER, "installed"),
        (OTHER_NLRI, CONTROLLER, "installed"),
    ]);
    let put = eventually("both rules are in the log", || match daemon.put() {
        0 | 1 => Err(daemon.log()),
        put => Ok(put),
    });
    assert_eq!(put, 2, "a rule was put twice");
}
