//! A neighbor that says anything, from any address of this machine, and what can be seen of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use flowacl::io::control::client;
use flowacl::io::report::{NeighborStatus, NeighborsReport};
use flowacl::wire::capability::GracefulRestart;
use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::waiting::eventually;

/// Octets of a message header (RFC 4271 §4.1).
const HEADER: usize = 19;
/// Type of a NOTIFICATION.
const NOTIFICATION: u8 = 3;

/// An open connection.
pub(super) struct Visitor(pub(super) TcpStream);

impl Visitor {
    /// Connects from an address of this machine.
    pub(super) fn dial(port: u16, from: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Connects and says OPEN and KEEPALIVE.
    pub(super) fn open(port: u16, from: Ipv4Addr, open: &Open) -> io::Result<Self> {
        let mut visitor = Self::dial(port, from)?;
        visitor.say(&opening(open))?;
        Ok(visitor)
    }

    /// Sends octets.
    pub(super) fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)
    }

    /// Waits for a message: its type and its body.
    pub(super) fn hear(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header)?;
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length - HEADER];
        self.0.read_exact(&mut body)?;
        Ok((header[18], body))
    }

    /// Waits for the end; says with which NOTIFICATION it came, if with any.
    pub(super) fn farewell(&mut self) -> Option<(u8, u8)> {
        let mut last = None;
        loop {
            match self.hear() {
                Ok((NOTIFICATION, body)) => last = Some((body[0], body[1])),
                Ok(_) => {}
                Err(error) => {
                    let waited = matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                    assert!(!waited, "the connection is still open");
                    return last;
                }
            }
        }
    }

    /// True until the other side has closed.
    pub(super) fn is_open(&mut self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let open = loop {
            match self.0.read(&mut [0; 1024]) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        self.0.set_nonblocking(false).unwrap();
        open
    }

    /// Vanishes with a reset.
    pub(super) fn reset(self) {
        let linger = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
        linger.expect("the socket is open");
    }
}

/// OPEN and KEEPALIVE.
pub(super) fn opening(open: &Open) -> Vec<u8> {
    [
        Message::Open(open.clone()).encode(),
        Message::Keepalive.encode(),
    ]
    .concat()
}

/// The OPEN of an AS that knows AS numbers of four octets.
pub(super) fn open_of(asn: u32, families: &[FlowFamily]) -> Open {
    let families = families.iter().map(|family| family.afi_safi());
    let mut capabilities: Vec<_> = families.map(Capability::MultiProtocol).collect();
    capabilities.push(Capability::FourOctetAs(asn));
    Open {
        asn,
        hold_time_secs: 90,
        router_id: "192.0.2.1".parse().unwrap(),
        capabilities,
    }
}

/// Graceful restart for IPv4: rules stay for so long.
pub(super) fn graceful(restart_time_secs: u16) -> Capability {
    Capability::GracefulRestart(GracefulRestart {
        restarting: false,
        notification: false,
        restart_time_secs,
        families: vec![(FlowFamily::Ipv4Flow.afi_safi(), true)],
    })
}

/// The neighbor whom nothing may disturb.
const WITNESS: &str = "127.0.0.2";

/// A daemon with a neighbor whom nothing may disturb, and one rule of it.
pub(super) struct Watched {
    pub(super) daemon: Daemon,
    _witness: Program,
}

impl Watched {
    /// Starts both; `others` are further neighbors.
    pub(super) fn start(others: &str) -> Self {
        let daemon = Daemon::start(&format!(
            "[[neighbor]]\naddress = \"{WITNESS}\"\nremote_as = 65070\n{others}"
        ));
        let witness = daemon.announce(WITNESS, &[FLOW]);
        daemon.has_rules(&[(NLRI, WITNESS, "installed")]);
        Self {
            daemon,
            _witness: witness,
        }
    }

    /// All neighbors; the one that must not be disturbed is not.
    pub(super) fn neighbors(&self) -> Vec<NeighborStatus> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let socket = self.daemon.path("flowacl.sock");
        let report: Result<NeighborsReport, _> =
            runtime.block_on(client::get(&socket, "/v1/neighbors"));
        let neighbors = report
            .unwrap_or_else(|error| panic!("{error}\n{}", self.daemon.log()))
            .neighbors;
        let address: IpAddr = WITNESS.parse().unwrap();
        let witness = neighbors.iter().find(|other| other.address == address);
        let witness = witness.expect("it is configured");
        assert!(
            witness.is_established() && witness.ups == 1 && witness.routes.installed == 1,
            "{witness:?}\n{}",
            self.daemon.log()
        );
        neighbors
    }

    /// One neighbor.
    pub(super) fn neighbor(&self, address: Ipv4Addr) -> Option<NeighborStatus> {
        let mut neighbors = self.neighbors().into_iter();
        neighbors.find(|neighbor| neighbor.address == address)
    }

    /// Waits until a neighbor has a session.
    pub(super) fn established(&self, address: Ipv4Addr) -> NeighborStatus {
        eventually("the session is up", || {
            let neighbor = self.neighbor(address);
            neighbor
                .filter(NeighborStatus::is_established)
                .ok_or_else(|| self.daemon.log())
        })
    }

    /// Waits until only what nothing may disturb is left.
    pub(super) fn is_alone(&self) {
        self.daemon.has_rules(&[(NLRI, WITNESS, "installed")]);
        eventually("nobody else is there", || match self.neighbors() {
            neighbors if neighbors.iter().all(|other| !other.dynamic) => Ok(()),
            neighbors => Err(format!("{neighbors:?}")),
        });
        assert_eq!(self.daemon.show("dataplane")["facts"][0][1], "1");
        self.neighbors();
    }

    /// Files that the daemon has open.
    pub(super) fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.daemon.program.id());
        fs::read_dir(path).unwrap().count()
    }

    /// Waits until so many files are open.
    pub(super) fn has_open_files(&self, expected: usize) {
        eventually("files are closed", || match self.open_files() {
            files if files <= expected => Ok(()),
            files => Err(format!("{files} open, {expected} at the beginning")),
        });
    }

    /// Rules that were ever put into the packet filter, as the log says.
    pub(super) fn put(&self) -> u64 {
        self.daemon.put()
    }
}

impl Daemon {
    /// Rules that were ever put into the packet filter, as the log says.
    pub(super) fn put(&self) -> u64 {
        let log = self.log();
        let numbers = log.split(" put=").skip(1).filter_map(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        });
        numbers.sum()
    }
}
