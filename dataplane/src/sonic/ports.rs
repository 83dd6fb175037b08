//! Which ports and link aggregation groups the tables are bound to.

use std::collections::{BTreeMap, BTreeSet};

use redis::Pipeline;

use super::database::Database;
use super::store::scan;
use crate::backend::BackendError;
use crate::desired::InterfacePattern;

/// What CONFIG_DB says of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Front panel ports.
    ports: BTreeSet<String>,
    /// Link aggregation groups.
    groups: BTreeSet<String>,
    /// Ports in a group, and which.
    members: BTreeMap<String, String>,
}

/// Patterns of the keys that [`Ports::read`] looks at.
pub const KEYS: [&str; 3] = ["PORT|*", "PORTCHANNEL|*", "PORTCHANNEL_MEMBER|*"];

impl Ports {
    /// Reads what there is.
    pub fn read(config: &mut Database) -> Result<Self, BackendError> {
        let mut read = Self::default();
        let names = |keys: Vec<String>| -> Vec<String> {
            let name = |key: String| Some(key.split_once('|')?.1.to_owned());
            keys.into_iter().filter_map(name).collect()
        };
        let ports = names(scan(config, KEYS[0])?);
        let mut commands = Pipeline::with_capacity(ports.len());
        for port in &ports {
            commands.hget(format!("PORT|{port}"), "role");
        }
        let roles: Vec<Option<String>> = match ports.is_empty() {
            true => Vec::new(),
            false => config.query(&commands)?,
        };
        for (port, role) in ports.into_iter().zip(roles) {
            // Ports between the parts of a switch are no place for a filter.
            if role.is_none_or(|role| role == "Ext") {
                read.ports.insert(port);
            }
        }
        read.groups = names(scan(config, KEYS[1])?).into_iter().collect();
        for member in names(scan(config, KEYS[2])?) {
            if let Some((group, port)) = member.split_once('|') {
                read.members.insert(port.into(), group.into());
            }
        }
        Ok(read)
    }

    /// Those that are meant, in order. A port in a group cannot be bound; its group can, where `groups` holds.
    pub fn bound(&self, patterns: &[InterfacePattern], groups: bool) -> Vec<String> {
        let is_meant = |name: &&String| patterns.iter().any(|pattern| pattern.matches(name));
        let ports = self
            .ports
            .iter()
            .filter(|port| !self.members.contains_key(*port));
        let groups = self.groups.iter().filter(|_| groups);
        let bound: BTreeSet<&String> = ports.chain(groups).filter(is_meant).collect();
        bound.into_iter().cloned().collect()
    }

    /// What an operator should know of what is not bound.
    pub fn warnings(&self, patterns: &[InterfacePattern], groups: bool) -> Vec<String> {
        let bound = self.bound(patterns, groups);
        let mut warnings = Vec::new();
        for (port, group) in &self.members {
            let is_meant = patterns.iter().any(|pattern| pattern.matches(port));
            if is_meant && !bound.contains(group) {
                warnings.push(format!(
                    "{port} is a member of {group}, which is not bound: what comes in there is not filtered"
                ));
            }
        }
        if bound.is_empty() {
            warnings.push("no port is bound: nothing is filtered".into());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_bound_through_their_groups() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let ports = Ports {
            ports: set(&["Ethernet0", "Ethernet4", "Ethernet8"]),
            groups: set(&["PortChannel1"]),
            members: BTreeMap::from([("Ethernet4".into(), "PortChannel1".into())]),
        };
        let rows: [(&[&str], bool, &[&str], usize); 5] = [
            (&["*"], true, &["Ethernet0", "Ethernet8", "PortChannel1"], 0),
            (&["*"], false, &["Ethernet0", "Ethernet8"], 1),
            (&["Ethernet*"], true, &["Ethernet0", "Ethernet8"], 1),
            (
                &["Ethernet8", "PortCh*"],
                true,
                &["Ethernet8", "PortChannel1"],
                0,
            ),
            (&["swp*"], true, &[], 1),
        ];
        for (patterns, groups, expected, warnings) in rows {
            let patterns: Vec<InterfacePattern> = patterns
                .iter()
                .map(|pattern| InterfacePattern::new(pattern).unwrap())
                .collect();
            assert_eq!(ports.bound(&patterns, groups), expected, "{patterns:?}");
            assert_eq!(
                ports.warnings(&patterns, groups).len(),
                warnings,
                "{patterns:?}"
            );
        }
    }
}
