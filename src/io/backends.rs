//! The packet filters by the names that the configuration uses.

use dataplane::backend::Backend;
use dataplane::nft::Nftables;
use dataplane::sim::Sim;

use crate::config::BackendKind;

/// Makes a backend; nothing is touched before its `start`.
pub fn create(kind: BackendKind) -> Box<dyn Backend> {
    match kind {
        BackendKind::Nftables => Box::new(Nftables::new()),
        BackendKind::Sim => Box::new(Sim::new()),
    }
}
