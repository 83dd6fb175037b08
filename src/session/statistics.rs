//! What a session has counted since it was made.

/// Messages in one direction, by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

impl MessageCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        [
            self.open,
            self.update,
            self.notification,
            self.keepalive,
            self.route_refresh,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Counters of a session. None of them is ever reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages received, malformed ones of unknown type aside.
    pub received: MessageCounts,
    /// Messages sent.
    pub sent: MessageCounts,
    /// Times that we dialed.
    pub dialed: u64,
    /// Connections accepted, also those refused at once.
    pub accepted: u64,
    /// Times that the session came up.
    pub ups: u64,
    /// Times that it went down again.
    pub downs: u64,
}
