//! The nftables backend against a real kernel, seen by the real `nft`, in network namespaces of its
//! own.

mod actions;
mod cases;
mod commits;
mod listings;
mod namespace;
mod rules;
mod scale;
mod sources;

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::Changes;
use dataplane::nft::Nftables;
use dataplane::rule::Rule;

/// Commits rules that must be accepted.
fn commit(backend: &mut Nftables, rules: &[Arc<Rule>]) {
    let changes = Changes {
        put: rules.to_vec(),
        remove: Vec::new(),
    };
    backend.commit(&changes).unwrap();
}
