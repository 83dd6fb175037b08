//! `[[redirect]]`: where the packets of a route target go.

use std::collections::BTreeSet;

use dataplane::desired::InterfacePattern;
use dataplane::rule::RoutingInstance;

use super::reader::{Section, Value};
use crate::flowspec::action::RouteTarget;

/// What packets are routed by that a neighbor redirects to a route target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The route target, in the format that it is sent in.
    pub route_target: RouteTarget,
    /// A table or a VRF.
    pub instance: RoutingInstance,
}

/// Reads all `[[redirect]]` tables; those with errors are noted and left out.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<Redirect> {
    let mut known = BTreeSet::new();
    let sections = root.tables("redirect").into_iter();
    sections
        .filter_map(|section| Redirect::read(section, &mut known))
        .collect()
}

impl Redirect {
    /// Reads one table. `known`: route targets that have one already.
    fn read(mut section: Section<'_, '_>, known: &mut BTreeSet<RouteTarget>) -> Option<Self> {
        let route_target = section.required("route_target", |value| {
            let text = value.text()?;
            let target = text.parse::<RouteTarget>()?;
            match known.insert(target) {
                true => Ok(target),
                false => Err(format!("{target} has a [[redirect]] already")),
            }
        });
        let table = section.optional("table", table).map(RoutingInstance::Table);
        let vrf = section.optional("vrf", vrf_name).map(RoutingInstance::Vrf);
        if section.has("table") == section.has("vrf") {
            section.error("wants either table or vrf");
        }
        section.finish();
        Some(Self {
            route_target: route_target?,
            instance: table.or(vrf)?,
        })
    }
}

/// The number of a routing table that packets can be sent by.
fn table(value: &Value<'_, '_>) -> Result<u32, String> {
    let table = value.integer(1..=u64::from(u32::MAX))?;
    Ok(u32::try_from(table).expect("the range was checked"))
}

/// The name of a VRF.
pub(super) fn vrf_name(value: &Value<'_, '_>) -> Result<Box<str>, String> {
    let name = value.text()?;
    match InterfacePattern::new(name)?.split() {
        (name, false) => Ok(name.into()),
        (_, true) => Err(format!("{name:?} is a pattern, not the name of a VRF")),
    }
}
