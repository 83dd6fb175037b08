//! Files that are there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What tells whether a file was replaced or written to, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at `path`; `None` when there is none.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self {
                inode: metadata.ino(),
                size: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The text at `path`; `None` when there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(octets) => Ok(Some(String::from_utf8_lossy(&octets).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts `text` in the place of the file at `path`, whatever happens in between: a file beside it, synchronised, is renamed.
/// `None` removes it.
pub(super) fn replace(path: &Path, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return sync_directory(path),
        }
    };
    let new = beside(path);
    let written = write(&new, text).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // What is left of it takes room on a disk that may be full.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    sync_directory(path)
}

/// A new file that is on the disk.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The name of the file that is written first: `policy.conf` includes what ends in `.rules`, and this does not.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes a rename or a removal last.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// True when the text of a `policy.conf` includes the file at `path`.
pub(super) fn includes(policy_conf: &str, path: &Path) -> bool {
    let lines = policy_conf.lines().map(str::trim);
    let patterns = lines.filter_map(|line| line.strip_prefix("include"));
    patterns.map(str::trim).any(|pattern| {
        let pattern = Path::new(pattern);
        let (Some(name), Some(wanted)) = (pattern.file_name(), path.file_name()) else {
            return false;
        };
        let (name, wanted) = (name.to_string_lossy(), wanted.to_string_lossy());
        let matches = match name.split_once('*') {
            Some((start, end)) => {
                wanted.len() >= start.len() + end.len()
                    && wanted.starts_with(start)
                    && wanted.ends_with(end)
            }
            None => name == wanted,
        };
        matches && pattern.parent() == path.parent()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_conf_says_which_files_count() {
        let path = Path::new("/etc/cumulus/acl/policy.d/40_flowacl.rules");
        let rows = [
            (
                "as it comes",
                "# all\ninclude /etc/cumulus/acl/policy.d/*.rules\n",
                true,
            ),
            (
                "by name",
                "include /etc/cumulus/acl/policy.d/40_flowacl.rules",
                true,
            ),
            (
                "others",
                "include /etc/cumulus/acl/policy.d/00*.rules",
                false,
            ),
            (
                "commented out",
                "#include /etc/cumulus/acl/policy.d/*.rules",
                false,
            ),
            ("another directory", "include /etc/acl/*.rules", false),
            ("nothing", "", false),
        ];
        for (name, text, expected) in rows {
            assert_eq!(includes(text, path), expected, "{name}");
        }
    }

    #[test]
    fn files_are_replaced_whole_and_notice_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("40_flowacl.rules");
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(Stamp::of(&path).unwrap(), None);
        replace(&path, Some("one")).unwrap();
        let stamp = Stamp::of(&path).unwrap();
        replace(&path, Some("two")).unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), stamp, "another inode");
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        replace(&path, None).unwrap();
        replace(&path, None).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
