//! The session's state machine, in any order of events.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use flowacl::session::{ConnectionId, Effect, Input, RestartConfig, Session, SessionConfig};
use flowacl::wire::capability::{Capability, Directions};
use flowacl::wire::cursor::Cursor;
use flowacl::wire::iana::{FlowFamily, UnicastFamily};
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, Message, split};
use flowacl::wire::open::Open;

/// What the driver does, and holds the state machine to.
struct Driver {
    session: Session,
    now: Instant,
    /// The connection that was opened last.
    connection: Option<ConnectionId>,
    /// A connection that is being dialed.
    dialed: Option<ConnectionId>,
    /// Connections that may be used.
    open: Vec<ConnectionId>,
    up: bool,
}

/// A script of events: an octet for each, followed by its arguments.
pub fn session(script: &[u8]) {
    let config = SessionConfig {
        local_as: 65000,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        remote_as: 65001,
        remote_address: Ipv4Addr::new(192, 0, 2, 2).into(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
        unicast: vec![UnicastFamily::Ipv4Unicast],
        add_path: Some(Directions::Receive),
        hold_time_secs: 90,
        passive: false,
        connect_retry: Duration::from_secs(30),
        announces: false,
        restart: RestartConfig {
            graceful: true,
            stale_max: Duration::from_secs(180),
            long_lived_max: Duration::from_secs(3600),
            hold: Duration::from_secs(10),
            restarting: true,
        },
        jitter_seed: 1,
    };
    let mut driver = Driver {
        session: Session::new(config),
        now: Instant::now(),
        connection: None,
        dialed: None,
        open: Vec::new(),
        up: false,
    };
    driver.handle(Input::Start);
    let mut script = Cursor::new(script, 0);
    while let Ok(event) = script.u8() {
        if driver.event(event % 12, &mut script).is_none() {
            return;
        }
    }
}

impl Driver {
    /// One event of the script. `None`: its arguments are cut short.
    fn event(&mut self, event: u8, script: &mut Cursor<'_>) -> Option<()> {
        let received = |connection, octets| Some(Input::Received(connection, octets));
        let input = match event {
            0 => {
                let id = self.session.new_connection_id();
                self.connect(id);
                Some(Input::Accepted(id))
            }
            1 => self.dialed.take().map(|id| {
                self.connect(id);
                Input::Connected(id)
            }),
            2 => self.dialed.take().map(Input::ConnectFailed),
            3 => {
                self.now += Duration::from_secs(script.u8().ok()?.into());
                Some(Input::Tick)
            }
            4 => {
                let connection = self.connection?;
                self.open.retain(|open| *open != connection);
                Some(Input::Closed(connection))
            }
            5 => Some(Input::Stop {
                subcode: script.u8().ok()?,
                message: "enough".into(),
            }),
            6 => Some(if self.open.len() > 1 {
                Input::HeldBack
            } else {
                Input::Start
            }),
            7 => received(self.connection?, Message::Open(open()).encode()),
            8 => received(self.connection?, Message::Keepalive.encode()),
            9 => {
                let length = usize::from(script.u8().ok()?);
                let body = script.bytes(length).ok()?.to_vec();
                received(self.connection?, Message::Update(body).encode())
            }
            10 => {
                let length = usize::from(script.u8().ok()?);
                received(self.connection?, script.bytes(length).ok()?.to_vec())
            }
            // To an older connection.
            _ => {
                let one = usize::from(!self.open.is_empty());
                self.open.rotate_left(one);
                self.connection = self.open.last().copied();
                None
            }
        };
        if let Some(input) = input {
            self.handle(input);
        }
        Some(())
    }

    fn connect(&mut self, id: ConnectionId) {
        self.open.push(id);
        self.connection = Some(id);
    }

    /// Hands an event over and holds its effects against what was promised.
    fn handle(&mut self, input: Input) {
        let is_tick = input == Input::Tick;
        self.session.handle(self.now, input);
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect(id) => self.dialed = Some(id),
                Effect::CancelConnect(id) => {
                    assert_eq!(self.dialed.take(), Some(id), "not dialed");
                }
                Effect::Send(id, mut octets) => {
                    assert!(self.open.contains(&id), "{id:?} is closed");
                    while !octets.is_empty() {
                        let message = split(&mut octets, MAX_EXTENDED_MESSAGE_LENGTH);
                        assert!(matches!(message, Ok(Some(_))), "{message:?}");
                    }
                }
                Effect::Close(id) => {
                    assert!(self.open.contains(&id), "{id:?} is closed twice");
                    self.open.retain(|open| *open != id);
                }
                Effect::Up(negotiated) => {
                    assert!(!self.up, "up twice");
                    assert!(!negotiated.families.is_empty());
                    assert!(self.open.contains(&negotiated.connection));
                    self.up = true;
                }
                Effect::Update(_) => assert!(self.up, "an UPDATE before the session is up"),
                Effect::Down(..) => {
                    assert!(self.up, "down twice");
                    self.up = false;
                }
                Effect::Refresh(..) => assert!(self.up, "a refresh before the session is up"),
                Effect::Event(event) => assert!(!format!("{event:?}").is_empty()),
            }
        }
        assert_eq!(self.session.negotiated().is_some() && self.up, self.up);
        let due = self
            .session
            .next_deadline()
            .is_some_and(|deadline| deadline <= self.now);
        assert!(!(is_tick && due), "a tick that leaves its timer expired");
    }
}

/// The neighbor's OPEN.
fn open() -> Open {
    Open {
        asn: 65001,
        hold_time_secs: 30,
        router_id: Ipv4Addr::new(192, 0, 2, 2),
        capabilities: vec![
            Capability::MultiProtocol(FlowFamily::Ipv4Flow.afi_safi()),
            Capability::RouteRefresh,
            Capability::FourOctetAs(65001),
        ],
    }
}
