//! The backend for white-box switches with SONiC: ACL tables of its own, written to the switch's Redis databases.
//!
//! `orchagent` reads documents from CONFIG_DB or APPL_DB, programs the ASIC and says in STATE_DB what became of them. A
//! Flow Specification becomes entries of [`tcam`](crate::tcam), and each entry one `ACL_RULE` of the table for its family. The
//! modules in the order of the data flow:
//!
//! - [`options`] and [`document`]: what is written for which release; what cannot be said is refused there;
//! - [`priority`]: a number for each tier, with gaps;
//! - [`placed`] and [`acl`]: the entries of a table, and which come, go and move; [`transition`]: in which order, so that no
//!   packet meets what is neither the old state nor the new one;
//! - [`model`]: both tables, the guards and the range checkers;
//! - [`ledger`]: counters that outlive the entries they are read from;
//! - `database`, `store`, `status`, `watch`, `ports`, `memo`: what talks to Redis and to the file system;
//! - `running` carries changes out, phase by phase, and `audit` puts right what others change;
//! - `backend`: the contract of [`backend`](crate::backend).

// Without a database to write to, the model has no reader.
#![cfg_attr(not(feature = "os"), allow(dead_code))]

mod acl;
mod document;
mod ledger;
mod model;
mod options;
mod placed;
mod priority;
mod transition;

#[cfg(feature = "os")]
mod audit;
#[cfg(feature = "os")]
mod backend;
#[cfg(feature = "os")]
mod database;
#[cfg(feature = "os")]
mod memo;
#[cfg(feature = "os")]
mod ports;
#[cfg(feature = "os")]
mod running;
#[cfg(feature = "os")]
mod status;
#[cfg(feature = "os")]
mod store;
#[cfg(feature = "os")]
mod watch;

#[cfg(feature = "os")]
pub use backend::Sonic;
pub use document::Mode;
pub use options::{GREATEST_PRIORITY, Options};
