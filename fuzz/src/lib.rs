//! What each fuzz target does with its octets. Beside not panicking, everything decoded must keep its promises.

mod flows;
mod memos;
mod messages;
mod packets;
mod sessions;

pub use flows::{flow_text, nlri};
pub use memos::memo;
pub use messages::{message_stream, open, update};
pub use packets::{lower, packet};
pub use sessions::session;
