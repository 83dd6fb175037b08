//! The daemon with real nftables while things go wrong: others edit the ruleset, and the daemon is killed.
//!
//! `FLOWACL_KILLS` sets the number of SIGKILLs, `FLOWACL_FLAPS` how often a controller restarts, `FLOWACL_FLUSH_SECS` how long others flush the ruleset.

#[path = "../network/available.rs"]
mod available;
mod communities;
mod controller;
mod flaps;
mod kills;
mod lockout;
#[path = "../machine/mod.rs"]
mod machine;
#[path = "../program/mod.rs"]
mod program;
mod redirects;
mod restarts;
mod router;
mod scene;
mod single;
mod storm;
mod tables;
mod takeover;
#[path = "../waiting/mod.rs"]
mod waiting;

/// A number from the environment.
fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
        Err(_) => default,
    }
}
