//! The daemon as a service: logging, signals, and what systemd wants to know.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing_subscriber::EnvFilter;

use super::daemon::{FileRequest, Reloaded};
use super::report::DiffReport;
use super::{Daemon, DaemonError};
use crate::config::{Config, ConfigErrors};

/// Environment variable with the log filter, as in `flowacl=debug`.
pub const LOG_VARIABLE: &str = "FLOWACL_LOG";

/// Signs of life within the time after which systemd takes the daemon for dead.
const BEATS: u32 = 3;

/// What the service waits for.
enum Wake {
    Reload,
    Asked(FileRequest),
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
    let mut daemon = Daemon::start(config)?;
    let requests = daemon.take_file_requests();
    let mut requests = requests.expect("nobody else takes them");
    let mut watchdog = Watchdog::new();
    notify(&[NotifyState::Ready]);
    tracing::info!("ready");
    loop {
        match signals.wait(&daemon, &mut requests, &mut watchdog) {
            Wake::Reload => drop(reload(path, &daemon)),
            Wake::Asked(request) => serve(request, path, &daemon),
            Wake::Stop(name) => {
                tracing::info!("{name}: stopping");
                notify(&[NotifyState::Stopping]);
                return Ok(daemon.stop()?);
            }
            Wake::Ended => return Ok(daemon.stop()?),
        }
    }
}

/// Reads the configuration again. On any error the daemon goes on with the one it has. Systemd is told when it begins and
/// when it has ended.
fn reload(path: &Path, daemon: &Daemon) -> DiffReport {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot tell systemd of the reload: {error}"),
    }
    let report = take_over(Config::load(path), daemon, false);
    for change in &report.changes {
        tracing::info!("{change}");
    }
    for effect in &report.effects {
        tracing::info!("{effect}");
    }
    for error in &report.errors {
        tracing::error!("{error}");
    }
    let errors = report.errors.len();
    match errors {
        0 => tracing::info!(changes = report.changes.len(), "reloaded the configuration"),
        errors => tracing::error!(errors, "keeping the old configuration"),
    }
    notify(&[NotifyState::Ready]);
    report
}

/// Has the daemon take a configuration over, or say what that would mean.
fn take_over(config: Result<Config, ConfigErrors>, daemon: &Daemon, dry_run: bool) -> DiffReport {
    let reloaded = config
        .map_err(|errors| errors.to_string())
        .and_then(|config| {
            let reloaded = daemon.reload(config, dry_run);
            reloaded.map_err(|error| error.to_string())
        });
    match reloaded {
        Ok(Reloaded { changes, effects }) => DiffReport {
            errors: Vec::new(),
            changes,
            effects,
        },
        Err(errors) => DiffReport {
            errors: errors.lines().map(String::from).collect(),
            ..DiffReport::default()
        },
    }
}

/// Answers a request that came by the control API.
fn serve(request: FileRequest, path: &Path, daemon: &Daemon) {
    let FileRequest {
        dry_run,
        text,
        answer,
    } = request;
    let report = match (dry_run, text) {
        (false, _) => reload(path, daemon),
        (true, None) => take_over(Config::load(path), daemon, true),
        (true, Some(text)) => take_over(Config::parse(&text), daemon, true),
    };
    // Whoever asked may have gone.
    let _ = answer.send(report);
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

/// Tells systemd regularly that the daemon is alive, if it wants to know.
struct Watchdog {
    period: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// As systemd wants it (WatchdogSec).
    fn new() -> Self {
        Self {
            period: sd_notify::watchdog_enabled().map(|limit| limit / BEATS),
            next: Instant::now(),
        }
    }

    /// Runs for as long as it is polled. Says nothing while a part of the daemon hangs: then systemd starts it anew, and
    /// the rules stay in force meanwhile.
    async fn run(&mut self, daemon: &Daemon) -> Infallible {
        let Some(period) = self.period else {
            return std::future::pending().await;
        };
        loop {
            sleep_until(self.next.into()).await;
            daemon.beat().await;
            notify(&[NotifyState::Watchdog]);
            self.next = Instant::now() + period;
        }
    }
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

    /// Waits for a signal, a request or the end of the daemon.
    fn wait(
        &mut self,
        daemon: &Daemon,
        requests: &mut mpsc::Receiver<FileRequest>,
        watchdog: &mut Watchdog,
    ) -> Wake {
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
                Some(request) = requests.recv() => Wake::Asked(request),
                () = daemon.ended() => Wake::Ended,
                never = watchdog.run(daemon) => match never {},
            }
        })
    }
}
