//! SIGKILL at any moment: the kernel holds one commit or the next, and never lets through what is always dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flowacl::flowspec::text::Flow;
use flowacl::lab::Passed;
use flowacl::lab::packet::{Header, PacketBuilder};
use rand::Rng;

use crate::controller::{Controller, flow};
use crate::from_environment;
use crate::router::Router;
use crate::waiting::eventually;

/// Flows that change together.
const CROWD: usize = 60;
/// The DSCP that they are marked with in turn.
const MARKS: [u8; 2] = [10, 20];
/// The longest time under load before a kill.
const MAX_MILLISECONDS: u64 = 60;

/// When commits may happen between two packets.
const UNDER_LOAD: &str = "under load";

/// The flow that is always there.
fn constant() -> Flow {
    flow("destination 203.0.113.5/32; protocol =udp;", "discard;")
}

/// Flows that are announced, get another mark, and are withdrawn, in one UPDATE each time.
fn crowd(mark: u8) -> Vec<Flow> {
    let one = |number: usize| {
        // Some beside each other, some nested, some of a shape of their own.
        let matches = match number % 3 {
            0 => format!("destination 203.0.114.{number}/32; protocol =udp;"),
            1 => format!("destination 203.0.115.{number}/32; destination-port =53;"),
            _ => format!("source 198.51.{number}.0/24; packet-length >=28;"),
        };
        flow(&matches, &format!("mark {mark};"))
    };
    (0..CROWD).map(one).collect()
}

/// A packet for the flow that is always there, and one for each of the crowd.
fn packets() -> Vec<Vec<u8>> {
    let udp = |source: &str, destination: &str| {
        PacketBuilder::new(Header::between(source, destination))
            .udp(1000, 53, b"probe")
            .build()
    };
    let mut packets = vec![udp("198.51.100.7", "203.0.113.5")];
    packets.extend((0..CROWD).map(|number| match number % 3 {
        0 => udp("192.0.2.9", &format!("203.0.114.{number}")),
        1 => udp("192.0.2.9", &format!("203.0.115.{number}")),
        _ => udp(&format!("198.51.{number}.7"), "203.0.116.1"),
    }));
    packets
}

/// Sessions, one after the other, each a storm of changes, until told to stop.
fn storm(stop: &AtomicBool) {
    let [first, second] = MARKS.map(crowd);
    while !stop.load(Ordering::Relaxed) {
        let session = || -> std::io::Result<()> {
            let mut controller = Controller::connect()?;
            controller.announce(&[constant()])?;
            controller.announce(&first)?;
            controller.end_of_rib()?;
            while !stop.load(Ordering::Relaxed) {
                controller.announce(&second)?;
                controller.announce(&first)?;
                controller.withdraw(&first)?;
                controller.announce(&first)?;
            }
            Ok(())
        };
        // The daemon has been killed: the next one is on its way.
        if session().is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The DSCP of a packet that arrived.
fn dscp(fate: &Passed) -> u8 {
    match fate {
        Passed::Arrived(octets) => octets[1] >> 2,
        Passed::Dropped => u8::MAX,
    }
}

/// The mark that the crowd's packets have, 0 for none. Between two packets there may be a commit while the daemon lives.
fn state(router: &mut Router, packets: &[Vec<u8>], when: &str) -> u8 {
    let fates = router.pass(packets);
    assert_eq!(
        fates[0],
        Passed::Dropped,
        "what is always dropped came through {when}"
    );
    let mut marks: Vec<u8> = fates[1..].iter().map(dscp).collect();
    let wrong = marks
        .iter()
        .find(|mark| **mark != 0 && !MARKS.contains(mark));
    assert_eq!(wrong, None, "{when}: {marks:?}");
    if when != UNDER_LOAD {
        let first = marks[0];
        assert!(
            marks.iter().all(|mark| *mark == first),
            "a mixture {when}: {marks:?}"
        );
    }
    marks.swap_remove(0)
}

/// A storm that ends with this value, also when the test fails.
struct Storm(Arc<AtomicBool>);

impl Storm {
    /// Starts it in the router.
    fn start(router: &Router) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        router
            .namespace()
            .run(move || thread::spawn(move || storm(&told)));
        Self(stop)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_at_any_moment_the_table_is_one_commit_or_the_next() {
    let Some(mut router) = Router::start(true) else {
        return;
    };
    let packets = packets();
    let kills = from_environment("FLOWACL_KILLS", 20);
    let _storm = Storm::start(&router);
    let mut seen = [0; 64];
    // Packets that the flow that is always there has dropped.
    let mut dropped = 0;
    for kill in 0..kills {
        let (mut changes, mut last) = (0, 0);
        eventually("a storm", || {
            let fates = router.pass(&packets);
            match (&fates[0], dropped) {
                (Passed::Dropped, _) => dropped += 1,
                // Nothing has been announced yet.
                (Passed::Arrived(_), 0) => {}
                (Passed::Arrived(_), _) => panic!("a leak from one daemon to the next"),
            }
            let mark = dscp(&fates[1]);
            changes += usize::from(mark != last && dropped > 0);
            last = mark;
            match changes {
                0..3 => Err(format!("{changes} changes\n{}", router.log())),
                _ => Ok(()),
            }
        });
        let microseconds = rand::rng().random_range(0..MAX_MILLISECONDS * 1000);
        let end = Instant::now() + Duration::from_micros(microseconds);
        while Instant::now() < end {
            state(&mut router, &packets, UNDER_LOAD);
            dropped += 1;
        }
        router.kill_daemon();
        let after = state(&mut router, &packets, "after the kill");
        seen[usize::from(after)] += 1;
        let table = router.table().unwrap();
        assert_eq!(state(&mut router, &packets, "a moment later"), after);
        assert_eq!(router.table().unwrap(), table, "kill {kill}");
        dropped += 2;
        router.start_daemon();
    }
    eventually("the counters go on", || {
        let counters = router.counters()?;
        let counted = counters
            .iter()
            .find(|(flow, _)| flow.contains("203.0.113.5/32"));
        match counted.map(|(_, packets)| *packets) {
            Some(packets) if packets == dropped => Ok(()),
            other => Err(format!("{other:?} of {dropped} packets")),
        }
    });
    let seen = [0, MARKS[0], MARKS[1]].map(|mark| (mark, seen[usize::from(mark)]));
    println!("{kills} kills, which left (mark, times) {seen:?}");
}
