//! Cumulus Linux: rules as a policy file that `cl-acltool` programs into the switch.
//!
//! In the order of the data flow: [`policer`] says rates in the tool's units; [`interfaces`] says where packets come in; [`mod@line`] writes one entry as a line of
//! the file; [`plan`] gives each rule its lines, within the room that the hardware has; [`mod@file`] makes a file of the
//! plan, and reads what an earlier process needs to be remembered of; [`output`] understands what the tool prints. They
//! are pure. [`tool`] runs it, [`disk`] replaces the file, and [`Cumulus`] is the [`Backend`](crate::backend::Backend).
//!
//! The file holds one line for each entry, chain and interface, in the syntax that stock `iptables` reads, too. First match wins,
//! and `ACCEPT`, `DROP` and the targets that mark end the evaluation; `POLICE` does not, so that it is followed by an `ACCEPT`
//! of the same packets.

pub mod file;
mod interfaces;
mod line;
pub mod output;
mod plan;
mod policer;

#[cfg(feature = "os")]
mod backend;
#[cfg(feature = "os")]
mod disk;
#[cfg(feature = "os")]
mod tool;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "os")]
pub use backend::Cumulus;
pub use interfaces::interface;
pub use line::{Line, Multiport, Target};
pub use plan::{Capabilities, Plan, PlannedRule, Refusal};
pub use policer::Policer;

use crate::tcam::profile::{Profile, Room};

/// Which chains the hardware looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// Cumulus Linux 3 and 4: chain `FORWARD` of the table `filter`.
    Four,
    /// Cumulus Linux 5: chain `PREROUTING` of the table `mangle`.
    Five,
}

impl Release {
    /// The table of `iptables` that our chain is in.
    pub fn table(self) -> &'static str {
        match self {
            Release::Four => "filter",
            Release::Five => "mangle",
        }
    }

    /// The chain that all our rules are in.
    pub fn chain(self) -> &'static str {
        match self {
            Release::Four => "FORWARD",
            Release::Five => "PREROUTING",
        }
    }
}

/// The switch, and where its files are.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The hardware.
    pub profile: &'static Profile,
    /// The operating system.
    pub release: Release,
    /// Changes are atomic, for which the hardware keeps half of its space.
    pub atomic: bool,
    /// Most entries for each family, in place of what the profile says.
    pub max_ipv4_entries: Option<usize>,
    /// See `max_ipv4_entries`.
    pub max_ipv6_entries: Option<usize>,
    /// Octets in what the policer calls a KB: 1000 or 1024.
    pub kilobyte: u32,
    /// Our policy file, which ends in `.rules`.
    pub policy_file: PathBuf,
    /// The file that says which policy files there are.
    pub policy_conf: PathBuf,
    /// `cl-acltool`.
    pub tool: PathBuf,
    /// How long one run of the tool may take.
    pub timeout: Duration,
    /// Each file is tried by `cl-acltool -n -i` before it is installed.
    pub dry_run: bool,
}

impl Options {
    /// A switch with this hardware and everything else as it comes.
    pub fn new(profile: &'static Profile) -> Self {
        Self {
            profile,
            release: if profile.release_five {
                Release::Five
            } else {
                Release::Four
            },
            atomic: true,
            max_ipv4_entries: None,
            max_ipv6_entries: None,
            kilobyte: 1000,
            policy_file: "/etc/cumulus/acl/policy.d/40_flowacl.rules".into(),
            policy_conf: "/etc/cumulus/acl/policy.conf".into(),
            tool: "/usr/cumulus/bin/cl-acltool".into(),
            timeout: Duration::from_secs(30),
            dry_run: false,
        }
    }

    /// The room for our entries.
    pub fn room(&self) -> Room {
        let capacity = self.profile.capacity.map(|capacity| match self.atomic {
            true => capacity.atomic,
            false => capacity.non_atomic,
        });
        let unknown = Room {
            ipv4: usize::MAX,
            ipv6: usize::MAX,
        };
        let room = capacity.unwrap_or(unknown);
        Room {
            ipv4: self.max_ipv4_entries.unwrap_or(room.ipv4),
            ipv6: self.max_ipv6_entries.unwrap_or(room.ipv6),
        }
    }
}
