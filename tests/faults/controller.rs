//! A controller that says what a test wants, when it wants it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flowacl::flowspec::text::{Flow, parse_flows};
use flowacl::wire::attribute::{AsPathSegment, AsPathSegmentKind, Attributes, Origin};
use flowacl::wire::capability::{Capability, GracefulRestart};
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::Message;
use flowacl::wire::nlri::Nlri;
use flowacl::wire::open::Open;
use flowacl::wire::path::PathOf;
use flowacl::wire::update::{DecodeContext, Update};
use socket2::{Domain, Socket, Type};

/// AS of the controller.
pub const CONTROLLER_AS: u32 = 65070;
/// The families it speaks.
const FAMILIES: [FlowFamily; 2] = [FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
/// Octets of the longest message (RFC 4271 §4.1).
const MAX_MESSAGE: usize = 4096;

/// An open connection; the session ends with it.
pub struct Controller(TcpStream);

impl Controller {
    /// Dials the daemon of this thread's namespace and waits for the session. Without a hold time nobody has to say
    /// anything.
    pub fn connect() -> io::Result<Self> {
        Self::connect_with(0)
    }

    /// The same with a hold time, in which the controller has to say something.
    pub fn connect_with(hold_time_secs: u16) -> io::Result<Self> {
        Self::start(Ipv4Addr::LOCALHOST, hold_time_secs, None)
    }

    /// The same from another address of this machine.
    pub fn connect_from(address: Ipv4Addr) -> io::Result<Self> {
        Self::start(address, 0, None)
    }

    /// The same after a graceful restart: its rules are to stay for so long when it is lost.
    pub fn connect_again(restart_time_secs: u16) -> io::Result<Self> {
        let restart = GracefulRestart {
            restarting: true,
            notification: false,
            restart_time_secs,
            families: FAMILIES.map(|family| (family.afi_safi(), true)).into(),
        };
        Self::start(Ipv4Addr::LOCALHOST, 0, Some(restart))
    }

    /// Dials, and waits for the session.
    fn start(
        from: Ipv4Addr,
        hold_time_secs: u16,
        restart: Option<GracefulRestart>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, 179)).into())?;
        let mut stream = TcpStream::from(socket);
        let mut capabilities = vec![Capability::FourOctetAs(CONTROLLER_AS)];
        capabilities.extend(FAMILIES.map(|family| Capability::MultiProtocol(family.afi_safi())));
        capabilities.extend(restart.map(Capability::GracefulRestart));
        let open = Open {
            asn: CONTROLLER_AS,
            hold_time_secs,
            router_id: "192.0.2.1".parse().expect("a constant address"),
            capabilities,
        };
        stream.write_all(&Message::Open(open).encode())?;
        stream.write_all(&Message::Keepalive.encode())?;
        // OPEN and KEEPALIVE of the other side: it takes routes from now on.
        let mut header = [0; 19];
        for _ in 0..2 {
            stream.read_exact(&mut header)?;
            let rest = usize::from(u16::from_be_bytes([header[16], header[17]])) - header.len();
            stream.read_exact(&mut vec![0; rest])?;
        }
        Ok(Self(stream))
    }

    /// Reads what the daemon says from now on, and measures how long it is silent.
    pub fn watch(&self) -> io::Result<Silences> {
        let mut stream = self.0.try_clone()?;
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let silences = Silences(longest.clone());
        thread::spawn(move || {
            let mut octets = [0; 4096];
            let mut last = Instant::now();
            // It ends with the connection.
            while stream.read(&mut octets).is_ok_and(|read| read > 0) {
                let mut longest = longest.lock().expect("nobody panics with it");
                *longest = last.elapsed().max(*longest);
                last = Instant::now();
            }
        });
        Ok(silences)
    }

    /// Announces flows with the actions of the first, as few messages as possible.
    pub fn announce(&mut self, flows: &[Flow]) -> io::Result<()> {
        self.announce_by(flows, Vec::new())
    }

    /// The same with a next hop, as MP_REACH_NLRI has it.
    pub fn announce_by(&mut self, flows: &[Flow], next_hop: Vec<u8>) -> io::Result<()> {
        let Some(first) = flows.first() else {
            return Ok(());
        };
        self.send(&Update {
            announced: nlris(flows),
            attributes: Attributes {
                origin: Some(Origin::Igp),
                as_path: vec![AsPathSegment {
                    kind: AsPathSegmentKind::Sequence,
                    asns: vec![CONTROLLER_AS],
                }],
                mp_next_hop: next_hop,
                extended_communities: first.extended_communities.clone(),
                ipv6_extended_communities: first.ipv6_extended_communities.clone(),
                ..Attributes::default()
            },
            ..Update::default()
        })
    }

    /// Withdraws flows.
    pub fn withdraw(&mut self, flows: &[Flow]) -> io::Result<()> {
        self.send(&Update {
            withdrawn: nlris(flows),
            ..Update::default()
        })
    }

    /// Says that all routes have been sent.
    pub fn end_of_rib(&mut self) -> io::Result<()> {
        for family in FAMILIES {
            self.send(&Update {
                end_of_rib: Some(family.afi_safi()),
                ..Update::default()
            })?;
        }
        Ok(())
    }

    /// Sends one UPDATE.
    fn send(&mut self, update: &Update) -> io::Result<()> {
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: false,
            unicast: Vec::new(),
            add_path: Vec::new(),
            families: FAMILIES.to_vec(),
        };
        let (messages, left_out) = update.encode(&context, MAX_MESSAGE);
        assert!(left_out.is_empty(), "{left_out:?} do not fit a message");
        self.0.write_all(&messages.concat())
    }
}

/// How long the daemon has been silent.
pub struct Silences(Arc<Mutex<Duration>>);

impl Silences {
    /// The longest time between two messages.
    pub fn longest(&self) -> Duration {
        *self.0.lock().expect("nobody panics with it")
    }
}

/// What flows match.
fn nlris(flows: &[Flow]) -> Vec<PathOf<Nlri>> {
    flows.iter().map(|flow| flow.nlri.clone().into()).collect()
}

/// Reads one flow.
pub fn flow(matches: &str, then: &str) -> Flow {
    let text = format!("flow route {{ match {{ {matches} }} then {{ {then} }} }}");
    let flows = parse_flows(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    flows.into_iter().next().expect("there is one")
}
