//! The nftables backend.
//!
//! It owns the table `inet flowacl` and speaks to nf_tables itself: one netlink transaction for
//! each commit. The modules in the order of the data flow: [`compile`] turns a rule into nft rules
//! made of [`statement`]s about [`field`]s, [`layout`] arranges them in [`chunk`]s and plans what a
//! commit changes, [`coverage`] and [`frame`] say which packets reach them, [`object`] and
//! [`expression`] encode it all as [`message`]s, and [`transport`] sends them.

// Without a kernel to talk to the messages have no reader.
#![cfg_attr(not(feature = "os"), allow(dead_code))]

mod chunk;
mod compile;
mod coverage;
mod expression;
mod field;
mod frame;
mod installed;
mod journal;
mod key;
mod layout;
mod limit;
mod message;
mod object;
mod plan;
mod render;
mod section;
mod statement;
mod structure;
mod unit;

#[cfg(feature = "os")]
mod backend;
#[cfg(feature = "os")]
mod monitor;
#[cfg(feature = "os")]
mod ownership;
#[cfg(feature = "os")]
mod readback;
#[cfg(feature = "os")]
mod reply;
#[cfg(feature = "os")]
mod table;
#[cfg(feature = "os")]
mod transport;

#[cfg(all(test, feature = "os"))]
#[path = "../../tests/nftables/namespace.rs"]
mod namespace;

use std::sync::Arc;

use crate::backend::{Capability, Unsupported};
use crate::desired::{Link, Settings};
use crate::rule::Rule;

#[cfg(feature = "os")]
pub use backend::Nftables;

/// What nftables can express: every rule, as long as its numbers fit their fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct NftablesCapability;

impl Capability for NftablesCapability {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        compile::check(rule).map_err(Unsupported)
    }
}

/// The table for these rules as `nft -f` would read it, without a kernel.
pub fn render(settings: &Settings, links: &[Link], rules: &[Arc<Rule>]) -> String {
    render::render(settings, links, rules)
}
