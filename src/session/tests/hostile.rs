//! No sequence of inputs makes a session panic, lose its place or keep more than one message.

use proptest::prelude::*;

use super::monitor::Monitor;
use super::*;
use crate::wire::message::MAX_EXTENDED_MESSAGE_LENGTH;

/// Octets that a neighbor might send: whole messages, damaged ones, noise.
fn received() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just(neighbor_open()),
        Just(keepalive()),
        Just(update("800f03 000185")),
        Just(message(5, "0001 00 85")),
        Just(notification(6, 7)),
        Just(notification(2, 7)),
        Just([neighbor_open(), keepalive()].concat()),
    ];
    let damaged = (whole.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut octets, at, value)| {
            let at = at.index(octets.len());
            octets[at] = value;
            octets
        },
    );
    let cut = (whole.clone(), any::<prop::sample::Index>()).prop_map(|(mut octets, at)| {
        octets.truncate(at.index(octets.len()));
        octets
    });
    let body = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(message_type, body)| message(message_type % 7, &hex::encode(body)));
    let noise = prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![6 => whole, 2 => damaged, 1 => cut, 1 => body, 1 => noise]
}

/// Any input, about one of few connections.
fn input() -> impl Strategy<Value = Input> {
    let id = (0_u64..4).prop_map(ConnectionId);
    prop_oneof![
        2 => Just(Input::Start),
        1 => (any::<u8>(), ".{0,300}")
            .prop_map(|(subcode, message)| Input::Stop { subcode, message }),
        4 => id.clone().prop_map(Input::Connected),
        2 => id.clone().prop_map(Input::ConnectFailed),
        3 => id.clone().prop_map(Input::Accepted),
        12 => (id.clone(), received()).prop_map(|(id, octets)| Input::Received(id, octets)),
        2 => id.prop_map(Input::Closed),
        4 => Just(Input::Tick),
        1 => Just(Input::RequestRefresh(FlowFamily::Ipv4Flow)),
        1 => Just(Input::SendUpdate(Box::default())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_input_in_any_state_is_survived(
        inputs in prop::collection::vec((input(), 0_u64..300), 1..60),
        passive: bool,
    ) {
        let mut driven = Driven::new(SessionConfig { passive, ..config() });
        for (input, secs) in inputs {
            driven.now += Duration::from_secs(secs);
            driven.feed(input);
            prop_assert!(driven.session.connections.len() <= 2);
            for connection in &driven.session.connections {
                prop_assert!(connection.buffer.len() < MAX_EXTENDED_MESSAGE_LENGTH);
            }
        }
    }

    /// A driver that keeps to its contract: numbers come from the session, closed connections stay
    /// closed.
    #[test]
    fn ups_and_downs_alternate_and_closed_connections_stay_closed(
        steps in prop::collection::vec((0_u8..12, received(), 0_u64..100), 1..80),
        passive: bool,
    ) {
        let mut driven = Driven::new(SessionConfig { passive, ..config() });
        let mut monitor = Monitor::default();
        let mut dialed = None;
        let mut known = Vec::new();
        for (step, octets, secs) in steps {
            driven.now += Duration::from_secs(secs);
            let some = known.get(secs as usize % known.len().max(1)).copied();
            let input = match (step, dialed, some) {
                (0, ..) => Input::Start,
                (1, ..) if secs < 20 => Input::Stop { subcode: 2, message: String::new() },
                (2 | 3, Some(id), _) => Input::Connected(id),
                (4, Some(id), _) => Input::ConnectFailed(id),
                (5, ..) => Input::Accepted(driven.session.new_connection_id()),
                (6, _, Some(id)) => Input::Closed(id),
                (7..=10, _, Some(id)) => Input::Received(id, octets),
                _ => Input::Tick,
            };
            monitor.input(&input);
            match &input {
                Input::Connected(id) | Input::Accepted(id) => known.push(*id),
                Input::Closed(id) => known.retain(|other| other != id),
                _ => {}
            }
            if matches!(input, Input::Connected(_) | Input::ConnectFailed(_)) {
                dialed = None;
            }
            for effect in driven.feed(input) {
                monitor.effect(&effect);
                match effect {
                    Effect::Connect(id) => dialed = Some(id),
                    Effect::CancelConnect(_) => dialed = None,
                    Effect::Close(id) => known.retain(|other| *other != id),
                    _ => {}
                }
            }
            monitor.settled(&driven.session);
        }
    }
}
