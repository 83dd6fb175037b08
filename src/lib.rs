//! flowacl: a BGP FlowSpec receiver that makes a packet filter equal to the received Flow Specifications.
//!
//! One arrow, in module order: bytes → [`wire`] message → [`flowspec`] Flow Specification → [`session`] → [`rib`] →
//! [`engine`] → [`dataplane`] rules → kernel or ASIC. Everything up to `engine` is free of clocks, sockets,
//! files, threads and logging.

pub mod wire;
pub mod flowspec;
pub mod session;
pub mod rib;
pub mod engine;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod io;
#[cfg(feature = "daemon")]
pub mod lab;
#[cfg(feature = "daemon")]
pub mod cli;
