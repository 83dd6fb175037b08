//! The transition table: every event in every state (RFC 4271 §8.2.2).

use super::*;

/// An event of the table.
#[derive(Clone, Copy, Debug)]
enum Event {
    Start,
    Stop,
    Connected,
    ConnectFailed,
    Accepted,
    Closed,
    ConnectRetryExpires,
    HoldTimerExpires,
    Open,
    Keepalive,
    Update,
    Refresh,
    Cease,
    OpenError,
    BadHeader,
}

use Event::*;

/// State, event, effects, next state. The session dials; the event is about the connection that the
/// state is about.
const TABLE: &[(State, Event, &str, State)] = &[
    (State::Idle, Start, "dial", State::Connect),
    (State::Idle, Stop, "", State::Idle),
    (State::Idle, Connected, "close", State::Idle),
    (State::Idle, ConnectFailed, "", State::Idle),
    (State::Idle, Accepted, "6/5; close; rejected", State::Idle),
    (State::Idle, Closed, "", State::Idle),
    (State::Idle, ConnectRetryExpires, "", State::Idle),
    (State::Idle, HoldTimerExpires, "", State::Idle),
    (State::Idle, Open, "", State::Idle),
    (State::Idle, Keepalive, "", State::Idle),
    (State::Idle, Update, "", State::Idle),
    (State::Idle, Refresh, "", State::Idle),
    (State::Idle, Cease, "", State::Idle),
    (State::Idle, OpenError, "", State::Idle),
    (State::Idle, BadHeader, "", State::Idle),
    (State::Connect, Start, "", State::Connect),
    (State::Connect, Stop, "cancel", State::Idle),
    (State::Connect, Connected, "OPEN", State::OpenSent),
    (State::Connect, ConnectFailed, "", State::Active),
    (State::Connect, Accepted, "OPEN", State::OpenSent),
    (State::Connect, Closed, "", State::Active),
    (
        State::Connect,
        ConnectRetryExpires,
        "cancel; dial",
        State::Connect,
    ),
    (
        State::Connect,
        HoldTimerExpires,
        "cancel; dial",
        State::Connect,
    ),
    (State::Connect, Open, "", State::Connect),
    (State::Connect, Keepalive, "", State::Connect),
    (State::Connect, Update, "", State::Connect),
    (State::Connect, Refresh, "", State::Connect),
    (State::Connect, Cease, "", State::Connect),
    (State::Connect, OpenError, "", State::Connect),
    (State::Connect, BadHeader, "", State::Connect),
    (State::Active, Start, "", State::Active),
    (State::Active, Stop, "", State::Idle),
    (State::Active, Connected, "close", State::Active),
    (State::Active, ConnectFailed, "", State::Active),
    (State::Active, Accepted, "OPEN", State::OpenSent),
    (State::Active, Closed, "", State::Active),
    (State::Active, ConnectRetryExpires, "dial", State::Connect),
    (State::Active, HoldTimerExpires, "dial", State::Connect),
    (State::Active, Open, "", State::Active),
    (State::Active, Keepalive, "", State::Active),
    (State::Active, Update, "", State::Active),
    (State::Active, Refresh, "", State::Active),
    (State::Active, Cease, "", State::Active),
    (State::Active, OpenError, "", State::Active),
    (State::Active, BadHeader, "", State::Active),
    (State::OpenSent, Start, "", State::OpenSent),
    (State::OpenSent, Stop, "6/2 03627965; close", State::Idle),
    (State::OpenSent, Connected, "", State::OpenSent),
    (State::OpenSent, ConnectFailed, "", State::OpenSent),
    (State::OpenSent, Accepted, "OPEN", State::OpenSent),
    (State::OpenSent, Closed, "rejected", State::Active),
    (State::OpenSent, ConnectRetryExpires, "", State::OpenSent),
    (
        State::OpenSent,
        HoldTimerExpires,
        "4/0; close; rejected",
        State::Active,
    ),
    (State::OpenSent, Open, "KEEPALIVE", State::OpenConfirm),
    (
        State::OpenSent,
        Keepalive,
        "5/1 04; close; rejected",
        State::Idle,
    ),
    (
        State::OpenSent,
        Update,
        "5/1 02; close; rejected",
        State::Idle,
    ),
    (
        State::OpenSent,
        Refresh,
        "5/1 05; close; rejected",
        State::Idle,
    ),
    (State::OpenSent, Cease, "close; notified", State::Active),
    (State::OpenSent, OpenError, "close; notified", State::Idle),
    (
        State::OpenSent,
        BadHeader,
        "malformed; 1/3 63; close; rejected",
        State::Idle,
    ),
    (State::OpenConfirm, Start, "", State::OpenConfirm),
    (State::OpenConfirm, Stop, "6/2 03627965; close", State::Idle),
    (State::OpenConfirm, Connected, "", State::OpenConfirm),
    (State::OpenConfirm, ConnectFailed, "", State::OpenConfirm),
    (State::OpenConfirm, Accepted, "OPEN", State::OpenConfirm),
    (State::OpenConfirm, Closed, "rejected", State::Active),
    (
        State::OpenConfirm,
        ConnectRetryExpires,
        "",
        State::OpenConfirm,
    ),
    (
        State::OpenConfirm,
        HoldTimerExpires,
        "4/0; close; rejected",
        State::Active,
    ),
    (
        State::OpenConfirm,
        Open,
        "5/2 01; close; rejected",
        State::Idle,
    ),
    (
        State::OpenConfirm,
        Keepalive,
        "up; UPDATE; UPDATE",
        State::Established,
    ),
    (
        State::OpenConfirm,
        Update,
        "5/2 02; close; rejected",
        State::Idle,
    ),
    (
        State::OpenConfirm,
        Refresh,
        "5/2 05; close; rejected",
        State::Idle,
    ),
    (State::OpenConfirm, Cease, "close; notified", State::Active),
    (
        State::OpenConfirm,
        OpenError,
        "close; notified",
        State::Idle,
    ),
    (
        State::OpenConfirm,
        BadHeader,
        "malformed; 1/3 63; close; rejected",
        State::Idle,
    ),
    (State::Established, Start, "", State::Established),
    (
        State::Established,
        Stop,
        "6/2 03627965; close; down(stopped)",
        State::Idle,
    ),
    (State::Established, Connected, "", State::Established),
    (State::Established, ConnectFailed, "", State::Established),
    (
        State::Established,
        Accepted,
        "6/7; close; collision",
        State::Established,
    ),
    (State::Established, Closed, "down(lost)", State::Active),
    (
        State::Established,
        ConnectRetryExpires,
        "",
        State::Established,
    ),
    (
        State::Established,
        HoldTimerExpires,
        "4/0; close; down(hold); dial",
        State::Connect,
    ),
    (
        State::Established,
        Open,
        "5/3 01; close; down(sent)",
        State::Idle,
    ),
    (State::Established, Keepalive, "", State::Established),
    (State::Established, Update, "update", State::Established),
    (State::Established, Refresh, "refresh", State::Established),
    (
        State::Established,
        Cease,
        "close; down(received)",
        State::Active,
    ),
    (
        State::Established,
        OpenError,
        "close; down(received)",
        State::Idle,
    ),
    (
        State::Established,
        BadHeader,
        "malformed; 1/3 63; close; down(sent)",
        State::Idle,
    ),
];

/// What an event does to a session whose connection is `id`. Silence leaves out the KEEPALIVEs that
/// we send meanwhile.
fn apply(driven: &mut Driven, id: ConnectionId, event: Event) -> String {
    let effects = match event {
        Start => driven.feed(Input::Start),
        Stop => driven.feed(Input::Stop {
            subcode: 2,
            message: "bye".to_owned(),
        }),
        Connected => driven.feed(Input::Connected(id)),
        ConnectFailed => driven.feed(Input::ConnectFailed(id)),
        Accepted => driven.accept().1,
        Closed => driven.feed(Input::Closed(id)),
        ConnectRetryExpires => driven.wait(Duration::from_secs(11)),
        HoldTimerExpires => {
            let hold_secs = match driven.session.state() {
                State::OpenSent => 240,
                State::OpenConfirm | State::Established => 90,
                State::Idle | State::Connect | State::Active => 10,
            };
            let mut effects = driven.wait(Duration::from_secs(hold_secs));
            effects.retain(
                |effect| !matches!(effect, Effect::Send(_, octets) if *octets == keepalive()),
            );
            effects
        }
        Open => driven.receive(id, &neighbor_open()),
        Keepalive => driven.receive(id, &keepalive()),
        Update => driven.receive(id, &update("800f03 000185")),
        Refresh => driven.receive(id, &message(5, "0001 00 85")),
        Cease => driven.receive(id, &notification(6, 4)),
        OpenError => driven.receive(id, &notification(2, 2)),
        BadHeader => driven.receive(id, &message(0x63, "")),
    };
    summary(&effects)
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    for (state, event, effects, next) in TABLE {
        let (mut driven, id) = Driven::in_state(config(), *state);
        let row = format!("{event:?} in {state:?}");
        assert_eq!(apply(&mut driven, id, *event), *effects, "{row}");
        assert_eq!(driven.session.state(), *next, "{row}");
    }
}

#[test]
fn every_change_of_state_is_reported_in_order() {
    let mut driven = Driven::new(config());
    let mut effects = driven.feed(Input::Start);
    effects.extend(driven.feed(Input::Connected(ConnectionId(0))));
    effects.extend(driven.receive(ConnectionId(0), &[neighbor_open(), keepalive()].concat()));
    effects.extend(driven.receive(ConnectionId(0), &neighbor_open()));
    let states: Vec<(State, State)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Event(SessionEvent::State(old, new)) => Some((*old, *new)),
            _ => None,
        })
        .collect();
    let expected = [
        (State::Idle, State::Connect),
        (State::Connect, State::OpenSent),
        (State::OpenSent, State::OpenConfirm),
        (State::OpenConfirm, State::Established),
        (State::Established, State::Idle),
    ];
    assert_eq!(states, expected);
}

#[test]
fn a_passive_session_waits_and_never_dials() {
    let mut driven = Driven::new(SessionConfig {
        passive: true,
        ..config()
    });
    assert_eq!(summary(&driven.feed(Input::Start)), "");
    assert_eq!(driven.session.state(), State::Active);
    assert_eq!(driven.session.next_deadline(), None);
    let (id, effects) = driven.accept();
    assert_eq!(summary(&effects), "OPEN");
    assert_eq!(summary(&driven.receive(id, &neighbor_open())), "KEEPALIVE");
    assert_eq!(
        summary(&driven.receive(id, &keepalive())),
        "up; UPDATE; UPDATE"
    );
    assert_eq!(summary(&driven.feed(Input::Closed(id))), "down(lost)");
    assert_eq!(driven.session.state(), State::Active);
    assert_eq!(summary(&driven.wait(Duration::from_secs(3600))), "");
}

#[test]
fn a_newer_connection_of_the_neighbor_replaces_the_older() {
    let mut driven = Driven::new(SessionConfig {
        passive: true,
        ..config()
    });
    driven.feed(Input::Start);
    let (first, _) = driven.accept();
    let (second, effects) = driven.accept();
    assert_eq!(summary(&effects), "6/7; close; collision; OPEN");
    assert_eq!(summary(&driven.receive(first, &neighbor_open())), "");
    driven.receive(second, &neighbor_open());
    assert_eq!(
        summary(&driven.receive(second, &keepalive())),
        "up; UPDATE; UPDATE"
    );
}

/// RFC 4271 §6.8, RFC 6286 §2.3: our identifier is 192.0.2.2 and our AS 65140.
#[test]
fn a_collision_leaves_the_connection_of_the_higher_identifier() {
    // Row, neighbor's identifier, neighbor's AS, our dial stays.
    let rows = [
        ("higher identifier is ours", "c0000201", 65070_u32, true),
        (
            "higher identifier is the neighbor's",
            "c0000203",
            65070,
            false,
        ),
        (
            "compared as numbers, first octet first",
            "c1000001",
            65070,
            false,
        ),
        (
            "equal identifiers, higher AS is ours",
            "c0000202",
            65070,
            true,
        ),
        (
            "equal identifiers, higher AS is the neighbor's",
            "c0000202",
            70000,
            false,
        ),
    ];
    for (row, identifier, asn, ours_stays) in rows {
        for ours_first in [true, false] {
            let mut driven = Driven::new(SessionConfig {
                remote_as: asn,
                ..config()
            });
            driven.feed(Input::Start);
            let (accepted, _) = driven.accept();
            let dialed = ConnectionId(0);
            driven.feed(Input::Connected(dialed));
            let two_octets = u16::try_from(asn).unwrap_or(23456);
            let body = format!(
                "04 {two_octets:04x} 005a {identifier} 0e 02 0c 0104 00010085 4104 {asn:08x}"
            );
            let open = message(1, &body);
            let (first, second) = if ours_first {
                (dialed, accepted)
            } else {
                (accepted, dialed)
            };
            assert_eq!(summary(&driven.receive(first, &open)), "KEEPALIVE", "{row}");
            let effects = driven.receive(second, &open);
            let (stays, goes) = if ours_stays {
                (dialed, accepted)
            } else {
                (accepted, dialed)
            };
            assert!(effects.contains(&Effect::Close(goes)), "{row}: {effects:?}");
            assert!(
                !effects.contains(&Effect::Close(stays)),
                "{row}: {effects:?}"
            );
            assert!(
                summary(&effects).starts_with("6/7; close; collision"),
                "{row}"
            );
            assert_eq!(
                summary(&driven.receive(stays, &keepalive())),
                "up; UPDATE",
                "{row}"
            );
            assert_eq!(
                driven.session.negotiated().map(|n| n.connection),
                Some(stays),
                "{row}"
            );
        }
    }
}

#[test]
fn a_session_that_comes_up_ends_the_rival_and_the_dial() {
    let (mut driven, dialed) = Driven::in_state(config(), State::OpenConfirm);
    let (accepted, _) = driven.accept();
    let effects = driven.receive(dialed, &keepalive());
    assert_eq!(
        summary(&effects),
        "6/7; close; collision; up; UPDATE; UPDATE"
    );
    assert!(effects.contains(&Effect::Close(accepted)));

    let (mut driven, _) = Driven::in_state(config(), State::Connect);
    let (accepted, _) = driven.accept();
    driven.receive(accepted, &neighbor_open());
    let effects = driven.receive(accepted, &keepalive());
    assert_eq!(summary(&effects), "cancel; up; UPDATE; UPDATE");
    // The dial may have succeeded before the driver cancelled it.
    assert_eq!(
        summary(&driven.feed(Input::Connected(ConnectionId(0)))),
        "close"
    );
}

#[test]
fn the_loss_of_one_of_two_connections_leaves_the_other() {
    let (mut driven, dialed) = Driven::in_state(config(), State::OpenSent);
    let (accepted, _) = driven.accept();
    assert_eq!(
        summary(&driven.receive(accepted, &keepalive())),
        "5/1 04; close; rejected"
    );
    assert_eq!(driven.session.state(), State::OpenSent);
    assert_eq!(
        summary(&driven.receive(dialed, &neighbor_open())),
        "KEEPALIVE"
    );
}
