//! `[import]` and `[neighbor.import]`: which routes we take.
//!
//! A key of `[neighbor.import]` takes the place of the same key of `[import]`, lists as a whole; a key that it does not
//! have is as in `[import]`.

use std::time::Duration;

use super::reader::{Section, Value};
use crate::engine::policy::{
    Community, DEFAULT_RESTART, ImportPolicy, MinLengths, Overflow, RateBounds, TotalLimit,
};

/// Reads `[import]`: the policy for neighbors that say nothing else, and the limit on the routes of all.
pub(super) fn read_global(mut section: Section<'_, '_>) -> (ImportPolicy, TotalLimit) {
    let max_total_routes = section.optional("max_total_routes", count);
    let policy = read(section, &ImportPolicy::default());
    let total = TotalLimit {
        max_routes: max_total_routes.unwrap_or(usize::MAX),
        warn_percent: policy.warn_percent,
    };
    (policy, total)
}

/// Reads `[neighbor.import]` on top of `[import]`.
pub(super) fn read(mut section: Section<'_, '_>, global: &ImportPolicy) -> ImportPolicy {
    let global = global.clone();
    let networks = |value: &Value<'_, '_>| value.list(Value::prefix);
    let communities = |value: &Value<'_, '_>| value.list(|item| item.text()?.parse::<Community>());
    let on_max_routes = section.optional("on_max_routes", on_max_routes);
    let restart = section.optional("max_routes_restart_secs", |value| {
        value.integer(1..=86_400).map(Duration::from_secs)
    });
    let policy = ImportPolicy {
        destinations: section
            .optional("destinations", networks)
            .unwrap_or(global.destinations),
        sources: section
            .optional("sources", networks)
            .unwrap_or(global.sources),
        min_destination_length: MinLengths {
            ipv4: length(&mut section, "min_destination_length", 32)
                .unwrap_or(global.min_destination_length.ipv4),
            ipv6: length(&mut section, "min_destination_length_ipv6", 128)
                .unwrap_or(global.min_destination_length.ipv6),
        },
        min_source_length: MinLengths {
            ipv4: length(&mut section, "min_source_length", 32)
                .unwrap_or(global.min_source_length.ipv4),
            ipv6: length(&mut section, "min_source_length_ipv6", 128)
                .unwrap_or(global.min_source_length.ipv6),
        },
        destination_required: section
            .optional("destination_required", Value::boolean)
            .or(global.destination_required),
        allow_match_all: section
            .optional("allow_match_all", Value::boolean)
            .unwrap_or(global.allow_match_all),
        actions: section
            .optional("actions", |value| {
                let consequence = "no route asks for nothing: \"accept\" is an action, too";
                value.non_empty_list(consequence, |item| item.text()?.parse())
            })
            .or(global.actions),
        legacy_redirects: section
            .optional("legacy_redirects", Value::boolean)
            .unwrap_or(global.legacy_redirects),
        rate_bytes: bounds(
            &mut section,
            "min_rate_bytes_per_sec",
            "max_rate_bytes_per_sec",
            global.rate_bytes,
        ),
        rate_packets: bounds(
            &mut section,
            "min_rate_packets_per_sec",
            "max_rate_packets_per_sec",
            global.rate_packets,
        ),
        accept_communities: section
            .optional("accept_communities", communities)
            .unwrap_or(global.accept_communities),
        refuse_communities: section
            .optional("refuse_communities", communities)
            .unwrap_or(global.refuse_communities),
        max_routes: section
            .optional("max_routes", count)
            .unwrap_or(global.max_routes),
        warn_percent: section
            .optional("warn_percent", |value| value.integer(0..=100))
            .map_or(global.warn_percent, |percent| {
                u8::try_from(percent).expect("the range was checked")
            }),
        overflow: overflow(&mut section, on_max_routes, restart, global.overflow),
        max_lifetime: section
            .optional("max_lifetime_secs", |value| {
                value.integer(1..=u32::MAX.into()).map(Duration::from_secs)
            })
            .or(global.max_lifetime),
        validation: global.validation,
        max_unicast_routes: section
            .optional("max_unicast_routes", count)
            .unwrap_or(global.max_unicast_routes),
    };
    section.finish();
    policy
}

/// A number of routes.
fn count(value: &Value<'_, '_>) -> Result<usize, String> {
    let count = value.integer(0..=u64::from(u32::MAX))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// A prefix length.
fn length(section: &mut Section<'_, '_>, key: &'static str, max: u8) -> Option<u8> {
    let length = section.optional(key, |value| value.integer(0..=max.into()))?;
    Some(u8::try_from(length).expect("the range was checked"))
}

/// The lowest and the highest rate of one unit.
fn bounds(
    section: &mut Section<'_, '_>,
    min_key: &'static str,
    max_key: &'static str,
    global: RateBounds,
) -> RateBounds {
    let rate = |value: &Value<'_, '_>| value.integer(1..=u64::from(u32::MAX) << 8);
    let bounds = RateBounds {
        min: section.optional(min_key, rate).or(global.min),
        max: section.optional(max_key, rate).or(global.max),
    };
    if let (Some(min), Some(max)) = (bounds.min, bounds.max)
        && min > max
        && let Some(place) = section.value(max_key).or_else(|| section.value(min_key))
    {
        place.error(format!(
            "{min_key} = {min} is above {max_key} = {max}: no rate would be accepted"
        ));
    }
    bounds
}

/// What happens at `max_routes`: whether the session is closed.
fn on_max_routes(value: &Value<'_, '_>) -> Result<bool, String> {
    match value.text()? {
        "refuse" => Ok(false),
        "close" => Ok(true),
        other => Err(format!("{other:?} is neither \"refuse\" nor \"close\"")),
    }
}

/// The two keys about too many routes as one value.
fn overflow(
    section: &mut Section<'_, '_>,
    close: Option<bool>,
    restart: Option<Duration>,
    global: Overflow,
) -> Overflow {
    let (global_close, global_restart) = match global {
        Overflow::Refuse => (false, DEFAULT_RESTART),
        Overflow::Close { restart } => (true, restart),
    };
    if close.unwrap_or(global_close) {
        let restart = restart.unwrap_or(global_restart);
        return Overflow::Close { restart };
    }
    if restart.is_some()
        && let Some(place) = section.value("max_routes_restart_secs")
    {
        place.error("says nothing without on_max_routes = \"close\"");
    }
    Overflow::Refuse
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
