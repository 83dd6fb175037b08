//! What happens while a session is up: UPDATE, ROUTE-REFRESH, long messages, the end.

use super::*;
use crate::wire::error::Notification;
use crate::wire::nlri::Nlri;
use crate::wire::update::Update;

/// The updates among some effects.
fn updates(effects: &[Effect]) -> Vec<&Update> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Update(update) => Some(&**update),
            _ => None,
        })
        .collect()
}

/// UPDATE that announces `10.0.0.0/8 port 53`, with a LOCAL_PREF that has no place between two AS.
fn announcement() -> Vec<u8> {
    update("400101 00  400200  400504 00000064  800e 0c 0001 85 00 00 06 01080a 048135")
}

#[test]
fn an_update_is_decoded_in_the_context_of_the_session() {
    let (mut driven, id) = Driven::established(config());
    let effects = driven.receive(id, &announcement());
    let [update] = updates(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(update.announced.len(), 1);
    assert_eq!(update.announced[0].route.value(), octets("01080a 048135"));
    assert_eq!(
        update.attributes.local_pref, None,
        "LOCAL_PREF from another AS is dropped"
    );
}

#[test]
fn messages_may_arrive_in_any_portions() {
    let stream = [
        neighbor_open(),
        keepalive(),
        announcement(),
        keepalive(),
        announcement(),
    ]
    .concat();
    for size in [1, 2, 3, 7, 18, 19, 20, 64, stream.len()] {
        let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
        let mut effects = Vec::new();
        for portion in stream.chunks(size) {
            effects.extend(driven.receive(id, portion));
        }
        assert_eq!(updates(&effects).len(), 2, "portions of {size}");
        assert_eq!(
            driven.session.state(),
            State::Established,
            "portions of {size}"
        );
    }
}

#[test]
fn nothing_is_heard_after_the_end() {
    let (mut driven, id) = Driven::established(config());
    let stream = [announcement(), notification(6, 2), announcement()].concat();
    assert_eq!(
        summary(&driven.receive(id, &stream)),
        "update; close; down(received)"
    );
    assert_eq!(summary(&driven.receive(id, &announcement())), "");
    assert_eq!(summary(&driven.feed(Input::Closed(id))), "");
}

#[test]
fn an_update_that_can_be_saved_is_passed_on_with_its_errors() {
    let (mut driven, id) = Driven::established(config());
    // The components of the second NLRI are out of order: both are withdrawn (RFC 7606 §2).
    let octets = update(
        "400101 00  400200  \
         800e 16 0001 85 00 00  06 01080a 048135  09 048135 038111 01080a",
    );
    let effects = driven.receive(id, &octets);
    let [update] = updates(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(update.announced.is_empty());
    assert_eq!(update.errors.len(), 1);
    assert_eq!(driven.session.state(), State::Established);
}

#[test]
fn an_update_that_cannot_be_walked_resets_the_session() {
    let (mut driven, id) = Driven::established(config());
    let effects = driven.receive(id, &message(2, "0000 ffff"));
    assert_eq!(summary(&effects), "malformed; 3/1; close; down(sent)");
    let Some(Effect::Down(DownReason::Sent(sent, reason), _)) = effects
        .iter()
        .find(|effect| matches!(effect, Effect::Down(..)))
    else {
        panic!("{effects:?}");
    };
    assert_eq!(
        *sent,
        Notification {
            code: 3,
            subcode: 1,
            data: vec![]
        }
    );
    assert!(!reason.is_empty());
}

#[test]
fn end_of_rib_follows_up_unless_the_driver_announces() {
    let (mut driven, id) = Driven::in_state(config(), State::OpenConfirm);
    let effects = driven.receive(id, &keepalive());
    let sends: Vec<&Effect> = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Send(..)))
        .collect();
    let end_of_rib = |family: &str| update(&format!("800f03 {family}"));
    assert_eq!(
        sends,
        [
            &Effect::Send(id, end_of_rib("000185")),
            &Effect::Send(id, end_of_rib("000285"))
        ]
    );
    let announcing = SessionConfig {
        announces: true,
        ..config()
    };
    let (mut driven, id) = Driven::in_state(announcing, State::OpenConfirm);
    assert_eq!(summary(&driven.receive(id, &keepalive())), "up");
}

#[test]
fn route_refresh_is_heard_for_families_in_use_and_its_markers_are_ignored() {
    let rows = [
        ("family in use", "0001 00 85", "refresh"),
        ("family not in use", "0001 00 01", ""),
        ("begin of refresh (RFC 7313)", "0001 01 85", ""),
        ("end of refresh (RFC 7313)", "0001 02 85", ""),
        ("reserved subtype", "0001 ff 85", ""),
    ];
    for (row, body, expected) in rows {
        let (mut driven, id) = Driven::established(config());
        assert_eq!(
            summary(&driven.receive(id, &message(5, body))),
            expected,
            "{row}"
        );
        assert_eq!(driven.session.state(), State::Established, "{row}");
    }
}

#[test]
fn route_refresh_is_sent_when_the_neighbor_can() {
    let (mut driven, id) = Driven::established(config());
    let effects = driven.feed(Input::RequestRefresh(FlowFamily::Ipv6Flow));
    assert_eq!(effects, [Effect::Send(id, message(5, "0002 00 85"))]);
    assert_eq!(
        driven.feed(Input::RequestRefresh(FlowFamily::Ipv4FlowVpn)),
        []
    );

    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    assert_eq!(driven.feed(Input::RequestRefresh(FlowFamily::Ipv4Flow)), []);
    driven.receive(
        id,
        &message(1, "04 fe2e 005a c0000201 08 02 06 0104 00010085"),
    );
    driven.receive(id, &keepalive());
    assert_eq!(driven.feed(Input::RequestRefresh(FlowFamily::Ipv4Flow)), []);
}

#[test]
fn long_messages_are_taken_after_open_and_refused_before() {
    // End-of-RIB, and an unknown attribute that fills the message.
    let filling = "00".repeat(4967);
    let long = update(&format!("800f03 000185  d0fa 1367 {filling}"));
    assert_eq!(long.len(), 5000);
    let (mut driven, id) = Driven::established(config());
    assert_eq!(updates(&driven.receive(id, &long)).len(), 1);

    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    assert_eq!(
        summary(&driven.receive(id, &long)),
        "malformed; 1/2 1388; close; rejected"
    );
}

#[test]
fn a_long_open_or_keepalive_is_refused_at_any_time() {
    let (mut driven, id) = Driven::established(config());
    assert_eq!(
        summary(&driven.receive(id, &message(1, &"00".repeat(4100)))),
        "malformed; 1/2 1017; close; down(sent)"
    );
    let (mut driven, id) = Driven::established(config());
    assert_eq!(
        summary(&driven.receive(id, &message(4, "00"))),
        "malformed; 1/2 0014; close; down(sent)"
    );
}

#[test]
fn stop_tells_the_neighbor_why_in_at_most_255_octets() {
    let long = "ä".repeat(200);
    let cut = format!("6/4 fe{}", hex::encode("ä".repeat(127)));
    let rows = [
        ("text", 2, "bye", "6/2 03627965"),
        ("no text", 2, "", "6/2"),
        ("reset, cut at a character", 4, long.as_str(), cut.as_str()),
        ("a subcode without room for text", 3, "bye", "6/3"),
    ];
    for (row, subcode, text, sent) in rows {
        let (mut driven, _) = Driven::established(config());
        let effects = driven.feed(Input::Stop {
            subcode,
            message: text.to_owned(),
        });
        assert_eq!(
            summary(&effects),
            format!("{sent}; close; down(stopped)"),
            "{row}"
        );
        assert_eq!(driven.session.next_deadline(), None, "{row}");
    }
}

#[test]
fn updates_are_not_sent_before_the_session_is_up() {
    let update = Update {
        end_of_rib: Some(FlowFamily::Ipv4Flow.afi_safi()),
        ..Default::default()
    };
    for state in [
        State::Idle,
        State::Connect,
        State::Active,
        State::OpenSent,
        State::OpenConfirm,
    ] {
        let (mut driven, _) = Driven::in_state(config(), state);
        assert_eq!(
            driven.feed(Input::SendUpdate(Box::new(update.clone()))),
            [],
            "{state:?}"
        );
    }
}

#[test]
fn a_route_that_fits_no_message_is_reported_and_the_others_are_sent() {
    let nlri =
        |value: &str| Nlri::decode(FlowFamily::Ipv4Flow, &octets(value)).expect("well-formed");
    let short = nlri("01080a 048135");
    let long = nlri(&format!("04 {} 8135", "0135".repeat(2043)));
    let both = Update {
        announced: vec![long.clone().into(), short.into()],
        ..Default::default()
    };
    let rows = [
        ("4,096 octets", "", "not sent; UPDATE"),
        ("65,535 octets", "0600", "UPDATE"),
    ];
    for (row, extended, expected) in rows {
        let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
        driven.receive(id, &open_with(&format!("0104 00010085 {extended}")));
        driven.receive(id, &keepalive());
        let effects = driven.feed(Input::SendUpdate(Box::new(both.clone())));
        assert_eq!(summary(&effects), expected, "{row}");
        let reported = Effect::Event(SessionEvent::NotSent(vec![long.clone().into()]));
        assert_eq!(
            effects.contains(&reported),
            expected.starts_with("not sent"),
            "{row}"
        );
    }
}

#[test]
fn messages_are_counted_by_type_and_direction() {
    let (mut driven, id) = Driven::established(config());
    driven.receive(
        id,
        &[announcement(), announcement(), message(5, "0001 00 85")].concat(),
    );
    driven.feed(Input::RequestRefresh(FlowFamily::Ipv4Flow));
    driven.receive(id, &notification(6, 2));
    let statistics = driven.session.statistics();
    let received = statistics.received;
    assert_eq!(
        (received.open, received.keepalive, received.update),
        (1, 1, 2)
    );
    assert_eq!((received.route_refresh, received.notification), (1, 1));
    let sent = statistics.sent;
    assert_eq!((sent.open, sent.keepalive, sent.update), (1, 1, 2));
    assert_eq!((sent.route_refresh, sent.notification), (1, 0));
    assert_eq!((statistics.ups, statistics.downs), (1, 1));
    assert_eq!((received.total(), sent.total()), (6, 5));
}
