//! The control API: what the daemon tells the command line, as JSON over HTTP on a Unix socket.

pub mod client;
mod server;
mod socket;

pub(super) use server::{Api, ApiError, serve};
pub(super) use socket::ControlSocket;
