//! The control API: what the daemon tells the command line and is told by it, as JSON over HTTP on a Unix socket. The
//! kernel says who is at the other end.

pub mod client;
mod orders;
mod permission;
mod server;
mod socket;
mod sys;

pub(super) use permission::Permissions;
pub(super) use server::{Api, ApiError, serve};
pub(super) use socket::ControlSocket;
