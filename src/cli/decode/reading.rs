//! What octets turn out to be: routes, the message around them, and what is wrong.

use std::fmt;

use crate::flowspec::action::TrafficFilteringActions;
use crate::wire::cursor::Cursor;
use crate::wire::error::{Consequence, WireError};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::message::{self, MAX_EXTENDED_MESSAGE_LENGTH, Message};
use crate::wire::nlri::Nlri;
use crate::wire::path::{PathId, PathOf};
use crate::wire::update::{self, DecodeContext, Update};

/// What begins every message (RFC 4271 §4.1).
const MARKER: [u8; 16] = [0xff; 16];

/// Octets, understood as far as they can be.
#[derive(Debug)]
pub(super) struct Reading {
    /// What the octets are.
    pub(super) content: Content,
    /// The routes in them.
    pub(super) routes: Vec<Route>,
    /// All that is wrong.
    pub(super) faults: Vec<Fault>,
}

/// What the octets are.
#[derive(Debug)]
pub(super) enum Content {
    /// Bare NLRI.
    Nlri,
    /// An UPDATE, if it could be understood, and the kind of session that it was read for.
    Update(Option<Box<(Update, DecodeContext)>>),
    /// A message of another type, if it could be understood.
    Message(Option<Message>),
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    /// What it matches.
    pub(super) nlri: Nlri,
    /// Which of several paths for it (RFC 7911); 0 where the session has one only.
    pub(super) path_id: PathId,
    /// What it asks for; nothing when it is bare or withdrawn.
    pub(super) actions: TrafficFilteringActions,
    /// It is taken back.
    pub(super) withdrawn: bool,
}

/// Something wrong.
#[derive(Debug)]
pub(super) struct Fault {
    /// RFC 7606's name for what follows.
    pub(super) outcome: &'static str,
    /// What it is, and where.
    pub(super) error: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl From<&WireError> for Fault {
    fn from(error: &WireError) -> Self {
        Self {
            outcome: error.consequence.name(),
            error: format!("{} at offset {}", error.reason, error.offset),
        }
    }
}

impl Fault {
    /// A malformed route: the UPDATE that carries it is treated as withdraw (RFC 8955 §10).
    fn treat_as_withdraw(error: impl fmt::Display) -> Self {
        Self {
            outcome: Consequence::TreatAsWithdraw.name(),
            error: error.to_string(),
        }
    }

    /// Nobody knows where the next field begins.
    fn session_reset(error: impl fmt::Display) -> Self {
        Self {
            outcome: "session-reset",
            error: error.to_string(),
        }
    }
}

impl Reading {
    /// A reading with neither routes nor faults.
    fn of(content: Content) -> Self {
        Self {
            content,
            routes: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// Reads octets: NLRI when their family is given, else a message or the body of an UPDATE. `add_path`: Path Identifiers
/// stand before NLRI.
pub(super) fn read(octets: &[u8], family: Option<FlowFamily>, add_path: bool) -> Reading {
    match family {
        Some(family) => read_nlri(octets, family, add_path),
        None if octets.starts_with(&MARKER) => read_message(octets, add_path),
        None => read_update(octets, add_path),
    }
}

/// Reads NLRI with their length octets, one behind the other.
fn read_nlri(octets: &[u8], family: FlowFamily, add_path: bool) -> Reading {
    let mut reading = Reading::of(Content::Nlri);
    let mut cursor = Cursor::new(octets, 0);
    while !cursor.is_empty() {
        let path_id = match if add_path { cursor.u32() } else { Ok(0) } {
            Ok(path_id) => path_id,
            Err(error) => {
                let reason = format!("Path Identifier: {error}");
                reading.faults.push(Fault::session_reset(reason));
                break;
            }
        };
        match Nlri::read(family, &mut cursor) {
            Ok(Ok(nlri)) => {
                let actions = TrafficFilteringActions::default();
                reading.routes.push(Route {
                    nlri,
                    path_id,
                    actions,
                    withdrawn: false,
                });
            }
            Ok(Err(error)) => reading.faults.push(Fault::treat_as_withdraw(error)),
            Err(error) => {
                reading.faults.push(Fault::session_reset(error));
                break;
            }
        }
    }
    reading
}

/// Reads one whole message.
fn read_message(octets: &[u8], add_path: bool) -> Reading {
    let mut buffer = octets.to_vec();
    let message = match message::split(&mut buffer, MAX_EXTENDED_MESSAGE_LENGTH) {
        Ok(message) => message,
        Err(error) => {
            let mut reading = Reading::of(Content::Message(None));
            reading.faults.push(Fault::from(&error));
            return reading;
        }
    };
    let mut reading = match message {
        Some(Message::Update(body)) => read_update(&body, add_path),
        Some(other) => Reading::of(Content::Message(Some(other))),
        None => {
            let mut reading = Reading::of(Content::Message(None));
            let length = octets.len();
            reading.faults.push(Fault::session_reset(format!(
                "the message is not complete: there are {length} octets of it"
            )));
            return reading;
        }
    };
    if !buffer.is_empty() {
        reading.faults.push(Fault::session_reset(format!(
            "{} octets behind the end of the message",
            buffer.len()
        )));
    }
    reading
}

/// Reads the body of an UPDATE.
///
/// Whether AS numbers have two octets or four, and whether the session is within one AS, does not stand in it: the first
/// reading without faults counts.
fn read_update(body: &[u8], add_path: bool) -> Reading {
    let families = FlowFamily::ALL.into_iter().filter(|_| add_path);
    let add_path: Vec<AfiSafi> = families.map(FlowFamily::afi_safi).collect();
    let context = |four_octet_as, ibgp| DecodeContext {
        four_octet_as,
        ibgp,
        unicast: Vec::new(),
        families: FlowFamily::ALL.to_vec(),
        add_path: add_path.clone(),
    };
    let contexts = [
        context(true, false),
        context(true, true),
        context(false, false),
        context(false, true),
    ];
    contexts
        .map(|context| read_update_for(body, context))
        .into_iter()
        // The first of equals.
        .min_by_key(|reading| reading.faults.len())
        .expect("there are four")
}

/// Reads the body of an UPDATE of one kind of session.
fn read_update_for(body: &[u8], context: DecodeContext) -> Reading {
    let update = match update::decode(body, &context) {
        Ok(update) => update,
        Err(error) => {
            let mut reading = Reading::of(Content::Update(None));
            reading.faults.push(Fault::from(&error));
            return reading;
        }
    };
    let mut faults: Vec<_> = update.errors.iter().map(Fault::from).collect();
    let attributes = &update.attributes;
    let actions = TrafficFilteringActions::from_communities(
        &attributes.extended_communities,
        &attributes.ipv6_extended_communities,
    )
    .unwrap_or_else(|error| {
        faults.push(Fault::treat_as_withdraw(error));
        TrafficFilteringActions::default()
    });
    let announced = update.announced.iter().map(|PathOf { id, route }| Route {
        nlri: route.clone(),
        path_id: *id,
        actions: actions.clone(),
        withdrawn: false,
    });
    let withdrawn = update.withdrawn.iter().map(|PathOf { id, route }| Route {
        nlri: route.clone(),
        path_id: *id,
        actions: TrafficFilteringActions::default(),
        withdrawn: true,
    });
    let routes = announced.chain(withdrawn).collect();
    Reading {
        content: Content::Update(Some(Box::new((update, context)))),
        routes,
        faults,
    }
}
