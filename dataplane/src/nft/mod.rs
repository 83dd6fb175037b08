//! The nftables backend.
//!
//! It owns the table `inet flowacl` and speaks to nf_tables itself: one netlink transaction for
//! each commit. The modules in the order of the data flow:
//!
//! - [`installed`] gives a rule its named counter, [`limit`]s and memo; [`key`] says whether its
//!   match is a mere lookup, [`section`] which packets meet it, and when; limits for each source have tables of their own
//!   ([`sources`]);
//! - [`layout`] gives it its place, in a map ([`mod@unit`]) or in an ordered list ([`chunk`]), and finds
//!   out what a commit changes, with [`journal`]s to go back; [`structure`] makes the chains that lead
//!   there;
//! - [`condition`] says what a packet must be, and [`compile`] turns rules and units into nft rules:
//!   [`statement`]s about [`field`]s;
//! - [`coverage`] and [`frame`] say which packets are evaluated at all;
//! - [`object`] and [`expression`] encode it as [`message`]s, and [`plan`] puts them in order;
//! - `table` sends them by `transport`, conditional on the generation of the ruleset, compares
//!   what `readback` reads with what shall be, and puts it right; `ownership` says who may change it,
//!   `monitor` who has.
//!
//! Packets are copied by small tables beside it, `ip flowacl` and `ip6 flowacl`: [`copy`] says what is in them, and
//! `copier` makes them so.
//!
//! [`render`](mod@render) writes the same table as text.

// Without a kernel to talk to the messages have no reader.
#![cfg_attr(not(feature = "os"), allow(dead_code))]

mod chunk;
mod compile;
mod condition;
mod copy;
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
mod sources;
mod statement;
mod structure;
mod unit;

#[cfg(feature = "os")]
mod backend;
#[cfg(feature = "os")]
mod copier;
#[cfg(feature = "os")]
mod monitor;
#[cfg(feature = "os")]
mod ownership;
#[cfg(feature = "os")]
mod readback;
#[cfg(feature = "os")]
mod reply;
#[cfg(feature = "os")]
mod replacement;
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
