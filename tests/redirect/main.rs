//! Redirects with real packets: where they went, what they looked like, and that nothing stays behind.
//!
//! A router between an attacker and a victim has two more neighbors, the scrubbers.

#[path = "../network/available.rs"]
mod available;
#[path = "../machine/mod.rs"]
mod machine;
mod actions;
mod copies;
mod instances;
mod next_hop;
mod remains;
mod scene;
mod shared;
mod vrf;
#[path = "../waiting/mod.rs"]
mod waiting;
