//! flowacl: a BGP FlowSpec receiver that makes a packet filter equal to the received Flow Specifications.
//!
//! One arrow, in module order: bytes → [`wire`] message → [`flowspec`] Flow Specification → [`session`] → [`rib`] →
//! [`engine`] → [`dataplane`] rules → kernel or ASIC. Everything up to `engine` is free of clocks, sockets,
//! files, threads and logging.

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
pub mod engine;
pub mod flowspec;
#[cfg(feature = "daemon")]
pub mod io;
#[cfg(feature = "daemon")]
pub mod lab;
pub mod rib;
pub mod session;
pub mod wire;
