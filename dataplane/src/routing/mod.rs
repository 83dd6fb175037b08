//! Sends packets elsewhere: policy rules and routes for the marks that the packet filter sets.
//!
//! A rule of the packet filter can only mark. Before routing, each [`Route`](crate::rule::Route) in use has a value of
//! some bits of the packet mark ([`marks`]), and for each value there are entries in the kernel's routing
//! ([`entries`]):
//!
//! ```text
//! 900: from all fwmark VALUE/MASK lookup TABLE proto 148
//! 901: from all fwmark VALUE/MASK blackhole    proto 148
//! ```
//!
//! TABLE is the one that is meant, or for a next hop one of ours, with a default route to it. The second policy
//! rule discards what the table has no route for.
//!
//! [`usage`] knows which routes are needed, `kernel` speaks rtnetlink, and `steering` makes the kernel's entries
//! equal to what is needed: before the packet filter begins to mark, and after it has ended. All that is ours carries our
//! protocol number; what does not is never touched.

// Without a kernel to talk to the entries have no reader.
#![cfg_attr(not(feature = "os"), allow(dead_code))]

mod entries;
mod marks;
mod usage;

#[cfg(feature = "os")]
mod kernel;
#[cfg(feature = "os")]
mod messages;
#[cfg(feature = "os")]
mod reachability;
#[cfg(feature = "os")]
pub(crate) mod reverse_path;
#[cfg(feature = "os")]
mod steering;

pub use marks::{Mark, Marks, MarksInUse};
#[cfg(feature = "os")]
pub use steering::Steering;
#[cfg(feature = "os")]
pub(crate) use usage::Usage;
