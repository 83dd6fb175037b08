//! The three nodes and the way of packets through them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::link::{self, End, MacAddress};
use super::packet::{Header, PacketBuilder};
use super::{LabError, Namespace, Tap};

/// The router's interface to the attacker: the one to filter.
pub const UPSTREAM: &str = "upstream";
/// The router's interface to the victim.
pub const CUSTOMER: &str = "customer";
/// The router's interface for packets that nobody filters.
const FENCE: &str = "fence";
/// The bridge, where the router is a switch.
const BRIDGE: &str = "bridge";

/// Ethernet address of the router's interface to the attacker.
const UPSTREAM_MAC: MacAddress = [2, 0, 0, 0, 1, 1];
/// Ethernet address of the router's interface to the victim.
const CUSTOMER_MAC: MacAddress = [2, 0, 0, 0, 2, 1];
/// Ethernet address of the router's interface for the fence.
const FENCE_MAC: MacAddress = [2, 0, 0, 0, 3, 1];
/// Ethernet address of the victim.
const VICTIM_MAC: MacAddress = [2, 0, 0, 0, 2, 2];
/// Ethernet addresses of the router's interfaces to the hardware ahead of it, where there is some.
const INSIDE_MAC: MacAddress = [2, 0, 0, 0, 5, 1];
/// See [`INSIDE_MAC`].
const INSIDE_FENCE_MAC: MacAddress = [2, 0, 0, 0, 6, 1];
/// The hardware's interface by which a fence goes to the router.
const FENCE_OUT: &str = "fence-out";
/// Where a fence comes from, and goes to.
const FENCE_ADDRESSES: [&str; 2] = ["198.18.0.1", "198.18.0.2"];

/// How long a packet that nothing filters may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It arrived at the victim, as these octets.
    Arrived(Vec<u8>),
    /// It did not.
    Dropped,
}

/// Attacker — router — victim.
///
/// The router forwards everything to the victim, which has no addresses and answers nothing. Packets of the attacker
/// enter the router by [`UPSTREAM`], a *fence* by an interface of its own: interfaces of one CPU are served first come,
/// first served, so that what arrives after the fence's arrival was sent after it.
pub struct Lab {
    /// Sends what [`Lab::pass`] is given.
    pub attacker: Namespace,
    /// Forwards; rules belong here.
    pub router: Namespace,
    /// Stands between attacker and router as the hardware of a switch does, and forwards, too; see [`Lab::switched`].
    pub hardware: Option<Namespace>,
    /// Receives.
    pub victim: Namespace,
    upstream: Tap,
    fence: Tap,
    customer: Tap,
    next_hop: MacAddress,
    hops: u8,
    fences: u16,
}

impl Lab {
    /// A network whose middle routes.
    ///
    /// The router has the addresses 192.168.255.1/30 and fd00:1::1/64 towards the attacker, 192.168.255.5/30 and
    /// fd00:2::1/64 towards the victim.
    pub fn routed() -> Result<Self, LabError> {
        Self::with_addresses(Self::cabled(None, UPSTREAM_MAC, 1)?)
    }

    /// The same with another router ahead, which stands for the hardware of a switch: packets of the attacker enter it by an
    /// interface that is called [`UPSTREAM`], too.
    pub fn switched() -> Result<Self, LabError> {
        let hardware = Namespace::new("hardware")?;
        let lab = Self::with_addresses(Self::cabled(Some(hardware), UPSTREAM_MAC, 2)?)?;
        if let Some(hardware) = &lab.hardware {
            for (own, gateway, length) in [
                ("192.168.255.2", "192.168.255.1", 30),
                ("fd00:1::2", "fd00:1::1", 64),
            ] {
                let gateway = address(gateway);
                link::add_address(hardware, "router", address(own), length)?;
                link::add_neighbor(hardware, "router", gateway, INSIDE_MAC)?;
                link::add_default_route(hardware, "router", gateway)?;
            }
            // A fence goes a way of its own to the router, too.
            let [_, to] = FENCE_ADDRESSES.map(address);
            link::add_address(hardware, FENCE_OUT, address("198.18.0.3"), 24)?;
            link::add_neighbor(hardware, FENCE_OUT, to, INSIDE_FENCE_MAC)?;
        }
        Ok(lab)
    }

    /// Gives the router its addresses and its way to the victim.
    fn with_addresses(lab: Self) -> Result<Self, LabError> {
        let router = &lab.router;
        for (interface, ipv4, ipv6) in [
            (UPSTREAM, "192.168.255.1", "fd00:1::1"),
            (CUSTOMER, "192.168.255.5", "fd00:2::1"),
        ] {
            link::add_address(router, interface, address(ipv4), 30)?;
            link::add_address(router, interface, address(ipv6), 64)?;
        }
        for gateway in ["192.168.255.6", "fd00:2::2"].map(address) {
            link::add_neighbor(router, CUSTOMER, gateway, VICTIM_MAC)?;
            link::add_default_route(router, CUSTOMER, gateway)?;
        }
        Ok(lab)
    }

    /// A network whose middle is a switch: [`UPSTREAM`] and [`CUSTOMER`] are ports of a bridge.
    pub fn bridged() -> Result<Self, LabError> {
        let mut lab = Self::cabled(None, VICTIM_MAC, 0)?;
        link::bridge(&lab.router, BRIDGE, &[UPSTREAM, CUSTOMER, FENCE])?;
        lab.wait_for_the_bridge()?;
        Ok(lab)
    }

    /// Waits until a packet comes through: a port of a bridge forwards only some time after it is up.
    fn wait_for_the_bridge(&mut self) -> Result<(), LabError> {
        let start = Instant::now();
        let probe = fence_packet(0);
        while start.elapsed() < PATIENCE {
            self.upstream.send(self.next_hop, &probe)?;
            while let Some(packet) = self.customer.receive()? {
                if identity(packet, 0) == identity(&probe, self.hops) {
                    return Ok(());
                }
            }
            std::thread::yield_now();
        }
        Err(LabError::Lost)
    }

    /// The nodes and the cables between them.
    fn cabled(
        hardware: Option<Namespace>,
        next_hop: MacAddress,
        hops: u8,
    ) -> Result<Self, LabError> {
        let attacker = Namespace::new("attacker")?;
        let router = Namespace::new("router")?;
        let victim = Namespace::new("victim")?;
        for silent in [&attacker, &victim] {
            silent.set_sysctl("ipv6/conf/all/disable_ipv6", "1")?;
            silent.set_sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        }
        for forwards in [Some(&router), hardware.as_ref()].into_iter().flatten() {
            make_router(forwards)?;
        }
        let end = |namespace, interface, mac| End {
            namespace,
            interface,
            mac,
        };
        let first = hardware.as_ref().unwrap_or(&router);
        if let Some(hardware) = &hardware {
            link::connect(
                end(hardware, "router", [2, 0, 0, 0, 5, 2]),
                end(&router, UPSTREAM, INSIDE_MAC),
            )?;
            link::connect(
                end(hardware, FENCE_OUT, [2, 0, 0, 0, 6, 2]),
                end(&router, FENCE, INSIDE_FENCE_MAC),
            )?;
        }
        for (a, b) in [
            (
                end(&attacker, "router", [2, 0, 0, 0, 1, 2]),
                end(first, UPSTREAM, UPSTREAM_MAC),
            ),
            (
                end(&router, CUSTOMER, CUSTOMER_MAC),
                end(&victim, "router", VICTIM_MAC),
            ),
            (
                end(&attacker, FENCE, [2, 0, 0, 0, 3, 2]),
                end(first, FENCE, FENCE_MAC),
            ),
        ] {
            link::connect(a, b)?;
        }
        Ok(Self {
            upstream: Tap::open(&attacker, "router")?,
            fence: Tap::open(&attacker, FENCE)?,
            customer: Tap::open(&victim, "router")?,
            attacker,
            router,
            hardware,
            victim,
            next_hop,
            hops,
            fences: 0,
        })
    }

    /// Connects another host to the router by a cable of its own; interfaces have the names of their other ends.
    pub fn attach(
        &self,
        host: &'static str,
        router_address: IpAddr,
        host_address: IpAddr,
        prefix_length: u8,
    ) -> Result<Namespace, LabError> {
        let namespace = Namespace::new(host)?;
        link::set_up(&namespace, "lo")?;
        link::connect(
            End {
                namespace: &namespace,
                interface: "router",
                mac: [2, 0, 0, 0, 4, 2],
            },
            End {
                namespace: &self.router,
                interface: host,
                mac: [2, 0, 0, 0, 4, 1],
            },
        )?;
        link::add_address(&self.router, host, router_address, prefix_length)?;
        link::add_address(&namespace, "router", host_address, prefix_length)?;
        Ok(namespace)
    }

    /// Sends IP packets through the router and says of each, in order, what became of it.
    ///
    /// The packets must differ in more than what the router may change: DSCP, the hop limit and the header checksum.
    pub fn pass(&mut self, packets: &[Vec<u8>]) -> Result<Vec<Passed>, LabError> {
        let _pinned = Pinned::new()?;
        let mut sent = HashMap::with_capacity(packets.len());
        for (index, packet) in packets.iter().enumerate() {
            let previous = sent.insert(identity(packet, self.hops), index);
            assert!(
                previous.is_none(),
                "two packets are the same: {packet:02x?}"
            );
        }
        let mut results = vec![Passed::Dropped; packets.len()];
        let mut collect = |customer: &mut Tap, fence: &[u8]| -> Result<bool, LabError> {
            while let Some(packet) = customer.receive()? {
                let identity = identity(packet, 0);
                if identity == fence {
                    return Ok(true);
                }
                if let Some(index) = sent.get(&identity) {
                    results[*index] = Passed::Arrived(packet.to_vec());
                }
            }
            Ok(false)
        };
        for packet in packets {
            self.upstream.send(self.next_hop, packet)?;
            collect(&mut self.customer, &[])?;
        }
        self.fences = self.fences.wrapping_add(1);
        let fence = fence_packet(self.fences);
        let next_hop = match self.hops {
            0 => VICTIM_MAC,
            _ => FENCE_MAC,
        };
        self.fence.send(next_hop, &fence)?;
        let fence = identity(&fence, self.hops);
        let start = Instant::now();
        while !collect(&mut self.customer, &fence)? {
            if start.elapsed() > PATIENCE {
                return Err(LabError::Lost);
            }
            std::thread::yield_now();
        }
        Ok(results)
    }
}

impl Lab {
    /// Sends `count` packets, these in turn, as fast as the network takes them; returns how long that took.
    ///
    /// The network has no queues: the router handles a packet before the next one is sent. What becomes of the
    /// packets is for [`Lab::forwarded`] to say.
    pub fn flood(&mut self, packets: &[Vec<u8>], count: usize) -> Result<Duration, LabError> {
        let _pinned = Pinned::new()?;
        let frames: Vec<Vec<u8>> = packets
            .iter()
            .map(|packet| Tap::frame(self.next_hop, packet))
            .collect();
        // What a listener costs is no part of forwarding.
        self.customer.listen(false)?;
        let start = Instant::now();
        for frame in frames.iter().cycle().take(count) {
            self.upstream.send_frame(frame)?;
        }
        let took = start.elapsed();
        self.customer.listen(true)?;
        Ok(took)
    }

    /// Sends one IP packet of the attacker's and does not wait for it.
    pub fn send(&self, packet: &[u8]) -> Result<(), LabError> {
        self.upstream.send(self.next_hop, packet)
    }

    /// The next IP packet that the victim has got; `None` when there is none at the moment.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, LabError> {
        self.customer.receive()
    }

    /// Packets that the router has sent to the victim since it is there.
    pub fn forwarded(&self) -> Result<u64, LabError> {
        let path = "/proc/thread-self/net/dev";
        let statistics = self.router.run(move || std::fs::read_to_string(path));
        let text = statistics.map_err(|error| LabError::io(path, error))?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(CUSTOMER)?.strip_prefix(':'));
        let sent = line.and_then(|line| line.split_whitespace().nth(9)?.parse().ok());
        sent.ok_or_else(|| LabError::io(path, std::io::Error::from(std::io::ErrorKind::NotFound)))
    }
}

/// A constant address.
fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant address")
}

/// Has a namespace forward everything, wherever it comes from.
fn make_router(namespace: &Namespace) -> Result<(), LabError> {
    for name in ["all", "default"] {
        for (sysctl, value) in [
            ("ipv4/conf/NAME/rp_filter", "0"),
            ("ipv4/conf/NAME/forwarding", "1"),
            ("ipv6/conf/NAME/forwarding", "1"),
            ("ipv6/conf/NAME/accept_dad", "0"),
        ] {
            namespace.set_sysctl(&sysctl.replace("NAME", name), value)?;
        }
    }
    link::set_up(namespace, "lo")
}

/// The packet that says that all before it have come through.
fn fence_packet(number: u16) -> Vec<u8> {
    let [from, to] = FENCE_ADDRESSES;
    let header = Header::between(from, to).identification(number);
    PacketBuilder::new(header).protocol(253, b"fence").build()
}

/// What of a packet stays the same on its way, after `hops` routers.
fn identity(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut identity = packet.to_vec();
    match packet.first().map_or(0, |octet| octet >> 4) {
        4 if packet.len() >= 20 => {
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            identity.truncate(length);
            identity[1] &= 0x03;
            identity[8] = packet[8].wrapping_sub(hops);
            identity[10..12].fill(0);
        }
        6 if packet.len() >= 40 => {
            identity[0] &= 0xf0;
            identity[1] &= 0x3f;
            identity[7] = packet[7].wrapping_sub(hops);
        }
        _ => {}
    }
    identity
}

/// Keeps the thread on one CPU while it lives: the order of packets holds on a CPU.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn new() -> Result<Self, LabError> {
        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread)?;
        let mut one = CpuSet::new();
        let first = (0..CpuSet::count()).find(|cpu| before.is_set(*cpu).unwrap_or(false));
        one.set(first.unwrap_or(0))?;
        sched_setaffinity(this_thread, &one)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Staying on one CPU does no harm.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}
