//! The file that says what a later process wants to know of the rules: a journal of lines, rewritten when most of it is
//! out of date.
//!
//! `rule 45 0a0b…` gives the memo of a rule, `counted 45 17 1700` what entries have counted that are gone, and
//! `gone 45` that there is no such rule any more. A line that was cut short by a crash is passed over: its rule was
//! not in the database yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::backend::{BackendError, Counter};
use crate::rule::RuleId;

/// The first line.
const HEADER: &str = "flowacl rules 1\n";
/// A journal with fewer lines than this is not rewritten.
const LEAST_LINES: usize = 1000;

/// What is known of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memo {
    /// Its memo.
    pub memo: Vec<u8>,
    /// What entries have counted that are gone.
    pub counted: Counter,
}

/// The file and what it says.
pub struct Memos {
    path: PathBuf,
    file: File,
    lines: usize,
    memos: BTreeMap<RuleId, Memo>,
}

impl Memos {
    /// Reads the file, or begins one.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        Self::try_open(path).map_err(|error| unavailable(path, &error))
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let text = match fs::read(path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let memos = match text.strip_prefix(HEADER) {
            Some(lines) => parse(lines),
            None => BTreeMap::new(),
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut opened = Self {
            path: path.into(),
            file: OpenOptions::new().create(true).append(true).open(path)?,
            lines: 0,
            memos,
        };
        opened.rewrite()?;
        Ok(opened)
    }

    /// What is known of all rules.
    pub fn all(&self) -> &BTreeMap<RuleId, Memo> {
        &self.memos
    }

    /// Notes the memos of rules.
    pub fn put(
        &mut self,
        rules: impl IntoIterator<Item = (RuleId, Vec<u8>)>,
    ) -> Result<(), BackendError> {
        let mut lines = String::new();
        for (id, memo) in rules {
            let known = self.memos.entry(id).or_default();
            if known.memo != memo || memo.is_empty() {
                known.memo = memo;
                self.lines += 1;
                rule_line(&mut lines, id, &known.memo);
            }
        }
        self.append(&lines)
    }

    /// Notes what entries that are gone have counted.
    pub fn counted(&mut self, id: RuleId, counted: Counter) -> Result<(), BackendError> {
        let Some(memo) = self.memos.get_mut(&id) else {
            return Ok(());
        };
        memo.counted = counted;
        self.lines += 1;
        let mut line = String::new();
        counted_line(&mut line, id, counted);
        self.append(&line)
    }

    /// Forgets rules.
    pub fn gone(&mut self, rules: impl IntoIterator<Item = RuleId>) -> Result<(), BackendError> {
        let mut lines = String::new();
        for RuleId(id) in rules {
            if self.memos.remove(&RuleId(id)).is_some() {
                self.lines += 1;
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "gone {id}");
            }
        }
        self.append(&lines)
    }

    /// Takes the file away.
    pub fn remove(self) -> Result<(), BackendError> {
        fs::remove_file(&self.path).map_err(|error| unavailable(&self.path, &error))
    }

    fn append(&mut self, lines: &str) -> Result<(), BackendError> {
        let most = LEAST_LINES.max(4 * self.memos.len());
        let result = match self.lines > most {
            true => self.rewrite(),
            false => self.file.write_all(lines.as_bytes()),
        };
        result.map_err(|error| unavailable(&self.path, &error))
    }

    /// Writes what is known to a new file, and puts it in the place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = HEADER.to_owned();
        for (id, memo) in &self.memos {
            rule_line(&mut text, *id, &memo.memo);
            if memo.counted != Counter::default() {
                counted_line(&mut text, *id, memo.counted);
            }
        }
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.lines = text.lines().count();
        Ok(())
    }
}

/// What is wrong with the file, and what follows.
fn unavailable(path: &Path, error: &io::Error) -> BackendError {
    BackendError::Unavailable(format!(
        "{}: {error}; rules that a later process could not know are not installed",
        path.display()
    ))
}

fn rule_line(text: &mut String, RuleId(id): RuleId, memo: &[u8]) {
    // Writing to a string cannot fail.
    let _ = write!(text, "rule {id} ");
    for octet in memo {
        let _ = write!(text, "{octet:02x}");
    }
    text.push('\n');
}

fn counted_line(text: &mut String, RuleId(id): RuleId, counted: Counter) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "counted {id} {} {}", counted.packets, counted.bytes);
}

/// What whole lines say. Others are passed over.
fn parse(text: &str) -> BTreeMap<RuleId, Memo> {
    let mut memos: BTreeMap<RuleId, Memo> = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words.get(index)?.parse::<u64>().ok();
        let Some(id) = number(1).map(RuleId) else {
            continue;
        };
        match words[0] {
            "rule" => {
                if let Some(memo) = words.get(2).and_then(|text| octets(text)) {
                    memos.entry(id).or_default().memo = memo;
                }
            }
            "counted" => {
                if let (Some(packets), Some(bytes), Some(memo)) =
                    (number(2), number(3), memos.get_mut(&id))
                {
                    memo.counted = Counter { packets, bytes };
                }
            }
            "gone" => {
                memos.remove(&id);
            }
            _ => {}
        }
    }
    memos
}

/// Octets of hexadecimal digits.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let octet = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let pairs = digits.len().is_multiple_of(2).then(|| digits.chunks(2))?;
    pairs.map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/rules");
        let mut memos = Memos::open(&path).unwrap();
        let counted = Counter {
            packets: 3,
            bytes: 300,
        };
        memos
            .put([(RuleId(1), vec![1, 0xab]), (RuleId(2), vec![])])
            .unwrap();
        memos.counted(RuleId(1), counted).unwrap();
        memos.put([(RuleId(3), vec![9])]).unwrap();
        memos.gone([RuleId(3), RuleId(4)]).unwrap();
        drop(memos);
        // A crash in the middle of a line, and a line of another version.
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("colour 1 red\nrule 5 00\nrule 6 0");
        fs::write(&path, &text).unwrap();
        let memos = Memos::open(&path).unwrap();
        let ids: Vec<u64> = memos.all().keys().map(|id| id.0).collect();
        assert_eq!(ids, [1, 2, 5]);
        let first = &memos.all()[&RuleId(1)];
        assert_eq!((&first.memo[..], first.counted), (&[1, 0xab][..], counted));
        memos.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_journal_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules");
        let mut memos = Memos::open(&path).unwrap();
        for round in 0..4000u32 {
            let memo = round.to_be_bytes().to_vec();
            memos.put([(RuleId(u64::from(round % 7)), memo)]).unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LEAST_LINES + 1, "{lines}");
        drop(memos);
        let memos = Memos::open(&path).unwrap();
        assert_eq!(memos.all().len(), 7);
        let last = 3999u32;
        assert_eq!(
            memos.all()[&RuleId(u64::from(last % 7))].memo,
            last.to_be_bytes()
        );
    }

    #[test]
    fn a_file_of_something_else_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules");
        fs::write(&path, "rule 1 00\n").unwrap();
        assert!(Memos::open(&path).unwrap().all().is_empty());
    }
}
