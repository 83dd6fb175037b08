//! `[dataplane.sonic]`: how rules get into the ACL tables of a switch with SONiC.

use std::time::Duration;

use ::dataplane::sonic::{GREATEST_PRIORITY, Mode, Options};
use ::dataplane::tcam::profile::Release;

use super::control::absolute_path;
use super::reader::{Section, Value};

/// Reads the section; what is wrong is noted and stays at its default.
pub(super) fn read(mut section: Section<'_, '_>) -> Options {
    let default = Options::default();
    let priority = |value: &Value<'_, '_>| {
        let priority = value.integer(0..=u64::from(GREATEST_PRIORITY))?;
        Ok(u32::try_from(priority).expect("the range was checked"))
    };
    let least = section.optional("priority_min", priority);
    let greatest = section.optional("priority_max", |value| {
        let least = least.unwrap_or(default.priorities.0);
        match priority(value)? {
            greatest if greatest < least.saturating_add(2) => Err(format!(
                "{greatest} leaves no room above priority_min, which is {least}"
            )),
            greatest => Ok(greatest),
        }
    });
    let read = Options {
        mode: section
            .optional("mode", |value| value.text()?.parse::<Mode>())
            .unwrap_or(default.mode),
        release: section
            .optional("release", release)
            .unwrap_or(default.release),
        asic: section
            .optional("asic", |value| value.text()?.parse())
            .unwrap_or(default.asic),
        database_config: section
            .optional("database_config", absolute_path)
            .unwrap_or(default.database_config),
        priorities: (
            least.unwrap_or(default.priorities.0),
            greatest.unwrap_or(default.priorities.1),
        ),
        range_checkers: section
            .optional("range_checkers", |value| value.integer(0..=65535))
            .and_then(|checkers| usize::try_from(checkers).ok()),
        patience: section
            .optional("timeout_secs", |value| value.integer(1..=600))
            .map_or(default.patience, Duration::from_secs),
        memo_file: default.memo_file,
    };
    if read.priorities.1 < read.priorities.0.saturating_add(2) {
        section.error("priority_min leaves no room below priority_max");
    }
    section.finish();
    read
}

/// A release that says what became of a rule.
fn release(value: &Value<'_, '_>) -> Result<Release, String> {
    match value.text()?.parse()? {
        Release::R202111 => {
            Err("202111 does not say whether the switch took a rule; 202205 does".into())
        }
        release => Ok(release),
    }
}
