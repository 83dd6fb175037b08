//! What each fuzz target does with its octets. Beside not panicking, everything decoded must keep its promises.

use dataplane::packet::Packet;
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::precedence::precedence_key;
use flowacl::flowspec::text::{format_flow, parse_flows};
use flowacl::wire::cursor::Cursor;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH, split};
use flowacl::wire::nlri::Nlri;
use flowacl::wire::update::{DecodeContext, decode};

/// The first octet chooses the family, the rest is a field of NLRI.
pub fn nlri(octets: &[u8]) {
    let Some((choice, field)) = octets.split_first() else {
        return;
    };
    let family = FlowFamily::ALL[usize::from(*choice) % FlowFamily::ALL.len()];
    let mut cursor = Cursor::new(field, 0);
    while let Ok(nlri) = Nlri::read(family, &mut cursor) {
        match nlri {
            Ok(nlri) => check_nlri(&nlri),
            Err(error) => drop(error.to_string()),
        }
        if cursor.is_empty() {
            break;
        }
    }
}

/// Encoding, components and text all lead back to the same NLRI; compiling it is total.
fn check_nlri(nlri: &Nlri) {
    let encoded = nlri.encoded();
    let mut cursor = Cursor::new(&encoded, 0);
    assert_eq!(Nlri::read(nlri.family(), &mut cursor), Ok(Ok(nlri.clone())));
    assert!(cursor.is_empty());

    let rebuilt = Nlri::new(
        nlri.family(),
        nlri.route_distinguisher(),
        &nlri.components(),
    );
    assert_eq!(rebuilt.as_ref(), Ok(nlri));

    let actions = TrafficFilteringActions::default();
    let text = format_flow(nlri, &actions);
    let parsed = parse_flows(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert_eq!(
        parsed.iter().map(|flow| &flow.nlri).collect::<Vec<_>>(),
        [nlri],
        "{text}"
    );

    assert!(!precedence_key(nlri).is_empty());
    let lowered = lower(nlri, &actions, dataplane::rule::RuleId(1));
    assert_eq!(lowered.is_err(), nlri.family().is_vpn());
}

/// The first octet chooses the session's properties, the rest is an UPDATE body.
pub fn update(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else {
        return;
    };
    let context = DecodeContext {
        four_octet_as: choice & 1 != 0,
        ibgp: choice & 2 != 0,
        families: FlowFamily::ALL.to_vec(),
    };
    let update = match decode(body, &context) {
        Ok(update) => update,
        Err(error) => {
            assert_eq!(error.consequence.name(), "session-reset");
            assert!(error.offset <= body.len(), "{error}");
            return;
        }
    };
    for error in &update.errors {
        assert_ne!(error.consequence.name(), "session-reset", "{error}");
        assert!(error.offset <= body.len(), "{error}");
    }
    update.announced.iter().for_each(check_nlri);
    assert!(
        update
            .withdrawn
            .iter()
            .all(|nlri| !update.announced.contains(nlri))
    );

    // What we send of it is understood as it was meant.
    let (messages, left_out) = update.encode(&context, MAX_EXTENDED_MESSAGE_LENGTH);
    let mut announced = Vec::new();
    for mut message in messages {
        let message = split(&mut message, MAX_EXTENDED_MESSAGE_LENGTH);
        let Ok(Some(flowacl::wire::message::Message::Update(body))) = message else {
            panic!("{message:?}")
        };
        let again = decode(&body, &context).expect("we send no malformed UPDATE");
        assert_eq!(again.errors, []);
        if !again.announced.is_empty() {
            assert_eq!(
                again.attributes.extended_communities,
                update.attributes.extended_communities
            );
        }
        announced.extend(again.announced);
    }
    announced.extend(left_out);
    announced.sort();
    let mut wanted = update.announced;
    wanted.sort();
    announced.retain(|nlri| wanted.contains(nlri));
    assert_eq!(announced, wanted);
}

/// A stream of messages, in portions of the size that the first octet says.
pub fn message_stream(octets: &[u8]) {
    let Some((portion, stream)) = octets.split_first() else {
        return;
    };
    let mut buffer = Vec::new();
    for portion in stream.chunks(usize::from(*portion).max(1)) {
        buffer.extend_from_slice(portion);
        loop {
            match split(&mut buffer, MAX_MESSAGE_LENGTH) {
                Ok(Some(message)) => {
                    let mut again = message.encode();
                    assert_eq!(split(&mut again, MAX_MESSAGE_LENGTH), Ok(Some(message)));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.consequence.name(), "session-reset");
                    return;
                }
            }
        }
        assert!(
            buffer.len() < MAX_MESSAGE_LENGTH,
            "more is kept than a message"
        );
    }
}

/// Flow Specifications as text.
pub fn flow_text(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    for flow in parse_flows(text).unwrap_or_default() {
        check_nlri(&flow.nlri);
    }
}

/// An IP packet, and the same octets as a description of one.
pub fn packet(octets: &[u8]) {
    if let Some(packet) = Packet::parse(octets) {
        assert!(!packet.fragment.is_later() || packet.destination_port.is_none());
        // The source port comes first: a header cut short has it alone.
        assert!(packet.destination_port.is_none() || packet.source_port.is_some());
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = Packet::from_text(text);
    }
}
