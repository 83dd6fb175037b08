//! `[[interface_set]]`: the interfaces of a group that neighbors name.

use std::collections::BTreeSet;

use dataplane::desired::InterfacePattern;

use super::reader::Section;
use crate::flowspec::action::InterfaceGroup;

/// The interfaces that rules apply to which a neighbor wants for a group alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSet {
    /// The group.
    pub group: InterfaceGroup,
    /// Its interfaces.
    pub interfaces: Vec<InterfacePattern>,
}

/// Reads all `[[interface_set]]` tables; those with errors are noted and left out.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<InterfaceSet> {
    let mut known = BTreeSet::new();
    let sections = root.tables("interface_set").into_iter();
    sections
        .filter_map(|section| InterfaceSet::read(section, &mut known))
        .collect()
}

impl InterfaceSet {
    /// Reads one table. `known`: groups that have one already.
    fn read(mut section: Section<'_, '_>, known: &mut BTreeSet<InterfaceGroup>) -> Option<Self> {
        let group = section.required("group", |value| {
            let group = value.text()?.parse::<InterfaceGroup>()?;
            match known.insert(group) {
                true => Ok(group),
                false => Err(format!("{group} has an [[interface_set]] already")),
            }
        });
        let interfaces = section.required("interfaces", |value| {
            value.non_empty_list("rules for the group would apply nowhere", |item| {
                InterfacePattern::new(item.text()?)
            })
        });
        section.finish();
        Some(Self {
            group: group?,
            interfaces: interfaces?,
        })
    }
}
