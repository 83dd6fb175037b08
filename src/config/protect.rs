//! `[[protect]]`: what no rule ever touches, so that no neighbor can lock the operator out.

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::reader::{Section, Value};

/// Traffic that no rule ever touches: what is in all lists that are not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Protect {
    /// Where it comes from; empty: anywhere.
    pub sources: Vec<IpNetwork>,
    /// Where it goes; empty: any address of this machine.
    pub destinations: Vec<IpNetwork>,
    /// TCP ports that it goes to.
    pub tcp_ports: Vec<u16>,
    /// UDP ports that it goes to. With `tcp_ports`: either. Without both: any protocol.
    pub udp_ports: Vec<u16>,
    /// What it is for, in the operator's words.
    pub description: Option<String>,
}

/// Reads all `[[protect]]` tables; those with errors are noted and left out.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<Protect> {
    let sections = root.tables("protect").into_iter();
    sections.filter_map(Protect::read).collect()
}

impl Protect {
    /// Reads one table.
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        const LISTS: [&str; 4] = ["sources", "destinations", "tcp_ports", "udp_ports"];
        if !LISTS.iter().any(|list| section.has(list)) {
            section.error(
                "names nothing to protect: sources, destinations, tcp_ports or udp_ports are wanted",
            );
        }
        let protect = Self {
            sources: prefixes(&mut section, "sources"),
            destinations: prefixes(&mut section, "destinations"),
            tcp_ports: ports(&mut section, "tcp_ports"),
            udp_ports: ports(&mut section, "udp_ports"),
            description: section.optional("description", Value::line),
        };
        if !protect.has_family() {
            section.error(
                "no source and no destination are of one family: nothing would be protected",
            );
        }
        section.finish();
        Some(protect)
    }

    /// True when some packet can have its source and destination.
    fn has_family(&self) -> bool {
        [true, false].into_iter().any(|is_ipv4| {
            [&self.sources, &self.destinations].into_iter().all(|list| {
                list.is_empty() || list.iter().any(|prefix| prefix.is_ipv4() == is_ipv4)
            })
        })
    }
}

/// A list of prefixes that names at least one.
fn prefixes(section: &mut Section<'_, '_>, key: &'static str) -> Vec<IpNetwork> {
    let read = |value: &Value<'_, '_>| {
        value.non_empty_list("leave the key out for any address", Value::prefix)
    };
    section.optional(key, read).unwrap_or_default()
}

/// A list of ports that names at least one.
fn ports(section: &mut Section<'_, '_>, key: &'static str) -> Vec<u16> {
    let port = |value: &Value<'_, '_>| {
        let port = value.integer(1..=65535)?;
        Ok(u16::try_from(port).expect("the range was checked"))
    };
    let read = |value: &Value<'_, '_>| value.non_empty_list("leave the key out for any port", port);
    section.optional(key, read).unwrap_or_default()
}
