//! Hearing of changes of keys, by ourselves and by others.
//!
//! A thread waits for the server's keyspace events, which SONiC has switched on because orchagent lives by them. What it
//! hears is looked at when somebody asks, so that nothing is missed and nothing read in vain.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::database::Database;
use crate::backend::BackendError;

/// How long the thread outlives the one who asked for it.
const TICK: Duration = Duration::from_secs(1);

/// Keys that have changed.
pub struct Watch {
    keys: Receiver<String>,
    /// The thread ends when it is gone.
    _alive: Arc<()>,
}

impl Watch {
    /// Listens for changes of keys of these patterns from now on.
    pub fn start(database: &Database, patterns: &[String]) -> Result<Self, BackendError> {
        let unavailable = |error: redis::RedisError| database.unavailable(&error);
        let mut connection = database.connect().map_err(unavailable)?;
        connection
            .set_read_timeout(Some(TICK))
            .map_err(unavailable)?;
        let beginning = format!("__keyspace@{}__:", database.number());
        let channels: Vec<String> = patterns
            .iter()
            .map(|pattern| format!("{beginning}{pattern}"))
            .collect();
        let (sender, keys) = mpsc::channel();
        let (subscribed, is_subscribed) = mpsc::channel();
        let alive = Arc::new(());
        let watched = Arc::downgrade(&alive);
        thread::Builder::new()
            .name("flowacl-sonic".into())
            .spawn(move || {
                let mut pubsub = connection.as_pubsub();
                let result = pubsub.psubscribe(&channels[..]);
                let is_ok = result.is_ok();
                // Nobody has given up waiting.
                let _ = subscribed.send(result);
                if is_ok {
                    listen(&mut pubsub, &beginning, &sender, &watched);
                }
            })
            .map_err(|error| BackendError::Unavailable(format!("no thread: {error}")))?;
        let ended = || BackendError::Unavailable("the thread that listens has ended".into());
        is_subscribed
            .recv()
            .map_err(|_| ended())?
            .map_err(unavailable)?;
        Ok(Self {
            keys,
            _alive: alive,
        })
    }

    /// The keys that have changed since the last time; `None` when the server has gone and changes may have been missed.
    pub fn changed(&self) -> Option<Vec<String>> {
        let mut changed = Vec::new();
        loop {
            match self.keys.try_recv() {
                Ok(key) => changed.push(key),
                Err(TryRecvError::Empty) => return Some(changed),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }
}

/// Hands on the keys that events name, until the server or the listener is gone.
fn listen(
    pubsub: &mut redis::PubSub<'_>,
    beginning: &str,
    sender: &mpsc::Sender<String>,
    watched: &Weak<()>,
) {
    while watched.strong_count() > 0 {
        match pubsub.get_message() {
            Ok(message) => {
                let key = message.get_channel_name().strip_prefix(beginning);
                if let Some(key) = key
                    && sender.send(key.to_owned()).is_err()
                {
                    return;
                }
            }
            Err(error) if error.is_timeout() => {}
            Err(_) => return,
        }
    }
}
