//! Everything that touches the world: sockets, timers, the control API, systemd. The only async code.
//!
//! [`Daemon`] is the whole of it. Inside, each task owns what it works on and is told by bounded channels: one task per
//! neighbor drives its session, one owns the engine, one knows who may have a session; a thread of its own owns the
//! packet filter. What is not taken further along the way is not read from the socket.

pub mod backends;
pub(crate) mod connection;
pub mod control;
mod daemon;
mod dataplane_thread;
pub(crate) mod driver;
mod engine_task;
mod error;
mod kernel_drops;
mod links;
mod offloads;
pub mod orders;
mod listener;
mod listeners;
mod metrics;
mod neighbors;
mod peer;
mod rate_limit;
pub mod report;
pub mod service;
pub(crate) mod settings;
mod socket;
mod takeover;
mod web;
pub(crate) mod words;

pub use daemon::Daemon;
pub use error::DaemonError;
pub use takeover::clear;
