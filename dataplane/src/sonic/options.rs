//! What an operator can choose about a switch with SONiC.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Mode;
use crate::tcam::profile::{Asic, Profile, Release, sonic};

/// The greatest priority that the YANG models allow.
pub const GREATEST_PRIORITY: u32 = 999_999;

/// What an operator can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which database the rules are written to.
    pub mode: Mode,
    /// The release of SONiC; what is written for one is understood by all later ones.
    pub release: Release,
    /// Whose ASIC the switch has.
    pub asic: Asic,
    /// The file that says where the databases are.
    pub database_config: PathBuf,
    /// The file for what a later process wants to know of the rules.
    pub memo_file: PathBuf,
    /// Least and greatest priority that may be used; of two entries, the one with the greater counts.
    pub priorities: (u32, u32),
    /// How many different ranges of ports there can be; `None`: as the ASIC has.
    pub range_checkers: Option<usize>,
    /// How long orchagent may be silent before a change is undone.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::ApplDb,
            release: Release::R202305,
            asic: Asic::Other,
            database_config: "/var/run/redis/sonic-db/database_config.json".into(),
            memo_file: "/var/lib/flowacl/sonic-rules".into(),
            priorities: (1, 10_000),
            range_checkers: None,
            patience: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// A switch by a name such as `202405-mellanox-config_db`: release, ASIC and database, of which any may be left out.
    pub fn named(name: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for word in name.split('-') {
            if let Ok(release) = word.parse() {
                options.release = release;
            } else if let Ok(asic) = word.parse() {
                options.asic = asic;
            } else if let Ok(mode) = word.parse() {
                options.mode = mode;
            } else {
                return Err(format!(
                    "{word:?} is neither a release of SONiC (202205 to 202605, master), nor an ASIC (mellanox, clounix, \
                     broadcom, other), nor a database (appl_db, config_db)"
                ));
            }
        }
        Ok(options)
    }

    /// What entries can say on this switch.
    pub fn profile(&self) -> Profile {
        let mut profile = sonic(self.release, self.asic);
        profile.range_checkers = self.range_checkers.or(profile.range_checkers);
        if self.mode == Mode::ApplDb {
            // These are limits of the YANG models, which nothing in APPL_DB is held against.
            profile.language.icmp_zero = true;
            profile.language.port_range_from_zero = true;
        }
        profile
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "appl_db" => Ok(Mode::ApplDb),
            "config_db" => Ok(Mode::ConfigDb),
            _ => Err(format!("{name:?} is neither \"appl_db\" nor \"config_db\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_have_names() {
        let options = Options::named("202405-mellanox-config_db").unwrap();
        assert_eq!(options.release, Release::R202405);
        assert_eq!(
            (options.asic, options.mode),
            (Asic::Mellanox, Mode::ConfigDb)
        );
        assert_eq!(options.profile().range_checkers, Some(16));
        assert_eq!(
            Options::named("broadcom").unwrap().release,
            Options::default().release
        );
        for bad in ["", "202405-spectrum", "202405 mellanox"] {
            assert!(Options::named(bad).is_err(), "{bad:?}");
        }
    }
}
