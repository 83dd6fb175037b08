//! The packet filters by the names that the configuration uses.

use std::path::Path;

use dataplane::backend::Backend;
use dataplane::nft::Nftables;
use dataplane::sim::Sim;
use dataplane::sonic::{Options, Sonic};

use crate::config::{BackendKind, Dataplane};

/// Makes the backend that is configured; nothing is touched before its `start`. What it has to keep for a later process
/// lies in `state_directory`.
pub fn create(config: &Dataplane, state_directory: &Path) -> Box<dyn Backend> {
    match config.backend {
        BackendKind::Nftables => Box::new(Nftables::new()),
        BackendKind::Sonic => Box::new(Sonic::new(Options {
            memo_file: state_directory.join("sonic-rules"),
            ..config.sonic.clone()
        })),
        BackendKind::Sim => Box::new(Sim::new()),
    }
}
