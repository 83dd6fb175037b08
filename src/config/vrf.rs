//! `[[vrf]]`: VRFs and the route targets that they import.

use std::collections::BTreeSet;

use super::reader::Section;
use super::redirect::vrf_name;
use crate::flowspec::action::RouteTarget;

/// A VRF of this machine, to which packets are redirected by the route targets that it imports (RFC 8955 §7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrf {
    /// The name of its device.
    pub name: Box<str>,
    /// The route targets, in the formats that they are sent in.
    pub import_route_targets: Vec<RouteTarget>,
}

/// Reads all `[[vrf]]` tables; those with errors are noted and left out.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<Vrf> {
    let mut known = BTreeSet::new();
    let sections = root.tables("vrf").into_iter();
    sections
        .filter_map(|section| Vrf::read(section, &mut known))
        .collect()
}

impl Vrf {
    /// Reads one table. `known`: names of VRFs that have one already.
    fn read(mut section: Section<'_, '_>, known: &mut BTreeSet<Box<str>>) -> Option<Self> {
        let name = section.required("name", |value| {
            let name = vrf_name(value)?;
            match known.insert(name.clone()) {
                true => Ok(name),
                false => Err(format!("{name} has a [[vrf]] already")),
            }
        });
        let import_route_targets = section.required("import_route_targets", |value| {
            value.non_empty_list("no packet would be redirected to the VRF", |item| {
                item.text()?.parse::<RouteTarget>()
            })
        });
        section.finish();
        Some(Self {
            name: name?,
            import_route_targets: import_route_targets?,
        })
    }
}
