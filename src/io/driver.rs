//! Drives one sans-IO [`Session`]: carries out its effects on real connections and feeds it what they report.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::connection::{self, Arrival, Inbox, OUTBOX_MESSAGES, Target};
use crate::session::{
    ConnectionId, DownReason, Effect, Input, Negotiated, RefreshMarker, Retained, Session,
    SessionConfig, SessionEvent, State,
};
use crate::wire::iana::AfiSafi;
use crate::wire::update::Update;

/// Reports of connections that may wait. Small: what is not taken stays in the kernel, and TCP slows the neighbor.
const INBOX_REPORTS: usize = 4;

/// How long a stopped session's last messages may take to leave.
const STOP_TIME: Duration = Duration::from_secs(3);

/// Longest time without any write progress when the hold time is 0 (RFC 9687 §4: 8 minutes).
const SEND_HOLD_WITHOUT_HOLD_TIME: Duration = Duration::from_secs(480);

/// What the owner of a driver learns.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The session is up.
    Up(Negotiated),
    /// An UPDATE arrived.
    Update(Box<Update>),
    /// The session, which was up, is down.
    Down(DownReason, Vec<Retained>),
    /// The neighbor begins or ends to send all routes of a family again.
    Refresh(AfiSafi, RefreshMarker),
    /// Something for the log.
    Event(SessionEvent),
    /// TCP failed: the neighbor cannot be reached, or a connection broke.
    Transport(String),
}

/// A session with its connections.
pub(crate) struct Driver {
    session: Session,
    target: Target,
    send_hold: Duration,
    /// Ends of the connections that are open.
    outboxes: HashMap<ConnectionId, mpsc::Sender<Vec<u8>>>,
    /// Dials under way.
    dials: HashMap<ConnectionId, AbortHandle>,
    /// All connections and dials, also those that only linger.
    tasks: JoinSet<()>,
    inbox: mpsc::Receiver<(ConnectionId, Arrival)>,
    /// For new connections.
    inbox_sender: Inbox,
    /// Not yet told to the owner.
    happenings: VecDeque<Happening>,
}

impl Driver {
    /// A driver of a session that has not started.
    pub(crate) fn new(config: SessionConfig, target: Target) -> Self {
        let (inbox_sender, inbox) = mpsc::channel(INBOX_REPORTS);
        let send_hold = match config.hold_time_secs {
            0 => SEND_HOLD_WITHOUT_HOLD_TIME,
            secs => Duration::from_secs(secs.into()),
        };
        Self {
            session: Session::new(config),
            target,
            send_hold,
            outboxes: HashMap::new(),
            dials: HashMap::new(),
            tasks: JoinSet::new(),
            inbox,
            inbox_sender,
            happenings: VecDeque::new(),
        }
    }

    /// The session, to look at.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// True when no connection is open or dialed, and the owner knows all that happened.
    pub(crate) fn is_unconnected(&self) -> bool {
        self.outboxes.is_empty() && self.dials.is_empty() && self.happenings.is_empty()
    }

    /// Gives the session one input and carries out what follows.
    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle(Instant::now(), input);
        self.carry_out_effects();
    }

    /// Hands over a connection that the neighbor opened.
    pub(crate) fn accept(&mut self, stream: TcpStream) {
        if let Err(error) = connection::prepare(&stream, &self.target, self.send_hold) {
            self.trouble(format!("cannot set the options of a connection: {error}"));
            return;
        }
        let id = self.session.new_connection_id();
        self.open(id, stream);
        self.input(Input::Accepted(id));
    }

    /// Waits until another UPDATE can be sent without piling up; at once when the session is down.
    pub(crate) fn ready_to_send(&self) -> impl Future<Output = ()> + use<> {
        let connection = self
            .session
            .negotiated()
            .map(|negotiated| negotiated.connection);
        let outbox = connection.and_then(|id| self.outboxes.get(&id)).cloned();
        async move {
            if let Some(outbox) = outbox {
                // The permits are given back at once: only their being free matters. An error means that the
                // connection has just gone, which `next` will tell.
                let _ = outbox.reserve_many(OUTBOX_MESSAGES / 2).await;
            }
        }
    }

    /// The next thing the owner must know. Cancel-safe.
    ///
    /// With `reading` false nothing is taken from the connections, so that TCP slows the neighbor down; timers run, but a
    /// neighbor whose octets wait is not taken for dead.
    pub(crate) async fn next(&mut self, reading: bool) -> Happening {
        loop {
            if let Some(happening) = self.happenings.pop_front() {
                return happening;
            }
            let deadline = self.session.next_deadline();
            tokio::select! {
                Some((id, arrival)) = self.inbox.recv(), if reading => self.arrived(id, arrival),
                () = at(deadline) => {
                    // What has arrived counts before the time that has passed: after a pause of ours both are ready.
                    if !self.inbox.is_empty() {
                        self.input(Input::HeldBack);
                    }
                    self.input(Input::Tick);
                }
                // Only to forget those that have ended.
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    /// Ends the session with Cease, for good, and waits, not for long, until the neighbor has been told.
    pub(crate) async fn stop(&mut self, subcode: u8, message: &str) {
        self.input(Input::Stop {
            subcode,
            message: message.to_owned(),
        });
        self.outboxes.clear();
        // Connections that wait to report something give up.
        self.inbox.close();
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever does not listen to the end is cut off when the tasks are dropped.
        let _ = timeout(STOP_TIME, all_gone).await;
    }

    /// What the stopped session has left to say.
    pub(crate) fn take_happenings(&mut self) -> impl Iterator<Item = Happening> {
        self.happenings.drain(..)
    }

    /// Tells the session what a connection reports.
    fn arrived(&mut self, id: ConnectionId, arrival: Arrival) {
        match arrival {
            // A dial that was cancelled meanwhile is dropped, and its connection with it.
            Arrival::Dialed(_) if self.dials.remove(&id).is_none() => {}
            Arrival::Dialed(Ok(stream)) => {
                self.open(id, stream);
                self.input(Input::Connected(id));
            }
            Arrival::Dialed(Err(error)) => {
                let hint = self.target.hint(&error);
                self.trouble(format!(
                    "cannot connect to {}: {error}{hint}",
                    self.target.remote
                ));
                self.input(Input::ConnectFailed(id));
            }
            Arrival::Octets(octets) if self.outboxes.contains_key(&id) => {
                self.input(Input::Received(id, octets));
            }
            Arrival::Closed(reason) if self.outboxes.remove(&id).is_some() => {
                let unheard = self.session.state() == State::OpenSent;
                let hint = if unheard {
                    self.target.hint_unheard()
                } else {
                    ""
                };
                self.trouble(format!("connection lost: {reason}{hint}"));
                self.input(Input::Closed(id));
                // That the connection was lost has just been said, with the reason.
                self.happenings.retain(|happening| {
                    !matches!(happening, Happening::Event(SessionEvent::Rejected(rejected, _)) if *rejected == id)
                });
            }
            Arrival::Stalled if self.outboxes.contains_key(&id) => self.input(Input::Stalled(id)),
            // The session has closed this connection already.
            Arrival::Octets(_) | Arrival::Closed(_) | Arrival::Stalled => {}
        }
    }

    /// Carries out all effects that the session has ready.
    fn carry_out_effects(&mut self) {
        let mut given_up = false;
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect(id) => {
                    // A dial in place of another: nobody answers.
                    if given_up {
                        let hint = self.target.hint(&io::ErrorKind::TimedOut.into());
                        self.trouble(format!("no answer from {}{hint}", self.target.remote));
                    }
                    self.dial(id);
                }
                Effect::CancelConnect(id) => {
                    if let Some(dial) = self.dials.remove(&id) {
                        dial.abort();
                        given_up = true;
                    }
                }
                Effect::Send(id, octets) => self.send(id, octets),
                Effect::Close(id) => {
                    self.outboxes.remove(&id);
                }
                Effect::Up(negotiated) => self.happenings.push_back(Happening::Up(negotiated)),
                Effect::Update(update) => self.happenings.push_back(Happening::Update(update)),
                Effect::Down(reason, retained) => {
                    self.happenings.push_back(Happening::Down(reason, retained));
                }
                Effect::Refresh(family, marker) => {
                    self.happenings
                        .push_back(Happening::Refresh(family, marker));
                }
                Effect::Event(event) => self.happenings.push_back(Happening::Event(event)),
            }
        }
    }

    /// Starts to dial.
    fn dial(&mut self, id: ConnectionId) {
        let (inbox, send_hold) = (self.inbox_sender.clone(), self.send_hold);
        let target = self.target.clone();
        let dial = self.tasks.spawn(async move {
            let result = connection::dial(&target, send_hold).await;
            // The driver may have gone: then nobody wants the connection.
            let _ = inbox.send((id, Arrival::Dialed(result))).await;
        });
        self.dials.insert(id, dial);
    }

    /// Starts to move octets.
    fn open(&mut self, id: ConnectionId, stream: TcpStream) {
        let (outbox, due) = mpsc::channel(OUTBOX_MESSAGES);
        self.outboxes.insert(id, outbox);
        let inbox = self.inbox_sender.clone();
        self.tasks
            .spawn(connection::run(id, stream, due, inbox, self.send_hold));
    }

    /// Queues octets. Cuts off a neighbor that has too many waiting.
    fn send(&mut self, id: ConnectionId, octets: Vec<u8>) {
        let Some(outbox) = self.outboxes.get(&id) else {
            return;
        };
        if outbox.try_send(octets).is_err() {
            self.outboxes.remove(&id);
            self.trouble("connection given up: the neighbor does not read".into());
            // The effects of this input are appended to those being carried out.
            self.session.handle(Instant::now(), Input::Closed(id));
        }
    }

    /// Notes that TCP failed.
    fn trouble(&mut self, reason: String) {
        self.happenings.push_back(Happening::Transport(reason));
    }
}

/// Returns when `deadline` has passed; never without one.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
