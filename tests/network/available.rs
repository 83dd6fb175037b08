//! Whether this machine can run a test with real packets.

use flowacl::lab::{Lab, LabError};

/// Gives what `build` makes, or says why the test is skipped; on CI nothing may be skipped.
pub fn available(build: impl FnOnce() -> Result<Lab, LabError>) -> Option<Lab> {
    match build() {
        Ok(lab) => Some(lab),
        Err(LabError::Forbidden(errno)) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: network namespaces need root ({errno})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
