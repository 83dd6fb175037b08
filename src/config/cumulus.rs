//! `[dataplane.cumulus]`: a switch with Cumulus Linux.

use std::path::PathBuf;
use std::time::Duration;

use ::dataplane::cumulus::{Options, Release};
use ::dataplane::tcam::profile::{self, CUMULUS, Profile};

use super::reader::{Section, Value};

/// Reads the section; `None` when the hardware is not known. Other errors are noted and stay at their default.
pub(super) fn read(mut section: Section<'_, '_>) -> Option<Options> {
    let profile = section.required("profile", |value| profile_called(value.text()?));
    let release = section.optional("release", |value| {
        Ok(match value.integer(4..=5)? {
            4 => Release::Four,
            _ => Release::Five,
        })
    });
    if let (Some(profile), Some(Release::Five)) = (profile, release)
        && !profile.release_five
        && let Some(place) = section.value("release")
    {
        place.error(format!("release 5 does not run on {}", profile.headline));
    }
    // What other keys say is checked even when this one is wrong.
    let default = Options::new(profile.unwrap_or(&CUMULUS[0]));
    let entries = |value: &Value<'_, '_>| {
        let entries = value.integer(0..=1_000_000)?;
        usize::try_from(entries).map_err(|error| error.to_string())
    };
    let options = Options {
        profile: default.profile,
        release: release.unwrap_or(default.release),
        atomic: section
            .optional("atomic", |value| value.boolean())
            .unwrap_or(default.atomic),
        max_ipv4_entries: section.optional("max_ipv4_entries", entries),
        max_ipv6_entries: section.optional("max_ipv6_entries", entries),
        kilobyte: section
            .optional("policer_kilobyte", |value| {
                match value.integer(1000..=1024)? {
                    1000 => Ok(1000),
                    1024 => Ok(1024),
                    other => Err(format!("{other} is neither 1000 nor 1024")),
                }
            })
            .unwrap_or(default.kilobyte),
        policy_file: section
            .optional("policy_file", policy_file)
            .unwrap_or(default.policy_file),
        policy_conf: section
            .optional("policy_conf", absolute)
            .unwrap_or(default.policy_conf),
        tool: section.optional("tool", absolute).unwrap_or(default.tool),
        timeout: section
            .optional("timeout_secs", |value| value.integer(1..=3600))
            .map_or(default.timeout, Duration::from_secs),
        dry_run: section
            .optional("dry_run", |value| value.boolean())
            .unwrap_or(default.dry_run),
    };
    section.finish();
    profile.map(|_| options)
}

/// The hardware of this name.
pub fn profile_called(name: &str) -> Result<&'static Profile, String> {
    profile::cumulus(name).ok_or_else(|| {
        let names = CUMULUS.each_ref().map(|profile| profile.name).join(", ");
        format!("{name:?} is no profile; there are {names}")
    })
}

/// A path from the root.
fn absolute(value: &Value<'_, '_>) -> Result<PathBuf, String> {
    let path = PathBuf::from(value.text()?);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("{} is not an absolute path", path.display())),
    }
}

/// A path of a file that `policy.conf` can include.
fn policy_file(value: &Value<'_, '_>) -> Result<PathBuf, String> {
    let path = absolute(value)?;
    let is_read = path
        .extension()
        .is_some_and(|extension| extension == "rules");
    match is_read {
        true => Ok(path),
        false => Err(format!(
            "{} does not end in .rules, and cl-acltool reads no other policy files",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendKind, Config};

    /// A configuration with these lines in `[dataplane]` and behind.
    fn parse(lines: &str) -> Result<Config, String> {
        let text = format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n\
             [dataplane]\nbackend = \"cumulus\"\n{lines}"
        );
        Config::parse(&text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_switch_is_what_its_profile_says_and_keys_change() {
        let plain = parse("[dataplane.cumulus]\nprofile = \"spectrum1\"\n").unwrap();
        assert_eq!(plain.dataplane.backend, BackendKind::Cumulus);
        let expected = Options::new(profile_called("spectrum1").unwrap());
        assert_eq!(plain.dataplane.cumulus.as_deref(), Some(&expected));
        let all = parse(
            "interfaces = [\"swp*\"]\nfallback = \"nftables\"\n[dataplane.cumulus]\nprofile = \"trident3\"\nrelease = 4\natomic = false\n\
             max_ipv4_entries = 100\nmax_ipv6_entries = 0\npolicer_kilobyte = 1024\n\
             policy_file = \"/etc/cumulus/acl/policy.d/60_f.rules\"\npolicy_conf = \"/etc/p.conf\"\n\
             tool = \"/bin/tool\"\ntimeout_secs = 5\ndry_run = true\n",
        )
        .unwrap();
        let expected = Options {
            profile: profile_called("trident3").unwrap(),
            release: Release::Four,
            atomic: false,
            max_ipv4_entries: Some(100),
            max_ipv6_entries: Some(0),
            kilobyte: 1024,
            policy_file: "/etc/cumulus/acl/policy.d/60_f.rules".into(),
            policy_conf: "/etc/p.conf".into(),
            tool: "/bin/tool".into(),
            timeout: Duration::from_secs(5),
            dry_run: true,
        };
        assert_eq!(all.dataplane.cumulus.as_deref(), Some(&expected));
        assert!(all.dataplane.fallback && !plain.dataplane.fallback);
        let software = "[bgp]\nlocal_as = 1\nrouter_id = \"192.0.2.2\"\n[dataplane]\nfallback = \"nftables\"\n";
        let error = Config::parse(software).unwrap_err().to_string();
        assert!(error.contains("only hardware has a fallback"), "{error}");
    }

    #[test]
    fn what_no_switch_has_is_refused() {
        let rows = [
            ("", "wants a table [dataplane.cumulus]"),
            (
                "fallback = \"sim\"\n",
                "\"sim\" is no fallback; there is nftables",
            ),
            (
                "[dataplane.cumulus]\n",
                "dataplane.cumulus.profile: is missing",
            ),
            (
                "[dataplane.cumulus]\nprofile = \"spectrum9\"\n",
                "is no profile; there are spectrum1, ",
            ),
            (
                "[dataplane.cumulus]\nprofile = \"trident2\"\nrelease = 5\n",
                "release 5 does not run on Broadcom Trident2",
            ),
            (
                "[dataplane.cumulus]\nprofile = \"spectrum1\"\npolicy_file = \"/tmp/flowacl\"\n",
                "does not end in .rules",
            ),
            (
                "[dataplane.cumulus]\nprofile = \"spectrum1\"\ntool = \"cl-acltool\"\n",
                "is not an absolute path",
            ),
            (
                "[dataplane.cumulus]\nprofile = \"spectrum1\"\npolicer_kilobyte = 1001\n",
                "neither 1000 nor 1024",
            ),
            (
                "interfaces = [\"eth0\"]\n[dataplane.cumulus]\nprofile = \"spectrum1\"\n",
                "eth0: is not an interface of the switch's hardware",
            ),
        ];
        for (lines, expected) in rows {
            let error = parse(lines).unwrap_err();
            assert!(error.contains(expected), "{lines}: {error}");
        }
    }
}
