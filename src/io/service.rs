//! The daemon as a service: logging, signals, and what systemd wants to know.

use std::io::{self, IsTerminal};
use std::path::Path;

use sd_notify::NotifyState;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Daemon, DaemonError};
use crate::config::Config;

/// Environment variable with the log filter, as in `flowacl=debug`.
pub const LOG_VARIABLE: &str = "FLOWACL_LOG";

/// What the service waits for.
enum Wake {
    Reload,
    Stop(&'static str),
    Ended,
}

/// Runs a daemon with the configuration at `path` until SIGTERM or SIGINT. SIGHUP reads the configuration again.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    start_logging();
    let mut signals = Signals::new().map_err(DaemonError::Runtime)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %path.display(),
        backend = config.dataplane.backend.name(),
        neighbors = config.neighbors.len(),
        "starting"
    );
    let daemon = Daemon::start(config)?;
    notify(&[NotifyState::Ready]);
    tracing::info!("ready");
    loop {
        match signals.wait(&daemon) {
            Wake::Reload => reload(path, &daemon),
            Wake::Stop(name) => {
                tracing::info!("{name}: stopping");
                notify(&[NotifyState::Stopping]);
                return Ok(daemon.stop()?);
            }
            Wake::Ended => return Ok(daemon.stop()?),
        }
    }
}

/// Reads the configuration again. On any error the daemon goes on with the one it has.
fn reload(path: &Path, daemon: &Daemon) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot tell systemd of the reload: {error}"),
    }
    match Config::load(path) {
        Ok(config) => match daemon.reload(config) {
            Ok(()) => tracing::info!("reloaded the configuration"),
            Err(error) => tracing::error!("keeping the old configuration: {error}"),
        },
        Err(errors) => {
            for line in errors.to_string().lines() {
                tracing::error!("{line}");
            }
            tracing::error!(
                errors = errors.errors.len(),
                "keeping the old configuration"
            );
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, if it wants to know.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}

/// Logs to stderr. The journal has its own time stamps and no colors.
fn start_logging() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new("info,netlink_proto=warn"));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(!journal && io::stderr().is_terminal());
    // An error means that somebody in this process logs already.
    let _ = if journal {
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
}

/// The signals that the service obeys.
struct Signals {
    runtime: Runtime,
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on signals are kept for [`Self::wait`].
    fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let hang_up = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        drop(guard);
        Ok(Self {
            runtime,
            hang_up,
            terminate,
            interrupt,
        })
    }

    /// Waits for a signal or the end of the daemon.
    fn wait(&mut self, daemon: &Daemon) -> Wake {
        let Self {
            runtime,
            hang_up,
            terminate,
            interrupt,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = hang_up.recv() => Wake::Reload,
                _ = terminate.recv() => Wake::Stop("SIGTERM"),
                _ = interrupt.recv() => Wake::Stop("SIGINT"),
                () = daemon.ended() => Wake::Ended,
            }
        })
    }
}
