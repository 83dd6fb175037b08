//! The daemon as a value: started, reloaded and stopped from an ordinary thread.

use std::fmt;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use dataplane::desired::{Link, Settings, local_addresses};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::control::{Api, ControlSocket, Permissions, serve};
use super::dataplane_thread::{self, REPLIES};
use super::engine_task::{EngineInput, EngineTask, INPUTS};
use super::error::Unchangeable;
use super::links::LinkWatcher;
use super::neighbors::{Neighbors, Request};
use super::orders::{Operator, Store};
use super::report::DiffReport;
use super::settings::{bindings, settings};
use super::takeover::take_over;
use super::{DaemonError, backends, web};
use crate::config::{Config, KeyChange, Metrics, OnStop};
use crate::engine::Event;
use crate::engine::protection::Protection;

/// Orders that may wait for the engine, ahead of all that neighbors say.
const URGENT: usize = 16;

/// Questions and orders that may wait for the neighbors' task.
const REQUESTS: usize = 16;

/// What the daemon's thread is told.
enum Order {
    Reload {
        config: Box<Config>,
        /// Only say what it would mean.
        dry_run: bool,
        answer: oneshot::Sender<Result<Reloaded, DaemonError>>,
    },
    Stop,
}

/// What another configuration means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that are not the same.
    pub changes: Vec<KeyChange>,
    /// What becomes of neighbors, in words.
    pub effects: Vec<String>,
}

/// A request to whoever has the configuration file.
#[derive(Debug)]
pub(super) struct FileRequest {
    /// Take the file over, or say what that would mean.
    pub(super) dry_run: bool,
    /// Instead of the file; only for a dry run.
    pub(super) text: Option<String>,
    pub(super) answer: oneshot::Sender<DiffReport>,
}

/// A running daemon. Dropping it stops it.
///
/// All its threads are children of the thread that started it, and live in the same network namespace.
pub struct Daemon {
    orders: mpsc::Sender<Order>,
    /// `None` when somebody has taken them.
    file_requests: Option<mpsc::Receiver<FileRequest>>,
    pulse: Pulse,
    thread: Option<JoinHandle<Result<(), DaemonError>>>,
}

/// Asks all parts of the daemon for a sign of life.
#[derive(Clone)]
struct Pulse {
    engine: mpsc::Sender<EngineInput>,
    neighbors: mpsc::Sender<Request>,
    dataplane: dataplane_thread::Handle,
}

impl Pulse {
    /// Returns when each has done what it was told before; `None` when one has ended.
    async fn beat(&self) -> Option<()> {
        let (sender, engine) = oneshot::channel();
        self.engine.send(EngineInput::Beat(sender)).await.ok()?;
        let (sender, neighbors) = oneshot::channel();
        self.neighbors.send(Request::Beat(sender)).await.ok()?;
        self.dataplane.beat().await?;
        neighbors.await.ok()?;
        engine.await.ok()
    }
}

impl Daemon {
    /// Starts a daemon: when this returns, the packet filter is ready, neighbors can connect and the control API answers.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        let (orders, receiver) = mpsc::channel(1);
        let (file_sender, file_requests) = mpsc::channel(1);
        let (started, has_started) = std_mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("flowacl-io".into())
            .spawn(move || run(config, receiver, file_sender, &started))
            .map_err(DaemonError::Runtime)?;
        match has_started.recv() {
            Ok(pulse) => Ok(Self {
                orders,
                file_requests: Some(file_requests),
                pulse,
                thread: Some(thread),
            }),
            // It ended before it started: it says why.
            Err(_) => match join(thread) {
                Err(error) => Err(error),
                Ok(()) => Err(DaemonError::Ended),
            },
        }
    }

    /// Takes over another configuration, as a difference: neighbors that are the same in both keep their sessions. With
    /// `dry_run` it only says what that would mean.
    ///
    /// On failure everything stays as it was.
    pub fn reload(&self, config: Config, dry_run: bool) -> Result<Reloaded, DaemonError> {
        let (sender, answer) = oneshot::channel();
        let order = Order::Reload {
            config: Box::new(config),
            dry_run,
            answer: sender,
        };
        self.orders
            .blocking_send(order)
            .map_err(|_| DaemonError::Ended)?;
        answer.blocking_recv().map_err(|_| DaemonError::Ended)?
    }

    /// What comes by the control API for whoever has the configuration file. Gives it once.
    pub(super) fn take_file_requests(&mut self) -> Option<mpsc::Receiver<FileRequest>> {
        self.file_requests.take()
    }

    /// Returns when all parts of the daemon have done what they were told before: sessions, engine and packet filter.
    /// Never while one hangs, or has ended.
    pub async fn beat(&self) {
        if self.pulse.beat().await.is_none() {
            std::future::pending().await
        }
    }

    /// Returns when the daemon has ended by itself, which is a failure: [`Self::stop`] tells why.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// Ends all sessions with Cease, removes all rules unless the configuration keeps them, and waits for it.
    pub fn stop(mut self) -> Result<(), DaemonError> {
        self.stop_and_join()
    }

    /// Stops it, unless that was done before.
    fn stop_and_join(&mut self) -> Result<(), DaemonError> {
        // An error means that it has ended by itself: joining tells why.
        let _ = self.orders.try_send(Order::Stop);
        self.thread.take().map_or(Ok(()), join)
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").finish_non_exhaustive()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.stop_and_join() {
            tracing::error!("{error}");
        }
    }
}

/// Waits for the daemon's thread.
fn join(thread: JoinHandle<Result<(), DaemonError>>) -> Result<(), DaemonError> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The daemon's thread.
fn run(
    config: Config,
    orders: mpsc::Receiver<Order>,
    file_requests: mpsc::Sender<FileRequest>,
    started: &std_mpsc::SyncSender<Pulse>,
) -> Result<(), DaemonError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    runtime.block_on(async {
        let running = Running::start(config, file_requests).await?;
        // Whoever started the daemon waits for this.
        let _ = started.send(running.pulse.clone());
        running.serve(orders).await
    })
}

/// Where people and their programs ask the daemon.
struct Doors {
    socket: ControlSocket,
    control: UnixListener,
    metrics: Option<TcpListener>,
}

impl Doors {
    /// Opens them all.
    async fn open(config: &Config) -> Result<Self, DaemonError> {
        let (socket, control) = ControlSocket::bind(&config.control)?;
        let metrics = match &config.metrics {
            Some(Metrics { listen }) => {
                let address = *listen;
                let listener = TcpListener::bind(address).await;
                let place = address.to_string();
                Some(listener.map_err(|cause| DaemonError::Listen { place, cause })?)
            }
            None => None,
        };
        Ok(Self {
            socket,
            control,
            metrics,
        })
    }
}

/// Everything that runs, from inside.
struct Running {
    config: Config,
    dataplane: dataplane_thread::Handle,
    neighbors: mpsc::Sender<Request>,
    engine: tokio::task::JoinHandle<()>,
    pulse: Pulse,
    /// The engine's ear for what cannot wait.
    urgent: mpsc::Sender<EngineInput>,
    links: LinkWatcher,
    /// Interfaces as last told.
    links_now: Vec<Link>,
    /// The servers behind the doors.
    servers: JoinSet<()>,
    /// Removes the socket's file in the end.
    _socket: ControlSocket,
}

impl Running {
    /// Starts all that can fail for a reason outside before it touches the packet filter: what an earlier process left
    /// there stays in force when a daemon cannot start. The control API comes last.
    async fn start(
        config: Config,
        file_requests: mpsc::Sender<FileRequest>,
    ) -> Result<Self, DaemonError> {
        let doors = Doors::open(&config).await?;
        let (links, first_links) = LinkWatcher::start()
            .await
            .map_err(|error| DaemonError::Links(error.to_string()))?;
        let (inputs_sender, inputs) = mpsc::channel(INPUTS);
        let neighbors =
            Neighbors::start(config.clone(), first_links.clone(), inputs_sender.clone())?;
        let mut backend = backends::create(&config.dataplane, &config.control.state_directory);
        let (store, standing) = Store::load(&config.control.state_directory);
        let settings = settings(&config, standing.suspended);
        let mut engine = take_over(&mut *backend, &config, &settings, &first_links, &standing)
            .map_err(|cause| DaemonError::Backend {
                backend: backend.name(),
                cause,
            })?;
        let restarted = engine.counts().stale > 0;
        engine.step(Instant::now(), protection(&settings, &first_links));
        let (urgent_sender, urgent) = mpsc::channel(URGENT);
        let (replier, replies) = mpsc::channel(REPLIES);
        let links_now = first_links.clone();
        let dataplane = dataplane_thread::start(backend, settings, first_links, replier)?;
        let operator = Operator::new(store, urgent_sender.clone(), dataplane.clone());
        let (requests_sender, requests) = mpsc::channel(REQUESTS);
        let engine = tokio::spawn(
            EngineTask::new(
                engine,
                inputs,
                urgent,
                replies,
                dataplane.clone(),
                requests_sender.clone(),
            )
            .run(),
        );
        tokio::spawn(neighbors.run(requests, restarted));
        let pulse = Pulse {
            engine: inputs_sender.clone(),
            neighbors: requests_sender.clone(),
            dataplane: dataplane.clone(),
        };
        let api = Api {
            engine: inputs_sender,
            neighbors: requests_sender.clone(),
            dataplane: dataplane.clone(),
            operator,
            file: file_requests,
            local_as: config.bgp.local_as,
            router_id: config.bgp.router_id,
            backend: config.dataplane.backend.name(),
            started: Instant::now(),
        };
        let mut servers = JoinSet::new();
        if let Some(listener) = doors.metrics {
            servers.spawn(web::serve(listener, api.clone()));
        }
        let permissions = Permissions::new(&config.control);
        servers.spawn(serve(doors.control, api, permissions));
        Ok(Self {
            config,
            dataplane,
            neighbors: requests_sender,
            engine,
            pulse,
            urgent: urgent_sender,
            links,
            links_now,
            servers,
            _socket: doors.socket,
        })
    }

    /// Serves until told to stop; an error means that a part of the daemon has ended by itself.
    async fn serve(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), DaemonError> {
        let result = loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload { config, dry_run, answer }) => {
                        // Whoever asked may have gone.
                        let _ = answer.send(self.reload(*config, dry_run).await);
                    }
                    Some(Order::Stop) | None => break Ok(()),
                },
                links = self.links.changed() => match links {
                    Some(links) => {
                        self.links_now.clone_from(&links);
                        // Neighbors that have gone listen to nothing.
                        let _ = self.neighbors.send(Request::Links(links.clone())).await;
                        self.dataplane.links(links);
                        self.tell_protection().await;
                    }
                    None => break Err(DaemonError::Links("the kernel hung up".into())),
                },
                _ = &mut self.engine => break Err(DaemonError::Ended),
            }
        };
        // After a failure there will be another process, as after a crash.
        let on_stop = match result {
            Ok(()) => self.config.dataplane.on_stop,
            Err(_) => OnStop::Keep,
        };
        self.stop(on_stop).await;
        result
    }

    /// Applies the difference to another configuration, or says what it is.
    async fn reload(&mut self, config: Config, dry_run: bool) -> Result<Reloaded, DaemonError> {
        let old = &self.config;
        let (now, new) = (old.dataplane.redirect, config.dataplane.redirect);
        let unchangeable = [
            ("bgp.local_as", old.bgp.local_as == config.bgp.local_as),
            ("bgp.router_id", old.bgp.router_id == config.bgp.router_id),
            (
                "dataplane.backend",
                old.dataplane.backend == config.dataplane.backend,
            ),
            (
                "dataplane.sonic",
                old.dataplane.sonic == config.dataplane.sonic,
            ),
            (
                "dataplane.fallback",
                old.dataplane.fallback == config.dataplane.fallback,
            ),
            (
                "dataplane.cumulus",
                old.dataplane.cumulus == config.dataplane.cumulus,
            ),
            ("dataplane.redirect_mark", now.mark == new.mark),
            ("dataplane.copy_mark", now.copy_mark == new.copy_mark),
            ("dataplane.redirect_priority", now.priority == new.priority),
            ("dataplane.redirect_tables", now.tables == new.tables),
            ("dataplane.redirect_protocol", now.protocol == new.protocol),
            (
                "control.socket",
                old.control.socket == config.control.socket,
            ),
            (
                "control.read_group",
                old.control.read_group == config.control.read_group,
            ),
            (
                "control.write_group",
                old.control.write_group == config.control.write_group,
            ),
            (
                "control.state_directory",
                old.control.state_directory == config.control.state_directory,
            ),
            ("metrics.listen", old.metrics == config.metrics),
        ];
        let changed = unchangeable.into_iter().filter(|(_, same)| !same);
        let refused: Vec<_> = changed
            .map(|(key, _)| Unchangeable {
                key,
                line: config.keys.line(key),
            })
            .collect();
        if !refused.is_empty() {
            return Err(DaemonError::NeedsRestart(refused));
        }
        let changes = old.keys.changes(&config.keys);
        let new_config = Box::new(config.clone());
        let effects = match dry_run {
            true => {
                self.ask_neighbors(|answer| Request::Preview(new_config, answer))
                    .await?
            }
            false => {
                self.ask_neighbors(|answer| Request::Reload(new_config, answer))
                    .await??
            }
        };
        let effects = effects
            .into_iter()
            .map(|(address, effect)| format!("neighbor {address}: {}", effect.describe()));
        let reloaded = Reloaded {
            changes,
            effects: effects.collect(),
        };
        if dry_run {
            return Ok(reloaded);
        }
        // Whether rules are suspended is for the data plane's thread to remember.
        let new = settings(&config, false);
        if new != settings(&self.config, false) {
            self.dataplane.settings(new);
            // As below: an engine that has gone enforces nothing new.
            let changed = EngineInput::Event(Event::SettingsChanged.into());
            let _ = self.urgent.send(changed).await;
        }
        if bindings(&config) != bindings(&self.config) {
            let changed = Event::BindingsChanged(bindings(&config));
            // As below: an engine that has gone enforces nothing new.
            let _ = self.urgent.send(EngineInput::Event(changed.into())).await;
        }
        self.config = config;
        self.tell_protection().await;
        Ok(reloaded)
    }

    /// Asks the neighbors' task and waits for the answer.
    async fn ask_neighbors<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, DaemonError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.neighbors.send(request(sender)).await;
        sent.map_err(|_| DaemonError::Ended)?;
        answer.await.map_err(|_| DaemonError::Ended)
    }

    /// Tells the engine what no rule touches.
    async fn tell_protection(&self) {
        let protection = protection(&settings(&self.config, false), &self.links_now);
        // An engine that has gone has nobody to show it to.
        let _ = self
            .urgent
            .send(EngineInput::Event(protection.into()))
            .await;
    }

    /// Stops everything: the sessions end, and then the rules go, or stay.
    async fn stop(mut self, on_stop: OnStop) {
        self.servers.abort_all();
        // Routes that go with their sessions are not removed one by one: everything is at once, or stays.
        self.engine.abort();
        let (sender, stopped) = oneshot::channel();
        if self.neighbors.send(Request::Stop(sender)).await.is_ok() {
            // An error means that the task has ended, and the sessions with it.
            let _ = stopped.await;
        }
        match (self.dataplane.stop(on_stop).await, on_stop) {
            (Ok(()), OnStop::Remove) => tracing::info!("removed all rules"),
            (Ok(()), OnStop::Keep) => tracing::info!("left all rules in force"),
            (Err(error), _) => tracing::error!("cannot stop the packet filter: {error}"),
        }
    }
}

/// What no rule touches, for the engine.
fn protection(settings: &Settings, links: &[Link]) -> Event {
    Event::ProtectionChanged(Protection {
        guards: settings.all_guards(),
        local_addresses: local_addresses(links).collect(),
    })
}
