//! Messages of BGP.

use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::wire::error::{Consequence, WireError};
use flowacl::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH, Message, split};
use flowacl::wire::open;
use flowacl::wire::update::{DecodeContext, decode};

use crate::flows::{check_flow, check_reason};

/// The body of an OPEN.
pub fn open(octets: &[u8]) {
    match open::decode(octets) {
        Ok(open) => {
            assert!(!matches!(open.hold_time_secs, 1 | 2));
            assert!(open.asn != 0 && !open.router_id.is_unspecified());
            assert_eq!(open::decode(&open.encode()), Ok(open));
        }
        Err(error) => check_reset(&error, 2, octets.len()),
    }
}

/// An error that ends the session with this code, at a place that exists.
fn check_reset(error: &WireError, code: u8, length: usize) {
    let Consequence::SessionReset(notification) = &error.consequence else {
        panic!("{error}")
    };
    assert_eq!(notification.code, code, "{error}");
    assert!(error.offset <= length, "{error}");
    check_reason(&error.reason);
}

/// The first octet chooses the session's properties, the rest is an UPDATE body.
pub fn update(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else {
        return;
    };
    let families = FlowFamily::ALL.map(FlowFamily::afi_safi).into_iter();
    let all = families.chain(UnicastFamily::ALL.map(UnicastFamily::afi_safi));
    let add_path: Vec<AfiSafi> = all.filter(|_| choice & 8 != 0).collect();
    let context = DecodeContext {
        add_path,
        four_octet_as: choice & 1 != 0,
        ibgp: choice & 2 != 0,
        families: FlowFamily::ALL.to_vec(),
        unicast: if choice & 4 != 0 {
            UnicastFamily::ALL.to_vec()
        } else {
            Vec::new()
        },
    };
    let update = match decode(body, &context) {
        Ok(update) => update,
        Err(error) => return check_reset(&error, 3, body.len()),
    };
    for error in &update.errors {
        assert_ne!(error.consequence.name(), "session-reset", "{error}");
        assert!(error.offset <= body.len(), "{error}");
        check_reason(&error.reason);
    }
    let attributes = &update.attributes;
    let (extended, ipv6) = (
        &attributes.extended_communities,
        &attributes.ipv6_extended_communities,
    );
    let actions = TrafficFilteringActions::from_communities(extended, ipv6)
        .expect("actions that cannot be decoded make the UPDATE malformed");
    for path in &update.announced {
        check_flow(&path.route, &actions);
        assert!(!update.withdrawn.contains(path));
        assert!(path.id == 0 || !context.add_path.is_empty());
    }

    // What we send of it is understood as it was meant.
    let (messages, left_out) = update.encode(&context, MAX_EXTENDED_MESSAGE_LENGTH);
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    for mut message in messages {
        let message = split(&mut message, MAX_EXTENDED_MESSAGE_LENGTH);
        let Ok(Some(Message::Update(body))) = message else {
            panic!("{message:?}")
        };
        let again = decode(&body, &context).expect("we send no malformed UPDATE");
        assert_eq!(again.errors, []);
        if !again.announced.is_empty() {
            assert_eq!(again.attributes.extended_communities, *extended);
            assert_eq!(again.attributes.ipv6_extended_communities, *ipv6);
        }
        announced.extend(again.announced);
        withdrawn.extend(again.withdrawn);
    }
    let all = [announced, withdrawn, left_out].concat();
    let count = update.announced.len() + update.withdrawn.len();
    assert_eq!(all.len(), count, "a route is missing or sent twice");
    let sent: std::collections::HashSet<_> = all.into_iter().collect();
    assert!(
        update
            .announced
            .iter()
            .chain(&update.withdrawn)
            .all(|nlri| sent.contains(nlri))
    );
}

/// A stream of messages: in portions of the size that the first octet says, and as a whole.
pub fn message_stream(octets: &[u8]) {
    let Some((portion, stream)) = octets.split_first() else {
        return;
    };
    let portion = usize::from(*portion).max(1);
    let whole = messages(stream, stream.len().max(1));
    assert_eq!(messages(stream, portion), whole, "portions of {portion}");
    for message in whole.0 {
        if let Message::Notification(notification) = &message {
            assert!(!notification.to_string().contains('\n'), "{notification}");
        }
        let again = split(&mut message.encode(), MAX_MESSAGE_LENGTH);
        assert_eq!(again, Ok(Some(message)));
    }
}

/// All messages of a stream, and the error that ends it.
fn messages(stream: &[u8], portion: usize) -> (Vec<Message>, Option<WireError>) {
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for portion in stream.chunks(portion) {
        buffer.extend_from_slice(portion);
        loop {
            match split(&mut buffer, MAX_MESSAGE_LENGTH) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.consequence.name(), "session-reset");
                    check_reason(&error.reason);
                    return (messages, Some(error));
                }
            }
        }
        assert!(
            buffer.len() < MAX_MESSAGE_LENGTH,
            "more is kept than a message"
        );
    }
    (messages, None)
}
