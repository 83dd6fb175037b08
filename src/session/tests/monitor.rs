//! What must hold for the effects of any session, whatever its inputs were.

use std::collections::BTreeSet;

use super::*;

/// Watches the effects of one session.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// Dials that were neither answered nor cancelled.
    dialing: BTreeSet<ConnectionId>,
    /// Connections that the session has and has not closed.
    open: BTreeSet<ConnectionId>,
    /// The session is up on this connection.
    pub(super) up: Option<ConnectionId>,
    /// The neighbor tells several paths for one NLRI apart.
    several_paths: bool,
    /// UPDATEs since the session came up.
    pub(super) updates: usize,
    /// Times that it came up.
    pub(super) ups: usize,
}

impl Monitor {
    /// Notes what the driver tells the session.
    pub(super) fn input(&mut self, input: &Input) {
        match input {
            Input::Connected(id) => {
                self.dialing.remove(id);
                self.open.insert(*id);
            }
            Input::Accepted(id) => {
                self.open.insert(*id);
            }
            Input::ConnectFailed(id) => {
                self.dialing.remove(id);
            }
            Input::Closed(id) => {
                self.open.remove(id);
                self.dialing.remove(id);
            }
            Input::Start
            | Input::Stop { .. }
            | Input::Received(..)
            | Input::Stalled(_)
            | Input::HeldBack
            | Input::Tick
            | Input::SendUpdate(_)
            | Input::RequestRefresh(_) => {}
        }
    }

    /// Checks what the session wants.
    pub(super) fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Connect(id) => {
                assert!(self.dialing.is_empty(), "dials twice at a time");
                assert!(self.dialing.insert(*id));
            }
            Effect::CancelConnect(id) => {
                assert!(self.dialing.remove(id), "cancels no dial: {id:?}")
            }
            Effect::Send(id, octets) => {
                assert!(
                    self.open.contains(id),
                    "sends on a closed connection: {id:?}"
                );
                assert!(!sent_names(octets).is_empty(), "sends nothing");
            }
            Effect::Close(id) => assert!(self.open.remove(id), "closes twice: {id:?}"),
            Effect::Up(negotiated) => {
                assert_eq!(self.up, None, "up twice");
                assert!(self.open.contains(&negotiated.connection));
                self.up = Some(negotiated.connection);
                self.several_paths = !negotiated.add_path.is_empty();
                self.updates = 0;
                self.ups += 1;
            }
            Effect::Update(update) => {
                assert!(self.up.is_some(), "an UPDATE while the session is down");
                if !update.announced.is_empty() {
                    let ids: Vec<_> = update.announced.iter().map(|path| path.id).collect();
                    let expected = if self.several_paths {
                        vec![1, 2]
                    } else {
                        vec![0]
                    };
                    assert_eq!(ids, expected);
                }
                self.updates += 1;
            }
            Effect::Down(reason, retained) => {
                assert!(self.up.take().is_some(), "down without up");
                for retained in retained {
                    assert!(!retained.time.is_zero() || !retained.long_lived.is_zero());
                    assert!(retained.at_most >= retained.time);
                    let held = retained.cause == Cause::Hold;
                    let stopped = matches!(reason, DownReason::Stopped(_));
                    assert!(!(held && stopped), "held although somebody stopped it");
                    assert!(!held || retained.long_lived.is_zero());
                }
            }
            Effect::Refresh(..) => assert!(self.up.is_some(), "a refresh while it is down"),
            Effect::Event(_) => {}
        }
    }

    /// Checks a session that has nothing more to say.
    pub(super) fn settled(&self, session: &Session) {
        assert_eq!(self.up.is_some(), session.state() == State::Established);
        assert_eq!(
            self.up,
            session.negotiated().map(|negotiated| negotiated.connection)
        );
        assert!(self.open.len() <= 2, "{:?} are open", self.open);
        if let Some(negotiated) = session.negotiated() {
            let may_have_restarted = !negotiated.restart.families.is_empty();
            let most = if may_have_restarted { 2 } else { 1 };
            assert!(
                self.open.len() <= most,
                "an established connection is alone"
            );
            assert!(self.dialing.is_empty(), "dials while it is up");
        }
    }
}
