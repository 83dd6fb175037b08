//! Tests of the state machine, seen from its driver.

mod hostile;
mod monitor;
mod negotiation;
mod restart;
mod routes;
mod simulator;
mod timing;
mod transitions;

use std::time::{Duration, Instant};

use super::{
    Cause, ConnectionId, DownReason, Effect, Input, RefreshMarker, RestartConfig, Retained,
    Session, SessionConfig, SessionEvent, State,
};
use crate::wire::capability::Directions;
use crate::wire::iana::FlowFamily;

/// Sixteen octets of ones, length, type: the headers of the messages below.
const MARKER: &str = "ffffffffffffffffffffffffffffffff";

/// The octets of a hexadecimal string; spaces are only for the reader.
fn octets(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal.replace([' ', '\n'], "")).expect("a literal of the test")
}

/// A whole message: type and body.
fn message(message_type: u8, body: &str) -> Vec<u8> {
    let body = octets(body);
    let mut message = octets(MARKER);
    message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(message_type);
    message.extend(body);
    message
}

/// The neighbor's OPEN: AS 65070, hold time 90, 192.0.2.1; multiprotocol 1/133 and 2/133, route
/// refresh, four-octet AS.
fn neighbor_open() -> Vec<u8> {
    message(
        1,
        "04 fe2e 005a c0000201 16 02 14 0104 00010085 0104 00020085 0200 4104 0000fe2e",
    )
}

/// An OPEN of AS 65070 with these capabilities.
fn open_with(capabilities: &str) -> Vec<u8> {
    let length = octets(capabilities).len();
    let parameters = length + 2;
    message(
        1,
        &format!("04 fe2e 005a c0000201 {parameters:02x} 02{length:02x} {capabilities}"),
    )
}

/// UPDATE with these path attributes and nothing else.
fn update(attributes: &str) -> Vec<u8> {
    message(
        2,
        &format!("0000 {:04x} {attributes}", octets(attributes).len()),
    )
}

/// KEEPALIVE.
fn keepalive() -> Vec<u8> {
    message(4, "")
}

/// NOTIFICATION of the neighbor's.
fn notification(code: u8, subcode: u8) -> Vec<u8> {
    message(3, &format!("{code:02x}{subcode:02x}"))
}

/// We are AS 65140, 192.0.2.2; the neighbor is AS 65070.
fn config() -> SessionConfig {
    SessionConfig {
        local_as: 65140,
        router_id: [192, 0, 2, 2].into(),
        remote_as: 65070,
        remote_address: [192, 0, 2, 1].into(),
        unicast: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
        add_path: Some(Directions::Receive),
        hold_time_secs: 90,
        passive: false,
        connect_retry: Duration::from_secs(10),
        jitter_seed: 1,
        announces: false,
        restart: RestartConfig::default(),
    }
}

/// A session, and the time it believes in.
struct Driven {
    session: Session,
    now: Instant,
}

impl Driven {
    /// A session in Idle.
    fn new(config: SessionConfig) -> Self {
        Self {
            session: Session::new(config),
            now: Instant::now(),
        }
    }

    /// A session that has come to `state` in the usual way, on the connection that it dialed.
    fn in_state(config: SessionConfig, state: State) -> (Self, ConnectionId) {
        assert!(!config.passive, "this path begins with a dial");
        let id = ConnectionId(0);
        let path = [
            (State::Connect, Input::Start),
            (State::OpenSent, Input::Connected(id)),
            (State::OpenConfirm, Input::Received(id, neighbor_open())),
            (State::Established, Input::Received(id, keepalive())),
        ];
        let mut driven = Self::new(config);
        for (reached, input) in path {
            if reached <= state {
                driven.feed(input);
                assert_eq!(driven.session.state(), reached);
            }
        }
        if state == State::Active {
            driven.feed(Input::ConnectFailed(id));
        }
        assert_eq!(driven.session.state(), state);
        (driven, id)
    }

    /// An established session.
    fn established(config: SessionConfig) -> (Self, ConnectionId) {
        Self::in_state(config, State::Established)
    }

    /// Gives an input and takes the effects.
    fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.session.handle(self.now, input);
        std::iter::from_fn(|| self.session.poll_effect()).collect()
    }

    /// Gives octets.
    fn receive(&mut self, id: ConnectionId, octets: &[u8]) -> Vec<Effect> {
        self.feed(Input::Received(id, octets.to_vec()))
    }

    /// A connection from the neighbor.
    fn accept(&mut self) -> (ConnectionId, Vec<Effect>) {
        let id = self.session.new_connection_id();
        (id, self.feed(Input::Accepted(id)))
    }

    /// Lets time pass, with a tick at each deadline on the way.
    fn wait(&mut self, duration: Duration) -> Vec<Effect> {
        let end = self.now + duration;
        let mut effects = Vec::new();
        while let Some(deadline) = self
            .session
            .next_deadline()
            .filter(|deadline| *deadline <= end)
        {
            self.now = self.now.max(deadline);
            effects.extend(self.feed(Input::Tick));
        }
        self.now = end;
        effects
    }
}

/// The message names that begin in `octets`, NOTIFICATIONs with their content.
fn sent_names(mut octets: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while octets.len() >= 19 {
        let length = usize::from(u16::from_be_bytes([octets[16], octets[17]]));
        let (message, rest) = octets.split_at(length);
        names.push(match message[18] {
            1 => "OPEN".to_owned(),
            2 => "UPDATE".to_owned(),
            3 => format!(
                "{}/{} {}",
                message[19],
                message[20],
                hex::encode(&message[21..])
            )
            .trim()
            .to_owned(),
            4 => "KEEPALIVE".to_owned(),
            5 => "ROUTE-REFRESH".to_owned(),
            other => panic!("message type {other}"),
        });
        octets = rest;
    }
    assert!(octets.is_empty(), "half a message was sent");
    names
}

/// Effects in a few words, without changes of state.
fn summary(effects: &[Effect]) -> String {
    let mut words: Vec<String> = Vec::new();
    for effect in effects {
        words.push(match effect {
            Effect::Connect(_) => "dial".to_owned(),
            Effect::CancelConnect(_) => "cancel".to_owned(),
            Effect::Send(_, octets) => sent_names(octets).join(", "),
            Effect::Close(_) => "close".to_owned(),
            Effect::Up(_) => "up".to_owned(),
            Effect::Update(_) => "update".to_owned(),
            Effect::Down(DownReason::Sent(..), _) => "down(sent)".to_owned(),
            Effect::Down(DownReason::Received(_), _) => "down(received)".to_owned(),
            Effect::Down(DownReason::HoldTimerExpired, _) => "down(hold)".to_owned(),
            Effect::Down(DownReason::SendHoldTimerExpired, _) => "down(send hold)".to_owned(),
            Effect::Down(DownReason::ConnectionLost, _) => "down(lost)".to_owned(),
            Effect::Down(DownReason::Stopped(_), _) => "down(stopped)".to_owned(),
            Effect::Down(DownReason::Replaced, _) => "down(replaced)".to_owned(),
            Effect::Refresh(_, RefreshMarker::Begin) => "refresh begins".to_owned(),
            Effect::Refresh(_, RefreshMarker::End) => "refresh ends".to_owned(),
            Effect::Event(SessionEvent::State(..)) => continue,
            Effect::Event(SessionEvent::Rejected(..)) => "rejected".to_owned(),
            Effect::Event(SessionEvent::NotificationReceived(_)) => "notified".to_owned(),
            Effect::Event(SessionEvent::Malformed(_)) => "malformed".to_owned(),
            Effect::Event(SessionEvent::Collision(_)) => "collision".to_owned(),
            Effect::Event(SessionEvent::RefreshRequested(_)) => "refresh".to_owned(),
            Effect::Event(SessionEvent::NotSent(_)) => "not sent".to_owned(),
        });
    }
    words.join("; ")
}
