//! What each message of the neighbor's does.

use std::time::Instant;

use super::connection::Phase;
use super::fsm::{Session, count_message};
use super::{
    ConnectionId, Effect, Negotiated, RefreshMarker, SessionEvent, State, negotiate, notification,
};
use crate::wire::error::{Consequence, Notification, WireError, update_error};
use crate::wire::iana::AfiSafi;
use crate::wire::message::{self, MAX_EXTENDED_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH, Message};
use crate::wire::open::Open;
use crate::wire::update;

/// Subtypes of ROUTE-REFRESH (RFC 7313 §3.2).
const REQUEST: u8 = 0;
/// BoRR.
const BEGIN: u8 = 1;
/// EoRR.
const END: u8 = 2;

impl Session {
    /// Takes octets and handles every message that they complete.
    pub(super) fn received(&mut self, now: Instant, id: ConnectionId, octets: &[u8]) {
        // In portions, because `split` moves what is left of the buffer after each message.
        for portion in octets.chunks(MAX_MESSAGE_LENGTH) {
            if let Some(connection) = self.connection_mut(id) {
                connection.buffer.extend_from_slice(portion);
            }
            self.take_messages(now, id);
        }
    }

    /// Handles every message that is complete.
    fn take_messages(&mut self, now: Instant, id: ConnectionId) {
        // A message may close the connection: look it up anew for each.
        while let Some(connection) = self.connection_mut(id) {
            match message::split(&mut connection.buffer, connection.max_length) {
                Ok(None) => return,
                Ok(Some(message)) => self.message(now, id, message),
                Err(error) => self.malformed(now, id, error),
            }
            self.report_state();
        }
    }

    /// Handles one message.
    fn message(&mut self, now: Instant, id: ConnectionId, message: Message) {
        count_message(&mut self.statistics.received, &message);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let state = connection.state();
        match (state, message) {
            (_, Message::Notification(notification)) => self.notified(now, id, notification),
            (State::OpenSent, Message::Open(open)) => self.open_received(now, id, open),
            (State::OpenConfirm, Message::Keepalive) => self.establish(now, id),
            (State::Established, Message::Keepalive) => connection.restart_hold(now),
            (State::Established, Message::Update(body)) => self.update_received(now, id, &body),
            (State::Established, Message::RouteRefresh { family, subtype }) => {
                self.refresh_received(now, id, family, subtype);
            }
            (_, message) => {
                let reason = format!("{} is not expected in {state:?}", name(&message));
                self.refuse(
                    now,
                    id,
                    notification::unexpected_message(state, &message),
                    reason,
                );
            }
        }
    }

    /// The neighbor's OPEN: refused, or the loser of a collision, or answered with KEEPALIVE.
    fn open_received(&mut self, now: Instant, id: ConnectionId, open: Open) {
        let winner = negotiate::collision_winner(&self.config, &open);
        let negotiated = match negotiate::negotiate(&self.config, id, open) {
            Ok(negotiated) => negotiated,
            Err(refusal) => return self.refuse(now, id, refusal.notification, refusal.reason),
        };
        let rival = self
            .connections
            .iter()
            .find(|other| other.state() == State::OpenConfirm);
        if let Some((rival_id, rival_wins)) =
            rival.map(|rival| (rival.id, rival.direction == winner))
        {
            self.lose_collision(if rival_wins { id } else { rival_id });
        }
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.phase = Phase::OpenConfirm(negotiated);
        connection.restart_hold(now);
        // We announced that we take them, so the neighbor may send them whether it takes them or
        // not (RFC 8654 §4).
        connection.max_length = MAX_EXTENDED_MESSAGE_LENGTH;
        self.send(now, id, &Message::Keepalive);
    }

    /// An UPDATE: what can be saved of it goes to the driver.
    fn update_received(&mut self, now: Instant, id: ConnectionId, body: &[u8]) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.restart_hold(now);
        let Some(context) = connection.negotiated().map(Negotiated::decode_context) else {
            return;
        };
        match update::decode(body, &context) {
            Ok(update) => {
                if update.end_of_rib.is_some_and(|family| context.has(family)) {
                    connection.end_of_rib.extend(update.end_of_rib);
                }
                self.effect(Effect::Update(Box::new(update)));
            }
            Err(error) => self.malformed(now, id, error),
        }
    }

    /// ROUTE-REFRESH of a family in use: a request, or a marker of RFC 7313. All else is ignored,
    /// unknown subtypes too (§5).
    fn refresh_received(&mut self, now: Instant, id: ConnectionId, family: AfiSafi, subtype: u8) {
        let announces = self.config.announces;
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(negotiated) = connection.negotiated() else {
            return;
        };
        if !negotiated.afi_safis().any(|used| used == family) {
            return;
        }
        // §4: while the initial routes after a restart are still coming, markers mean nothing.
        let has_initial_routes =
            !negotiated.restart.sends_end_of_rib || connection.end_of_rib.contains(&family);
        let takes_markers = negotiated.enhanced_refresh && has_initial_routes;
        let marks_answers = negotiated.enhanced_refresh && !announces;
        match subtype {
            REQUEST => {
                self.event(SessionEvent::RefreshRequested(family));
                // §4: an answer stands between two markers, also one without routes.
                for subtype in [BEGIN, END].into_iter().filter(|_| marks_answers) {
                    self.send(now, id, &Message::RouteRefresh { family, subtype });
                }
            }
            BEGIN if takes_markers => {
                connection.refreshing.insert(family);
                self.effect(Effect::Refresh(family, RefreshMarker::Begin));
            }
            END if takes_markers && connection.refreshing.remove(&family) => {
                self.effect(Effect::Refresh(family, RefreshMarker::End));
            }
            _ => {}
        }
    }

    /// A message that resets the session.
    fn malformed(&mut self, now: Instant, id: ConnectionId, error: WireError) {
        let notification = match &error.consequence {
            Consequence::SessionReset(notification) => notification.clone(),
            // `wire` keeps these for errors that stand in an `Update`.
            Consequence::TreatAsWithdraw
            | Consequence::AttributeDiscard
            | Consequence::NlriIgnored => Notification {
                code: update_error::CODE,
                subcode: update_error::ATTRIBUTE_LIST,
                data: Vec::new(),
            },
        };
        let reason = error.to_string();
        self.event(SessionEvent::Malformed(error));
        self.refuse(now, id, notification, reason);
    }
}

/// A message's name in the RFCs.
fn name(message: &Message) -> &'static str {
    match message {
        Message::Open(_) => "OPEN",
        Message::Update(_) => "UPDATE",
        Message::Notification(_) => "NOTIFICATION",
        Message::Keepalive => "KEEPALIVE",
        Message::RouteRefresh { .. } => "ROUTE-REFRESH",
    }
}
