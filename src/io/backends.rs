//! The packet filters by the names that the configuration uses.

use std::path::Path;

use dataplane::backend::Backend;
use dataplane::cumulus::{self, Cumulus};
use dataplane::layered::Layered;
use dataplane::nft::Nftables;
use dataplane::sim::Sim;
use dataplane::sonic::{self, Sonic};

use crate::config::{BackendKind, Dataplane, profile_called};

/// Makes the backend that is configured; nothing is touched before its `start`. What it has to keep for a later process
/// lies in `state_directory`.
pub fn create(config: &Dataplane, state_directory: &Path) -> Box<dyn Backend> {
    let backend = alone(config, state_directory);
    match config.fallback {
        true => Box::new(Layered::new(backend, Box::new(Nftables::new()))),
        false => backend,
    }
}

/// The backend without what is beside it.
fn alone(config: &Dataplane, state_directory: &Path) -> Box<dyn Backend> {
    match (config.backend, &config.cumulus) {
        (BackendKind::Nftables, _) => Box::new(Nftables::new()),
        (BackendKind::Sonic, _) => Box::new(Sonic::new(sonic::Options {
            memo_file: state_directory.join("sonic-rules"),
            ..config.sonic.clone()
        })),
        (BackendKind::Sim, _) => Box::new(Sim::new()),
        (BackendKind::Cumulus, Some(options)) => Box::new(Cumulus::new((**options).clone())),
        (BackendKind::Cumulus, None) => {
            unreachable!("a configuration without [dataplane.cumulus] is refused")
        }
    }
}

/// Makes a backend that is only asked what it would do. `profile`: the hardware, in place of what the configuration says.
///
/// Fails when the profile is missing, unknown, or one too many.
pub fn planning(mut config: Dataplane, profile: Option<&str>) -> Result<Box<dyn Backend>, String> {
    match (config.backend, profile) {
        (BackendKind::Cumulus, Some(name)) => {
            let options = cumulus::Options::new(profile_called(name)?);
            config.cumulus = Some(Box::new(options));
        }
        (BackendKind::Cumulus, None) if config.cumulus.is_none() => {
            return Err(
                "--backend cumulus wants a --profile: what fits depends on the hardware".into(),
            );
        }
        (BackendKind::Sonic, Some(name)) => config.sonic = sonic::Options::named(name)?,
        (BackendKind::Nftables | BackendKind::Sim, Some(_)) => {
            return Err(format!("--backend {} has no profiles", config.backend));
        }
        (_, None) => {}
    }
    // Nothing is kept, because nothing is started.
    Ok(create(&config, Path::new("")))
}
