//! The SONiC backend against a real redis-server, a strict stand-in for orchagent, and SONiC's own YANG models.
//!
//! `FLOWACL_SEED` repeats a run of the differential test, `FLOWACL_STEPS` sets its length. `FLOWACL_SONIC_YANG` names the folder of
//! the YANG models, which has a folder for each release.

mod asic;
mod changes;
mod daemon;
mod facts;
mod faults;
mod flows;
mod layered;
mod orchagent;
mod scene;
mod server;
mod yang;

use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until `attempt` gives something; shows the last complaint when it never does.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > end => panic!("{what}: {complaint}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
