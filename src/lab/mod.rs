//! A network in a box: attacker — router — victim, made of network namespaces by this process alone.
//!
//! Needs no program and, with [`enter_user_namespace`], no privileges. `flowacl demo` is built on it, and the tests that hold the
//! kernel against the reference evaluator. Packets are made by [`packet`] and go through [`Lab::pass`].

pub mod packet;
mod namespace;
mod link;
mod tap;
mod topology;

use std::fmt::Display;
use std::io;

use nix::errno::Errno;

pub use link::MacAddress;
pub use namespace::{Namespace, enter_user_namespace};
pub use tap::Tap;
pub use topology::{CUSTOMER, Lab, Passed, UPSTREAM};

/// The network could not be built or used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The system does not let this process make namespaces.
    #[error(
        "this system does not allow network namespaces here ({0}): run it as root, let users make them \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns), or start the container with --privileged"
    )]
    Forbidden(Errno),
    /// The kernel refused a request about interfaces, addresses or routes.
    #[error("namespace {namespace}: {reason}")]
    Netlink {
        /// Where.
        namespace: &'static str,
        /// What it said.
        reason: String,
    },
    /// A file or socket did not work.
    #[error("{place}: {error}")]
    Io {
        /// Which.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// Packets did not come through that no filter touches.
    #[error("the network lost a packet that nothing filters")]
    Lost,
}

impl LabError {
    /// An error with its place.
    fn io(place: impl Display, error: io::Error) -> Self {
        Self::Io {
            place: place.to_string(),
            error,
        }
    }
}
