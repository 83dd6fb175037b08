//! The operator's orders: rules out of force, at once, and where asked for also after a restart.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::dataplane_thread;
use super::engine_task::{EngineInput, Ordered};
use crate::engine::Event;
use crate::engine::orders::{DisabledRule, FindError};
use crate::wire::nlri::Nlri;

/// The file in the state directory.
const FILE: &str = "orders.json";

/// The form of the file that this program writes and reads.
const VERSION: u32 = 1;

/// Mode of the state directory, if it has to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// What a restart is to find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    /// No rule is in force.
    suspended: bool,
    /// Rules that are not.
    disabled: Vec<DisabledRule>,
}

/// The orders that a daemon starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// No rule is in force.
    pub(super) suspended: bool,
    /// Rules that are not.
    pub(super) disabled: Vec<Nlri>,
}

/// The file that orders are kept in.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    kept: Kept,
}

impl Store {
    /// Reads the file. One that makes no sense is not ignored: what it forbade is not known, so nothing is in force until
    /// the operator says so.
    pub(super) fn load(directory: &Path) -> (Self, Standing) {
        let path = directory.join(FILE);
        let (kept, standing) = match read(&path) {
            Ok((kept, disabled)) => {
                let suspended = kept.suspended;
                let standing = Standing {
                    suspended,
                    disabled,
                };
                (kept, standing)
            }
            Err(reason) => {
                tracing::error!(
                    "{}: {reason}: which rules the operator has disabled is not known, so that no rule is in force \
                     until `flowacl resume`, which also puts the file right",
                    path.display()
                );
                let standing = Standing {
                    suspended: true,
                    ..Standing::default()
                };
                (Kept::default(), standing)
            }
        };
        (Self { path, kept }, standing)
    }

    /// Changes what is kept, in the file first: a crash leaves the old file or the new one.
    fn change(&mut self, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut kept = self.kept.clone();
        change(&mut kept);
        kept.version = VERSION;
        if kept.suspended || !kept.disabled.is_empty() {
            write(&self.path, &kept)?;
        } else {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.kept = kept;
        Ok(())
    }
}

/// What the file says; one that is not there says nothing.
fn read(path: &Path) -> Result<(Kept, Vec<Nlri>), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| format!("is damaged: {error}"))?;
    if kept.version != VERSION {
        return Err(format!("is of version {}, not {VERSION}", kept.version));
    }
    let disabled: Result<_, _> = kept.disabled.iter().map(DisabledRule::parse).collect();
    disabled
        .map(|disabled| (kept, disabled))
        .map_err(|error| format!("is damaged: {error}"))
}

/// Puts a file in the place of the one at `path`, on disk when this returns.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, kept)?;
    writeln!(file)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(directory)?.sync_all()
}

/// Why an order is not carried out, or not wholly.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// Which rule is meant is not clear.
    #[error("{0}")]
    Find(#[from] FindError),
    /// The packet filter refuses.
    #[error("not done yet: {0}; it is tried again every few seconds")]
    PacketFilter(String),
    /// It is done, but the next start does not know.
    #[error("done, but a restart will not know of it: {0}")]
    NotKept(io::Error),
    /// The daemon is about to end.
    #[error("the daemon is about to end")]
    Ending,
}

/// What an order led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderReport {
    /// The rule that was named; none when the order was for all.
    pub rule: Option<DisabledRule>,
    /// Who announces it at the moment.
    pub neighbors: Vec<IpAddr>,
    /// A restart will find the order.
    pub kept: bool,
}

/// Takes orders. Cheap to clone.
#[derive(Clone)]
pub(super) struct Operator {
    store: Arc<Mutex<Store>>,
    /// The engine's ear for what cannot wait.
    engine: mpsc::Sender<EngineInput>,
    dataplane: dataplane_thread::Handle,
}

impl Operator {
    /// Takes orders for a packet filter, and keeps them in `store`.
    pub(super) fn new(
        store: Store,
        engine: mpsc::Sender<EngineInput>,
        dataplane: dataplane_thread::Handle,
    ) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
            engine,
            dataplane,
        }
    }

    /// Has no rule in force any more, or all that the neighbors announce. The packet filter is told first, past whatever
    /// the engine is busy with. The end of it is always kept, its beginning if `keep`.
    pub(super) async fn suspend(
        &self,
        suspended: bool,
        keep: bool,
    ) -> Result<OrderReport, OrderError> {
        let result = self.dataplane.suspend(suspended).await;
        let event = EngineInput::Event(Event::Suspended(suspended).into());
        let told = self.engine.send(event).await;
        told.map_err(|_| OrderError::Ending)?;
        let kept = keep || !suspended;
        if kept {
            self.keep(move |kept| kept.suspended = suspended).await?;
        }
        result.map_err(|error| OrderError::PacketFilter(error.to_string()))?;
        Ok(OrderReport {
            rule: None,
            neighbors: Vec::new(),
            kept,
        })
    }

    /// Takes one rule out of force, or puts it back. The latter is always kept, the former if `keep`.
    pub(super) async fn order(
        &self,
        name: String,
        enabled: bool,
        keep: bool,
    ) -> Result<OrderReport, OrderError> {
        let (answer, ordered) = oneshot::channel();
        let order = EngineInput::Order {
            name,
            enabled,
            answer,
        };
        let sent = self.engine.send(order).await;
        sent.map_err(|_| OrderError::Ending)?;
        let Ordered { rule, neighbors } = ordered.await.map_err(|_| OrderError::Ending)??;
        let kept = keep || enabled;
        if kept {
            let rule = rule.clone();
            self.keep(move |kept| {
                kept.disabled.retain(|known| *known != rule);
                if !enabled {
                    kept.disabled.push(rule);
                }
            })
            .await?;
        }
        Ok(OrderReport {
            rule: Some(rule),
            neighbors,
            kept,
        })
    }

    /// Changes what is kept, where waiting for a disk holds nobody up.
    async fn keep(
        &self,
        change: impl FnOnce(&mut Kept) + Send + 'static,
    ) -> Result<(), OrderError> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            store.change(change)
        });
        let done = done.await.map_err(|_| OrderError::Ending)?;
        done.map_err(OrderError::NotKept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::FlowFamily;

    fn rule() -> DisabledRule {
        DisabledRule::new(&Nlri::decode(FlowFamily::Ipv4Flow, &[3, 0x81, 17]).unwrap())
    }

    #[test]
    fn orders_survive_and_leave_no_file_when_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let (mut store, standing) = Store::load(&path);
        assert_eq!(standing, Standing::default());
        store.change(|kept| kept.disabled.push(rule())).unwrap();
        store.change(|kept| kept.suspended = true).unwrap();
        let (_, standing) = Store::load(&path);
        assert!(standing.suspended);
        assert_eq!(standing.disabled, [rule().parse().unwrap()]);

        let (mut store, _) = Store::load(&path);
        store.change(|kept| kept.suspended = false).unwrap();
        store.change(|kept| kept.disabled.clear()).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(Store::load(&path).1, Standing::default());
    }

    #[test]
    fn a_damaged_file_puts_nothing_in_force() {
        let good = Kept {
            version: VERSION,
            suspended: false,
            disabled: vec![rule()],
        };
        let good = serde_json::to_string(&good).unwrap();
        let rows = [
            ("empty", String::new()),
            ("cut off", good[..good.len() / 2].into()),
            (
                "another version",
                good.replace("\"version\":1", "\"version\":2"),
            ),
            ("no such family", good.replace("ipv4-flow", "ipv5-flow")),
            ("no NLRI", good.replace("038111", "038")),
            (
                "more than we know",
                good.replace("\"version\"", "\"other\":1,\"version\""),
            ),
        ];
        for (name, text) in rows {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join(FILE);
            fs::write(&file, &text).unwrap();
            let (mut store, standing) = Store::load(directory.path());
            assert!(standing.suspended, "{name}");
            assert_eq!(
                fs::read_to_string(&file).unwrap(),
                text,
                "{name}: it is still there"
            );
            store.change(|kept| kept.suspended = false).unwrap();
            assert_eq!(
                Store::load(directory.path()).1,
                Standing::default(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::load(directory.path());
        store.change(|kept| kept.suspended = true).unwrap();
        // A directory cannot be replaced by a file.
        fs::remove_file(directory.path().join(FILE)).unwrap();
        fs::create_dir_all(directory.path().join(FILE).join("full")).unwrap();
        let error = store.change(|kept| kept.disabled.push(rule()));
        assert!(error.is_err());
        assert!(store.kept.disabled.is_empty());
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 1, "no temporary file is left behind");
    }
}
