//! Sessions at the edges of what the RFCs allow: hold times, the longest message, capabilities that nobody knows.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use flowacl::wire::attribute::{
    AsPathSegment, AsPathSegmentKind, Attributes, Origin, RawAttribute,
};
use flowacl::wire::community::ExtendedCommunity;
use flowacl::wire::message::MAX_EXTENDED_MESSAGE_LENGTH;
use flowacl::wire::update::{DecodeContext, Update};

use super::scale::rule;
use super::visitor::{Visitor, open_of};
use super::*;
use crate::waiting::eventually;

/// The neighbor.
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Types of messages (RFC 4271 §4.1).
const NOTIFICATION: u8 = 3;
/// See [`NOTIFICATION`].
const KEEPALIVE: u8 = 4;
/// Optional and transitive (RFC 4271 §4.3).
const OPTIONAL_TRANSITIVE: u8 = 0xc0;
/// Only to Customer (RFC 9234 §5).
const ONLY_TO_CUSTOMER: u8 = 35;
/// A type that is not assigned.
const UNASSIGNED: u8 = 250;

/// A daemon with one passive neighbor.
fn daemon(keys: &str) -> Daemon {
    Daemon::start(&format!(
        "[[neighbor]]\naddress = \"{NEIGHBOR}\"\nremote_as = 65070\n{keys}"
    ))
}

/// The neighbor's OPEN with a hold time and more capabilities.
fn open(hold_time_secs: u16, more: &[Capability]) -> Open {
    let mut open = open_of(65070, &[FlowFamily::Ipv4Flow]);
    open.hold_time_secs = hold_time_secs;
    open.capabilities.extend_from_slice(more);
    open
}

/// What `show neighbors` says of the neighbor.
fn shown(daemon: &Daemon, key: &str) -> Value {
    daemon.neighbor(&NEIGHBOR.to_string()).unwrap()[key].clone()
}

/// Waits for the session.
fn is_up(daemon: &Daemon) {
    eventually("the session is up", || match shown(daemon, "state") {
        state if state == "Established" => Ok(()),
        state => Err(state.to_string()),
    });
}

/// An UPDATE for some routes, with an attribute that we do not know.
fn update(routes: u32, unknown: RawAttribute) -> Vec<u8> {
    let update = Update {
        announced: (0..routes).map(|n| rule(n).into()).collect(),
        attributes: Attributes {
            origin: Some(Origin::Igp),
            as_path: vec![AsPathSegment {
                kind: AsPathSegmentKind::Sequence,
                asns: vec![65070],
            }],
            extended_communities: vec![ExtendedCommunity([0x80, 6, 0, 0, 0, 0, 0, 0])],
            unknown: vec![unknown],
            ..Attributes::default()
        },
        ..Update::default()
    };
    let context = DecodeContext {
        four_octet_as: true,
        ibgp: false,
        unicast: Vec::new(),
        add_path: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow],
    };
    let (messages, left_out) = update.encode(&context, MAX_EXTENDED_MESSAGE_LENGTH);
    assert_eq!((messages.len(), left_out.len()), (1, 0));
    messages.into_iter().next().unwrap()
}

/// An optional transitive attribute.
fn attribute(code: u8, value: Vec<u8>) -> RawAttribute {
    let flags = OPTIONAL_TRANSITIVE;
    RawAttribute { flags, code, value }
}

#[test]
fn a_neighbor_that_does_not_confirm_its_open_is_told_and_shown() {
    let daemon = daemon("hold_time_secs = 3\n");
    let mut visitor = Visitor::dial(daemon.port, NEIGHBOR).unwrap();
    let words = Message::Open(open(90, &[])).encode();
    visitor.say(&words).unwrap();
    assert_eq!(visitor.farewell(), Some((4, 0)));
    let reason = "hold timer expired in OpenConfirm";
    daemon.logged(reason);
    eventually("the reason is shown", || {
        match shown(&daemon, "last_error") {
            shown if shown == reason => Ok(()),
            shown => Err(shown.to_string()),
        }
    });
}

#[test]
fn the_shortest_hold_time_ends_a_silent_session_and_no_other() {
    let daemon = daemon("");
    let mut visitor = Visitor::open(daemon.port, NEIGHBOR, &open(3, &[])).unwrap();
    is_up(&daemon);
    assert_eq!(shown(&daemon, "hold_time_secs"), 3);
    let mut keepalives = 0;
    // It speaks for two hold times, a word for each of ours, and then no more.
    let begin = Instant::now();
    let end = loop {
        match visitor.hear().unwrap() {
            (KEEPALIVE, _) => keepalives += 1,
            (NOTIFICATION, body) => break (body[0], body[1]),
            _ => {}
        }
        if begin.elapsed() < Duration::from_secs(6) {
            visitor.say(&Message::Keepalive.encode()).unwrap();
        }
    };
    assert_eq!(end, (4, 0));
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(8), "{took:?}");
    assert!(keepalives >= 6, "{keepalives} in {took:?}");
}

#[test]
fn without_a_hold_time_nobody_has_to_say_anything() {
    let daemon = daemon("");
    let mut visitor = Visitor::open(daemon.port, NEIGHBOR, &open(0, &[])).unwrap();
    is_up(&daemon);
    assert_eq!(shown(&daemon, "hold_time_secs"), 0);
    visitor
        .0
        .set_read_timeout(Some(Duration::from_secs(4)))
        .unwrap();
    let mut keepalives = 0;
    let silence = loop {
        match visitor.hear() {
            Ok((KEEPALIVE, _)) => keepalives += 1,
            Ok((NOTIFICATION, body)) => panic!("NOTIFICATION {body:?}"),
            Ok(_) => {}
            Err(error) => break error.kind(),
        }
    };
    assert_eq!((silence, keepalives), (ErrorKind::WouldBlock, 1));
    is_up(&daemon);
    assert_eq!(shown(&daemon, "ups"), 1);
}

/// RFC 8654.
#[test]
fn the_longest_message_brings_all_its_routes() {
    const ROUTES: u32 = 4_500;
    let daemon = daemon("");
    let open = open(90, &[Capability::ExtendedMessage]);
    let mut visitor = Visitor::open(daemon.port, NEIGHBOR, &open).unwrap();
    is_up(&daemon);
    let padding = |octets| update(ROUTES, attribute(UNASSIGNED, vec![0; octets]));
    let missing = MAX_EXTENDED_MESSAGE_LENGTH - padding(300).len();
    let longest = padding(300 + missing);
    assert_eq!(longest.len(), 65_535);
    visitor.say(&longest).unwrap();
    eventually("all routes are installed", || {
        match shown(&daemon, "installed") {
            number if number == ROUTES => Ok(()),
            number => Err(format!("{number}\n{}", daemon.log())),
        }
    });
    assert_eq!(shown(&daemon, "malformed_updates"), 0);
}

/// RFC 5492 §3, RFC 9234: there is nothing that a receiver of Flow Specifications could have a role for.
#[test]
fn roles_and_what_nobody_knows_are_ignored_politely() {
    let unknown = |code, value: &[u8]| Capability::Unknown {
        code,
        value: value.to_vec(),
    };
    let open = open(90, &[unknown(9, &[0]), unknown(200, &[1; 100])]);
    let daemon = daemon("");
    let mut visitor = Visitor::open(daemon.port, NEIGHBOR, &open).unwrap();
    is_up(&daemon);
    let customer = attribute(ONLY_TO_CUSTOMER, 65070_u32.to_be_bytes().to_vec());
    visitor.say(&update(3, customer)).unwrap();
    eventually("all routes are installed", || {
        match shown(&daemon, "installed") {
            number if number == 3 => Ok(()),
            number => Err(format!("{number}\n{}", daemon.log())),
        }
    });
    assert_eq!(shown(&daemon, "malformed_updates"), 0);
    assert_eq!(shown(&daemon, "ups"), 1);
}
