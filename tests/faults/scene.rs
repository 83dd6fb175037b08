//! A daemon with rules of many shapes, and tables of others beside its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flowacl::flowspec::text::Flow;
use flowacl::lab::Passed;
use flowacl::lab::packet::{Header, PacketBuilder, SYN};

use crate::controller::{Controller, flow};
use crate::router::Router;
use crate::waiting::eventually;

/// How long a repair may take: the daemon looks every second, and a busy machine is slow.
const REPAIR: Duration = Duration::from_secs(3);

/// Tables of others; their rules let packets pass.
const OTHERS: &str = "
table inet other {
    set hosts {
        type ipv4_addr
        elements = { 192.0.2.7, 192.0.2.8 }
    }
    chain input {
        type filter hook input priority 0; policy accept;
        ip saddr @hosts accept
    }
    chain flowacl {
        tcp dport 22 accept
    }
}
table ip flowacl {
    chain ipv4 {
        type filter hook prerouting priority -500; policy accept;
    }
}
";

/// Flows of many shapes, each with what it does.
pub fn flows() -> Vec<Flow> {
    [
        (
            "destination 203.0.113.5/32; protocol =udp; destination-port =53;",
            "discard;",
        ),
        (
            "destination 203.0.113.6/32; protocol =udp; destination-port =53;",
            "discard;",
        ),
        (
            "destination 203.0.113.6/32; protocol =udp; destination-port =123;",
            "mark 12;",
        ),
        (
            "destination 203.0.113.0/24; protocol =tcp; destination-port =80;",
            "mark 10;",
        ),
        (
            "destination 203.0.113.0/24; packet-length >=1000&<=1400;",
            "discard;",
        ),
        (
            "destination 203.0.113.7/32; protocol =udp;",
            "rate-limit 1000000000;",
        ),
        (
            "source 192.0.2.0/24; port [ =53 >=5000&<=6000 ];",
            "discard;",
        ),
        (
            "destination 2001:db8:2::/48; protocol =udp; source-port =123;",
            "discard;",
        ),
        ("destination 2001:db8:2::7/128;", "mark 14;"),
    ]
    .map(|(matches, then)| flow(matches, then))
    .into()
}

/// Packets that match the flows, and some that match none.
fn packets() -> Vec<Vec<u8>> {
    let udp = |source: &str, destination: &str, ports: (u16, u16), length: usize| {
        PacketBuilder::new(Header::between(source, destination))
            .udp(ports.0, ports.1, &vec![0; length])
            .build()
    };
    let (v4, v6) = ("198.51.100.7", "2001:db8:1::7");
    vec![
        udp(v4, "203.0.113.5", (1000, 53), 10),
        udp(v4, "203.0.113.6", (1000, 53), 10),
        udp(v4, "203.0.113.6", (1000, 123), 10),
        PacketBuilder::new(Header::between(v4, "203.0.113.9"))
            .tcp(1000, 80, SYN, &[])
            .build(),
        udp(v4, "203.0.113.9", (1000, 1000), 1100),
        udp(v4, "203.0.113.7", (1000, 1000), 10),
        udp("192.0.2.9", "203.0.113.9", (1000, 5500), 10),
        udp(v6, "2001:db8:2::5", (123, 1000), 10),
        udp(v6, "2001:db8:2::7", (1000, 1000), 10),
        udp(v4, "203.0.113.5", (1000, 54), 10),
        udp(v4, "203.0.114.5", (1000, 53), 10),
        udp(v6, "2001:db8:3::5", (123, 1000), 10),
    ]
}

/// A daemon with rules whose counters have counted, and what a repair has to bring back.
pub struct Scene {
    pub router: Router,
    pub controller: Controller,
    table: Vec<String>,
    fates: Vec<Passed>,
    pub counters: BTreeMap<String, u64>,
}

impl Scene {
    /// Sets it up with a table that is open to everyone; `None` where the test is skipped.
    pub fn new() -> Option<Self> {
        Self::of(Router::start(false)?)
    }

    /// Sets it up around a router whose daemon has just started.
    pub fn of(mut router: Router) -> Option<Self> {
        let mut controller = router.namespace().run(Controller::connect).unwrap();
        let flows = flows();
        for flow in &flows {
            controller.announce(std::slice::from_ref(flow)).unwrap();
        }
        controller.end_of_rib().unwrap();
        eventually("all rules", || match router.counters()? {
            counters if counters.len() == flows.len() => Ok(()),
            counters => Err(format!("{counters:?}")),
        });
        router.nft(OTHERS).unwrap();
        let table = router.table().unwrap();
        let fates = router.pass(&packets());
        let counters = router.counters().unwrap();
        let dropped = fates.iter().filter(|fate| **fate == Passed::Dropped);
        assert_eq!(dropped.count(), 5, "{fates:?}");
        let counted = counters.values().filter(|packets| **packets == 1);
        assert_eq!(counted.count(), flows.len(), "{counters:?}");
        Some(Self {
            router,
            controller,
            table,
            fates,
            counters,
        })
    }

    /// Waits until the table is what it was, and checks that packets see that, too.
    pub fn is_repaired(&mut self, edit: &str) {
        let start = Instant::now();
        eventually(&format!("the repair of: {edit}"), || {
            let table = self.router.table()?;
            match table == self.table {
                true => Ok(()),
                false => Err(difference(&self.table, &table)),
            }
        });
        let took = start.elapsed();
        println!("{edit}: back after {} ms", took.as_millis());
        assert!(took < REPAIR, "{edit}: the repair took {took:?}");
        assert_eq!(self.router.pass(&packets()), self.fates, "{edit}");
        for packets in self.counters.values_mut() {
            *packets += 1;
        }
    }

    /// Carries out an edit that takes counters with it, and waits for the repair.
    pub fn edit_with_counters(&mut self, edit: &str, script: &str) {
        let before = self.counters.clone();
        for packets in self.counters.values_mut() {
            *packets = 0;
        }
        self.router.nft(script).unwrap();
        self.is_repaired(edit);
        let counters = self.router.counters().unwrap();
        for (flow, packets) in &counters {
            let kept = before[flow] + 1;
            assert!([1, kept].contains(packets), "{edit}: {flow} has {packets}");
        }
        self.counters = counters;
    }
}

/// Blocks that are missing or new.
fn difference(before: &[String], after: &[String]) -> String {
    let missing = before.iter().filter(|block| !after.contains(block));
    let added = after.iter().filter(|block| !before.contains(block));
    format!(
        "missing:\n{}new:\n{}",
        missing.cloned().collect::<String>(),
        added.cloned().collect::<String>()
    )
}
