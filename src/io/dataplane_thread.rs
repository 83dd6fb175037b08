//! The thread that owns the packet filter: a commit may block, so it does not happen where sessions are kept alive.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, BackendError, Counter, Culprit};
use dataplane::desired::{Changes, Link, Settings};
use dataplane::rule::RuleId;
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::report::DataplaneReport;
use crate::config::OnStop;

/// How long to wait before settings that were refused are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How often to look whether others changed the packet filter, and to log what was committed.
const AUDIT_PERIOD: Duration = Duration::from_secs(1);

/// What the thread is asked to do.
enum Request {
    Commit(Changes),
    Counters,
    Settings(Settings),
    Links(Vec<Link>),
    Suspend(bool, oneshot::Sender<Result<(), BackendError>>),
    Beat(oneshot::Sender<()>),
    Describe(oneshot::Sender<DataplaneReport>),
    Stop(OnStop, oneshot::Sender<Result<(), BackendError>>),
}

/// What the engine learns.
#[derive(Debug)]
pub(super) enum Reply {
    /// A commit has ended.
    Committed(Result<(), BackendError>),
    /// What is read of rules in force.
    Counters {
        /// Counters of all rules.
        counters: Result<Vec<(RuleId, Counter)>, BackendError>,
        /// Which of them cannot do all that they shall, and why.
        impaired: Vec<(RuleId, String)>,
    },
}

/// Replies that may wait for the engine: there is at most one commit and one question for counters under way.
pub(super) const REPLIES: usize = 2;

/// Asks the thread. Requests are few by construction, so asking never blocks.
#[derive(Clone)]
pub(super) struct Handle(mpsc::Sender<Request>);

/// Starts the thread that owns a packet filter, which has these settings, from then on.
pub(super) fn start(
    mut backend: Box<dyn Backend>,
    settings: Settings,
    links: Vec<Link>,
    replies: async_mpsc::Sender<Reply>,
) -> Result<Handle, super::DaemonError> {
    for warning in backend.warnings() {
        tracing::warn!(backend = backend.name(), "{warning}");
    }
    let (sender, requests) = mpsc::channel();
    let owner = Owner {
        backend,
        settings,
        links,
        replies,
        retry_at: None,
        audit_at: Instant::now() + AUDIT_PERIOD,
        commits: Commits::default(),
    };
    thread::Builder::new()
        .name("flowacl-filter".into())
        .spawn(move || owner.run(&requests))
        .map_err(super::DaemonError::Runtime)?;
    Ok(Handle(sender))
}

impl Handle {
    /// Asks for one commit; [`Reply::Committed`] follows.
    pub(super) fn commit(&self, changes: Changes) {
        self.ask(Request::Commit(changes));
    }

    /// Asks for all counters; [`Reply::Counters`] follows.
    pub(super) fn counters(&self) {
        self.ask(Request::Counters);
    }

    /// Says what holds for all rules from now on.
    pub(super) fn settings(&self, settings: Settings) {
        self.ask(Request::Settings(settings));
    }

    /// Has no rule evaluated any more, or all again. Comes after at most one commit, however many changes wait.
    pub(super) async fn suspend(&self, suspended: bool) -> Result<(), BackendError> {
        self.answered(|answer| Request::Suspend(suspended, answer))
            .await
    }

    /// Says which interfaces there are now.
    pub(super) fn links(&self, links: Vec<Link>) {
        self.ask(Request::Links(links));
    }

    /// Returns when all that was asked before is done; `None` when the thread has ended.
    pub(super) async fn beat(&self) -> Option<()> {
        let (sender, answer) = oneshot::channel();
        self.ask(Request::Beat(sender));
        answer.await.ok()
    }

    /// Facts for the operator; `None` when the thread has ended.
    pub(super) async fn describe(&self) -> Option<DataplaneReport> {
        let (sender, answer) = oneshot::channel();
        self.ask(Request::Describe(sender));
        answer.await.ok()
    }

    /// Ends the thread, after all that it was asked before.
    pub(super) async fn stop(&self, on_stop: OnStop) -> Result<(), BackendError> {
        self.answered(|answer| Request::Stop(on_stop, answer)).await
    }

    /// Asks for something that can fail, and waits for it.
    async fn answered(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), BackendError>>) -> Request,
    ) -> Result<(), BackendError> {
        let (sender, answer) = oneshot::channel();
        self.ask(request(sender));
        answer.await.unwrap_or_else(|_| {
            Err(BackendError::Unavailable(
                "the thread of the packet filter has ended".into(),
            ))
        })
    }

    /// Hands over a request. A thread that has ended answers nothing, which the engine's task notices.
    fn ask(&self, request: Request) {
        let _ = self.0.send(request);
    }
}

/// The thread's state.
struct Owner {
    backend: Box<dyn Backend>,
    settings: Settings,
    links: Vec<Link>,
    replies: async_mpsc::Sender<Reply>,
    /// When to try settings again that were refused.
    retry_at: Option<Instant>,
    /// When to look for changes by others.
    audit_at: Instant,
    /// Since they were logged last.
    commits: Commits,
}

/// Commits that went in.
#[derive(Debug, Default)]
struct Commits {
    number: usize,
    put: usize,
    removed: usize,
    longest: Duration,
}

impl Owner {
    /// Serves requests until told to stop, or until nobody can ask any more.
    fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| now >= at) {
                // It is logged.
                let _ = self.reconfigure();
            }
            if now >= self.audit_at {
                self.report_commits();
                self.audit();
            }
            let wake_at = self
                .retry_at
                .map_or(self.audit_at, |at| at.min(self.audit_at));
            let request = requests.recv_timeout(wake_at.saturating_duration_since(now));
            match request {
                Ok(Request::Commit(changes)) => {
                    let result = self.commit(&changes);
                    self.reply(Reply::Committed(result));
                }
                Ok(Request::Counters) => {
                    let counters = self.backend.counters();
                    let impaired = self.backend.impaired();
                    self.reply(Reply::Counters { counters, impaired });
                }
                Ok(Request::Settings(settings)) => {
                    self.settings = Settings {
                        suspended: self.settings.suspended,
                        ..settings
                    };
                    // It is logged, as above.
                    let _ = self.reconfigure();
                }
                Ok(Request::Links(links)) => {
                    self.links = links;
                    let _ = self.reconfigure();
                }
                Ok(Request::Suspend(suspended, answer)) => {
                    self.settings.suspended = suspended;
                    // Whoever asked may have gone; what failed is tried again all the same.
                    let _ = answer.send(self.reconfigure());
                }
                Ok(Request::Beat(answer)) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(());
                }
                Ok(Request::Describe(answer)) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.describe());
                }
                Ok(Request::Stop(on_stop, answer)) => {
                    self.report_commits();
                    let _ = answer.send(match on_stop {
                        OnStop::Remove => self.backend.stop(),
                        OnStop::Keep => Ok(()),
                    });
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // The daemon is gone without an orderly stop: the rules stay, as after a crash.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Carries out one commit.
    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let start = Instant::now();
        let result = self.backend.commit(changes);
        let elapsed = start.elapsed();
        let milliseconds = elapsed.as_millis();
        let (put, removed) = (changes.put.len(), changes.remove.len());
        match &result {
            Ok(()) => {
                tracing::debug!(put, removed, milliseconds, "commit");
                self.commits.number += 1;
                self.commits.put += put;
                self.commits.removed += removed;
                self.commits.longest = self.commits.longest.max(elapsed);
            }
            Err(error) => tracing::warn!(put, removed, milliseconds, "commit refused: {error}"),
        }
        result
    }

    /// Logs what was committed since the last time, if anything was.
    fn report_commits(&mut self) {
        let commits = std::mem::take(&mut self.commits);
        if commits.number > 0 {
            tracing::info!(
                commits = commits.number,
                put = commits.put,
                removed = commits.removed,
                longest_milliseconds = commits.longest.as_millis(),
                "changed the packet filter"
            );
        }
    }

    /// Applies settings and interfaces; on failure tries again later.
    fn reconfigure(&mut self) -> Result<(), BackendError> {
        let result = self.backend.reconfigure(&self.settings, &self.links);
        self.retry_at = match &result {
            Ok(()) => None,
            Err(error) => {
                let retry_secs = RETRY.as_secs();
                tracing::error!(retry_secs, "cannot apply settings or interfaces: {error}");
                Some(Instant::now() + RETRY)
            }
        };
        result
    }

    /// Restores what others took away.
    fn audit(&mut self) {
        match self.backend.audit() {
            Ok(None) => {}
            Ok(Some(Culprit(name))) => tracing::warn!(
                "{name} had changed our part of the packet filter: restored, \
                 counters that were deleted begin anew"
            ),
            Err(error) => tracing::error!("cannot audit the packet filter: {error}"),
        }
        self.audit_at = Instant::now() + AUDIT_PERIOD;
    }

    /// Facts for the operator.
    fn describe(&mut self) -> DataplaneReport {
        let mut warnings = self.backend.warnings();
        let facts = self.backend.describe().unwrap_or_else(|error| {
            warnings.push(format!("the packet filter does not answer: {error}"));
            Vec::new()
        });
        DataplaneReport {
            backend: self.backend.name().into(),
            facts,
            warnings,
        }
    }

    /// Tells the engine. When its task has ended nobody needs to know.
    fn reply(&self, reply: Reply) {
        let _ = self.replies.blocking_send(reply);
    }
}
