//! What the engine wants to be known or done besides commits.

use std::net::IpAddr;
use std::time::Duration;

/// Something for the log, or for the neighbor's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A neighbor has come near its `max_routes`. Said once, until it has fallen below again.
    NearMaxRoutes {
        /// The neighbor.
        peer: IpAddr,
        /// Its routes in force.
        accepted: usize,
        /// Its limit.
        max_routes: usize,
    },
    /// All neighbors together have come near the limit on all routes. Said once, likewise.
    NearMaxTotalRoutes {
        /// All routes in force.
        accepted: usize,
        /// The limit.
        max_routes: usize,
    },
    /// The session is to be closed with Cease, maximum number of prefixes reached (RFC 4486 §4). Said once a session.
    CloseSession {
        /// The neighbor.
        peer: IpAddr,
        /// How long it is to stay down.
        restart: Duration,
        /// The limit that was exceeded.
        reason: String,
    },
}
