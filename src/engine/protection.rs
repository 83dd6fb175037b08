//! Which routes would touch traffic that no rule ever touches, so that an operator learns of it.

use dataplane::guard::Guard;
use dataplane::packet::Packet;
use dataplane::rule::{Family, Rule};

/// Purposes that are named for one rule; of more only their number.
const NAMED: usize = 8;

/// What the packet filter lets through ahead of every rule.
#[derive(Debug)]
pub struct Protection {
    /// In the order of the configuration.
    pub guards: Vec<Guard>,
    /// The addresses of this machine, left-aligned.
    pub local_addresses: Vec<(Family, u128)>,
}

impl Default for Protection {
    fn default() -> Self {
        Self {
            guards: vec![Guard::neighbor_discovery()],
            local_addresses: Vec::new(),
        }
    }
}

impl Protection {
    /// What the rule matches and does not touch, by purpose. Empty for nearly all.
    pub(super) fn spared_by(&self, rule: &Rule) -> Vec<String> {
        let mut purposes: Vec<&str> = Vec::new();
        for guard in &self.guards {
            if purposes.last() != Some(&&*guard.purpose)
                && guard.spares(rule, &self.local_addresses)
            {
                purposes.push(&guard.purpose);
            }
        }
        let more = purposes.len().saturating_sub(NAMED);
        let mut named: Vec<String> = purposes.into_iter().take(NAMED).map(String::from).collect();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        named
    }

    /// Why no rule touches the packet; `None` when rules may.
    pub(super) fn of_packet(&self, packet: &Packet) -> Option<String> {
        let is_local = |family, address| self.local_addresses.contains(&(family, address));
        let guard = self
            .guards
            .iter()
            .find(|guard| guard.protects(packet, is_local))?;
        Some(guard.purpose.to_string())
    }
}
