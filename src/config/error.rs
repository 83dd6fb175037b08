//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line and column, counted from 1; `None` when the file could not be read at all.
    pub place: Option<(usize, usize)>,
    /// The key as in `neighbor[1].import.max_routes`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong: lower case, no final dot.
    pub reason: String,
}

/// Everything wrong with one file, in the order of the file. Prints one `path:line:column: key: reason` per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, where the text came from one.
    pub path: Option<PathBuf>,
    /// Never empty.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The one error of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let reason = format!("cannot read the configuration: {error}");
        let error = ConfigError {
            place: None,
            key: String::new(),
            reason,
        };
        Self {
            path: Some(path.to_owned()),
            errors: vec![error],
        }
    }

    /// The same errors, naming the file that the text came from.
    pub(super) fn in_file(self, path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &self.path {
                Some(path) => write!(f, "{}", path.display())?,
                None => f.write_str("configuration")?,
            }
            if let Some((line, column)) = error.place {
                write!(f, ":{line}:{column}")?;
            }
            if !error.key.is_empty() {
                write!(f, ": {}", error.key)?;
            }
            write!(f, ": {}", error.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
