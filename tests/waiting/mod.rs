//! Waiting for what a daemon, a controller or the kernel does in its own time.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take: some controllers wait for half a minute before they dial again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries until `attempt` gives something; shows the last complaint when it never does.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > end => panic!("{what}: {complaint}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
